"""A strategy that draws its orders, and what a run of it is held against.

What was sent to the venue and what it answered is written down, and compared with the venue's
rules and the money written a second time (tests/venues/paper_reference.py).
"""

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import app.replay
import app.wire
from app.replay import Replay, replay
from config.load import load_settings
from config.settings import ModelSettings, Settings, StrategySettings
from engine.events import Cancel, OrderType, Place, Purpose
from engine.kept_orders import KeptOrders
from engine.kernel.layout import WORD, TouchFrom
from engine.kernel.state import touch_source
from engine.orders import Order
from engine.rows import LAST, OFF_MARKET, ROW, SNAPSHOT_START, Kind
from engine.tape import Tape
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
    FEATURES = ("mid_price_velocity_1s",)  # as tests/app/lively.py: one kernel serves both
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
        monkeypatch.setattr(app.wire, "ORDERS_IN_KERNEL", False)  # so that Python sees everything
        self.sent: list[tuple[int, int, str, Any]] = []
        self.answers: list[tuple[int, ...]] = []
        build, submit, cancel = app.replay.build, PaperVenue.submit, PaperVenue.cancel
        on_fill, on_ack, on_end = KeptOrders.on_fill, KeptOrders.on_ack, KeptOrders.on_end

        def note(what: str, thing: Any) -> None:
            words = the_parts().state.words
            self.sent.append((words[WORD["row"]], words[WORD["now"]], what, thing))

        def watch_build(parts, *rest, **words):
            WORLD.append(build(parts, *rest, **words))
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
            instrument = desk.orders[order_id].instrument
            self.answers.append((2, instrument, order_id, qty, price, liquidity))
            on_fill(desk, order_id, qty, price, liquidity)
            check_books()

        def watch_ack(desk, order_id, queue):
            self.answers.append((1, desk.orders[order_id].instrument, order_id))
            on_ack(desk, order_id, queue)

        def watch_end(desk, order_id, kind, reason):
            if reason != 10:  # the run's end, not the venue's answer
                instrument = desk.orders[order_id].instrument
                self.answers.append((kind, instrument, order_id, reason))
            on_end(desk, order_id, kind, reason)

        monkeypatch.setattr(app.replay, "build", watch_build)
        monkeypatch.setattr(PaperVenue, "submit", watch_submit)
        monkeypatch.setattr(PaperVenue, "cancel", watch_cancel)
        monkeypatch.setattr(KeptOrders, "on_fill", watch_fill)
        monkeypatch.setattr(KeptOrders, "on_ack", watch_ack)
        monkeypatch.setattr(KeptOrders, "on_end", watch_end)


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


def drawn_settings(
    tmp_path: Path, block_rows: int = 65_536, quote: str = "USDT", **risk: Any
) -> Settings:
    """Return the first run's settings with the drawing strategy and models that only own."""
    base = load_settings(None)
    replace = msgspec.structs.replace
    return replace(
        base,
        engine=replace(base.engine, block_rows=block_rows),
        risk=replace(base.risk, **(LIMITS | risk)),
        portfolio=replace(base.portfolio, balances={quote: "10000"}, reporting_currency=quote),
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


def same_as_the_rules(tape: Tape, watch: Watch) -> None:
    """Play the tape and what was sent through the reference; compare every answer in order."""
    assert len(tape.segments) == 1
    rows = np.asarray(tape.segments[0].rows).view(ROW)
    times = np.maximum.accumulate(np.where(rows["ts_recv"] > 0, rows["ts_recv"], rows["ts_event"]))
    for at, instrument in enumerate(tape.instruments):
        notional = the_parts().settings.assumed.quote_size_notional
        unit = Fraction(instrument.tick) * Fraction(instrument.lot)
        venue = PaperReference(
            lambda tick, n=notional, u=unit: Fraction(n) / (tick * u),
            touch_from_depth=touch_source(instrument) == TouchFrom.DEPTH,
        )
        venue.has_book = "depth" in instrument.has
        feed = Feed(venue, the_parts().desk.grids[at])
        sent = [entry for entry in watch.sent if entry[3][0] == at]
        for n in np.flatnonzero(rows["instrument"] == at):
            while sent and sent[0][0] < n:
                send(venue, sent.pop(0))
            feed.row(rows[n], int(times[n]))
        while sent:
            send(venue, sent.pop(0))
        venue.before(int(times[-1]))
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


class Feed:
    """Gives the reference the rows of one instrument, in ticks and lots."""

    def __init__(self, venue: PaperReference, grid: Any) -> None:
        self.venue = venue
        self.grid = grid
        self.packet: list[tuple[int, int, Fraction]] = []
        self.snapshot = False

    def lots(self, size: float) -> Fraction | None:
        """Return a size in lots, None where there is none."""
        if np.isnan(size):
            return None
        return Fraction(round(size / self.grid.lot * 1000), 1000)

    def row(self, row: Any, ts: int) -> None:
        """Apply one row; the levels of a packet together at its end."""
        kind, flags = int(row["kind"]), int(row["flags"])
        if kind == Kind.QUOTE:
            bid, ask = round(row["f0"] / self.grid.tick), round(row["f1"] / self.grid.tick)
            self.venue.quote(ts, bid, ask, self.lots(row["f2"]), self.lots(row["f3"]))
        elif kind == Kind.TRADE and not flags & OFF_MARKET:
            price = round(row["f0"] / self.grid.tick)
            self.venue.trade(ts, price, self.lots(row["f1"]), int(row["side"]))
        elif kind == Kind.DEPTH:
            self.snapshot |= bool(flags & SNAPSHOT_START)
            self.packet.append((int(row["side"]), int(row["i2"]), self.lots(row["f1"])))
            if flags & LAST:
                self.venue.depth(ts, self.packet, self.snapshot)
                self.packet, self.snapshot = [], False
        else:
            self.venue.before(ts)
            if kind in (Kind.GAP, Kind.DISCONNECT):
                self.venue.gap(book_only=kind == Kind.GAP and row["i2"] == 1)


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
    assert Fraction(parts.portfolio.total[parts.quote], 10**8) == cash
    for at, of in enumerate(parts.instruments):
        assert parts.portfolio.position_lot(at) == lots[at]
        coins = Fraction(parts.portfolio.total[of.base], 10**8)
        assert coins == lots[at] * Fraction(of.lot)


def remembering(build: Any) -> Any:
    """Wrap `build` so that the drawn exits know what is held."""

    def wrapped(parts: Any, *rest: Any, **words: Any) -> Any:
        WORLD.append(build(parts, *rest, **words))
        return WORLD[-1]

    return wrapped
