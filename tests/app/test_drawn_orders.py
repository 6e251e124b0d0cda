"""A strategy that draws its orders, through the whole line: limits, money and fills hold up.

Every kind of order, owner, exit, stop and cancel meets a synthetic market; what comes out is held
against the venue's rules and the money written a second time (tests/venues/paper_reference.py).
"""

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import app.replay
from app.replay import Replay, replay
from app.sources import open_tape
from config.load import load_settings
from config.settings import ModelSettings, Settings, StrategySettings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile
from engine.events import Cancel, OrderType, Place, Purpose
from engine.fills import FillDesk
from engine.kernel.layout import WORD
from engine.limits import MAX_TRIGGERS
from engine.money import minor
from engine.orders import Order
from engine.rows import ROW, Kind
from engine.tape import Tape
from store.synth import SynthSettings, write_market
from strategies.registry import strategy
from tests.venues.paper_reference import PaperReference, Resting
from venues.paper import PaperVenue

GHOSTS = 3
LATENCY_NS = 21_000_000
CANCEL_NS = 20_000_000
LIMITS = {
    "max_order_notional": 120.0,
    "max_position_notional": 900.0,
    "max_model_exposure": 250.0,
    "max_gross_exposure": 1500.0,
    "max_orders_per_s": 1000.0,
    "duplicate_window_ms": 0.0,
    "max_daily_loss": 1e6,
    "max_drawdown_pct": 100.0,
}
WORLD: list[Any] = []  # the parts of the run, so that the drawn exits know what is held


@strategy("drawn_orders")
class DrawnOrders:
    """Draw wishes from the time of the wake; no model is asked."""

    PARAMS = {"busy": 0.7, "far": 0.0}
    FEATURES = ("bid_ask_spread",)
    CADENCE = "every:500ms"
    name: str

    def __init__(self, **params: float | str | bool) -> None:
        self.busy, self.far = float(params["busy"]), float(params["far"])

    def decide(self, view: Any) -> tuple[Any, ...]:
        """Return up to two wishes."""
        draw = random.Random(view.now * 64 + view.instrument)
        if draw.random() > self.busy:
            return ()
        mine = [o for o in view.orders.values() if o.instrument == view.instrument]
        if mine and draw.random() < 0.25:
            return (Cancel(order_id=draw.choice(mine).order_id),)
        owner = draw.randrange(GHOSTS)
        book = the_parts().portfolio.book(owner, view.instrument)
        if book.position_lot and not self.far and draw.random() < 0.4:
            side = -1 if book.position_lot > 0 else 1
            held = abs(book.position_lot) - book.closing_lot
            qty = draw.choice([held, max(1, held // 3)])
            return (self._place(view, draw, (side, qty, Purpose.EXIT), ((owner, 1),)),)
        owners = ((owner, 1),)
        if draw.random() < 0.2:
            owners = ((0, 1), (1, 2))
        qty = view.grid.lots(draw.uniform(10.0, 140.0), view.mid_tick)
        wish = (1 if self.far else draw.choice([1, 1, -1]), qty, Purpose.ENTRY)
        return (self._place(view, draw, wish, owners),)

    def _place(self, view: Any, draw: random.Random, wish: tuple, owners: tuple) -> Place:
        side, qty, purpose = wish
        kind = draw.choice(list(OrderType))
        touch = view.bid_tick if side > 0 else view.ask_tick
        price = 0 if kind == OrderType.MARKET else touch + draw.randint(-30, 30)
        guarded = purpose == Purpose.ENTRY and draw.random() < 0.5
        away = self.far or draw.uniform(0.0002, 0.001)
        return Place(
            instrument=view.instrument,
            side=side,
            qty_lot=qty,
            order_type=int(kind),
            price_tick=price,
            purpose=int(purpose),
            owners=owners,
            stop_loss_tick=round(view.mid_tick * (1 - side * away)) if guarded else 0,
            take_profit_tick=round(view.mid_tick * (1 + side * away)) if guarded else 0,
        )


def the_parts() -> Any:
    """Return the parts of the run under way."""
    return WORLD[-1]


class Watch:
    """Writes down what is sent to the venue and what it answers, with the row it happened after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[int, int, str, Any]] = []
        self.answers: list[tuple[int, ...]] = []
        build, submit, cancel = app.replay.build, PaperVenue.submit, PaperVenue.cancel
        on_fill, on_ack, on_end = FillDesk.on_fill, FillDesk.on_ack, FillDesk.on_end

        def note(what: str, thing: Any) -> None:
            words = the_parts().state.words
            self.sent.append((words[WORD["row"]], words[WORD["now"]], what, thing))

        def watch_build(parts, *rest):
            WORLD.append(build(parts, *rest))
            return WORLD[-1]

        def watch_submit(venue, approved):
            o = approved.order
            collar = (approved.collar_low, approved.collar_high)
            note("place", (o.instrument, o.order_id, o.side, o.order_type, o.qty_lot, o.price_tick,
                           collar))  # fmt: skip
            submit(venue, approved)

        def watch_cancel(venue, order: Order):
            note("cancel", (order.instrument, order.order_id))
            return cancel(venue, order)

        def watch_fill(desk, order_id, qty, price, liquidity):
            instrument = desk.open_orders[order_id].instrument
            self.answers.append((2, instrument, order_id, qty, price, liquidity))
            on_fill(desk, order_id, qty, price, liquidity)
            check_books()

        def watch_ack(desk, order_id, queue):
            self.answers.append((1, desk.open_orders[order_id].instrument, order_id))
            on_ack(desk, order_id, queue)

        def watch_end(desk, order_id, kind, reason):
            if reason != 10:  # the run's end, not the venue's answer
                instrument = desk.open_orders[order_id].instrument
                self.answers.append((kind, instrument, order_id, reason))
            on_end(desk, order_id, kind, reason)

        monkeypatch.setattr(app.replay, "build", watch_build)
        monkeypatch.setattr(PaperVenue, "submit", watch_submit)
        monkeypatch.setattr(PaperVenue, "cancel", watch_cancel)
        monkeypatch.setattr(FillDesk, "on_fill", watch_fill)
        monkeypatch.setattr(FillDesk, "on_ack", watch_ack)
        monkeypatch.setattr(FillDesk, "on_end", watch_end)


def check_books() -> None:
    """Compare the gate's numbers with the books after a fill."""
    parts = the_parts()
    gate, books = parts.gate.record[0], parts.portfolio.books
    for model in range(GHOSTS):
        cost = sum(abs(b.cost) for (owner, _), b in books.items() if owner == model)
        assert gate["filled"][model] == cost
        used = cost + gate["resting"][model] + gate["in_flight"][model]
        assert used <= gate["limit"][model]
        assert min(gate["resting"][model], gate["in_flight"][model]) >= 0
    for (owner, at), book in books.items():
        legs = [
            leg
            for leg in parts.desk.protection.legs.values()
            if (leg.owner, leg.instrument) == (owner, at)
        ]
        assert all(leg.side * book.position_lot > 0 for leg in legs)
        assert sum(leg.qty_lot for leg in legs) <= abs(book.position_lot)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """Make half an hour of a busy synthetic market."""
    folder = tmp_path_factory.mktemp("market")
    write_market(
        SynthSettings(symbols=2, hours=0.5, seed=4, predictability=0.4, rows_per_s=12.0),
        folder / "data",
    )
    settings = load_settings(None)
    made = open_tape([folder / "data"], assumed=settings.assumed, cache_dir=folder / "tapes")
    return Tape.open(made)


def drawn_settings(tmp_path: Path, block_rows: int = 65_536, **risk: Any) -> Settings:
    """Return the first run's settings with the drawing strategy and models that only own."""
    base = load_settings(None)
    replace = msgspec.structs.replace
    return replace(
        base,
        engine=replace(base.engine, block_rows=block_rows),
        risk=replace(base.risk, **(LIMITS | risk)),
        portfolio=replace(base.portfolio, balances={"USDT": "10000"}),
        strategies=(StrategySettings(name="drawn_orders"),),
        models=tuple(
            ModelSettings(name=f"Ghost{k}", model_id=f"Ghost{k}", version="1", cadence="bar:1m")
            for k in range(GHOSTS)
        ),
        artifacts_dir=str(tmp_path / "artifacts"),
        runs_dir=str(tmp_path / "runs"),
    )


def run_drawn(tape: Tape, settings: Settings) -> Any:
    """Replay the tape; the ghosts may own orders because they are named."""
    named = tuple(f"Ghost{k}:1" for k in range(GHOSTS))
    return replay(Replay(tape=tape, settings=settings, named=named, report=False))


@pytest.mark.parametrize("shorts", [False, True])
def test_whatever_is_drawn_rules_limits_and_money_hold(tape, tmp_path, monkeypatch, shorts):
    watch = Watch(monkeypatch)
    summary = run_drawn(tape, drawn_settings(tmp_path, allow_short=shorts))
    parts = the_parts()
    assert summary.fills > 200
    assert summary.rejects > 5
    kinds = {answer[0] for answer in watch.answers}
    assert kinds == {1, 2, 3, 4}
    same_as_the_rules(tape, watch)
    same_as_the_money(parts, watch)
    audit = AuditFile(Path(summary.run_dir))
    totals = np.concatenate(list(audit.pick((Record.EXPOSURE,))))
    assert (totals["i4"] <= totals["i5"]).all()
    assert totals["i4"].max() >= 0.8 * minor(str(LIMITS["max_model_exposure"]))
    assert not parts.desk.open_orders
    gate = parts.gate.record[0]
    assert gate["gross_reserved"] == gate["open_orders"] == 0
    assert not gate["in_flight"].any()
    assert not gate["resting"].any()


def same_as_the_rules(tape: Tape, watch: Watch) -> None:
    """Play the tape and what was sent through the reference; compare every answer in order."""
    grids = the_parts().desk.grids
    for at in range(len(tape.instruments)):
        venue = PaperReference()
        sent = [entry for entry in watch.sent if entry[3][0] == at]
        for segment in tape.segments:
            rows = np.asarray(segment.rows).view(ROW)
            numbers = np.flatnonzero(rows["instrument"] == at)
            for n in numbers:
                while sent and sent[0][0] < n + segment.first_row:
                    send(venue, sent.pop(0))
                feed(venue, rows[n], grids[at])
        while sent:
            send(venue, sent.pop(0))
        answers = []
        for e in venue.events:
            tail = {1: (), 2: (e.qty, e.price, e.liquidity)}.get(e.kind, (e.reason,))
            answers.append((e.kind, at, e.order_id, *tail))
        assert [a for a in watch.answers if a[1] == at] == answers


def send(venue: PaperReference, entry: tuple) -> None:
    """Give the reference what the engine sent."""
    _, now, what, thing = entry
    if what == "place":
        _, order_id, side, kind, qty, price, collar = thing
        venue.place(Resting(order_id, side, kind, qty, price, collar, now + LATENCY_NS))
    else:
        venue.cancel(thing[1], now + CANCEL_NS)


def feed(venue: PaperReference, row: Any, grid: Any) -> None:
    """Give the reference a row of the tape, in ticks and lots."""
    ts = int(row["ts_recv"])
    if row["kind"] == Kind.QUOTE:
        bid, ask = round(row["f0"] / grid.tick), round(row["f1"] / grid.tick)
        sizes = [Fraction(round(row[name] / grid.lot)) for name in ("f2", "f3")]
        venue.quote(ts, bid, ask, *sizes)
    elif row["kind"] == Kind.TRADE:
        size = Fraction(round(row["f1"] / grid.lot))
        venue.trade(ts, round(row["f0"] / grid.tick), size, int(row["side"]))


def same_as_the_money(parts: Any, watch: Watch) -> None:
    """Add all fills up by hand: cash, coins and positions."""
    cash = Fraction(10_000)
    lots = [0] * len(parts.instruments)
    sides = {entry[3][1]: entry[3][2] for entry in watch.sent if entry[2] == "place"}
    for kind, at, order_id, *rest in watch.answers:
        if kind != 2:
            continue
        qty, price, liquidity = rest
        of = parts.instruments[at]
        notional = Fraction(of.tick) * price * Fraction(of.lot) * qty
        unit = Fraction(1, 10**8)
        notional = (notional / unit + Fraction(1, 2)).__floor__() * unit
        bps = Fraction(1) if liquidity else Fraction(2)
        paid = (notional * bps / 10_000 / unit + Fraction(1, 2)).__floor__() * unit
        cash -= sides[order_id] * notional + paid
        lots[at] += sides[order_id] * qty
    assert Fraction(parts.portfolio.total["USDT"], 10**8) == cash
    for at, of in enumerate(parts.instruments):
        assert parts.portfolio.position_lot(at) == lots[at]
        coins = Fraction(parts.portfolio.total[of.base], 10**8)
        assert coins == lots[at] * Fraction(of.lot)


@pytest.mark.parametrize("block_rows", [1, 7, 1000])
def test_grouping_changes_nothing(tape, tmp_path, monkeypatch, block_rows):
    monkeypatch.setattr(app.replay, "build", remembering(app.replay.build))
    whole = run_drawn(tape, drawn_settings(tmp_path, allow_short=True))
    parts = run_drawn(tape, drawn_settings(tmp_path, block_rows, allow_short=True))
    assert parts.decision_digest == whole.decision_digest
    assert parts.fills == whole.fills > 200


def remembering(build: Any) -> Any:
    """Wrap `build` so that the drawn exits know what is held."""

    def wrapped(parts: Any, *rest: Any) -> Any:
        WORLD.append(build(parts, *rest))
        return WORLD[-1]

    return wrapped


def test_more_protected_entries_than_places_for_stops(tape, tmp_path, monkeypatch):
    """Wide limits and far stops: the run goes on, and every open position keeps its stop."""
    monkeypatch.setattr(app.replay, "build", remembering(app.replay.build))
    wide = dict.fromkeys(("max_position_notional", "max_model_exposure", "max_gross_exposure"), 1e6)
    settings = drawn_settings(tmp_path, **wide)
    settings = msgspec.structs.replace(
        settings,
        strategies=(StrategySettings(name="drawn_orders", params={"busy": 1.0, "far": 0.2}),),
        portfolio=msgspec.structs.replace(settings.portfolio, balances={"USDT": "1000000"}),
    )
    summary = run_drawn(tape, settings)
    assert summary.exit_reason == "done"
    protection = the_parts().desk.protection
    assert len(protection.legs) <= MAX_TRIGGERS
    assert len(protection.legs) > 0.9 * MAX_TRIGGERS
