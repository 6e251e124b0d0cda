"""The golden tape slice: rows in, features expected, run through the features' own kernel.

A changed compiler, library or processor can move the last bit of a feature, never more; a changed
formula moves far more than that, and is refused even where the hash of the code is forged.
"""

import dataclasses

import msgspec
import numpy as np

from engine.errors import ConfigError
from engine.rows import ROW, ROW_BYTES
from features.batch import (
    DEMO,
    FeatureBlock,
    bar_rows,
    batch_features,
    merge_rows,
    quote_rows,
    trade_rows,
)
from features.registry import reads_peer, required_inputs
from features.spec import FeatureSpec
from ml.artifact import LoadedModel
from ml.golden import Golden
from ml.refusal import ModelRefused

BARS, TICKS = 240, 1200
KEPT = 64  # feature rows kept of a slice
RELATIVE, ABSOLUTE = 1e-5, 1e-6
START_NS = 1_736_121_600_000_000_000
MINUTE_NS, MS_NS = 60_000_000_000, 1_000_000


def slice_rows(spec: FeatureSpec, seed: int = 42) -> np.ndarray:
    """Make the rows of a slice: minutes for features on bars, else quotes and trades.

    Returns:
        ROW[n], the same for the same seed; empty where the features read the depth of the book or
        another instrument.
    """
    needed = required_inputs(spec)
    if "depth" in needed or reads_peer([spec]):
        return np.zeros(0, ROW)
    rng = np.random.default_rng(seed)
    return _minutes(rng) if needed <= {"bars"} else _ticks(rng)


def _minutes(rng: np.random.Generator) -> np.ndarray:
    close = np.round(100 * np.exp(np.cumsum(1e-3 * rng.standard_normal(BARS))), 2)
    opened = np.r_[100.0, close[:-1]]
    high = np.maximum(opened, close) + np.round(0.1 * rng.random(BARS), 2)
    low = np.minimum(opened, close) - np.round(0.1 * rng.random(BARS), 2)
    columns = {"open": opened, "high": high, "low": low, "close": close}
    stamps = START_NS + MINUTE_NS * np.arange(BARS)
    return bar_rows({**columns, "ts_event": stamps, "volume": np.round(9 * rng.random(BARS), 3)})


def _ticks(rng: np.random.Generator) -> np.ndarray:
    stamps = START_NS + MS_NS * np.cumsum(rng.integers(1, 120, TICKS))
    bid = np.round(100 + 0.01 * np.cumsum(rng.integers(-2, 3, TICKS)), 2)
    ask = bid + 0.01 * rng.integers(1, 3, TICKS)
    sizes = np.round(5 * rng.random((2, TICKS)) + 0.01, 3)
    quotes = quote_rows(
        {"ts_event": stamps, "bid": bid, "ask": ask, "bid_size": sizes[0], "ask_size": sizes[1]}
    )
    chosen = np.flatnonzero(rng.random(TICKS) < 0.3)
    side = np.where(rng.random(len(chosen)) < 0.5, 1, -1)
    trades = trade_rows(
        {
            "ts_event": stamps[chosen] + 1,
            "price": np.where(side > 0, ask[chosen], bid[chosen]),
            "size": np.round(rng.random(len(chosen)) + 0.01, 3),
            "side": side,
        }
    )
    return merge_rows(quotes, trades)


def slice_features(spec: FeatureSpec, rows: np.ndarray) -> FeatureBlock:
    """Run a slice through the kernel of these features: a row a bar, or a row a packet."""
    needed = required_inputs(spec)
    bars = needed <= {"bars"}
    has = ("bars",) if bars else tuple(sorted(needed - {"bars"}))
    instrument = msgspec.structs.replace(
        DEMO, has=has, bar_interval_ns=DEMO.bar_interval_ns if bars else 0
    )
    return batch_features(spec, rows, instrument=instrument, after="bar" if bars else "packet")


def with_slice(golden: Golden, spec: FeatureSpec, *, seed: int = 42) -> Golden:
    """Return golden rows with a tape slice beside them.

    Args:
        golden: rows without a slice.
        spec: what the model reads.
        seed: of the slice.
    """
    rows = slice_rows(spec, seed)
    if not len(rows):
        return golden
    block = slice_features(spec, rows)
    chosen = np.unique(np.linspace(0, len(block.x) - 1, KEPT).astype(int))
    return dataclasses.replace(
        golden,
        tape_rows=np.ascontiguousarray(rows).view(np.uint8).reshape(-1, ROW_BYTES).copy(),
        tape_at=block.row[chosen],
        tape_x=np.ascontiguousarray(block.x[chosen]),
    )


def check_tape(loaded: LoadedModel) -> None:
    """Run the slice beside a model and refuse other features than those it was trained on.

    The first use of a spec compiles its kernel (seconds). Nothing is done without a slice.

    Raises:
        ModelRefused: `model.golden`, naming the feature; `model.features`.
    """
    golden = loaded.golden
    if not len(golden.tape_rows):
        return
    rows = np.ascontiguousarray(golden.tape_rows).view(ROW).reshape(-1)
    try:
        block = slice_features(loaded.spec, rows)
    except ConfigError as error:
        raise ModelRefused("model.features", f"{loaded.name}: {error}") from None
    at = np.searchsorted(block.row, golden.tape_at)
    if (at >= len(block.row)).any() or (block.row[at] != golden.tape_at).any():
        text = f"{loaded.name}: the golden tape slice gives feature rows at other places"
        raise ModelRefused("model.golden", text)
    found = block.x[at]
    near = np.isclose(found, golden.tape_x, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
    if not near.all():
        row, column = np.argwhere(~near)[0]
        text = f"{found[row, column]:.7g} instead of {golden.tape_x[row, column]:.7g}"
        where = f"feature {loaded.spec.names[column]} at row {golden.tape_at[row]}"
        raise ModelRefused("model.golden", f"{loaded.name}: golden tape slice: {where} is {text}")
