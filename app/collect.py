"""Feature rows from a tape, made by the very kernel that trades: for training and for research."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from app.cadence import bar_of_cadence, parse_cadence
from app.kernel import load_kernel
from app.rules import kernel_rules
from app.slots import data_of
from config.settings import Settings
from engine.bar_kinds import time_bar_name
from engine.errors import UsageError
from engine.kernel.layout import COLLECT, NEVER, Collected, Reason
from engine.kernel.state import KernelState
from engine.rows import NS_PER_S
from engine.tape import Tape
from features.feature_bars import bars_of
from features.registry import absent_features, own_features
from features.spec import FeatureSpec

CHUNK = 4096
FULL, HEAD = int(Reason.BATCH), int(Reason.HEAD)
_MARKET = (
    "bid",
    "ask",
    "bar_open",
    "bar_high",
    "bar_low",
    "bar_close",
    "bar_volume",
)


class FeatureRows(NamedTuple):
    """What the kernel saw at each decision, in the order of the tape.

    `valid` is False where a feature was not warm or not finite. Decisions that would hold before a
    model is asked (stale data, gaps, no trusted quote) are not there at all.
    """

    ts: np.ndarray  # int64[n], kernel time
    row: np.ndarray  # int64[n], tape row
    instrument: np.ndarray  # uint16[n]
    x: np.ndarray  # float32[n, F]
    valid: np.ndarray  # bool[n]
    bid: np.ndarray  # float64[n]
    ask: np.ndarray
    bar_open: np.ndarray
    bar_high: np.ndarray
    bar_low: np.ndarray
    bar_close: np.ndarray
    bar_volume: np.ndarray


def collect_rows(
    tape: Tape,
    spec: FeatureSpec,
    cadence: str,
    settings: Settings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureRows:
    """Run the kernel over a tape and keep the feature row of every decision of this cadence.

    Args:
        tape: the data.
        spec: features in order.
        cadence: as in the config: bar:1m, every:250ms, every_n:50, quote, trade.
        settings: the rules of time, bars and belief are taken from here, as in a run.
        progress: called with (rows done, rows in all).
    Returns:
        Rows of every instrument whose data has all inputs of the spec.
    Raises:
        UsageError: the spec reads own state, which no tape of a market has.
    """
    if own := own_features(spec):
        raise UsageError(
            f"feature {own[0]!r} is own state of a run, which no market data has: "
            "rows with it come from a replay, see docs/features.md, Own state"
        )
    base = time_bar_name(settings.engine.bar_interval_s)
    bars = bars_of([spec], [bar for bar in [bar_of_cadence(cadence)] if bar not in ("", base)])
    kernel = load_kernel([spec], bars=bars)
    implied = tape.info.wakes == "implied"
    rules = kernel_rules(settings, implied, bars)
    state = KernelState(tape.instruments, len(tape.instruments), kernel.features, rules, CHUNK)
    kind, number = parse_cadence(cadence, settings.engine.bar_interval_s * NS_PER_S, bars)
    x = np.zeros((1, len(spec)), np.float32)
    y = np.zeros((1, 3), np.float32)
    for at in range(len(tape.instruments)):
        has, one = data_of(settings, tape.instruments, at), tape.instruments[at]
        absent = int(bool(absent_features(spec, has, one.bar_interval_ns)))
        values = {"model": at, "instrument": at, "cadence": int(kind), "cadence_n": number}
        state.set_slot(at, {**values, "absent": absent}, x, y)
    root = state.root[0]
    root["needs_levels"] = kernel.needs_levels
    root["ahead"] = 1
    root["ahead_all"] = int(Collected.READ)
    root["sample_ns"] = NEVER // 4
    kernel.start(state.address)
    chunks = []
    for chunk in _chunks(tape, state, kernel.advance):
        chunks.append(chunk)
        if progress is not None:
            progress(int(root["cursor"]), tape.info.rows)
    return _joined(chunks, len(spec))


def _chunks(
    tape: Tape, state: KernelState, advance: Callable[[int, int, int, int], int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    root = state.root[0]
    for segment in tape.segments:
        reasons = 0
        while not reasons & HEAD:
            reasons = advance(state.address, segment.address, segment.first_row, segment.stop_row)
            count = int(root["collect_count"])
            if count and (reasons & (FULL | HEAD)):
                yield state.collect[:count].copy(), state.collect_x[:count].copy()
                root["collect_count"] = 0
                tape.release(int(root["cursor"]))


def _joined(chunks: list[tuple[np.ndarray, np.ndarray]], width: int) -> FeatureRows:
    rows = np.concatenate([np.zeros(0, COLLECT), *(seen for seen, _ in chunks)])
    x = np.concatenate([np.zeros((0, width), np.float32), *(x[:, :width] for _, x in chunks)])
    return FeatureRows(
        ts=rows["ts"].copy(),
        row=rows["row"].copy(),
        instrument=rows["instrument"].astype(np.uint16),
        x=x,
        valid=rows["valid"].astype(bool),
        **{name: rows[name].copy() for name in _MARKET},
    )
