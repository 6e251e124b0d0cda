"""Measures the parts of the hot path one by one, each beside its floor."""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import floor_decode, floor_features, live_session, peer_models, tapes, ticks
from benchmarks.bars import Figure
from benchmarks.floor_inference import BoundModel
from benchmarks.tick_features import TICK_SPEC
from benchmarks.timing import Case, Timing, measure
from engine.instruments import Instrument
from engine.rows import ROW, ROW_BYTES
from engine.tape import Tape
from features.spec import FeatureSpec, parse_spec

MESSAGES = 20_000
ONTO_TAPE_BAR = 2.5  # a guard of our own; the budget's bar is that of decoding into the row
SEGMENT_IS_MADE = 12  # turns: the tape's helper makes the first segments beside the first five
UPDATES, LEVELS = 2_000, 20  # depth updates, and levels a side
CALLS = 20_000
ROWS_FROM_PYTHON = 50_000
BARS = 100_000
MINUTE_NS = 60_000_000_000
KERNELS = Path("artifacts") / "kernels"


def figure(name: str, timings: dict[str, Timing], bar: float, unit: str, note: str = "") -> Figure:
    """Compare the cases `ours` and `floor` of one measurement: at most `bar` times the floor."""
    ours, floor = timings["ours"], timings["floor"]
    return Figure(name, ours.cpu_min, floor.cpu_min, ours.cpu_min / floor.cpu_min, bar, unit, note)


def decode(rounds: int) -> list[Figure]:
    """Measure decoding a frame into a tape row against msgspec's typed decoder alone."""
    from venues.binance_spot.decode import MessageDecoder

    quotes, trades = floor_decode.messages(ticks.generate(MESSAGES), MESSAGES)
    symbols = {listing.symbol: k for k, listing in enumerate(ticks.LISTINGS)}
    depths = floor_decode.depth_messages(UPDATES, LEVELS)
    rows = np.zeros(MESSAGES + 2 * LEVELS, ROW)
    buffer = memoryview(rows.view(np.uint8)).cast("B")
    figures = []
    for name, frames, kind in (
        ("bookTicker", quotes, floor_decode.BookTicker),
        ("trade", trades, floor_decode.Trade),
        (f"depth of {2 * LEVELS} levels", depths, floor_decode.Depth),
    ):
        into = MessageDecoder(symbols, {0: ticks.LISTINGS[0].tick}).decode_into
        plain = floor_decode.decoder(kind)

        def ours(frames: list[bytes] = frames, into: Callable[..., int] = into) -> int:
            for at, frame in enumerate(frames):
                into(frame, buffer, at, 1)
            return len(frames)

        def floor(frames: list[bytes] = frames, plain: Callable[..., object] = plain) -> int:
            for _at, frame in enumerate(frames):
                plain(frame)
            return len(frames)

        timings = measure({"ours": ours, "floor": floor}, rounds=rounds)
        figures.append(
            figure(f"decode into the row, {name}", timings, 1.75, "ns", "floor: msgspec typed")
        )
        assert rows["kind"][0] > 0, "nothing was written"
    return figures


def onto_the_tape(rounds: int) -> list[Figure]:
    """Measure the feed's whole way of a message onto the live tape against decoding it alone."""
    from benchmarks.live_tape_case import LiveTapeCase

    load = live_session.messages(MESSAGES)
    plain = {True: floor_decode.decoder(floor_decode.BookTicker)}
    plain[False] = floor_decode.decoder(floor_decode.Trade)

    def floor() -> int:
        for frame, is_quote, _ in load:
            plain[is_quote](frame)
        return len(load)

    with LiveTapeCase(load) as ours:
        timings = measure({"ours": ours, "floor": floor}, rounds=rounds, warm=SEGMENT_IS_MADE)
    note = "floor: msgspec typed, no row; ours checks ids, publishes the row and counts it too"
    return [figure("message onto the live tape", timings, ONTO_TAPE_BAR, "ns", note)]


def inference(rounds: int) -> list[Figure]:
    """Measure one call of the served model against a bare bound run with a kept RunOptions."""
    from ml.runtime.native import NativeModel

    data = peer_models.make_all()["mlp"].read_bytes()
    arrays = [np.zeros((1, 10), np.float32), np.zeros((1, 1), np.float32)]
    bare = [array.copy() for array in arrays]
    ours = NativeModel(data, x=arrays[0], y=arrays[1], names=("x", "p"), quick=True)
    floor = BoundModel(data, bare[0], bare[1])

    def case(run: Callable[[], object]) -> Case:
        def calls() -> int:
            for _ in range(CALLS):
                run()
            return CALLS

        return calls

    timings = measure({"ours": case(ours.run), "floor": case(floor.run)}, rounds=rounds)
    return [figure("inference call, MLP", timings, 1.1, "ns", "floor: bound, kept RunOptions")]


def features_in_block(rounds: int) -> list[Figure]:
    """Measure fused features over a block of rows against the bare loop of the same steps."""
    tape = Tape.open(tapes.tick_tape(200_000))
    rows = np.ascontiguousarray(tape.segments[0].rows)
    one = rows[rows["instrument"] == 0].copy()
    ticks_of = tape.instruments[0]
    minutes = floor_features.minute_bars(BARS)
    bars_of = msgspec.structs.replace(ticks_of, has=("bars",), bar_interval_ns=MINUTE_NS)
    figures = []
    for name, spec, load, instrument, after in (
        ("ten tick features", TICK_SPEC, one, ticks_of, "packet"),
        ("tick model's features", shipped("tick_mlp"), one, ticks_of, "packet"),
        ("28 on minute bars", shipped("signal_classifier_28"), minutes, bars_of, "bar"),
        ("55 on minute bars", shipped("tfa_55"), minutes, bars_of, "bar"),
    ):
        cases = _block_cases(spec, load, instrument, after)
        turns = rounds if load is minutes else 5 * rounds  # a turn over ticks takes 8 ms
        timings = measure(cases, rounds=turns)
        figures.append(
            figure(f"feature kernel in a block, {name}", timings, 1 / 0.8, "ns", "the steps, bare")
        )
    return figures


def shipped(name: str) -> FeatureSpec:
    """Return a spec of config/features."""
    return parse_spec((Path("config") / "features" / f"{name}.json").read_bytes(), name)


def _block_cases(
    spec: FeatureSpec, rows: np.ndarray, instrument: Instrument, after: str
) -> dict[str, Case]:
    """Make both loops over the rows; each writes a feature row after each event of kind `after`."""
    from features.batch import AFTER
    from features.feed_module import PLACE, REQUEST, feed_state, load_feed

    module = load_feed(spec, KERNELS)
    room = len(rows)
    x, places = np.zeros((room, len(spec)), np.float32), np.zeros(room, PLACE)
    request = np.zeros(1, REQUEST)
    bare, bare_x = floor_features.BareLoop(spec, instrument, KERNELS), np.zeros_like(x)

    def ours() -> int:
        state = feed_state(module, instrument, 60, 0)
        request["count"], request["wanted"], request["room"] = len(rows), AFTER[after], room
        request["cursor"] = request["written"] = 0
        request["out"], request["places"] = x.ctypes.data, places.ctypes.data
        module.run_rows(state.address, rows.ctypes.data, request.ctypes.data)
        return len(rows)

    def floor() -> int:
        bare.run(rows, bare_x)
        return len(rows)

    ours()
    floor()
    assert np.array_equal(x, bare_x, equal_nan=True), f"{spec.names}: two loops, two results"
    return {"ours": ours, "floor": floor}


def one_row(rounds: int) -> list[Figure]:
    """Measure one row from Python, and the memory that a million such rows leave behind."""
    tape = Tape.open(tapes.tick_tape(200_000))
    rows = np.ascontiguousarray(tape.segments[0].rows)
    one = rows[rows["instrument"] == 0][:ROWS_FROM_PYTHON].copy()
    ticks_of = tape.instruments[0]
    bars_of = msgspec.structs.replace(ticks_of, has=("bars",), bar_interval_ns=MINUTE_NS)
    minutes = floor_features.minute_bars(ROWS_FROM_PYTHON)
    cases = _row_cases(TICK_SPEC, one, ticks_of)
    timings = measure(cases, rounds=rounds)
    figures = [figure("one row from Python, ten features", timings, 1.3, "ns", "the steps, bare")]
    figures.append(allocations(cases["ours"]))
    timings = measure(_row_cases(shipped("tfa_55"), minutes, bars_of), rounds=rounds)
    figures.append(
        figure("one row from Python, 55 on minute bars", timings, 1.3, "ns", "the steps, bare")
    )
    return figures


def _row_cases(spec: FeatureSpec, one: np.ndarray, instrument: Instrument) -> dict[str, Case]:
    """Make both loops in Python over the rows, each row followed by its features."""
    from features.calculator import FeatureCalculator

    calculator = FeatureCalculator(spec, instrument, folder=KERNELS)
    x = np.zeros(len(spec), np.float32)
    first, last = one.ctypes.data, one.ctypes.data + len(one) * ROW_BYTES
    on_address, out = calculator.on_address, x.ctypes.data

    def ours(_lives: tuple[object, ...] = (calculator, x)) -> int:  # addresses alone keep nothing
        for at in range(first, last, ROW_BYTES):
            on_address(at, out)
        return len(one)

    bare = floor_features.BareLoop(spec, instrument, KERNELS)
    step, state, request = bare.entry, bare.address, bare.request.ctypes.data
    bare.prepare(one, x.reshape(1, -1))
    bare.request["count"] = 1

    def floor(_lives: tuple[object, ...] = (bare, x)) -> int:
        for at in range(first, last, ROW_BYTES):
            step(state, at, request)
        return len(one)

    return {"ours": ours, "floor": floor}


def allocations(work: Case, rows: int = 1_000_000) -> Figure:
    """Count what a million rows leave behind: Python blocks and bytes, and NRT allocations."""
    from numba.core.runtime import _nrt_python, rtsys

    _nrt_python.memsys_enable_stats()
    work()
    gc.collect()
    nrt_before = rtsys.get_allocation_stats()
    tracemalloc.start()
    blocks, held = sys.getallocatedblocks(), tracemalloc.get_traced_memory()[0]
    done = 0
    while done < rows:
        done += work()
    grown = sys.getallocatedblocks() - blocks
    held = tracemalloc.get_traced_memory()[0] - held
    tracemalloc.stop()
    nrt_after = rtsys.get_allocation_stats()
    _nrt_python.memsys_disable_stats()
    nrt = nrt_after.alloc - nrt_before.alloc + nrt_after.mi_alloc - nrt_before.mi_alloc
    note = f"{grown} Python blocks, {held} bytes, {nrt} NRT over {done:,} rows"
    worst = float(max(nrt, grown - 8, held - 1024, 0))
    return Figure("allocations, one row from Python", worst, 0.0, worst, 0.0, "", note)


ALL = (decode, onto_the_tape, inference, features_in_block, one_row)
