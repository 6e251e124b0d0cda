"""Prices of a tape at given times, in one pass and in memory that grows with the times alone."""

from collections.abc import Mapping

import numpy as np

from engine.instruments import Instrument
from engine.rows import HISTORY, OFF_MARKET, Kind
from engine.tape import Tape


def price_kind(instrument: Instrument) -> Kind:
    """Return the rows that give an instrument's price: quotes (also made of bars), else trades."""
    quotes = {"quotes", "bar_quotes"} & set(instrument.has)
    return Kind.QUOTE if quotes else Kind.TRADE


def prices_at(tape: Tape, wanted: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Return the price in force at each time: the last one at or before it.

    The price is the mid of a quote that is not crossed, or that of a market trade. A row's time is
    the running maximum of its receive time, or of its event time where there is none.

    Args:
        wanted: by instrument, int64[n] in rising order, ns.
    Returns:
        By instrument, float64[n]; NaN before the first price and after the last row of the tape.
    """
    readers = {at: _Reader(tape.instruments[at], times) for at, times in wanted.items()}
    now = 0
    for segment in tape.segments:
        for _, rows in segment.strides():
            live = rows[rows["flags"] & HISTORY == 0]
            if not len(live):
                continue
            stamped = np.where(live["ts_recv"] > 0, live["ts_recv"], live["ts_event"])
            ts = np.maximum(np.maximum.accumulate(stamped), now)
            now = int(ts[-1])
            for at, reader in readers.items():
                mine = (live["instrument"] == at) & (live["kind"] == reader.kind)
                reader.take(live[mine], ts[mine], now)
    for reader in readers.values():
        reader.end(now)
    return {at: reader.prices for at, reader in readers.items()}


class _Reader:
    """Answers the times of one instrument as its rows come by."""

    def __init__(self, instrument: Instrument, times: np.ndarray) -> None:
        assert np.all(np.diff(times) >= 0), "times rise"
        self.kind = price_kind(instrument)
        self.prices = np.full(len(times), np.nan)
        self._times = times
        self._done = 0
        self._last = np.nan

    def take(self, rows: np.ndarray, ts: np.ndarray, now: int) -> None:
        """Take the next rows; times before `now` are answered, as later rows are not before it."""
        prices, fine = self._prices(rows)
        ts, prices = ts[fine], prices[fine]
        stop = int(np.searchsorted(self._times, now, "left"))
        if stop > self._done:
            at = np.searchsorted(ts, self._times[self._done : stop], "right") - 1
            known = prices[np.maximum(at, 0)] if len(prices) else np.full(len(at), np.nan)
            self.prices[self._done : stop] = np.where(at >= 0, known, self._last)
            self._done = stop
        if len(prices):
            self._last = float(prices[-1])

    def end(self, now: int) -> None:
        """Answer what lies at the tape's last time."""
        stop = int(np.searchsorted(self._times, now, "right"))
        self.prices[self._done : stop] = self._last

    def _prices(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.kind == Kind.TRADE:
            price = rows["f0"]
            return price, (price > 0) & np.isfinite(price) & (rows["flags"] & OFF_MARKET == 0)
        bid, ask = rows["f0"], rows["f1"]
        return 0.5 * (bid + ask), (bid > 0) & (ask > bid) & np.isfinite(ask)
