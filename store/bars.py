"""Turn columns of bars into tape rows: the bar at its close, quotes at its open and close."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from engine.errors import DataError
from engine.row_arrays import take_rows
from engine.rows import ASSUMED, BAR_INTERVALS_NS, BAR_OPEN, LAST, ROW, Kind, bar_flags
from store.encode import NO_TIME, NOT_A_PRICE, NOT_A_SIZE, event_times, number
from store.times import to_ns

Columns = Mapping[str, pa.Array]
WRONG_RANGE = "bar with low > high or open/close outside"
QUOTE_FIELDS = ("open_bid", "open_ask", "close_bid", "close_ask")
# A bar of a batch, with the bid and ask at its open and close where they are known.
BAR = np.dtype(
    [("ts", "i8"), ("symbol", "i8")]
    + [(name, "f8") for name in ("open", "high", "low", "close", "volume", *QUOTE_FIELDS)]
)


def read_bars(
    columns: Columns, numbers: np.ndarray | int, path: object, dropped: Counter[str]
) -> np.ndarray:
    """Return BAR[n] of columns; `numbers` are their instruments."""
    length = len(next(iter(columns.values())))
    bars = np.zeros(length, BAR)
    bars["symbol"] = numbers
    bars["ts"] = to_ns(event_times(columns), "ts_event", path)
    for name in BAR.names or ():
        if name not in ("ts", "symbol"):
            bars[name] = number(columns, name, length)
    prices = np.stack([bars[name] for name in ("open", "high", "low", "close")])
    finite = ((prices > 0) & (prices < np.inf)).all(axis=0)
    ranged = (bars["low"] <= prices.min(axis=0)) & (bars["high"] >= prices.max(axis=0))
    volume = bars["volume"]
    sized = np.isnan(volume) | ((volume >= 0) & (volume < np.inf))
    good = np.ones(length, dtype=bool)
    for reason, passes in (
        (NO_TIME, bars["ts"] > 0),
        (NOT_A_PRICE, finite),
        (WRONG_RANGE, ranged),
        (NOT_A_SIZE, sized),
    ):
        count = int(np.count_nonzero(good & ~passes))
        if count:
            dropped[reason] += count
            good &= passes
    return bars[good]


def close_rows(bars: np.ndarray, interval_ns: int, instruments: np.ndarray) -> np.ndarray:
    """Return ROW[2n]: at each close a packet of an assumed quote and the bar.

    Quotes hold the mid on both sides unless the file has bids and asks; lay_spread parts them.
    """
    rows = np.zeros(2 * len(bars), ROW)
    quotes, closed = rows[0::2], rows[1::2]
    rows["ts_recv"] = np.repeat(bars["ts"] + interval_ns, 2)
    rows["instrument"] = np.repeat(instruments, 2)
    quotes["kind"] = Kind.QUOTE
    quotes["flags"] = ASSUMED
    quotes["ts_event"] = bars["ts"] + interval_ns
    _lay_quote(quotes, bars, "close")
    closed["kind"] = Kind.BAR
    closed["flags"] = LAST | bar_flags(interval_ns)
    closed["ts_event"] = bars["ts"]
    for slot, name in enumerate(("open", "high", "low", "close", "volume")):
        closed[f"f{slot}"] = bars[name]
    return rows


def open_rows(bars: np.ndarray, instruments: np.ndarray) -> np.ndarray:
    """Return ROW[n]: an assumed quote at each open, marked BAR_OPEN."""
    rows = np.zeros(len(bars), ROW)
    rows["kind"] = Kind.QUOTE
    rows["flags"] = ASSUMED | BAR_OPEN | LAST
    rows["ts_event"] = rows["ts_recv"] = bars["ts"]
    rows["instrument"] = instruments
    _lay_quote(rows, bars, "open")
    return rows


def _lay_quote(rows: np.ndarray, bars: np.ndarray, at: str) -> None:
    """Set bid and ask from the bar's own quotes, or both to its price; sizes stay NaN."""
    bid, ask = bars[f"{at}_bid"], bars[f"{at}_ask"]
    known = (bid > 0) & (ask > 0)
    rows["f0"] = np.where(known, bid, bars[at])
    rows["f1"] = np.where(known, ask, bars[at])
    rows["f2"] = rows["f3"] = np.nan
    rows["i4"] = known  # 1: a quote of the file, no spread to lay


def lay_spread(
    rows: np.ndarray,
    *,
    tick: np.ndarray,
    lot: np.ndarray,
    half_spread: float,
    size_notional: float,
) -> None:
    """Give assumed quotes their spread, to the tick outward, and their size, in place.

    Args:
        rows: ROW[n] of any kinds; only quotes with the flag ASSUMED are changed.
        tick: float64[n], the price increment of each row's instrument.
        lot: float64[n], its size increment.
        half_spread: half the assumed spread as a share of the price.
        size_notional: assumed size at the touch, in quote currency.
    """
    chosen = (rows["kind"] == Kind.QUOTE) & (rows["flags"] & ASSUMED != 0)
    if not chosen.any():
        return
    some = take_rows(rows, chosen)
    tick, lot = tick[chosen], lot[chosen]
    laid = some["i4"] == 0
    mid = (some["f0"] + some["f1"]) / 2
    # A price that lies on a tick but for float noise stays there: hence the 1e-7 of a tick.
    low = np.floor(mid * (1.0 - half_spread) / tick + 1e-7) * tick
    high = np.ceil(mid * (1.0 + half_spread) / tick - 1e-7) * tick
    digits = 10.0 ** np.ceil(-np.log10(tick) + 6.0)
    low, high = np.rint(low * digits) / digits, np.rint(high * digits) / digits
    low = np.where(low > 0, low, tick)
    some["f0"] = np.where(laid, low, some["f0"])
    some["f1"] = np.where(laid, high, some["f1"])
    lots = np.maximum(np.floor(size_notional / mid / lot), 1.0)
    some["f2"] = some["f3"] = lots * lot
    some["i4"] = 0
    for name in ("f0", "f1", "f2", "f3", "i4"):
        rows[name][chosen] = some[name]


def steps_of(bars: np.ndarray) -> Counter[int]:
    """Count the steps in ns from one bar of a symbol to the next, of BAR[n]."""
    order = np.lexsort((bars["ts"], bars["symbol"]))
    steps = np.diff(bars["ts"][order])
    same = np.diff(bars["symbol"][order]) == 0
    values, counts = np.unique(steps[same & (steps > 0)], return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def interval_of(steps: Counter[int]) -> int:
    """Return the interval of bars in ns: the largest one seen that divides 99 % of the steps.

    A thin symbol may skip most of its minutes. Without such a step the most frequent one is
    returned, whether rows can carry it or not; 0 without any step.

    >>> interval_of(Counter({120 * 10**9: 50, 60 * 10**9: 20, 180 * 10**9: 30})) // 10**9
    60
    """
    total = steps.total()
    for interval in reversed(BAR_INTERVALS_NS):
        fitting = sum(count for step, count in steps.items() if step % interval == 0)
        if steps[interval] and fitting >= 0.99 * total:
            return interval
    return steps.most_common(1)[0][0] if steps else 0


def checked_interval(interval_ns: int, path: object) -> int:
    """Return the interval, refusing one that no bar row can carry."""
    if interval_ns not in BAR_INTERVALS_NS:
        allowed = ", ".join(f"{one // 10**9}" for one in BAR_INTERVALS_NS)
        raise DataError(
            f"{path}: bars of {interval_ns / 1e9:g} s; allowed intervals in seconds: {allowed}"
        )
    return interval_ns
