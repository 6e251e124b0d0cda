"""Writes and loads the fused kernel of one spec with entry points for rows of one instrument."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from engine.bar_kinds import several
from engine.errors import UsageError
from engine.instruments import Instrument
from engine.kernel.state import KernelRules, KernelState
from engine.rows import BAR_INTERVALS_NS, NS_PER_S
from features.feature_bars import bars_of
from features.fuse import inner_source, load_fused, sources_sha256
from features.fuse_bars import without_series
from features.spec import FeatureSpec

KERNEL_FOLDER = Path(__file__).resolve().parent.parent / "artifacts" / "kernels"
EMBEDDED = tuple(
    f"engine.kernel.{name}" for name in ("memory", "book", "touch", "bars", "series", "apply")
) + ("features.feed",)
PARTS = tuple(
    f"engine.kernel.{name}" for name in ("bars_layout", "kept_bar", "layout", "places", "state")
) + ("engine.rows", "engine.market", "engine.limits")

REQUEST = np.dtype(
    [
        ("count", "i8"),  # rows
        ("cursor", "i8"),  # next row to apply
        ("wanted", "i8"),  # bits: write features after what
        ("room", "i8"),  # feature rows that fit
        ("written", "i8"),
        ("out", "i8"),  # addresses of float32[room, n_features] and PLACE[room]
        ("places", "i8"),
    ]
)
PLACE = np.dtype([("row", "i8"), ("ts", "i8"), ("valid", "i8"), ("gaps", "i8")])

TAIL = '''
from numba import carray

from engine.kernel.layout import ROOT
from engine.kernel.places import MANY, market_at, matching_at
from engine.rows import ROW
from features.feed_module import PLACE, REQUEST


@njit(inline="always")
def root_of(state):
    """Turn an address into the root record."""
    return carray(pointer(state), (1,), ROOT)[0]


@njit(forceinline=True)
def features_at(root, at):
    """Return an instrument's feature states."""
    return carray(pointer(root["features"]), (MANY,), FEATURES)[at]


@njit(forceinline=True)
def instrument_of(row):
    """Return the place of a row's instrument: 0, and 1 for the one that it is paired with."""
    return row["instrument"] + 0 if READS_PEER else 0


@njit(forceinline=True)
def read_features(root, out):
    """Write the features of spec 0."""
    m = market_at(root, 0)
    m["now"] = root["now"]
    if READS_LEVELS and m["bid_book"] != 0:
        gather_levels(matching_at(root, 0), m)
    return read_0(features_at(root, 0), m, floats32(out, SPECS[0]))


@njit("void(int64)", cache=CACHE)
def restart(state):
    """Set all features to their start."""
    root = root_of(state)
    for at in range(root["n_instruments"]):
        init(features_at(root, at))


@njit("int64(int64, int64)", cache=CACHE)
def fill(state, out):
    """Write the features; 1 when all are finite."""
    return read_features(root_of(state), out)


@njit("int64(int64, int64, int64)", cache=CACHE)
def on_row(state, row, out):
    """Apply one row; where `out` is not 0 write the features there; 1 when all are finite."""
    root = root_of(state)
    row = carray(pointer(row), (1,), ROW)[0]
    ts = begin_row(root, row)
    while root["next_timer"] <= ts:
        close_one(root, 0)
    apply_one(root, 0, row, ts)
    return read_features(root, out) if out != 0 else 0


@njit("int64(int64, int64, int64)", cache=CACHE)
def run_rows(state, rows, request):
    """Go through the rows until all are applied or the request's room is full; see REQUEST."""
    root = root_of(state)
    q = carray(pointer(request), (1,), REQUEST)[0]
    tape = carray(pointer(rows), (q["count"],), ROW)
    places = carray(pointer(q["places"]), (q["room"],), PLACE)
    count, room, wanted, out = q["count"], q["room"], q["wanted"], q["out"]
    cursor, written = q["cursor"], q["written"]  # in registers: the record is written at the end
    while cursor < count and written < room:
        row = tape[cursor]
        ts = begin_row(root, row)
        if root["next_timer"] <= ts:
            changed = close_one(root, 0)
            applied = 0
        else:
            changed = apply_one(root, 0, row, ts)
            applied = 1
        if changed & wanted != 0:
            place = places[written]
            place["row"] = cursor
            place["ts"] = root["now"]
            place["gaps"] = market_at(root, 0)["gap_count"]
            place["valid"] = read_features(root, out + written * 4 * SPECS[0])
            written += 1
        cursor += applied
    q["cursor"], q["written"] = cursor, written
    return written
'''


def load_feed(spec: FeatureSpec, folder: Path | None = KERNEL_FOLDER) -> ModuleType:
    """Compile, or load from the cache in `folder`, the fused kernel of one spec for one instrument.

    None for the folder compiles anew.
    """
    parts = f"FEED_PARTS = {sources_sha256(PARTS)!r}\n"
    embedded = "\n".join(inner_source(name, EMBEDDED) for name in EMBEDDED)
    embedded = without_series(embedded, bars_of([spec]))
    return load_fused([spec], folder, parts + embedded + TAIL)


def feed_state(
    module: ModuleType,
    instrument: Instrument,
    bar_interval_s: int = 60,
    bar_grace_ms: int = 0,
    peer: Instrument | None = None,
) -> KernelState:
    """Make the state of one instrument with all features at their start."""
    interval_ns = bar_interval_s * NS_PER_S
    if interval_ns not in BAR_INTERVALS_NS:
        allowed = ", ".join(str(ns // NS_PER_S) for ns in BAR_INTERVALS_NS)
        raise UsageError(f"bar_interval_s is {bar_interval_s}; allowed: {allowed}")
    rules = KernelRules(
        implied_wakes=True,
        bar_interval_ns=interval_ns,
        bar_grace_ns=bar_grace_ms * 1_000_000,
        max_data_age_ns=1 << 62,
        max_jump=0.5,
        jump_confirmations=3,
        trigger_confirmations=1,
        sample_ns=3600 * NS_PER_S,
        assumed_notional=0.0,
        half_spread=0.5e-4,
        pairs=() if peer is None else ((instrument.symbol, peer.symbol),),
        series=several(module.BARS),
    )
    instruments = [instrument] if peer is None else [instrument, peer]
    state = KernelState(instruments, 0, module.FEATURES, rules)
    state.root["needs_levels"] = module.READS_LEVELS
    module.restart(state.address)
    return state


def entry_point(module: ModuleType, name: str) -> Any:
    """Return the C entry of an eagerly compiled function: integers in, no allocation."""
    overloads = list(getattr(module, name).overloads.values())
    assert len(overloads) == 1
    return overloads[0].entry_point
