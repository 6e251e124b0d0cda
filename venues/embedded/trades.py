"""The trades of one symbol: a bounded table with ids, and the minute candles over all of them."""

from typing import NamedTuple

import numpy as np

from venues.embedded.candles import MinuteCandles

MAX_TRADES = 1 << 20  # kept per symbol; beyond it the older half goes (about 50 MB a symbol)
ROW = np.dtype(
    [("id", "i8"), ("agg", "i8"), ("ms", "i8"), ("price", "i8"), ("lots", "i8"), ("side", "i8")]
)


class Print(NamedTuple):
    """One trade as the public sees it; `side` is the taker's, +1 buyer."""

    trade_id: int
    agg_id: int
    ms: int
    price_tick: int
    lots: int
    side: int


class TradeTable:
    """Trades in order of their ids, which have no gaps."""

    def __init__(self, history: np.ndarray, shift_ms: int) -> None:
        """Take the trades before the opening.

        Args:
            history: market.TRADES[n] in order of time.
            shift_ms: added to their times: market time to the exchange's.
        """
        count = len(history)
        self._rows = np.zeros(max(4096, 2 * min(count, MAX_TRADES)), ROW)
        self.candles = MinuteCandles()
        ms = history["ts"] // 1_000_000 + shift_ms
        self.candles.load(ms, history["price"], history["lots"], history["side"])
        kept = history[-MAX_TRADES:]
        rows = self._rows[: len(kept)]
        rows["id"] = rows["agg"] = np.arange(count - len(kept), count) + 1
        rows["ms"] = ms[-MAX_TRADES:]
        for name in ("price", "lots", "side"):
            rows[name] = kept[name]
        self._count = len(kept)
        self.next_id = self.next_agg = count + 1

    def add(self, ms: int, price_tick: int, lots: int, side: int, *, same_taker: bool) -> Print:
        """Append a trade; one of the same taker at the same price shares its aggregate id."""
        previous = self._rows[self._count - 1] if self._count else None
        if not (same_taker and previous is not None and previous["price"] == price_tick):
            self.next_agg += 1
        made = Print(self.next_id, self.next_agg - 1, ms, price_tick, lots, side)
        self.next_id += 1
        if self._count == len(self._rows):
            self._make_room()
        self._rows[self._count] = made
        self._count += 1
        self.candles.add(ms, price_tick, lots, side)
        return made

    def _make_room(self) -> None:
        """Grow up to the bound, then drop the older half."""
        if len(self._rows) < MAX_TRADES:
            grown = np.zeros(min(MAX_TRADES, 2 * len(self._rows)), ROW)
            grown[: self._count] = self._rows
            self._rows = grown
            return
        half = self._count // 2
        kept = self._rows[half : self._count].copy()
        self._rows[: len(kept)] = kept
        self._count = len(kept)

    @property
    def rows(self) -> np.ndarray:
        """Return the kept trades, ROW[n], a view valid until the next trade."""
        return self._rows[: self._count]

    def last(self, count: int) -> np.ndarray:
        """Return the newest trades."""
        return self.rows[max(0, self._count - count) :]

    def select(
        self, *, key: str, start: int | None, ms_from: int | None, ms_to: int | None, limit: int
    ) -> np.ndarray:
        """Return up to `limit` trades from an id or a time on.

        Args:
            key: "id" or "agg", what `start` counts.
            start: first id wanted; it goes before the times.
            ms_from: first time wanted.
            ms_to: last time wanted.
            limit: for "id" rows, for "agg" aggregates (all their rows come along).
        """
        rows = self.rows
        if start is None and ms_from is None and ms_to is None:
            low = 0
            if len(rows):
                low = int(np.searchsorted(rows[key], rows[key][-1] - limit + 1))
            return rows[low:]
        low, high = 0, len(rows)
        if start is not None:
            low = int(np.searchsorted(rows[key], start))
        elif ms_from is not None:
            low = int(np.searchsorted(rows["ms"], ms_from))
        if ms_to is not None:
            high = int(np.searchsorted(rows["ms"], ms_to, side="right"))
        if low >= high:
            return rows[:0]
        high = min(high, int(np.searchsorted(rows[key], rows[key][low] + limit)))
        return rows[low:high]
