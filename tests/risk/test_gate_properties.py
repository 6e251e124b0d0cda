"""The gate under any sequence of intents, fills and ends: no limit is passed, nothing leaks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import RiskLimits
from engine.books import NOBODY
from engine.events import Block, Fill, Liquidity, OrderType, Place, Purpose
from engine.instruments import Instrument
from engine.kernel.layout import MATCHING
from engine.market import MARKET
from engine.money import Grid, fee_rate, minor
from engine.orders import Approved, Order
from engine.portfolio import Portfolio
from risk import exposure_kernel, gate_kernel
from risk.gate import Gate, GateKernel
from risk.limits import gate_record

MODELS = 3
INSTRUMENTS = (
    Instrument(venue="x", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.1", lot="0.001"),
    Instrument(venue="x", symbol="ETHUSDT", base="ETH", quote="USDT", tick="0.01", lot="0.01"),
)
START_MID = (1_000.0, 20_000.5)  # ticks: 100 USDT and 200.005 USDT


class Desk:
    """The gate and the book on plain records, with a market that the test moves by hand."""

    def __init__(self, **changes: object) -> None:
        values: dict = {
            "max_order_notional": 40.0, "max_position_notional": 70.0,
            "max_model_exposure": 50.0, "max_gross_exposure": 110.0,
            "max_price_deviation_pct": 5.0, "max_orders_per_s": 1e9, "max_open_orders": 16,
            "duplicate_window_ms": 0.0, "max_market_age_ms": 1e6, "max_signal_age_ms": 1e6,
            "max_daily_loss": 1e9, "max_drawdown_pct": 100.0, "allow_short": False,
            "reduce_to_fit": True,
        }  # fmt: skip
        limits = RiskLimits(**(values | changes))
        grids = [Grid(i) for i in INSTRUMENTS]
        balances = {"USDT": minor("1000"), "BTC": minor("1"), "ETH": minor("1")}
        pairs = [(i.base, i.quote) for i in INSTRUMENTS]
        self.portfolio = Portfolio(grids, pairs, balances, fee_rate(1.0), fee_rate(2.0))
        self.now = 1_700_000_000_000_000_000
        self.markets = np.zeros(len(INSTRUMENTS), MARKET)
        self.matching = np.zeros(len(INSTRUMENTS), MATCHING)
        self.matching["trusted"] = 1
        for at, instrument in enumerate(INSTRUMENTS):
            self.markets[at]["tick"], self.markets[at]["lot"] = grids[at].tick, grids[at].lot
            self.markets[at]["quote_count"] = 1
            assert instrument.quote == "USDT"
            self.move(at, START_MID[at])
        model_limits = [limits.max_model_exposure] * MODELS
        self.record = gate_record(limits, model_limits, balances["USDT"])
        self.gate = self._gate(limits)
        self.open: dict[int, Order] = {}
        self.intents = 0

    def _gate(self, limits: RiskLimits) -> Gate:
        g, k = self.record[0], exposure_kernel
        functions = GateKernel(
            lambda at: self.markets[at]["mid"] / self.markets[at]["tick"],
            self._check,
            lambda at, owner, rests, *fill: k.book_fill(g, (at, owner, int(rests)), fill),
            lambda at, owner, rests, amount, first: k.end_order(
                g, (at, owner, int(rests), int(first)), amount
            ),
            lambda owner, amount: k.to_resting(g, owner, amount),
        )
        return Gate(self.record, self.portfolio, [True] * MODELS, functions, limits.reduce_to_fit)

    def _check(self, address: int) -> int:
        request = self.gate._request[0]
        x = self.matching[request["instrument"]]
        return gate_kernel.judge_order(self.record[0], self.markets, x, request, self.now)

    def move(self, at: int, mid_tick: float) -> None:
        """Set the mid."""
        self.markets[at]["mid"] = mid_tick * self.markets[at]["tick"]
        self.markets[at]["quote_ts"] = self.now

    def place(self, place: Place) -> Approved | None:
        """Ask the gate."""
        answer = self.gate.check(place, self.intents)
        self.intents += 1
        if answer.approved is None:
            assert answer.blocks != 0
            return None
        order = answer.approved.order
        assert 0 < order.qty_lot <= place.qty_lot
        self.open[order.order_id] = order
        self.collars = getattr(self, "collars", {})
        self.collars[order.order_id] = (answer.approved.collar_low, answer.approved.collar_high)
        order.move(2)
        return answer.approved

    def fill(self, order: Order, qty: int, price: int) -> None:
        """Execute part of an order, as engine/fills.py does."""
        fill = Fill(0, self.now, order.order_id, order.instrument, order.side, qty, price,
                    int(Liquidity.TAKER))  # fmt: skip
        changes = self.portfolio.apply(fill, order)
        order.filled_lot += qty
        self.gate.filled(order, qty, changes)
        if order.filled_lot == order.qty_lot:
            self.end(order)

    def end(self, order: Order) -> None:
        """Finish an order: filled, cancelled or rejected."""
        self.gate.release(order)
        del self.open[order.order_id]

    def check_counts(self) -> None:
        """Compare every number of the gate's record with what it should be, from the book."""
        g = self.record[0]
        books = self.portfolio.books
        for model in range(MODELS):
            cost = sum(abs(b.cost) for (owner, _), b in books.items() if owner == model)
            assert g["filled"][model] == cost
            for name in ("filled", "resting", "in_flight", "unknown"):
                assert g[name][model] >= 0, name
        for at in range(len(INSTRUMENTS)):
            mine = [b for (_, instrument), b in books.items() if instrument == at]
            assert g["instrument_filled"][at] == sum(abs(b.cost) for b in mine)
            assert g["position_lot"][at] == sum(b.position_lot for b in mine)
            assert g["position_cost"][at] == sum(b.cost for b in mine)
            assert g["instrument_reserved"][at] >= 0
        assert g["gross_filled"] == sum(abs(b.cost) for b in books.values())
        assert g["gross_reserved"] == g["instrument_reserved"].sum() >= 0
        assert g["open_orders"] == len(self.open)
        reserved = [
            self.portfolio.grids[o.instrument].notional(o.worst_tick, o.opening_lot)
            for o in self.open.values()
        ]
        slack = 4 * len(self.open)  # several owners: each share is rounded by itself
        assert abs(g["gross_reserved"] - sum(reserved)) <= slack
        owned = g["in_flight"].sum() + g["resting"].sum() + g["unknown"].sum()
        ownerless = [r for r, o in zip(reserved, self.open.values()) if not o.owners]
        assert abs(owned + sum(ownerless) - g["gross_reserved"]) <= slack
        for book in books.values():
            assert book.closing_lot >= 0
        if not self.open:
            assert g["gross_reserved"] == 0
            assert not g["in_flight"].any()
            assert not g["resting"].any()
            assert all(book.closing_lot == 0 for book in books.values())
            assert all(amount == 0 for amount in self.portfolio.locked.values())

    def check_limits(self) -> None:
        """No limit is passed: per model, per instrument, gross."""
        g = self.record[0]
        for model in range(MODELS):
            used = int(exposure_kernel.used_by(g, model))
            assert used <= g["limit"][model], (model, used)
            assert g["max_seen"][model] <= g["limit"][model]
        for at in range(len(INSTRUMENTS)):
            held = g["instrument_filled"][at] + g["instrument_reserved"][at]
            assert held <= g["max_position_notional"]
        assert g["gross_filled"] + g["gross_reserved"] <= g["max_gross_exposure"]


owner_sets = st.sampled_from(
    [((0, 1),), ((1, 1),), ((2, 1),), (), ((0, 1), (1, 1)), ((0, 3), (1, 2), (2, 2))]
)


def some_place(data: st.DataObject, desk: Desk, several: bool) -> Place:
    """Draw an intent: entries of any kind, exits of what is held."""
    at = data.draw(st.integers(0, len(INSTRUMENTS) - 1))
    mid = desk.markets[at]["mid"] / desk.markets[at]["tick"]
    owners = data.draw(owner_sets)
    if len(owners) > 1 and not several:
        owners = owners[:1]
    side = data.draw(st.sampled_from([1, -1]))
    kind = data.draw(st.sampled_from([OrderType.MARKET, OrderType.LIMIT_GTC]))
    price = 0 if kind == OrderType.MARKET else int(mid * data.draw(st.floats(0.97, 1.03)))
    purpose = data.draw(st.sampled_from([Purpose.ENTRY, Purpose.ENTRY, Purpose.EXIT]))
    if purpose == Purpose.EXIT:
        owners = owners or ((NOBODY, 1),)
        held = {o: desk.portfolio.book(o, at).position_lot for o, _ in owners}
        if len(owners) > 1:  # an exit's weights are what each owner holds on the side it closes
            owners = tuple((o, -side * lots) for o, lots in held.items() if -side * lots > 0)
        owners = tuple((o, w) for o, w in owners if o != NOBODY)
    return Place(
        instrument=at, side=side, qty_lot=data.draw(st.integers(1, 500)), order_type=int(kind),
        price_tick=price, purpose=int(purpose), owners=owners,
    )  # fmt: skip


def run_script(data: st.DataObject, desk: Desk, several: bool) -> None:
    """Play random intents, acknowledgements, fills and ends, and end all; check after each."""
    for _ in range(data.draw(st.integers(1, 30))):
        desk.now += 1_000_000
        action = data.draw(
            st.sampled_from(["place", "place", "fill", "fill", "end", "ack", "move"])
        )
        if action == "place":
            desk.place(some_place(data, desk, several))
        elif action == "move":
            at = data.draw(st.integers(0, len(INSTRUMENTS) - 1))
            desk.move(at, START_MID[at] * data.draw(st.floats(0.8, 1.25)))
        elif desk.open:
            order = desk.open[data.draw(st.sampled_from(sorted(desk.open)))]
            if action == "fill":
                low, high = desk.collars[order.order_id]
                if order.order_type != OrderType.MARKET:
                    low = max(low, order.price_tick) if order.side < 0 else low
                    high = min(high, order.price_tick) if order.side > 0 else high
                price = data.draw(st.sampled_from([low, high, (low + high) // 2]))
                qty = data.draw(st.integers(1, order.left_lot))
                desk.fill(order, qty, price)
            elif action == "ack" and not order.rests:
                desk.gate.rests(order)
            elif action == "end":
                desk.end(order)
        desk.check_counts()
        desk.check_limits()
    for order in list(desk.open.values()):
        desk.end(order)
    desk.check_counts()
    desk.check_limits()


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans())
def test_limits_hold_for_long_only(data, reduce):
    desk = Desk(reduce_to_fit=reduce)
    run_script(data, desk, several=False)
    assert not desk.open


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans())
def test_limits_hold_with_shorts(data, reduce):
    desk = Desk(allow_short=True, reduce_to_fit=reduce)
    run_script(data, desk, several=False)
    assert not desk.open


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_limits_hold_for_orders_of_several_owners(data):
    desk = Desk(allow_short=True)
    run_script(data, desk, several=True)
    assert not desk.open


def entry(side: int, qty: int, price: int = 0, purpose: int = 0, owners=((0, 1),)) -> Place:
    """Return an intent of model 0 in the first instrument; a price of 0 is a market order."""
    kind = int(OrderType.LIMIT_GTC if price else OrderType.MARKET)
    return Place(instrument=0, side=side, qty_lot=qty, order_type=kind, price_tick=price,
                 purpose=purpose, owners=owners)  # fmt: skip


def test_what_is_being_closed_cannot_be_closed_again_under_another_name():
    """A short entry that fills before an exit on its way would turn the exit into an opening.

    Its reserve would be gone by then: the exit opens what nobody has counted, past the limit.
    """
    desk = Desk(allow_short=True)
    long = desk.place(entry(1, 150)).order
    desk.fill(long, 150, 1000)
    leaving = desk.place(entry(-1, 150, purpose=int(Purpose.EXIT))).order
    short = desk.place(entry(-1, 150))
    if short is not None:
        desk.fill(short.order, short.order.qty_lot, 1000)
    for _ in range(2):
        desk.place(entry(1, 400, price=1000))
    desk.fill(leaving, 150, 1000)
    desk.check_counts()
    desk.check_limits()


def test_a_limit_can_be_filled_to_the_last_unit_and_not_beyond():
    """`reduce_to_fit` leaves less than one lot of room; one more lot is blocked for the model."""
    desk = Desk(max_order_notional=1e6, max_position_notional=1e6, max_gross_exposure=1e6)
    placed = desk.place(entry(1, 5_000, price=1000))
    used = int(exposure_kernel.used_by(desk.record[0], 0))
    assert placed.order.qty_lot == 500
    assert used == desk.record[0]["limit"][0] == minor("50")
    answer = desk.gate.check(entry(1, 1, price=1000), 99)
    assert answer.blocks == Block.MODEL_EXPOSURE
    assert answer.approved is None


def test_a_closing_order_counts_nothing_until_it_fills():
    desk = Desk()
    desk.fill(desk.place(entry(1, 300)).order, 300, 1000)
    before = desk.record[0].copy()
    leaving = desk.place(entry(-1, 300, purpose=int(Purpose.EXIT))).order
    assert leaving.opening_lot == 0
    assert exposure_kernel.used_by(desk.record[0], 0) == exposure_kernel.used_by(before, 0)
    assert desk.place(entry(-1, 1, purpose=int(Purpose.EXIT))) is None  # nothing is left to close
    desk.fill(leaving, 100, 990)
    assert exposure_kernel.used_by(desk.record[0], 0) == minor("20")
    desk.check_counts()


def test_market_orders_reserve_what_the_worst_fill_costs():
    """A market order that fills at its collar's edge still fits what was reserved for it."""
    for mid in (1000.0, 999.5, 1_234.5):
        desk = Desk(allow_short=True)
        desk.move(0, mid)
        for side in (1, -1):
            approved = desk.place(entry(side, 50))
            reserved = int(desk.record[0]["in_flight"][0])
            desk.fill(approved.order, 50, approved.collar_high)
            assert desk.record[0]["filled"][0] <= reserved
            desk.fill(desk.place(entry(-side, 50, purpose=int(Purpose.EXIT))).order, 50, int(mid))


@pytest.mark.parametrize("plant", ["forget_in_flight", "free_at_once"])
def test_planted_errors_are_seen(plant, monkeypatch):
    """A gate that forgets orders on their way passes its limit, and the checks above see it."""
    if plant == "forget_in_flight":
        monkeypatch.setattr(gate_kernel, "judge_order", judging_without_reserve)
    desk = Desk()
    for _ in range(3):
        approved = desk.place(entry(1, 300, price=1000))
        if approved is not None and plant == "free_at_once":
            desk.gate.release(approved.order)
    assert len(desk.open) == 3  # an honest gate stops at the second
    with pytest.raises(AssertionError):
        desk.check_counts()
    for order in list(desk.open.values()):
        fill = Fill(0, desk.now, order.order_id, 0, 1, order.qty_lot, 1000, 0)
        desk.gate.filled(order, order.qty_lot, desk.portfolio.apply(fill, order))
    assert desk.record[0]["filled"][0] > desk.record[0]["limit"][0]  # what the plant leads to


def judging_without_reserve(gate, markets, x, request, now):
    """Judge like the real one, then forget what was approved."""
    kept = gate.copy()
    blocks = _REAL_JUDGE(gate, markets, x, request, now)
    for name in ("in_flight", "gross_reserved", "instrument_reserved"):
        gate[name] = kept[name]
    return blocks


_REAL_JUDGE = gate_kernel.judge_order
