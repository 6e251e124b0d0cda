"""Independent versions of the features on the levels of a book: whole arrays at once."""

from collections.abc import Callable

import numpy as np

SECOND = 1_000_000_000


class Book:
    """Levels behind each packet of depth, best first; NaN and 0 where a side has no more.

    ts int64[n]; bids, bid_sizes, asks, ask_sizes float64[n, levels]; anew bool[n], where what stood
    before a packet is not known: the first one, and after a torn or crossed book.
    """

    def __init__(
        self, ts: np.ndarray, sides: dict[str, np.ndarray], anew: np.ndarray | None = None
    ) -> None:
        self.ts = ts
        self.anew = np.zeros(len(ts), bool) if anew is None else anew
        self.bids, self.bid_sizes = sides["bids"], sides["bid_sizes"]
        self.asks, self.ask_sizes = sides["asks"], sides["ask_sizes"]
        self.mid = (self.bids[:, :1] + self.asks[:, :1]) / 2.0
        self.whole = (self.bid_sizes[:, 0] > 0.0) & (self.ask_sizes[:, 0] > 0.0)


def imbalance(b: Book, p: dict) -> np.ndarray:
    bids, asks = (x[:, : p["levels"]].sum(axis=1) for x in (b.bid_sizes, b.ask_sizes))
    return (bids - asks) / (bids + asks)


def slope(b: Book, p: dict) -> np.ndarray:
    found = []
    for prices, sizes in ((b.bids, b.bid_sizes), (b.asks, b.ask_sizes)):
        prices, sizes = prices[:, : p["levels"]], sizes[:, : p["levels"]]
        away = np.nan_to_num(1e4 * np.abs(prices - b.mid) / b.mid)
        found.append((away * sizes.cumsum(axis=1)).sum(axis=1) / (away**2).sum(axis=1))
    return np.mean(found, axis=0)


def cost(b: Book, p: dict, side: int) -> np.ndarray:
    """Walk the cumulative money of a side and interpolate the base units that it buys."""
    prices, sizes = (b.asks, b.ask_sizes) if side > 0 else (b.bids, b.bid_sizes)
    found = []
    for price, size, mid, whole in zip(prices, sizes, b.mid[:, 0], b.whole):
        if not whole:
            found.append(np.nan)
            continue
        price, size = price[size > 0.0], size[size > 0.0]
        money, base = np.cumsum(price * size), np.cumsum(size)
        wanted = float(p["notional"])
        got = np.interp(wanted, np.r_[0.0, money], np.r_[0.0, base])
        got += max(wanted - money[-1], 0.0) / price[-1]
        found.append(side * 1e4 * (wanted / got - mid) / mid)
    return np.array(found)


def flow(b: Book, p: dict) -> np.ndarray:
    def joined(prices: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        prices, sizes = prices[:, : p["levels"]], sizes[:, : p["levels"]]
        late, early = prices[1:], prices[:-1]
        return (late >= early) * sizes[1:] - (late <= early) * sizes[:-1]

    bids, asks = joined(b.bids, b.bid_sizes), joined(-b.asks, b.ask_sizes)
    net = np.r_[0.0, (bids - asks).sum(axis=1)]
    size = np.r_[0.0, (np.abs(bids) + np.abs(asks)).sum(axis=1)]
    net[b.anew] = size[b.anew] = 0.0  # what stood before is not known
    cell = b.ts // (p["seconds"] * SECOND // 1000)
    first = np.searchsorted(cell, cell - 1000, side="right")
    sums = [np.array([x[f : k + 1].sum() for k, f in enumerate(first)]) for x in (net, size)]
    warm = b.ts - b.ts[0] >= p["seconds"] * SECOND
    return np.where(warm, sums[0] / np.where(sums[1] == 0.0, 1.0, sums[1]), np.nan)


ON_LEVELS: dict[str, Callable[[Book, dict], np.ndarray]] = {
    "book_imbalance_{levels}": imbalance,
    "depth_slope_{levels}": slope,
    "buy_cost_{notional}": lambda b, p: cost(b, p, 1),
    "sell_cost_{notional}": lambda b, p: cost(b, p, -1),
    "depth_flow_imbalance_{levels}": flow,
}
