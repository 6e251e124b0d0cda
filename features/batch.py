"""Feature rows of a whole recording at once: the fused steps in a loop, never a second version."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from engine.errors import UsageError
from engine.instruments import Instrument
from engine.kernel.bars_layout import BarMode
from engine.kernel.state import KernelState
from engine.rows import LAST, NS_PER_S, ROW, ROW_BYTES, Kind, bar_flags
from features.feature_bars import bars_of
from features.feed import SERIES_SHIFT
from features.feed_module import KERNEL_FOLDER, PLACE, REQUEST, feed_state, load_feed
from features.spec import FeatureSpec

CHUNK = 65_536  # feature rows asked for at a time
AFTER = {"quote": 1, "trade": 2, "bar": 4, "depth": 8, "packet": 16}
DEMO = Instrument(
    venue="demo", symbol="DEMOUSDT", base="DEMO", quote="USDT", tick="0.01", lot="0.00001",
    has=("bars",), bar_interval_ns=60 * NS_PER_S,
)  # fmt: skip


class FeatureBlock(NamedTuple):
    """Feature rows in time order; arrays of the same length n."""

    x: np.ndarray  # float32[n, n_features], NaN where not warm
    valid: np.ndarray  # bool[n]: every value of the row is finite
    ts: np.ndarray  # int64[n]: kernel time, ns
    row: np.ndarray  # int64[n]: the row that caused it; for a bar closed by time, the row after it
    gaps: np.ndarray  # int64[n]: gaps of the feed before it


def batch_features(
    spec: FeatureSpec,
    rows: np.ndarray,
    *,
    instrument: Instrument = DEMO,
    after: str = "bar",
    bar_interval_s: int = 60,
    bar_grace_ms: int = 0,
    peer: Instrument | None = None,
    folder: Path | None = KERNEL_FOLDER,
) -> FeatureBlock:
    """Compute feature rows over tape rows of one instrument.

    Args:
        spec: which features.
        rows: ROW[n] in tape order; see `bar_rows` and `quote_rows` for making them from arrays.
        instrument: what the rows hold (`has`) decides where touch and bars come from.
        after: write a row of features after each quote, trade, bar, depth (packet of the book) or
            packet, or after each `bar:5m` that the spec names.
        bar_interval_s, bar_grace_ms: of the bars, as in the engine's settings.
        peer: the instrument that it is paired with; rows of it say 1 in the field `instrument`.
        folder: where the compiled kernel is kept, None for nowhere.
    Returns:
        The block; warm-up rows are in it, with `valid` False.
    Raises:
        UsageError: `after` or the interval is unknown.
        ConfigError: the spec does not resolve.
    """
    further = {f"bar:{name}": 1 << (SERIES_SHIFT + k) for k, name in enumerate(bars_of([spec]))}
    choices = {**AFTER, **further}
    if after not in choices:
        raise UsageError(f"after is {after!r}; allowed: {', '.join(choices)}")
    module = load_feed(spec, folder)
    state = feed_state(module, instrument, bar_interval_s, bar_grace_ms, peer)
    return run_feed(module, state, rows, choices[after])


def run_feed(
    module: ModuleType, state: KernelState, rows: np.ndarray, wanted: int, room: int = CHUNK
) -> FeatureBlock:
    """Apply rows to a state and collect features after what is `wanted` (bits of AFTER).

    Where neither a feature nor `wanted` looks at bars, none are made.
    """
    assert rows.dtype == ROW, "rows must have the dtype ROW; join arrays of them with merge_rows"
    if not module.READS_BARS and not wanted & (AFTER["bar"] | -1 << SERIES_SHIFT):
        state.bars["mode"] = int(BarMode.NONE)
    rows = np.ascontiguousarray(rows)
    n_features = module.SPECS[0]
    xs, at = [], []
    request = np.zeros(1, REQUEST)
    request["count"], request["wanted"], request["room"] = len(rows), wanted, room
    while request["cursor"][0] < len(rows):
        x = np.empty((room, n_features), np.float32)
        places = np.empty(room, PLACE)
        request["written"] = 0
        request["out"], request["places"] = x.ctypes.data, places.ctypes.data
        n = module.run_rows(state.address, rows.ctypes.data, request.ctypes.data)
        xs.append(x[:n])
        at.append(places[:n])
    x = np.concatenate([np.empty((0, n_features), np.float32), *xs])
    place = np.concatenate([np.empty(0, PLACE), *at])
    return FeatureBlock(
        x, place["valid"] == 1, place["ts"].copy(), place["row"].copy(), place["gaps"].copy()
    )


def bar_rows(bars: Mapping[str, Any], interval_s: int = 60) -> np.ndarray:
    """Make BAR rows from columns ts_event (open time, ns), open, high, low, close, volume.

    Returns:
        ROW[n]; ts_recv is the close time.
    """
    opened = np.asarray(bars["ts_event"], np.int64)
    rows = np.zeros(len(opened), ROW)
    rows["ts_event"] = opened
    rows["ts_recv"] = opened + interval_s * NS_PER_S
    rows["kind"] = Kind.BAR
    rows["flags"] = LAST | bar_flags(interval_s * NS_PER_S)
    for slot, name in enumerate(("open", "high", "low", "close", "volume")):
        rows[f"f{slot}"] = np.asarray(bars[name], np.float64)
    return rows


def quote_rows(quotes: Mapping[str, Any]) -> np.ndarray:
    """Make QUOTE rows from columns ts_event (ns), bid, ask and, where known, bid_size, ask_size."""
    stamped = np.asarray(quotes["ts_event"], np.int64)
    rows = np.zeros(len(stamped), ROW)
    rows["ts_event"] = rows["ts_recv"] = stamped
    rows["kind"] = Kind.QUOTE
    rows["flags"] = LAST
    for slot, name in enumerate(("bid", "ask", "bid_size", "ask_size")):
        rows[f"f{slot}"] = np.asarray(quotes[name], np.float64) if name in quotes else np.nan
    return rows


def trade_rows(trades: Mapping[str, Any]) -> np.ndarray:
    """Make TRADE rows from columns ts_event (ns), price, size, side (+1 buyer aggressor, -1)."""
    stamped = np.asarray(trades["ts_event"], np.int64)
    rows = np.zeros(len(stamped), ROW)
    rows["ts_event"] = rows["ts_recv"] = stamped
    rows["kind"] = Kind.TRADE
    rows["flags"] = LAST
    rows["f0"] = np.asarray(trades["price"], np.float64)
    rows["f1"] = np.asarray(trades["size"], np.float64)
    rows["side"] = np.asarray(trades["side"], np.int8)
    return rows


def merge_rows(*parts: np.ndarray) -> np.ndarray:
    """Join ROW arrays in time order (receive time, else event time), stably.

    numpy's own concatenate would unfold the shared payload slots into a wider record.

    >>> quote = quote_rows({"ts_event": [2], "bid": [1.0], "ask": [2.0]})
    >>> trade = trade_rows({"ts_event": [1], "price": [1.5], "size": [3.0], "side": [1]})
    >>> merge_rows(quote, trade)["kind"].tolist()
    [2, 1]
    """
    words = np.concatenate([part.view(np.uint8).reshape(-1, ROW_BYTES) for part in parts])
    rows = words.view(ROW).ravel()
    stamps = np.where(rows["ts_recv"] > 0, rows["ts_recv"], rows["ts_event"])
    return words[np.argsort(stamps, kind="stable")].view(ROW).ravel()
