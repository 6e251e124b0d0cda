"""The risk gate: every order passes here or goes nowhere. Only this file makes an `Approved`."""

from collections.abc import Callable, Sequence

import numpy as np

from engine.audit_layout import Verdict as Code
from engine.events import Block, OrderType, Place, Purpose
from engine.money import MAX_INT64, Grid, split
from engine.orders import _GATE_KEY, Approved, Order
from engine.portfolio import NOBODY, Change, Portfolio
from risk.gate_kernel import GATE, REQUEST

APPROVED, REDUCED, BLOCKED = int(Code.APPROVED), int(Code.REDUCED), int(Code.BLOCKED)
SIZE_LIMITS = int(
    Block.ORDER_NOTIONAL | Block.POSITION | Block.MODEL_EXPOSURE | Block.GROSS_EXPOSURE
)
MARKET = int(OrderType.MARKET)
TYPES = frozenset(int(kind) for kind in OrderType)
NUMBER, LOT, TICK = int(Block.NUMBER), int(Block.LOT_SIZE), int(Block.TICK_SIZE)
BALANCE, STATUS = int(Block.BALANCE), int(Block.MODEL_STATUS)
_LARGEST = MAX_INT64 // 4
_FIELD = {name: GATE.fields[name][1] // 8 for name in GATE.names}  # type: ignore[index]


class Answer:
    """The gate's answer: code, the bits of the limits that were broken, and the approved order."""

    __slots__ = ("approved", "blocks", "code", "limit", "mid", "notional", "qty_lot", "used")

    def __init__(self) -> None:
        self.approved: Approved | None = None
        self.blocks = 0
        self.code = BLOCKED
        self.qty_lot = 0
        self.notional = 0  # of the checked size at the worst price, minor units
        self.used = 0  # the model's exposure before the order
        self.limit = 0
        self.mid = 0.0


class Gate:
    """Checks intents against the limits; reserves, and frees what orders no longer need.

    Args:
        record: GATE[1] with the limits (risk/limits.py).
        portfolio: balances and books; the gate only locks and unlocks.
        deviation: half-width of the price collar as a share of the mid.
        may_trade: by model, False for candidates and shadows.
        kernel: the compiled gate functions, bound to the run's state.
        reduce_to_fit: approve the part of an order that the size limits leave room for.
    """

    def __init__(
        self,
        record: np.ndarray,
        portfolio: Portfolio,
        may_trade: Sequence[bool],
        kernel: "GateKernel",
        reduce_to_fit: bool,
    ) -> None:
        self.record = record
        self.portfolio = portfolio
        self.may_trade = tuple(may_trade)
        self.kernel = kernel
        self.reduce_to_fit = reduce_to_fit
        self.words = memoryview(record.view(np.uint8)).cast("B").cast("q")
        self.reals = memoryview(record.view(np.uint8)).cast("B").cast("d")
        self._request = np.zeros(1, REQUEST)
        self._q = memoryview(self._request.view(np.uint8)).cast("B").cast("q")
        self._request_address = int(self._request.ctypes.data)
        self._deviation = float(record[0]["max_price_deviation"])
        self._next_order = 0

    def check(self, place: Place, intent_id: int) -> Answer:
        """Approve, reduce or block an intent; what is approved counts as in flight at once."""
        answer = self._judge(place, place.qty_lot, intent_id)
        blocks = answer.blocks
        if blocks and self.reduce_to_fit and blocks & ~SIZE_LIMITS == 0:
            if place.purpose == Purpose.ENTRY:
                fitting = self._fitting(place, answer)
                if 0 < fitting < place.qty_lot:
                    smaller = self._judge(place, fitting, intent_id)
                    if smaller.approved is not None:
                        smaller.code = REDUCED
                        smaller.blocks = blocks
                        return smaller
        return answer

    def _fitting(self, place: Place, answer: Answer) -> int:
        """Return the lots that the size limits leave room for."""
        grid = self.portfolio.grids[place.instrument]
        worst = self._worst(place, self.kernel.mid_tick(place.instrument))
        room = self.words[_FIELD["room"]]
        lots = room * grid.den // (worst * grid.num) if worst > 0 else 0
        while lots > 0 and grid.notional(worst, lots) > room:
            lots -= 1
        return lots

    def _worst(self, place: Place, mid: float) -> int:
        """Return the price the exposure is reserved at: the worst one the order may fill at."""
        if place.side > 0 and place.order_type != MARKET:
            return place.price_tick
        return int(mid * (1.0 + self._deviation)) + 1

    def _judge(self, place: Place, qty: int, intent_id: int) -> Answer:
        """Check one size."""
        answer = Answer()
        instrument, side = place.instrument, place.side
        owners = place.owners
        model = owners[0][0] if len(owners) == 1 else NOBODY
        mid = self.kernel.mid_tick(instrument)
        if not 0.0 < mid < 1e15:  # no price was ever seen: nothing can be sized or collared
            answer.blocks = int(Block.MARKET_CROSSED)
            return answer
        portfolio = self.portfolio
        grid = portfolio.grids[instrument]
        worst = self._worst(place, mid)
        closing = min(qty, self._closable(place))
        opening_lot = qty - closing
        bad = self._grid_blocks(place, qty, worst, grid)
        if bad:
            answer.blocks = bad
            return answer
        notional = grid.notional(worst, qty)
        opening = grid.notional(worst, opening_lot) if opening_lot > 0 else 0
        bad = self._owner_blocks(place, opening)
        if notional > _LARGEST:
            bad |= NUMBER
            notional = opening = _LARGEST
        shorts = side < 0 and opening_lot > 0
        if side > 0 or not shorts:
            base, quote = portfolio.currencies[instrument]
            need = portfolio.need(instrument, side, qty, worst)
            if need > portfolio.free(quote if side > 0 else base) and not (side > 0 and closing):
                bad |= BALANCE
        q = self._q
        q[0], q[1], q[2], q[3], q[4] = instrument, model, side, qty, place.price_tick
        q[5], q[6], q[7] = place.signal_ts, notional, opening
        q[8] = grid.notional(int(mid), qty)
        q[9] = place.purpose != 0
        q[10] = shorts
        q[11] = place.purpose >= 2
        q[12] = hash((instrument, model, side, qty, place.price_tick, place.order_type))
        q[13] = bad
        answer.qty_lot = qty
        answer.notional = notional
        if model >= 0:
            answer.used = self.exposure(model)
            answer.limit = self.words[_FIELD["limit"] + model]
        answer.blocks = self.kernel.check(self._request_address)
        answer.mid = mid
        if answer.blocks == 0:
            answer.code = APPROVED
            answer.approved = self._approve(place, intent_id, (qty, closing), (worst, mid))
        return answer

    def _closable(self, place: Place) -> int:
        """Return the lots of its owners' positions that an order of this side would still close."""
        owners = place.owners or ((NOBODY, 1),)
        if len(owners) > 1 and place.purpose == Purpose.ENTRY:
            return 0
        total = 0
        for owner, _ in owners:
            book = self.portfolio.books.get((owner, place.instrument))
            if book is not None:
                total += max(0, -place.side * book.position_lot - book.closing_lot)
        return total

    def _grid_blocks(self, place: Place, qty: int, worst: int, grid: Grid) -> int:
        """Check what must be whole and positive before anything can be computed."""
        if qty <= 0:
            return LOT
        if qty > _LARGEST or place.side not in (1, -1) or place.order_type not in TYPES:
            return NUMBER
        if place.order_type != MARKET and not 0 < place.price_tick < _LARGEST:
            return TICK
        return NUMBER if worst <= 0 or grid.notional(worst, 1) > _LARGEST else 0

    def _owner_blocks(self, place: Place, opening: int) -> int:
        """Check the models behind an order: they may trade, and each share of several fits."""
        bad = 0
        for owner, _ in place.owners:
            if owner >= 0 and not self.may_trade[owner] and place.purpose == Purpose.ENTRY:
                bad |= STATUS
        if len(place.owners) > 1 and opening > 0:
            shares = split(opening, tuple(weight for _, weight in place.owners))
            for (owner, _), share in zip(place.owners, shares, strict=True):
                limit = self.words[_FIELD["limit"] + owner]
                if owner >= 0 and self.exposure(owner) + share > limit:
                    bad |= int(Block.MODEL_EXPOSURE)
        return bad

    def exposure(self, model: int) -> int:
        """Return a model's exposure in minor units: filled + resting + in flight + unknown."""
        words = self.words
        return (
            words[_FIELD["filled"] + model]
            + words[_FIELD["resting"] + model]
            + words[_FIELD["in_flight"] + model]
            + words[_FIELD["unknown"] + model]
        )

    def _approve(
        self, place: Place, intent_id: int, size: tuple[int, int], prices: tuple[int, float]
    ) -> Approved:
        """Make the order; its owners, sizes and worst price are frozen here."""
        qty, closing = size
        worst, mid = prices
        order = Order(self._next_order, intent_id, place.instrument, place.side)
        self._next_order += 1
        order.qty_lot = qty
        order.order_type = place.order_type
        order.price_tick = place.price_tick
        order.purpose = place.purpose
        order.owners = place.owners
        order.signal_id = place.signal_id
        order.opening_lot = qty - closing
        order.closing_lot = closing
        order.worst_tick = worst
        order.stop_loss_tick = place.stop_loss_tick
        order.take_profit_tick = place.take_profit_tick
        if closing:
            self._count_closing(order, closing)
        self.portfolio.lock(order)
        width = mid * self._deviation
        return Approved(order, max(1, int(mid - width)), int(mid + width) + 1, _GATE_KEY)

    def _count_closing(self, order: Order, lots: int) -> None:
        """Count lots as being closed (or, negative, no longer), owner by owner."""
        owners = order.owners or ((NOBODY, 1),)
        left = lots
        for owner, _ in owners:
            book = self.portfolio.book(owner, order.instrument)
            part = left
            if len(owners) > 1:
                room = max(0, -order.side * book.position_lot - book.closing_lot)
                part = min(left, room) if lots > 0 else max(left, -book.closing_lot)
            book.closing_lot += part
            left -= part

    def filled(self, order: Order, qty: int, changes: Sequence[Change]) -> None:
        """Count a fill that the portfolio has booked: frees its reserve, adds what it opened."""
        closing = min(qty, order.closing_lot)
        released = self._reserve(order, order.opening_lot)
        if closing:
            order.closing_lot -= closing
            self._count_closing(order, -closing)
        order.opening_lot -= qty - closing
        released -= self._reserve(order, order.opening_lot)
        weights = tuple(change.qty for change in changes)
        shares = (released,) if len(weights) == 1 else split(released, weights)
        for change, share in zip(changes, shares, strict=True):
            self.kernel.fill(
                order.instrument,
                change.owner,
                order.rests,
                order.side * change.qty,
                change.opened,
                change.closed,
                change.gain - change.fee,
                share,
            )
        self.portfolio.unlock(order, order.qty_lot - order.filled_lot)

    def _reserve(self, order: Order, opening_lot: int) -> int:
        if opening_lot <= 0:
            return 0
        return self.portfolio.grids[order.instrument].notional(order.worst_tick, opening_lot)

    def rests(self, order: Order) -> None:
        """Count an acknowledged order as resting instead of in flight."""
        order.rests = True
        amount = self._reserve(order, order.opening_lot)
        for owner, share in self._shares(order, amount):
            self.kernel.rest(owner, share)

    def _shares(self, order: Order, amount: int) -> list[tuple[int, int]]:
        owners = order.owners or ((NOBODY, 1),)
        parts = split(amount, tuple(weight for _, weight in owners))
        return [(owner, part) for (owner, _), part in zip(owners, parts, strict=True)]

    def release(self, order: Order) -> None:
        """Free what an order that is over had reserved and locked."""
        amount = self._reserve(order, order.opening_lot)
        if order.closing_lot:
            self._count_closing(order, -order.closing_lot)
            order.closing_lot = 0
        order.opening_lot = 0
        shares = self._shares(order, amount)
        for at, (owner, share) in enumerate(shares):
            self.kernel.end(order.instrument, owner, order.rests, share, at == 0)
        self.portfolio.unlock(order, 0)


class GateKernel:
    """The compiled functions the gate calls, bound to one run's state.

    Args:
        mid_tick: gives an instrument's mid in ticks, 0 before the first quote.
        check: takes a REQUEST's address, returns Block bits and reserves on 0.
        fill, end, rest: see app/kernel.py.
    """

    __slots__ = ("check", "end", "fill", "mid_tick", "rest")

    def __init__(
        self,
        mid_tick: Callable[[int], float],
        check: Callable[[int], int],
        fill: Callable[..., None],
        end: Callable[..., None],
        rest: Callable[[int, int], None],
    ) -> None:
        self.mid_tick = mid_tick
        self.check = check
        self.fill = fill
        self.end = end
        self.rest = rest
