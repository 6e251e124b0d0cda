"""Candles of one symbol in ticks and lots: one a minute, longer ones made of them when asked."""

import numpy as np

from venues.embedded.amounts import text
from venues.embedded.market import SymbolSpec

MINUTE_MS = 60_000
INTERVALS_MS = {
    "1s": 1_000, "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS, "1h": 60 * MINUTE_MS, "2h": 120 * MINUTE_MS, "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS, "8h": 480 * MINUTE_MS, "12h": 720 * MINUTE_MS, "1d": 1440 * MINUTE_MS,
}  # fmt: skip
# ticks and lots; money is counted in ticks x lots
CANDLE = np.dtype(
    [("ms", "i8"), ("open", "i8"), ("high", "i8"), ("low", "i8"), ("close", "i8"), ("lots", "i8"),
     ("money", "i8"), ("count", "i8"), ("buy_lots", "i8"), ("buy_money", "i8"),
     ("first_id", "i8")]
)  # fmt: skip


def candles_of(
    ms: np.ndarray, price: np.ndarray, lots: np.ndarray, side: np.ndarray, interval_ms: int
) -> np.ndarray:
    """Gather trades in order of time into candles; only intervals with a trade have one.

    Example:
        >>> made = candles_of(np.array([0, 5, 70_000]), np.array([3, 2, 4]), np.array([1, 1, 5]),
        ...                   np.array([1, -1, 1]), 60_000)
        >>> made[["ms", "open", "low", "close", "lots", "buy_lots"]].tolist()
        [(0, 3, 2, 2, 2, 1), (60000, 4, 4, 4, 5, 5)]
    """
    out = np.zeros(0, CANDLE)
    if len(ms) == 0:
        return out
    opened = ms - ms % interval_ms
    starts = np.flatnonzero(np.r_[True, opened[1:] != opened[:-1]])
    out = np.zeros(len(starts), CANDLE)
    ends = np.r_[starts[1:], len(ms)]
    value, bought = price * lots, (side > 0).astype(np.int64)
    out["ms"] = opened[starts]
    out["open"], out["close"] = price[starts], price[ends - 1]
    out["high"] = np.maximum.reduceat(price, starts)
    out["low"] = np.minimum.reduceat(price, starts)
    out["lots"], out["money"] = np.add.reduceat(lots, starts), np.add.reduceat(value, starts)
    out["count"] = ends - starts
    out["buy_lots"] = np.add.reduceat(lots * bought, starts)
    out["buy_money"] = np.add.reduceat(value * bought, starts)
    out["first_id"] = starts
    return out


def merged(rows: np.ndarray, interval_ms: int) -> np.ndarray:
    """Join candles in order of time into longer ones."""
    if len(rows) == 0:
        return rows.copy()
    opened = rows["ms"] - rows["ms"] % interval_ms
    starts = np.flatnonzero(np.r_[True, opened[1:] != opened[:-1]])
    out = rows[starts].copy()
    out["ms"] = opened[starts]
    out["close"] = rows["close"][np.r_[starts[1:], len(rows)] - 1]
    out["high"] = np.maximum.reduceat(rows["high"], starts)
    out["low"] = np.minimum.reduceat(rows["low"], starts)
    for name in ("lots", "money", "count", "buy_lots", "buy_money"):
        out[name] = np.add.reduceat(rows[name], starts)
    return out


def filled(rows: np.ndarray, interval_ms: int, until_ms: int) -> np.ndarray:
    """Return candles with flat ones (last close, no volume) where nothing traded, to `until_ms`."""
    if len(rows) == 0:
        return rows
    first = int(rows["ms"][0])
    last = max(int(rows["ms"][-1]), until_ms - until_ms % interval_ms)
    times = np.arange(first, last + 1, interval_ms)
    at = np.searchsorted(rows["ms"], times, side="right") - 1
    out = rows[at]
    flat = out["ms"] != times
    out["first_id"][flat] += out["count"][flat]
    for name in ("open", "high", "low"):
        out[name][flat] = out["close"][flat]
    for name in ("lots", "money", "count", "buy_lots", "buy_money"):
        out[name][flat] = 0
    out["ms"] = times
    return out


class MinuteCandles:
    """The minutes with a trade, in order; the last one may still grow."""

    def __init__(self) -> None:
        self._rows = np.zeros(4096, CANDLE)
        self._count = 0
        self.trades = 0

    def load(self, ms: np.ndarray, price: np.ndarray, lots: np.ndarray, side: np.ndarray) -> None:
        """Take the history, once, before anything else."""
        assert self._count == 0
        made = candles_of(ms, price, lots, side, MINUTE_MS)
        made["first_id"] += 1
        self._rows = np.concatenate([made, np.zeros(4096, CANDLE)])
        self._count = len(made)
        self.trades = len(ms)

    def add(self, ms: int, price: int, lots: int, side: int) -> None:
        """Take one trade; one that is late counts in the newest minute."""
        opened = ms - ms % MINUTE_MS
        self.trades += 1
        if self._count == 0 or self._rows[self._count - 1]["ms"] < opened:
            if self._count == len(self._rows):
                self._rows = np.concatenate([self._rows, np.zeros(self._count, CANDLE)])
            self._rows[self._count] = (
                opened, price, price, price, price, 0, 0, 0, 0, 0, self.trades,
            )  # fmt: skip
            self._count += 1
        row = self._rows[self._count - 1]
        row["high"] = max(row["high"], price)
        row["low"] = min(row["low"], price)
        row["close"] = price
        row["lots"] += lots
        row["money"] += price * lots
        row["count"] += 1
        if side > 0:
            row["buy_lots"] += lots
            row["buy_money"] += price * lots

    @property
    def rows(self) -> np.ndarray:
        """Return CANDLE[n] of the minutes with a trade."""
        return self._rows[: self._count]

    def select(
        self, interval_ms: int, ms_from: int | None, ms_to: int | None, limit: int, now_ms: int
    ) -> np.ndarray:
        """Return candles that open within the times: the first ones from `ms_from`, else the last.

        Args:
            interval_ms: a whole number of minutes.
            ms_from: first opening time wanted, None for the newest candles.
            ms_to: last opening time wanted.
            limit: most candles.
            now_ms: the exchange's time; nothing opens after it.
        """
        end = now_ms if ms_to is None else min(ms_to, now_ms)
        if ms_from is None:
            ms_from = end - end % interval_ms - (limit - 1) * interval_ms
        begin = -(-ms_from // interval_ms) * interval_ms
        stop = min(end, begin + (limit - 1) * interval_ms)
        opened = self.rows["ms"]
        low = max(0, int(np.searchsorted(opened, begin, side="left")) - 1)
        low_ms = opened[low] - opened[low] % interval_ms if low < len(opened) else 0
        low = int(np.searchsorted(opened, low_ms, side="left"))
        high = int(np.searchsorted(opened, stop + interval_ms, side="left"))
        rows = filled(merged(self.rows[low:high], interval_ms), interval_ms, stop)
        return rows[(rows["ms"] >= begin) & (rows["ms"] <= stop)]


def candle_fields(row: np.void, interval_ms: int, spec: SymbolSpec) -> list:
    """Return a candle as the REST endpoint writes it."""
    tick, lot = spec.tick_minor, spec.lot_minor
    grid = spec.grid()
    quote = int(row["money"]) * grid.num // grid.den
    taker = int(row["buy_money"]) * grid.num // grid.den
    price = [text(int(row[name]) * tick) for name in ("open", "high", "low", "close")]
    return [
        int(row["ms"]), *price, text(int(row["lots"]) * lot), int(row["ms"]) + interval_ms - 1,
        text(quote), int(row["count"]), text(int(row["buy_lots"]) * lot), text(taker), "0",
    ]  # fmt: skip
