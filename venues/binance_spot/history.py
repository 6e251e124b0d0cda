"""Fetch what happened before: candles and trades as HISTORY rows, which move features only.

Closed candles become BAR rows. Then a BAR row with GROWING opens the bar in progress, and the
trades since its open follow, so that the first live bar has neither a hole nor a doubled trade.
Where those trades cannot be had back to its open there is no such row: the kernel then drops that
one bar as entered in its middle. Trades of earlier bars, wanted by windows of trades, stand between
the BAR rows; a BAR row replaces what grew of its bar.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from engine.row_arrays import take_rows
from engine.rows import GROWING, HISTORY, LAST, ROW, Kind, bar_flags
from venues.binance_spot.replies import Candle, PastTrade, nanoseconds
from venues.binance_spot.rest import MAX_CANDLES, MAX_TRADES, RestError, SpotRest

AHEAD_NS = 1_000_000_000  # how far a trade's stamp may be ahead of what the venue's clock says
MAX_CANDLE_PAGES = 10
MAX_TRADE_PAGES = 20
NS_PER_MS = 1_000_000


class HistoryNeed(msgspec.Struct, frozen=True, kw_only=True):
    """How far back: closed bars of `bar_interval_ns`, and trades of the last `trades_ns`."""

    bars: int = 0
    bar_interval_ns: int = 60_000_000_000
    trades_ns: int = 0


class History(NamedTuple):
    """What was fetched.

    Attributes:
        rows: ROW[n], each a packet of its own, in order of time.
        last_trade_id: of the newest trade that was fetched; -1 for none.
        whole: the bar in progress is complete up to there.
    """

    rows: np.ndarray
    last_trade_id: int
    whole: bool

    def without_growing(self) -> "History":
        """Return it with the bar in progress not promised to be whole."""
        keep = np.flatnonzero(self.rows["flags"] & GROWING == 0)
        return History(take_rows(self.rows, keep), self.last_trade_id, False)


class Venue(NamedTuple):
    """Where the rows go, and how the venue's clock stands to ours."""

    symbol: str
    instrument: int
    offset_ns: int  # venue minus ours


async def fetch_history(
    rest: SpotRest, venue: Venue, need: HistoryNeed, now_ns: Callable[[], int]
) -> History:
    """Ask the venue for everything that `need` names.

    Args:
        now_ns: our clock.
    Raises:
        RestError: the venue gave no answer.
    """
    interval = need.bar_interval_ns
    asked_ns = now_ns() + venue.offset_ns
    candles: list[Candle] = []
    if need.bars > 0:
        candles = await _candles(rest, venue.symbol, need)
    closed = [c for c in candles if nanoseconds(c.open_stamp) + interval <= asked_ns]
    closed = closed[-need.bars :] if need.bars else []
    opens_ns = asked_ns // interval * interval
    known = bool(closed) and nanoseconds(closed[-1].open_stamp) + interval == opens_ns
    since_ns = min(opens_ns, asked_ns - need.trades_ns)
    trades, whole = await _trades(rest, venue.symbol, since_ns)
    last_id = trades[-1].last_id if trades else -1
    growing = opens_ns if known and whole else None
    until_ns = now_ns()
    latest = until_ns + venue.offset_ns + AHEAD_NS  # stamps beyond it are of a clock set back since
    kept = [one for one in trades if since_ns <= one.ts_event <= latest]
    rows = history_rows(closed, kept, venue, interval, growing)
    np.minimum(rows["ts_recv"], until_ns, out=rows["ts_recv"])  # known now, whatever a stamp says
    return History(rows, last_id, growing is not None)


async def _candles(rest: SpotRest, symbol: str, need: HistoryNeed) -> list[Candle]:
    """Return at least the wanted closed candles where the venue has them, oldest first."""
    found = await rest.candles(symbol, need.bar_interval_ns, need.bars + 1)
    for _ in range(MAX_CANDLE_PAGES):
        left = need.bars + 1 - len(found)
        if left <= 0 or not found:
            break
        end_ms = nanoseconds(found[0].open_stamp) // NS_PER_MS - 1
        older = await rest.candles(symbol, need.bar_interval_ns, min(left, MAX_CANDLES), end_ms)
        if not older or older[-1].open_stamp >= found[0].open_stamp:
            break
        found = older + found
    return found


async def _trades(rest: SpotRest, symbol: str, since_ns: int) -> tuple[list[PastTrade], bool]:
    """Return trades back to `since_ns`, and whether they reach it without a hole."""
    newest = await rest.trades(symbol)
    if len(newest) < MAX_TRADES or newest[0].ts_event < since_ns:
        return newest, True
    first_id = newest[0].first_id
    older: list[PastTrade] = []
    try:
        page = await rest.aggregates(symbol, startTime=since_ns // NS_PER_MS)
        for _ in range(MAX_TRADE_PAGES):
            older += [one for one in page if one.first_id < first_id]
            if not page or page[-1].last_id >= first_id - 1:
                break
            since_ms = page[-1].ts_event // NS_PER_MS
            seen = older[-1].last_id
            page = await rest.aggregates(symbol, startTime=since_ms)
            page = [one for one in page if one.first_id > seen]
    except RestError:
        return newest, False
    if not older or older[-1].last_id < first_id - 1:
        return newest, False
    reached = older[-1].last_id  # an aggregate may reach over the first of the single trades
    return older + [one for one in newest if one.first_id > reached], True


def history_rows(
    candles: Sequence[Candle],
    trades: Sequence[PastTrade],
    venue: Venue,
    interval_ns: int,
    growing_ns: int | None,
) -> np.ndarray:
    """Make rows of closed candles and trades, both oldest first.

    Args:
        candles: closed.
        trades: see the head of this file.
        venue: symbol, index on the tape, clock.
        interval_ns: of the candles.
        growing_ns: open time of the bar in progress if the trades since then are all there.
    Returns:
        ROW[n] in order of time.
    """
    bars = np.zeros(len(candles) + (growing_ns is not None), ROW)
    bars["kind"] = Kind.BAR
    bars["flags"] = HISTORY | LAST | bar_flags(interval_ns)
    for row, one in zip(bars, candles, strict=False):
        row["ts_event"] = nanoseconds(one.open_stamp)
        row["ts_recv"] = row["ts_event"] + interval_ns
        row["f0"], row["f1"], row["f2"] = one.open, one.high, one.low
        row["f3"], row["f4"] = one.close, one.volume
    if growing_ns is not None:
        row = bars[-1]
        row["ts_event"] = row["ts_recv"] = growing_ns
        row["flags"] |= GROWING
        for name in ("f0", "f1", "f2", "f3"):
            row[name] = candles[-1].close
    prints = np.zeros(len(trades), ROW)
    prints["kind"] = Kind.TRADE
    prints["flags"] = HISTORY | LAST
    for row, past in zip(prints, trades, strict=True):
        row["ts_event"] = row["ts_recv"] = past.ts_event
        row["side"] = past.side
        row["f0"], row["f1"], row["i2"] = past.price, past.size, past.last_id
    octets = np.concatenate([bars.view(np.uint8), prints.view(np.uint8)])
    rows = octets.reshape(-1, ROW.itemsize)
    order = np.argsort(octets.view(ROW)["ts_recv"], kind="stable")  # bars before trades at one time
    ordered = np.ascontiguousarray(rows[order]).reshape(-1).view(ROW)
    ordered["instrument"] = venue.instrument
    ordered["ts_recv"] -= venue.offset_ns
    return ordered
