"""Measures the parts of the hot path one by one, each beside its floor."""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import floor_decode, peer_models, tapes, ticks
from benchmarks.bars import Figure
from benchmarks.floor_inference import BoundModel
from benchmarks.floor_replay import Floor
from benchmarks.tick_features import TICK_SPEC
from benchmarks.timing import Case, Timing, entry_point, measure
from engine.rows import ROW, ROW_BYTES
from engine.tape import Tape
from features.spec import FeatureSpec

MESSAGES = 20_000
CALLS = 20_000
ROWS_FROM_PYTHON = 50_000
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
    rows = np.zeros(MESSAGES, ROW)
    buffer = memoryview(rows.view(np.uint8)).cast("B")
    figures = []
    for name, frames, kind in (
        ("bookTicker", quotes, floor_decode.BookTicker),
        ("trade", trades, floor_decode.Trade),
    ):
        into, plain = MessageDecoder(symbols).decode_into, floor_decode.decoder(kind)

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


def inference(rounds: int) -> list[Figure]:
    """Measure one call of the served model against a bare bound run with a kept RunOptions."""
    from ml.runtime.session import OrtModel

    data = peer_models.make_all()["mlp"].read_bytes()
    arrays = [np.zeros((1, 10), np.float32), np.zeros((1, 1), np.float32)]
    bare = [array.copy() for array in arrays]
    ours = OrtModel(data, x=arrays[0], y=arrays[1])
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
    """Measure the kernel of the ten features in a block against the hand-fused loop."""
    from features.batch import AFTER
    from features.feed_module import REQUEST, feed_state, load_feed

    tape = Tape.open(tapes.tick_tape(200_000))
    rows = np.ascontiguousarray(tape.segments[0].rows)
    one = rows[rows["instrument"] == 0].copy()
    module = load_feed(TICK_SPEC, KERNELS)
    state = feed_state(module, tape.instruments[0], 60, 0)
    request = np.zeros(1, REQUEST)

    def ours() -> int:
        module.restart(state.address)
        state.markets["quote_count"] = 0
        state.root["now"] = state.root["first_ts"] = 0
        request[:] = 0
        request["count"] = len(one)
        request["wanted"] = AFTER["packet"] << 8
        request["room"] = 1
        module.run_rows(state.address, one.ctypes.data, request.ctypes.data)
        return len(one)

    floor = Floor(one, tuple(listing.tick for listing in ticks.LISTINGS), None)
    timings = measure({"ours": ours, "floor": floor.features}, rounds=rounds)
    return [
        figure("feature kernel in a block, ten features", timings, 1 / 0.8, "ns", "hand-fused loop")
    ]


def one_row(rounds: int, spec: FeatureSpec = TICK_SPEC) -> list[Figure]:
    """Measure one row from Python, and the Python memory that a million such rows leave behind."""
    from features.calculator import FeatureCalculator

    tape = Tape.open(tapes.tick_tape(200_000))
    rows = np.ascontiguousarray(tape.segments[0].rows)
    one = rows[rows["instrument"] == 0][:ROWS_FROM_PYTHON].copy()
    calculator = FeatureCalculator(spec, tape.instruments[0], folder=KERNELS)
    x = np.zeros(len(spec), np.float32)
    first, last = one.ctypes.data, one.ctypes.data + len(one) * ROW_BYTES
    on_address, fill = calculator.on_address, calculator.fill_feature_vector
    fill(x)
    out = x.ctypes.data

    def ours() -> int:
        for at in range(first, last, ROW_BYTES):
            on_address(at, out)
        return len(one)

    floor_state = Floor(one, tuple(listing.tick for listing in ticks.LISTINGS), None)
    floor_state.reset()
    walk, states, row_x = entry_point_of_walk(), floor_state.states.ctypes.data, x.ctypes.data

    def floor() -> int:
        for at in range(first, last, ROW_BYTES):
            walk(states, at, 1, row_x, 1)
        return len(one)

    timings = measure({"ours": ours, "floor": floor}, rounds=rounds)
    figures = [figure("one row from Python, ten features", timings, 1.3, "ns", "hand-fused call")]
    figures.append(allocations(ours))
    return figures


def entry_point_of_walk() -> Callable[..., int]:
    """Return the floor's compiled loop by its C entry."""
    from benchmarks.floor_replay import walk

    return entry_point(walk)


def allocations(work: Case, rows: int = 1_000_000) -> Figure:
    """Count what a million rows leave behind: Python blocks and bytes, and NRT allocations."""
    from numba.core.runtime import rtsys

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
    nrt = nrt_after.alloc - nrt_before.alloc + nrt_after.mi_alloc - nrt_before.mi_alloc
    note = f"{grown} Python blocks, {held} bytes, {nrt} NRT over {done:,} rows"
    worst = float(max(nrt, grown - 8, held - 1024, 0))
    return Figure("allocations, one row from Python", worst, 0.0, worst, 0.0, "", note)


ALL = (decode, inference, features_in_block, one_row)
