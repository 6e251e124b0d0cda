"""Measures what a quiet market costs beside a busy one, and a level update of the book."""

from pathlib import Path

import msgspec
import numpy as np
from numba import njit

from benchmarks import floor_features, l2_rows, tapes, ticks
from benchmarks.bars import Figure
from benchmarks.measure_parts import BARS, KERNELS, MINUTE_NS, shipped
from benchmarks.timing import Case, Timing, measure
from engine.instruments import Instrument
from engine.kernel.book import set_ask, set_bid
from engine.kernel.state import KernelRules, KernelState
from engine.rows import Kind
from features.spec import FeatureSpec

QUIET_BAR = 1.2
UPDATE_BAR = 2.0  # a guard of our own: ring, ticks and what our fills took, against a bare array
TICKS, LEVEL_ROWS = 100_000, 400_000
LIVELY = 2_000  # events before the market falls quiet, so that averages have something to decay


def quiet_market(rounds: int) -> list[Figure]:
    """Measure each set's kernel on a market that stands still against one that moves."""
    bars_of = msgspec.structs.replace(
        tapes.tick_instruments()[0], has=("bars",), bar_interval_ns=MINUTE_NS
    )
    ticks_of = tapes.tick_instruments()[0]
    quotes = tapes.tick_rows(ticks.verified(2 * TICKS, 7))
    quotes = np.ascontiguousarray(quotes[quotes["instrument"] == 0])
    levels = tapes.depth_rows(l2_rows.generate(LEVEL_ROWS))
    minutes = floor_features.minute_bars(BARS)
    figures = []
    for path in sorted((Path("config") / "features").glob("*.json")):
        spec = shipped(path.stem)
        if path.stem == "microstructure":
            load, instrument, after = levels, tapes.depth_instrument(), "depth"
        elif path.stem.startswith("tick"):
            load, instrument, after = quotes, ticks_of, "packet"
        else:
            load, instrument, after = minutes, bars_of, "bar"
        cases = {
            "busy": feed_case(spec, load, instrument, after),
            "quiet": feed_case(spec, quiet(load), instrument, after),
        }
        timings = measure(cases, rounds=rounds)
        figures.append(_beside(f"quiet market, {path.stem}", timings))
    return figures


def _beside(name: str, timings: dict[str, Timing]) -> Figure:
    """Compare a quiet market with a busy one."""
    still, busy = timings["quiet"].cpu_min, timings["busy"].cpu_min
    return Figure(name, still, busy, still / busy, QUIET_BAR, "ns", "floor: the same, busy")


def quiet(rows: np.ndarray) -> np.ndarray:
    """Return the rows with all that comes after the first LIVELY ones standing still.

    Each later row says again what the last one of its kind and side said; bars trade nothing.
    """
    still = rows.copy()
    for kind in (Kind.QUOTE, Kind.TRADE, Kind.DEPTH):
        for side in (-1, 0, 1):
            same = np.flatnonzero((rows["kind"] == kind) & (rows["side"] == side))
            said = same[same < LIVELY][-1:]
            for slot in ("f0", "f1", "f2", "f3") if len(said) else ():
                if kind != Kind.TRADE or slot in ("f0", "f1"):
                    still[slot][same[same >= LIVELY]] = rows[slot][said[0]]
    bars = np.flatnonzero(rows["kind"] == Kind.BAR)
    if len(bars):
        for slot in ("f0", "f1", "f2", "f3"):
            still[slot][LIVELY:] = rows["f3"][LIVELY - 1]
        still["f4"][LIVELY:] = 0.0
    return still


def feed_case(spec: FeatureSpec, rows: np.ndarray, instrument: Instrument, after: str) -> Case:
    """Make a case of one set's kernel over all rows, a feature row after each event `after`."""
    from features.batch import AFTER
    from features.feed_module import PLACE, REQUEST, feed_state, load_feed

    module = load_feed(spec, KERNELS)
    room = len(rows)
    x, places = np.zeros((room, len(spec)), np.float32), np.zeros(room, PLACE)
    request = np.zeros(1, REQUEST)

    def case() -> int:
        state = feed_state(module, instrument, 60, 0)
        request["count"], request["wanted"], request["room"] = len(rows), AFTER[after], room
        request["cursor"] = request["written"] = 0
        request["out"], request["places"] = x.ctypes.data, places.ctypes.data
        written = module.run_rows(state.address, rows.ctypes.data, request.ctypes.data)
        assert written > LIVELY, "the market was not read"
        return len(rows)

    return case


@njit
def our_updates(x, m, side, tick, size):  # type: ignore[no-untyped-def]
    """Apply level updates to the kernel's book; return the sum of the best ticks."""
    total = 0
    for k in range(len(tick)):
        if side[k] > 0:
            set_bid(x, m, tick[k], size[k])
        else:
            set_ask(x, m, tick[k], size[k])
        total += m["best_bid_tick"] + m["best_ask_tick"]
    return total


@njit
def bare_updates(bids, asks, first, side, tick, size):  # type: ignore[no-untyped-def]
    """Apply them to two dense arrays of sizes by tick, which know no other price."""
    best_bid, best_ask, total = 0, len(asks), 0
    for k in range(len(tick)):
        at, new = tick[k] - first, size[k]
        if side[k] > 0:
            bids[at] = new
            if new > 0.0:
                best_bid = max(best_bid, at)
            elif at == best_bid:
                while best_bid > 0 and bids[best_bid] <= 0.0:
                    best_bid -= 1
        else:
            asks[at] = new
            if new > 0.0:
                best_ask = min(best_ask, at)
            elif at == best_ask:
                while best_ask < len(asks) and asks[best_ask] <= 0.0:
                    best_ask += 1
        total += best_bid + first + (best_ask + first if best_ask < len(asks) else 0)
    return total


def book_updates(rounds: int) -> list[Figure]:
    """Measure one level update of the kernel's book against the same in two bare arrays."""
    load = l2_rows.generate(LEVEL_ROWS)
    depth = load.kind == l2_rows.DEPTH
    columns = (load.side, load.price_tick, load.size)
    side, tick, size = (np.ascontiguousarray(column[depth]) for column in columns)
    first = l2_rows.MID_TICK - l2_rows.REACH
    found: dict[str, int] = {}

    def ours() -> int:
        state = KernelState([tapes.depth_instrument()], 0, np.dtype("i8"), _RULES)
        x, m = state.matching[0], state.markets[0]
        found["ours"] = our_updates(x, m, side, tick, size)
        return len(tick)

    def floor() -> int:
        bids, asks = np.zeros(2 * l2_rows.REACH + 1), np.zeros(2 * l2_rows.REACH + 1)
        found["floor"] = bare_updates(bids, asks, first, side, tick, size)
        return len(tick)

    timings = measure({"ours": ours, "floor": floor}, rounds=rounds)
    assert found["ours"] == found["floor"], "two books, two touches"
    note = "floor: two arrays indexed by tick"
    cost, least = timings["ours"].cpu_min, timings["floor"].cpu_min
    return [Figure("book, one level update", cost, least, cost / least, UPDATE_BAR, "ns", note)]


_RULES = KernelRules(
    implied_wakes=True,
    bar_interval_ns=MINUTE_NS,
    bar_grace_ns=0,
    max_data_age_ns=MINUTE_NS,
    max_jump=0.5,
    jump_confirmations=1,
    trigger_confirmations=1,
    sample_ns=MINUTE_NS,
    assumed_notional=0.0,
    half_spread=0.0,
)
ALL = (quiet_market, book_updates)
