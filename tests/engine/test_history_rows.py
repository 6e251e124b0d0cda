"""HISTORY rows: a run that begins with them goes on as one that saw everything; none decides."""

import numpy as np
import pytest

from app.kernel import KernelModule, load_kernel
from engine.bar_kinds import several
from engine.instruments import Instrument
from engine.kernel.layout import WORD, Cadence, Reason
from engine.kernel.state import KernelRules, KernelState
from engine.rows import GROWING, HISTORY, LAST, ROW, Kind, bar_flags
from features.spec import FeatureSpec

S = 1_000_000_000
MINUTE = 60 * S
OPEN = 1_700_000_040 // 60 * MINUTE  # a whole minute
FEATURES = ("returns_1", "trade_flow_imbalance_5s", "mid_price_velocity_1s")
LONGER = ("2m", "5m")  # kinds of bars beside the minutes


SPECS = (
    FeatureSpec(features=tuple((name, {}) for name in FEATURES)),
    FeatureSpec((("returns_1", {}), *(("returns_1", {"bar": bar}) for bar in LONGER))),
)


@pytest.fixture(scope="module")
def kernel() -> KernelModule:
    return load_kernel(SPECS)


class Run:
    """A kernel on a tape with recorded wakes, one slot that decides on bars."""

    def __init__(self, kernel: KernelModule, rows_a_call: int = 1 << 20) -> None:
        instrument = Instrument(
            venue="test", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.001",
            has=("quotes", "quote_sizes", "trades", "trade_sides"), bar_interval_ns=MINUTE,
        )  # fmt: skip
        self.rules = KernelRules(
            implied_wakes=False, bar_interval_ns=MINUTE, bar_grace_ns=0, max_data_age_ns=1 << 60,
            max_jump=0.5, jump_confirmations=3, trigger_confirmations=1, sample_ns=1 << 60,
            assumed_notional=100.0, half_spread=1e-4, series=several(LONGER),
        )  # fmt: skip
        self.kernel = kernel
        self.state = KernelState([instrument], 1, kernel.features, self.rules)
        kernel.start(self.state.address)
        self.x = np.zeros((1, 3), np.float32)  # so many features has either spec
        y = np.array([[0.0, 1.0, 0.0]], np.float32)
        values = {"cadence": int(Cadence.BAR), "sell_at": 0, "hold_at": 1, "buy_at": 2}
        self.state.set_slot(0, values, self.x, y)
        self.rows = np.zeros(4096, ROW)
        self.count = 0
        self.rows_a_call = rows_a_call
        self.bars: list[tuple[float, ...]] = []
        self.decided: list[int] = []
        self.longer: dict[str, list[tuple[float, ...]]] = {bar: [] for bar in LONGER}

    def add(self, kind: Kind, ts: int, values: tuple[float, ...] = (), flags: int = 0) -> None:
        """Append one row whose stamps are `ts`."""
        row = self.rows[self.count]
        row["kind"], row["flags"], row["ts_event"], row["ts_recv"] = kind, LAST | flags, ts, ts
        for name, value in zip(("f0", "f1", "f2", "f3", "f4"), values, strict=False):
            row[name] = value
        self.count += 1

    def trade(self, ts: int, price: float, size: float, side: int = 1, flags: int = 0) -> None:
        self.add(Kind.TRADE, ts, (price, size), flags)
        self.rows["side"][self.count - 1] = side

    def bar(self, opens: int, values: tuple[float, ...], flags: int = 0) -> None:
        self.add(Kind.BAR, opens, values, HISTORY | bar_flags(MINUTE) | flags)
        self.rows["ts_recv"][self.count - 1] += 0 if flags & GROWING else MINUTE

    def go(self) -> None:
        """Advance to the end of the tape, so many rows a call."""
        words, state, market = self.state.words, self.state.address, self.state.markets[0]
        counts = [0] * len(LONGER)
        while words[WORD["cursor"]] < self.count:
            head = min(self.count, words[WORD["cursor"]] + self.rows_a_call)
            while True:
                reasons = Reason(self.kernel.advance(state, self.rows.ctypes.data, 0, head))
                if Reason.INFER in reasons:
                    self.decided.append(words[WORD["row"]])
                    names = ("bar_ts", "bar_open", "bar_high", "bar_low", "bar_close", "bar_volume")
                    names += ("bar_buy_volume", "bar_count")
                    self.bars.append(tuple(float(market[name]) for name in names))
                    self.bars[-1] += tuple(self.x[0].tolist())
                elif Reason.HEAD in reasons:
                    break
            for at, bar in enumerate(LONGER):
                shown = self.state.bars[1 + at]["shown"]
                if shown["bar_count"] != counts[at]:
                    counts[at] = int(shown["bar_count"])
                    names = ("bar_ts", "bar_open", "bar_high", "bar_low", "bar_close", "bar_volume")
                    self.longer[bar].append(tuple(float(shown[name]) for name in names))


PRICES = np.round(100.0 + np.cumsum(np.random.default_rng(3).normal(0, 0.05, 40)), 2)
TRADES = [  # (time, price, size, side): four a minute
    (OPEN + k * 15 * S + 3 * S, float(PRICES[k]), 0.5 + k % 3, 1 if k % 5 < 3 else -1)
    for k in range(28)
]
STARTS = OPEN + 5 * MINUTE + 40 * S  # in the middle of the sixth minute


def candle(minute: int) -> tuple[float, ...]:
    """Return the candle of the trades of a minute."""
    own = [t for t in TRADES if (t[0] - OPEN) // MINUTE == minute]
    prices = [t[1] for t in own]
    return (prices[0], max(prices), min(prices), prices[-1], sum(t[2] for t in own))


def live(run: Run, since: int) -> None:
    """Append quotes, trades and wakes from a time on."""
    for ts, price, size, side in TRADES:
        if ts < since:
            continue
        run.add(Kind.QUOTE, ts, (price - 0.01, price + 0.01, 1.0, 1.0))
        run.trade(ts, price, size, side)
        run.add(Kind.WAKE, ts + S)
        if (ts - OPEN) % MINUTE == 48 * S:
            run.add(Kind.WAKE, ts // MINUTE * MINUTE + MINUTE)


def with_history(run: Run, *, growing: bool = True, past_trades_from: int = 5) -> None:
    """Append what a feed writes when it starts at STARTS."""
    run.add(Kind.CONNECT, STARTS)
    for minute in range(5):
        for ts, price, size, side in TRADES:
            if minute >= past_trades_from and (ts - OPEN) // MINUTE == minute:
                run.trade(ts, price, size, side, HISTORY)
        run.bar(OPEN + minute * MINUTE, candle(minute))
    if growing:
        last = candle(4)[3]
        run.bar(OPEN + 5 * MINUTE, (last, last, last, last, 0.0), GROWING)
    for ts, price, size, side in TRADES:
        if OPEN + 5 * MINUTE <= ts < STARTS:
            run.trade(ts, price, size, side, HISTORY)


@pytest.mark.parametrize("rows_a_call", [1, 7, 1 << 20])
@pytest.mark.parametrize("past_trades_from", [2, 5])
def test_the_first_live_bar_is_that_of_a_run_that_saw_everything(
    kernel: KernelModule, rows_a_call: int, past_trades_from: int
) -> None:
    whole = Run(kernel)
    whole.add(Kind.CONNECT, OPEN)
    live(whole, OPEN)
    whole.go()
    late = Run(kernel, rows_a_call)
    with_history(late, past_trades_from=past_trades_from)
    first_live = late.count
    live(late, STARTS)
    late.go()
    assert len(late.bars) == 2
    assert late.bars == whole.bars[-2:]
    assert all(np.isfinite(late.bars[0]))
    assert late.decided[0] >= first_live
    assert late.state.root["first_ts"][0] == STARTS
    assert late.state.root["late_trades"][0] == 0


def test_history_alone_moves_features_and_neither_decides_nor_moves_the_clock(
    kernel: KernelModule,
) -> None:
    run = Run(kernel)
    with_history(run)
    run.go()
    assert run.decided == []
    assert run.state.root["now"][0] == STARTS
    assert run.state.markets["bar_count"][0] == 5
    assert run.state.markets["quote_count"][0] == 0


def test_a_bar_whose_trades_cannot_be_had_closes_unseen(kernel: KernelModule) -> None:
    run = Run(kernel)
    with_history(run, growing=False)
    live(run, STARTS)
    run.go()
    assert [bar[0] for bar in run.bars] == [OPEN + 6 * MINUTE]
    assert run.bars[0][7] == 6  # five of history and this one


def test_a_gap_tears_the_bar_in_progress_and_history_makes_it_whole_again(
    kernel: KernelModule,
) -> None:
    torn, mended = Run(kernel), Run(kernel)
    for run in (torn, mended):
        run.add(Kind.CONNECT, OPEN)
        for ts, price, size, side in TRADES:
            if ts < OPEN + 5 * MINUTE + 20 * S:
                run.add(Kind.QUOTE, ts, (price - 0.01, price + 0.01, 1.0, 1.0))
                run.trade(ts, price, size, side)
                run.add(Kind.WAKE, ts)
        run.add(Kind.DISCONNECT, STARTS - S)
        run.go()
        run.bars.clear()
    with_history(mended)
    for run in (torn, mended):
        live(run, STARTS)
        run.go()
    assert torn.state.markets["bar_count"][0] == 6  # five before, and the one after the torn one
    assert torn.bars == []  # which is not enough for every feature
    whole = Run(kernel)
    whole.add(Kind.CONNECT, OPEN)
    live(whole, OPEN)
    whole.go()
    counted = 7  # bar_count goes on over a gap
    assert [bar[:counted] for bar in mended.bars] == [bar[:counted] for bar in whole.bars[-2:]]
    assert [bar[8:] for bar in mended.bars] == [bar[8:] for bar in whole.bars[-2:]]


def test_a_past_trade_fills_no_order(kernel: KernelModule) -> None:
    for flags, fills in ((0, 1), (HISTORY, 0)):
        run = Run(kernel)
        run.add(Kind.QUOTE, OPEN, (100.0, 100.1, 5.0, 5.0))
        run.go()
        run.kernel.place(run.state.address, 1, 0, 1, 1, 1000, 9995, 0, 1 << 40, OPEN)
        run.add(Kind.QUOTE, OPEN + S, (100.0, 100.1, 5.0, 5.0))
        run.trade(OPEN + 2 * S, 99.0, 50.0, -1, flags)
        words, state = run.state.words, run.state.address
        kinds = []
        while True:
            reasons = Reason(run.kernel.advance(state, run.rows.ctypes.data, 0, run.count))
            kinds += [int(kind) for kind in run.state.out["kind"][: words[WORD["out_count"]]]]
            words[WORD["out_count"]] = 0
            if Reason.HEAD in reasons:
                break
        assert kinds.count(2) == fills


def longer_bars(
    kernel: KernelModule, start: int, **how: bool
) -> dict[str, list[tuple[float, ...]]]:
    """Return the longer bars that a run sees, row by row; `start` OPEN saw everything."""
    run = Run(kernel, rows_a_call=1)
    if start == OPEN:
        run.add(Kind.CONNECT, OPEN)
    else:
        with_history(run, **how)
    live(run, start)
    run.add(Kind.WAKE, OPEN + 12 * MINUTE)
    run.go()
    return run.longer


def test_longer_bars_are_made_of_the_past_minutes_and_go_on_with_its_trades(
    kernel: KernelModule,
) -> None:
    """The bars of two and five minutes in progress at the start are whole when they close."""
    whole, late = longer_bars(kernel, OPEN), longer_bars(kernel, STARTS)
    for bar, count in (("2m", 3), ("5m", 1)):
        opens = [-(-OPEN // (int(bar[0]) * MINUTE)) * int(bar[0]) * MINUTE]
        opens += [opens[0] + k * int(bar[0]) * MINUTE for k in range(1, count)]
        assert [b[0] for b in late[bar]][:count] == opens
        assert late[bar] == whole[bar][-len(late[bar]) :]


def test_past_trades_between_the_minutes_are_not_counted_twice(kernel: KernelModule) -> None:
    late = longer_bars(kernel, STARTS, past_trades_from=0)
    assert late == longer_bars(kernel, STARTS, past_trades_from=5)


def test_a_longer_bar_with_a_hole_in_it_closes_unseen(kernel: KernelModule) -> None:
    """The minute in progress was not joined to the past: no bar that holds it is whole."""
    torn, whole = longer_bars(kernel, STARTS, growing=False), longer_bars(kernel, STARTS)
    for bar in LONGER:
        length = int(bar[0]) * MINUTE
        holds = [b for b in whole[bar] if b[0] <= OPEN + 5 * MINUTE < b[0] + length]
        assert len(holds) == 1
        assert torn[bar] == [b for b in whole[bar] if b not in holds]


def test_the_window_of_a_sequence_model_is_filled_by_the_bars_of_the_past(
    kernel: KernelModule,
) -> None:
    """Six rows: of four past minutes, and of the two that closed since; as if it had seen all."""
    found = []
    for start in (OPEN, STARTS):
        run = Run(kernel, rows_a_call=3)
        run.state.slots["spec"] = 1
        width = run.x.shape[1]
        ring, whole = np.zeros((12, width), np.float32), np.zeros((1, 6, width), np.float32)
        run.state.set_window(0, ring, 0, whole)
        if start == OPEN:
            run.add(Kind.CONNECT, OPEN)
        else:
            with_history(run)
        live(run, start)
        run.go()
        at = int(run.state.slots["window_at"][0])
        window = ring[at + 1 : at + 7]
        assert window[-1].tobytes() == run.x.tobytes()
        found.append(window[:, :2].copy())  # returns on minutes and on bars of two
    assert np.isfinite(found[0][:, 0]).all()
    assert len(np.unique(found[0][:, 0])) == 6
    assert found[0].tobytes() == found[1].tobytes()
