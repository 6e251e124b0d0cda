"""Feature rows of the same tape rows by each of the ways in which they can come about.

`trained` runs the kernel that trains and trades, the rows handed over in groups of any size;
`online` hands the rows one by one to the kernel of notebooks (features/feed_module.py), closes each
bar by itself, and keeps what the market looked like at each moment. The bits must be the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import msgspec
import numpy as np

from app.kernel import KernelModule
from app.rules import kernel_rules
from config.settings import Settings
from engine.instruments import Instrument
from engine.kernel.layout import COLLECT, NEVER, Cadence, Collected, Reason
from engine.kernel.state import KernelState
from engine.market import MARKET
from engine.row_arrays import join_rows, take_rows
from engine.rows import LAST, NS_PER_S, ROW, ROW_BYTES, Kind
from features.feature_bars import bars_of
from features.feed_module import entry_point, feed_state
from features.registry import INPUTS, resolve
from features.spec import FeatureSpec

CHUNK = 4096
FULL, HEAD = int(Reason.BATCH), int(Reason.HEAD)
_RULES = ("max_jump", "jump_confirmations", "bar_grace_ns")


@dataclass(frozen=True)
class Stretch:
    """Rows of one instrument, 0 in `instrument`, and of the one that it is paired with, 1.

    Attributes:
        rows: ROW[n] in tape order.
        instruments: one or two.
        settings: the rules of belief and bars are taken from here, as in a run.
        bars: whether feature rows are wanted after bars, else after packets.
    """

    rows: np.ndarray
    instruments: tuple[Instrument, ...]
    settings: Settings
    bars: bool

    def with_rows(self, rows: np.ndarray) -> "Stretch":
        """Return the same with other rows."""
        return Stretch(rows, self.instruments, self.settings, self.bars)

    @property
    def interval_s(self) -> int:
        """Length of a bar: that of the data where it has bars."""
        own = self.instruments[0].bar_interval_ns
        return own // NS_PER_S if own else self.settings.engine.bar_interval_s


class Rows(NamedTuple):
    """Feature rows in time order, with the tape row behind which each was read."""

    ts: np.ndarray  # int64[n], kernel time
    row: np.ndarray  # int64[n]
    x: np.ndarray  # float32[n, n_features]
    valid: np.ndarray  # bool[n]


PEER_BAR = np.dtype([("moment", "i8"), ("gap_count", "i8"), ("ts", "i8"), ("close", "f8")])


class Seen(NamedTuple):
    """What `online` saw at each moment: packets' ends and closing bars, and the market there."""

    ts: np.ndarray  # int64[n], kernel time
    row: np.ndarray  # int64[n], the row applied last
    x: np.ndarray  # float32[n, n_features]
    valid: np.ndarray
    market: np.ndarray  # MARKET[n]
    peers: np.ndarray  # PEER_BAR, each bar of the peer, with the first moment that knows of it


def wants_bars(spec: FeatureSpec) -> bool:
    """Return True for a spec that reads bars alone of the market."""
    read = [set(entry.inputs) & set(INPUTS) for entry in resolve(spec)]
    return all({"bars", "peer_bars"} & inputs for inputs in read if inputs)


def trained(
    stretch: Stretch, spec: FeatureSpec, kernel: KernelModule, heads: Iterable[int] = ()
) -> Rows:
    """Run the kernel that trains and trades over a stretch.

    Args:
        stretch: the rows.
        spec: features in order.
        kernel: of `load_kernel([spec])`.
        heads: row numbers up to which the rows are handed over, ascending; the end is added.
    Returns:
        A row for each closed bar or packet at which a model would be asked; those before the first
        trusted quote, and while it is not trusted, are left out.
    """
    state = _trading_state(stretch, spec, kernel)
    root = state.root[0]
    rows = np.ascontiguousarray(stretch.rows)
    chunks: list[tuple[np.ndarray, np.ndarray]] = []
    for head in (*heads, len(rows)):
        reasons = 0
        while not reasons & HEAD:
            reasons = kernel.advance(state.address, rows.ctypes.data, 0, head)
            count = int(root["collect_count"])
            if count and reasons & (FULL | HEAD):
                chunks.append((state.collect[:count].copy(), state.collect_x[:count].copy()))
                root["collect_count"] = 0
    seen = np.concatenate([np.zeros(0, COLLECT), *(part for part, _ in chunks)])
    width = len(spec)
    x = np.concatenate([np.zeros((0, width), np.float32), *(part[:, :width] for _, part in chunks)])
    return Rows(seen["ts"].copy(), seen["row"].copy(), x, seen["valid"] == 1)


def _trading_state(stretch: Stretch, spec: FeatureSpec, kernel: KernelModule) -> KernelState:
    rules = msgspec.structs.replace(
        kernel_rules(stretch.settings, True, bars_of([spec])),
        bar_interval_ns=stretch.interval_s * NS_PER_S,
        max_data_age_ns=NEVER // 4,  # all rows are compared, those of quiet hours too
        sample_ns=NEVER // 4,
        pairs=tuple((stretch.instruments[0].symbol, one.symbol) for one in stretch.instruments[1:]),
    )
    state = KernelState(stretch.instruments, 1, kernel.features, rules, CHUNK)
    cadence = Cadence.BAR if stretch.bars else Cadence.PACKET
    slot: dict[str, int | float] = {"model": 0, "instrument": 0, "cadence": int(cadence)}
    state.set_slot(0, slot, np.zeros((1, len(spec)), np.float32), np.zeros((1, 3), np.float32))
    root = state.root[0]
    root["needs_levels"] = kernel.needs_levels
    root["ahead"] = 1
    root["ahead_all"] = int(Collected.READ)
    kernel.start(state.address)
    return state


def online(stretch: Stretch, spec: FeatureSpec, feed: ModuleType) -> Seen:
    """Hand the rows one by one to the kernel of notebooks.

    Args:
        stretch: the rows.
        spec: features in order.
        feed: of `load_feed(spec)`.
    Returns:
        Of a stretch of bars the moments at which one closed, else every packet and closed bar.
    """
    peer = stretch.instruments[1] if len(stretch.instruments) > 1 else None
    state = feed_state(feed, stretch.instruments[0], stretch.interval_s, 0, peer)
    rules = kernel_rules(stretch.settings, implied_wakes=True)
    for name in _RULES:
        state.root[name] = getattr(rules, name)
    state.matching["half_spread"] = rules.half_spread
    return _stepped(stretch, len(spec), feed, state)


def _stepped(stretch: Stretch, width: int, feed: ModuleType, state: KernelState) -> Seen:
    """Apply the rows, each bar's close first; note the moments that are wanted."""
    rows = np.ascontiguousarray(stretch.rows)
    on_row, fill = entry_point(feed, "on_row"), entry_point(feed, "fill")
    known = np.where(rows["ts_recv"] > 0, rows["ts_recv"], rows["ts_event"])
    stamps = np.maximum.accumulate(known).tolist()
    wanted = _ends(rows).tolist()
    wake = np.zeros(1, ROW)
    wake["kind"] = Kind.WAKE
    address, first, close = state.address, rows.ctypes.data, wake.ctypes.data
    timer, bar_count = _word(state.root, "next_timer"), _word(state.markets, "bar_count")
    peer_ts = _word(state.markets, "peer_bar_ts")
    market = state.markets.view(np.uint8).reshape(len(state.markets), -1)[0]
    out = np.zeros(width, np.float32)
    at, xs, warm, markets, peers = [], [], [], [], []
    bars = peer_bar = 0

    def note(row: int) -> None:
        warm.append(fill(address, out.ctypes.data))
        xs.append(out.copy())
        markets.append(market.copy())
        at.append(row)

    def note_peer() -> int:
        m = state.markets[0]
        peers.append((len(at), m["gap_count"], m["peer_bar_ts"], m["peer_bar_close"]))
        return peer_ts[0]

    for k, stamp in enumerate(stamps):
        while timer[0] <= stamp:
            wake["ts_recv"] = timer[0]
            on_row(address, close, 0)
            peer_bar = peer_bar if peer_ts[0] == peer_bar else note_peer()
            if bar_count[0] != bars:
                bars = bar_count[0]
                note(k - 1)
        on_row(address, first + ROW_BYTES * k, 0)
        peer_bar = peer_bar if peer_ts[0] == peer_bar else note_peer()
        if (bar_count[0] != bars) if stretch.bars else wanted[k]:
            bars = bar_count[0]
            note(k)
    seen = np.frombuffer(b"".join(part.tobytes() for part in markets), MARKET)
    x = np.array(xs, np.float32).reshape(-1, width)
    where = np.array(at, np.int64)
    known = np.array(peers, PEER_BAR)
    return Seen(seen["now"].copy(), where, x, np.array(warm, bool), seen, known)


def _word(record: np.ndarray, name: str) -> memoryview:
    """Return a view of one int64 of the first record; reading it costs less than by name."""
    assert record.dtype.fields is not None
    start = record.dtype.fields[name][1]
    flat = record.view(np.uint8).reshape(-1)
    return memoryview(flat[start : start + 8]).cast("q")


def _ends(rows: np.ndarray) -> np.ndarray:
    """Tell which rows of instrument 0 end a packet of market data."""
    market = (rows["kind"] >= Kind.QUOTE) & (rows["kind"] <= Kind.BAR)
    return market & (rows["flags"] & LAST != 0) & (rows["instrument"] == 0)


def with_reconnects(rows: np.ndarray, places: Iterable[int]) -> np.ndarray:
    """Return the rows with a loss of the connection before each of these places."""
    parts, begin = [], 0
    for place in places:
        lost = np.zeros(2, ROW)
        lost["kind"] = Kind.DISCONNECT, Kind.CONNECT
        lost["flags"] = LAST
        lost["ts_recv"] = lost["ts_event"] = max(
            int(rows["ts_recv"][:place].max(initial=0)),
            int(rows["ts_event"][:place].max(initial=1)),
        )
        parts += [take_rows(rows, slice(begin, place)), lost]
        begin = place
    return join_rows([*parts, take_rows(rows, slice(begin, None))])
