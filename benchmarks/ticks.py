"""The benchmark load: a seeded stream of quotes and trades of two instruments, NumPy only.

Every engine that is compared (ours, NautilusTrader) gets these very events. The stream is a load
and no market model: prices sit on the tick grid, arrivals are clustered, trade sides, quote
imbalance and drift share one latent flow. Same `n` and `seed` give the same bytes; `digest` proves
it.
"""

import argparse
import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

QUOTE, TRADE = 0, 1
START_NS = 1_735_689_600_000_000_000  # 2025-01-01T00:00:00Z
RATE_HZ = 400.0
TRADE_SHARE = 0.30
COLUMNS = ("ts_ns", "inst", "kind", "bid", "ask", "bid_size", "ask_size", "price", "size", "side")
KNOWN_DIGEST = (200_000, 7, "3c5ea822ada53e16")  # n, seed, first hex digits of the sha256


class Listing(NamedTuple):
    """One instrument of the load."""

    symbol: str
    tick: float
    decimals: int
    base_price: float
    quote_size: float
    trade_size: float
    order_size: float  # what the benchmark strategy trades at a time


LISTINGS = (
    Listing("BTCUSDT", 0.10, 2, 60_000.0, 2.0, 0.05, 0.010),
    Listing("ETHUSDT", 0.01, 2, 3_000.0, 30.0, 0.80, 0.100),
)

Ticks = dict[str, NDArray[np.generic]]


def _smooth(rng: np.random.Generator, count: int, width: int, decay: float) -> NDArray[np.float64]:
    """Draw noise and smooth it with an exponential window of `width` values."""
    window = np.exp(-np.arange(width) / decay)
    return np.convolve(rng.normal(0.0, 1.0, count + width - 1), window, "valid")


def _arrivals(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Draw strictly increasing event times whose intensity changes each 64 events."""
    block = 64
    log_rate = _smooth(rng, n // block + 2, 16, 5.0) * 0.45
    rate = np.repeat(np.exp(log_rate - log_rate.mean()), block)[:n]
    gaps = rng.exponential(1.0, n) / rate
    gaps *= (1e9 / RATE_HZ) / gaps.mean()
    return START_NS + np.cumsum(np.maximum(gaps.astype(np.int64), 1_000))


def _last_true(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each position that of the latest true one; position 0 must be true."""
    return np.maximum.accumulate(np.where(mask, np.arange(mask.size), 0))


def _sizes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round sizes to three decimals, never to zero."""
    return np.maximum(np.round(values, 3), 0.001)


def _fill_listing(rng: np.random.Generator, out: Ticks, k: int) -> None:
    """Write quotes and trades of instrument `k` into its rows. The order of draws is the format."""
    listing = LISTINGS[k]
    rows = np.flatnonzero(out["inst"] == k)
    m = rows.size
    if m == 0:
        return
    is_quote = out["kind"][rows] == QUOTE
    is_quote[0] = True
    out["kind"][rows[0]] = QUOTE
    flow = np.tanh(np.repeat(_smooth(rng, m // 40 + 2, 12, 4.0) * 0.6, 40)[:m])

    moved = (rng.random(m) < 0.18) & is_quote
    upward = rng.random(m) < 0.5 + 0.22 * flow
    steps = np.where(moved, np.where(upward, 1, -1), 0)
    bid_tick = round(listing.base_price / listing.tick) + np.cumsum(steps)
    spread_tick = 1 + np.minimum(rng.geometric(0.8, m) - 1, 6)
    skew = np.exp(0.5 * flow)
    bid_size = _sizes(rng.lognormal(0.0, 0.9, m) * listing.quote_size * skew)
    ask_size = _sizes(rng.lognormal(0.0, 0.9, m) * listing.quote_size / skew)

    source = _last_true(is_quote)
    bid = np.round(bid_tick[source] * listing.tick, listing.decimals)
    ask = np.round((bid_tick[source] + spread_tick[source]) * listing.tick, listing.decimals)
    out["bid"][rows], out["ask"][rows] = bid, ask
    out["bid_size"][rows], out["ask_size"][rows] = bid_size[source], ask_size[source]

    bought = rng.random(m) < 0.5 + 0.30 * flow
    out["side"][rows] = np.where(is_quote, 0, np.where(bought, 1, -1))
    out["price"][rows] = np.where(is_quote, 0.0, np.where(bought, ask, bid))
    size = _sizes(rng.lognormal(-0.5, 1.0, m) * listing.trade_size)
    out["size"][rows] = np.where(is_quote, 0.0, size)


def generate(n: int, seed: int = 7) -> Ticks:
    """Make `n` events.

    Args:
        n: number of events, at least 4.
        seed: of the one random stream.
    Returns:
        Arrays of length n by the names in COLUMNS: `ts_ns` int64 strictly increasing, `inst` uint8,
        `kind` uint8 (0 quote, 1 trade), `bid ask bid_size ask_size` float64 in force, `price size`
        float64 (0 on quotes), `side` int8 (+1 bought, -1 sold, 0 on quotes).
    Raises:
        ValueError: n is too small.
    """
    if n < 4:
        raise ValueError("n must be at least 4")
    rng = np.random.default_rng(seed)
    out: Ticks = {"ts_ns": _arrivals(rng, n)}
    out["inst"] = (rng.random(n) < 0.4).astype(np.uint8)
    out["kind"] = (rng.random(n) < TRADE_SHARE).astype(np.uint8)
    out["inst"][0], out["inst"][1] = 0, 1
    out["kind"][:2] = QUOTE
    for name in ("bid", "ask", "bid_size", "ask_size", "price", "size"):
        out[name] = np.zeros(n)
    out["side"] = np.zeros(n, np.int8)
    for k in range(len(LISTINGS)):
        _fill_listing(rng, out, k)
    return out


def digest(ticks: Ticks) -> str:
    """Hash the columns in order, as sha256 hex."""
    total = hashlib.sha256()
    for name in COLUMNS:
        total.update(np.ascontiguousarray(ticks[name]).tobytes())
    return total.hexdigest()


def verified(n: int, seed: int = 7) -> Ticks:
    """Make `n` events after proving that this NumPy makes the known stream.

    Raises:
        AssertionError: the generator's stream is not the one that published figures rest on.
    """
    known_n, known_seed, known = KNOWN_DIGEST
    ticks = generate(known_n, known_seed)
    assert digest(ticks).startswith(known), "the tick generator gives another stream here"
    return ticks if (n, seed) == (known_n, known_seed) else generate(n, seed)


def main() -> None:
    """Print what a stream looks like."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    ticks = generate(given.n, given.seed)
    span_s = float(ticks["ts_ns"][-1] - ticks["ts_ns"][0]) / 1e9
    print(
        f"n={given.n} seed={given.seed} sha256={digest(ticks)[:16]} span_s={span_s:.1f} "
        f"trades={int(ticks['kind'].sum())}"
    )


if __name__ == "__main__":
    main()
