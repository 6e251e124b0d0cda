"""Owns the memory of the kernel's state and writes its settings into it."""

from collections.abc import Sequence

import msgspec
import numpy as np

from engine.audit_layout import AUDIT
from engine.bar_kinds import Bar, BarKind
from engine.instruments import Instrument
from engine.kernel.asked_layout import ASKED, MODEL
from engine.kernel.bars_layout import BARS, BarMode
from engine.kernel.layout import (
    BATCH,
    COLLECT,
    MATCHING,
    NEVER,
    NO_BUY,
    NO_SELL,
    ORDER,
    OUT,
    ROOT,
    SLOT,
    TRIGGER,
    TouchFrom,
)
from engine.kernel.pending_layout import PENDING
from engine.kernel.session_layout import SESSION
from engine.limits import (
    ASKED_PLACES,
    AUDIT_BUFFER,
    AUDIT_MARGIN,
    MAX_INSTRUMENTS,
    MAX_ORDERS,
    MAX_OUT,
    MAX_SLOTS,
    MAX_TRIGGERS,
    PENDING_PLACES,
)
from engine.market import BOOK_SLOTS, MARKET
from engine.own_state import OWN
from engine.session_table import NS_PER_MINUTE, trading_hours

BAR_PRICES = ("bar_open", "bar_high", "bar_low", "bar_close")
BARS_ONLY = {"bars", "bar_quotes"}  # no data but bars: orders wait for the next open


class KernelRules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings the kernel itself needs; times in ns, jump as a share."""

    implied_wakes: bool
    bar_interval_ns: int
    bar_grace_ns: int
    max_data_age_ns: int
    max_jump: float
    jump_confirmations: int
    trigger_confirmations: int
    sample_ns: int
    assumed_notional: float
    half_spread: float
    pairs: tuple[tuple[str, str], ...] = ()  # (symbol, the one it is paired with)
    calendars: tuple[tuple[str, str], ...] = ()  # (symbol, exchange whose hours it keeps)
    exits_wait: bool = False  # outside the hours what reduces waits, too
    max_answer_age_ns: int = 1 << 62
    series: tuple[Bar, ...] = ()  # beside the base bars; those of the features first


def has_book(instrument: Instrument) -> bool:
    """Return True when the tape holds depth of the instrument."""
    return "depth" in instrument.has


class KernelState:
    """The arrays behind one run of the kernel, and their addresses in the root record.

    Nothing here is shared with another state, so a second one can run ahead of the first.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        n_slots: int,
        features: np.dtype,
        rules: KernelRules,
        collect_capacity: int = 1,
    ) -> None:
        assert 0 < len(instruments) <= MAX_INSTRUMENTS
        assert 0 <= n_slots <= MAX_SLOTS
        n = len(instruments)
        self.root = np.zeros(1, ROOT)
        self.markets = np.zeros(n, MARKET)
        self.features = np.zeros(n, features)
        self.matching = np.zeros(n, MATCHING)
        self.bars = np.zeros(n * (1 + len(rules.series)), BARS)
        self.slots = np.zeros(max(1, n_slots), SLOT)
        self.models = np.zeros(max(1, n_slots), MODEL)
        self.owns = np.zeros(max(1, n_slots), OWN)
        self.orders = np.zeros(MAX_ORDERS, ORDER)
        self.triggers = np.zeros(MAX_TRIGGERS, TRIGGER)
        self.out = np.zeros(MAX_OUT, OUT)
        self.audit = np.zeros(AUDIT_BUFFER, AUDIT)
        self.collect = np.zeros(collect_capacity, COLLECT)
        self.collect_x = np.zeros((collect_capacity, 1), np.float32)
        self.batches = np.zeros(1, BATCH)
        self.asked = np.zeros(max(1, n_slots) * ASKED_PLACES, ASKED)
        self.asked_x = np.zeros((1, 1), np.float32)
        self.pending = np.zeros(PENDING_PLACES, PENDING)
        self.sessions = np.zeros(n, SESSION)
        self.books: list[np.ndarray] = []
        self._tables: list[np.ndarray] = []  # of sessions
        self.outputs: list[np.ndarray] = []  # float32[1, n_outputs] of each slot
        self._inputs: list[np.ndarray] = []
        self._lay_out(n, n_slots, collect_capacity)
        self._set_rules(rules)
        self.root["n_series"] = len(rules.series)
        for at, instrument in enumerate(instruments):
            self._set_instrument(at, instrument, rules)
        symbols = [instrument.symbol for instrument in instruments]
        self._pair(symbols, rules)
        self._set_hours(symbols, rules)
        self.address = int(self.root.ctypes.data)
        self.words = memoryview(self.root.view(np.uint8)).cast("B").cast("q")

    def _lay_out(self, n: int, n_slots: int, collect_capacity: int) -> None:
        root = self.root[0]
        for name in (
            "markets features matching bars slots models orders triggers out audit collect batches"
            " asked pending"
        ).split():
            root[name] = getattr(self, name).ctypes.data
        root["n_instruments"] = n
        root["n_slots"] = n_slots
        root["n_models"] = max(1, n_slots)
        root["collect_capacity"] = collect_capacity
        root["audit_high"] = AUDIT_BUFFER - AUDIT_MARGIN
        root["next_arrival"] = NEVER
        root["next_timer"] = NEVER
        root["next_answer"] = NEVER

    def write_audit_to(self, buffer: np.ndarray) -> None:
        """Let the kernel go on in another AUDIT[AUDIT_BUFFER]."""
        assert len(buffer) == AUDIT_BUFFER
        self.audit = buffer
        self.root["audit"] = buffer.ctypes.data

    def _set_rules(self, rules: KernelRules) -> None:
        root = self.root[0]
        for name in msgspec.structs.asdict(rules):
            if name in (ROOT.names or ()):
                root[name] = getattr(rules, name)

    def _set_instrument(self, at: int, instrument: Instrument, rules: KernelRules) -> None:
        m, x = self.markets[at], self.matching[at]
        tick = instrument.tick_size
        m["tick"], m["lot"] = tick, instrument.lot_size
        for name in ("bid", "ask", "bid_size", "ask_size", "mid"):
            m[name] = m[f"prev_{name}"] = np.nan
        for name in ("trade_price", "trade_size", *BAR_PRICES):
            m[name] = np.nan
        for name in ("bid_prices", "ask_prices"):
            m[name] = np.nan
        divisor = round(1.0 / tick)
        x["tick_divisor"] = divisor if divisor >= 1 and abs(divisor * tick - 1.0) < 1e-12 else 0.0
        x["touch_from"] = touch_source(instrument)
        x["sided_row"] = -1
        x["assumed_notional"] = rules.assumed_notional
        x["half_spread"] = rules.half_spread
        x["best_buy"], x["best_sell"] = NO_BUY, NO_SELL
        x["stop_below"], x["stop_above"] = NO_BUY, NO_SELL
        x["waits_for_open"] = int(set(instrument.has) <= BARS_ONLY)
        base = Bar("", BarKind.TIME, rules.bar_interval_ns)
        first = len(self.markets) + at * len(rules.series)
        places = (at, *range(first, first + len(rules.series)))
        for place, bar in zip(places, (base, *rules.series), strict=True):
            _set_bars(self.bars[place], bar, instrument)
        if has_book(instrument):
            self._add_book(m, x)

    def _pair(self, symbols: Sequence[str], rules: KernelRules) -> None:
        """Name to each paired instrument the place of the other, where both are there."""
        for symbol, other in rules.pairs:
            if symbol in symbols and other in symbols:
                self.markets["peer"][symbols.index(symbol)] = 1 + symbols.index(other)
                self.root["paired"] = 1

    def _set_hours(self, symbols: Sequence[str], rules: KernelRules) -> None:
        """Give each instrument with a calendar the sessions of its exchange."""
        for symbol, exchange in rules.calendars:
            if symbol not in symbols:
                continue
            table = np.ascontiguousarray(trading_hours(exchange) * NS_PER_MINUTE)
            self._tables.append(table)
            record = self.sessions[symbols.index(symbol)]
            record["table"], record["count"] = table.ctypes.data, len(table)
            record["exits_wait"] = rules.exits_wait
            self.root["sessions"] = self.sessions.ctypes.data

    def _add_book(self, m: np.void, x: np.void) -> None:
        for record, name, kind in (
            (m, "bid_book", np.float64),
            (m, "ask_book", np.float64),
            (x, "bid_used", np.float64),
            (x, "ask_used", np.float64),
            (x, "bid_ticks", np.int64),
            (x, "ask_ticks", np.int64),
        ):
            memory = np.zeros(BOOK_SLOTS, kind)
            self.books.append(memory)
            record[name] = memory.ctypes.data
        x["book_ready"] = 1

    def set_slot(
        self, at: int, values: dict[str, int | float], x: np.ndarray, y: np.ndarray
    ) -> None:
        """Set one slot's fields and bind its model's input and output, float32[1, n] each.

        Slots are set in the order of their instruments, 0 first.
        """
        assert at == len(self.outputs), "slots are set in order"
        assert x.dtype == np.float32
        assert y.dtype == np.float32
        slot = self.slots[at]
        for name, value in values.items():
            slot[name] = value
        slot["x"], slot["y"] = x.ctypes.data, y.ctypes.data
        slot["n_features"], slot["n_outputs"] = x.shape[1], y.shape[1]
        self._widen(x.shape[1])
        self.outputs.append(y)
        self._inputs.append(x)
        instrument = self.matching[slot["instrument"]]
        if instrument["slot_to"] == 0:
            instrument["slot_from"] = at
        assert instrument["slot_to"] in (0, at), "the slots of an instrument stand together"
        instrument["slot_to"] = at + 1

    def rebind_slot(
        self, at: int, values: dict[str, int | float], x: np.ndarray, y: np.ndarray
    ) -> None:
        """Let a slot go over to another model's input and output, between two rows.

        The arrays that were bound before may be freed afterwards. No decision is under way then,
        and no row of `collect_x` is still to be read.
        """
        assert self.root[0]["deciding"] == 0, "a model is swapped between two rows"
        assert x.dtype == np.float32
        assert y.dtype == np.float32
        slot = self.slots[at]
        for name, value in values.items():
            slot[name] = value
        slot["x"], slot["y"] = x.ctypes.data, y.ctypes.data
        slot["n_features"], slot["n_outputs"] = x.shape[1], y.shape[1]
        self._widen(x.shape[1])
        self.outputs[at], self._inputs[at] = y, x

    def set_window(self, at: int, ring: np.ndarray, arguments: int, whole: np.ndarray) -> None:
        """Let a slot keep the last rows of its features, for a sequence model.

        Args:
            at: the slot, set or rebound before.
            ring: float32[2n, F].
            arguments: address of the runtime's arguments for each place, 0 where Python runs it.
            whole: float32[1, n, F] that a model on a thread reads.
        """
        slot, n = self.slots[at], len(ring) // 2
        assert ring.shape == (2 * n, slot["n_features"])
        assert whole.shape == (1, n, slot["n_features"])
        slot["window"], slot["ring"], slot["window_x"] = n, ring.ctypes.data, whole.ctypes.data
        slot["window_arguments"] = arguments
        slot["window_at"], slot["window_run"] = n - 1, 0
        self._widen_asked(whole.size if slot["threaded"] else 0)

    def _widen_asked(self, width: int) -> None:
        """Make the asked rows wide enough for a window."""
        if width > self.asked_x.shape[1]:
            self.asked_x = np.zeros((len(self.asked), width), np.float32)
        self.root["asked_x"] = self.asked_x.ctypes.data
        self.root["asked_width"] = self.asked_x.shape[1]

    def _widen(self, width: int) -> None:
        """Make the collected and asked rows wide enough for a slot's features."""
        if width > self.collect_x.shape[1]:
            self.collect_x = np.zeros((len(self.collect), width), np.float32)
        self.root["collect_x"] = self.collect_x.ctypes.data
        self.root["collect_width"] = self.collect_x.shape[1]
        self._widen_asked(width)

    def slot_input(self, at: int) -> np.ndarray:
        """Return a slot's feature row, float32[1, n]; it changes in place."""
        return self._inputs[at]

    def own_address(self, at: int) -> int:
        """Return where a slot's own state is put together."""
        return int(self.owns.ctypes.data) + at * OWN.itemsize

    def set_batches(self, rows: int) -> None:
        """Give every slot a ring for outputs that are evaluated ahead."""
        self.batches = np.zeros(max(1, len(self.slots) * rows), BATCH)
        self.root["batches"] = self.batches.ctypes.data
        self.slots["batch_at"] = np.arange(len(self.slots)) * rows


def _set_bars(b: np.void, bar: Bar, instrument: Instrument) -> None:
    by_time = bar.kind == BarKind.TIME
    trades = BarMode.TRADES if "trades" in instrument.has else BarMode.NONE
    b["mode"] = bar_source(instrument) if by_time else trades
    b["kind"] = bar.kind
    b["interval_ns" if by_time else "size"] = bar.size
    b["row_interval_ns"] = instrument.bar_interval_ns
    b["last_close"] = np.nan
    for name in ("open", "high", "low", "close"):
        b[name] = np.nan
    for name in BAR_PRICES:
        b["shown"][name] = np.nan


def touch_source(instrument: Instrument) -> TouchFrom:
    """Return which rows set the touch: quotes where there are any, else depth, else trades."""
    has = instrument.has
    if "quotes" in has or set(has) <= BARS_ONLY:
        return TouchFrom.QUOTES
    return TouchFrom.DEPTH if "depth" in has else TouchFrom.TRADES


def bar_source(instrument: Instrument) -> BarMode:
    """Return where the bars come from: the data's own, else trades, else mids."""
    if "bars" in instrument.has:
        return BarMode.ROWS
    return BarMode.TRADES if "trades" in instrument.has else BarMode.MIDS
