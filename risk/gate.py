"""The risk gate: every order passes here or goes nowhere. Only this file makes an `Approved`."""

from collections.abc import Sequence

import numpy as np

from engine.audit_layout import Verdict as Code
from engine.books import NOBODY
from engine.events import Block, Command, OrderType, Place, Purpose
from engine.kernel.ledger import LEDGER
from engine.money import Grid
from engine.orders import _GATE_KEY, Approved, Order
from engine.portfolio import Change, Portfolio
from risk.answer import Answer
from risk.gate_calls import GateKernel
from risk.gate_layout import GATE, LARGEST, REQUEST
from risk.limits import at_cost_of
from risk.owner_lots import (
    ALONE,
    count_lots,
    owner_filled,
    reserve_of,
    reserves_of,
    split_lots,
)

APPROVED, REDUCED = int(Code.APPROVED), int(Code.REDUCED)
SIZE_LIMITS = int(
    Block.ORDER_NOTIONAL | Block.POSITION | Block.MODEL_EXPOSURE | Block.GROSS_EXPOSURE
)
MARKET = int(OrderType.MARKET)
TYPES = frozenset(int(kind) for kind in OrderType)
NUMBER, LOT, TICK = int(Block.NUMBER), int(Block.LOT_SIZE), int(Block.TICK_SIZE)
BALANCE, STATUS = int(Block.BALANCE), int(Block.MODEL_STATUS)
LINE = LEDGER.itemsize
_FIELD = {name: GATE.fields[name][1] // 8 for name in GATE.names}  # type: ignore[index, union-attr]
_ASKED = {name: REQUEST.fields[name][1] // 8 for name in REQUEST.names}  # type: ignore[index, union-attr]
_OFF_GRID, _ORDER_TYPE = _ASKED["off_grid"], _ASKED["order_type"]


class Gate:
    """Checks intents against the limits; reserves, and frees what orders no longer need.

    Args:
        record: GATE[1] with the limits (risk/limits.py).
        portfolio: balances and books; the gate only locks and unlocks.
        may_trade: by model, False for candidates and shadows.
        kernel: the compiled gate functions, bound to the run's state.
        reduce_to_fit: approve the part of an order that the size limits leave room for.
    """

    def __init__(
        self,
        record: np.ndarray,
        portfolio: Portfolio,
        may_trade: Sequence[bool],
        kernel: GateKernel,
        reduce_to_fit: bool,
    ) -> None:
        self.record = record
        self.portfolio = portfolio
        self.may_trade = [False] * len(may_trade)
        self.kernel = kernel
        self.reduce_to_fit = reduce_to_fit
        self.words = memoryview(record.view(np.uint8)).cast("B").cast("q")
        self.reals = memoryview(record.view(np.uint8)).cast("B").cast("d")
        lines = memoryview(portfolio.ledger.view(np.uint8)).cast("B")
        self._lines = [lines[at : at + LINE] for at in range(0, len(lines), LINE)]
        self._request = np.zeros(1, REQUEST)
        self._q = memoryview(self._request.view(np.uint8)).cast("B").cast("q")
        self._request_address = int(self._request.ctypes.data)
        self._deviation = float(record[0]["max_price_deviation"])
        for model, allowed in enumerate(may_trade):
            allow(self, model, allowed)

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

    def kill(self, latched: bool) -> None:
        """Latch the kill switch, or clear it: while it is latched no order passes."""
        self.words[_FIELD["killed"]] = int(latched)

    def _fitting(self, place: Place, answer: Answer) -> int:
        """Return the lots that the size limits leave room for."""
        grid = self.portfolio.grids[place.instrument]
        worst = self._worst(place, self.kernel.mid_tick(place.instrument))
        room = self.words[_FIELD["room"]]
        lots = room * grid.den // (worst * grid.num) + 2 if worst > 0 else 0  # rounding may allow 1
        while lots > 0 and grid.notional(worst, lots) > room:
            lots -= 1
        return lots

    def _worst(self, place: Place, mid: float) -> int:
        """Return the price the exposure is reserved at: the worst one the order may fill at."""
        if place.side > 0 and place.order_type != MARKET:
            return place.price_tick
        return int(mid + mid * self._deviation) + 1  # the collar's edge, see _approve

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
        bad = self._grid_blocks(place, qty, worst, grid)
        if bad:
            answer.blocks = bad
            return answer
        parts, opens, bad = split_lots(portfolio, place, qty)
        closing = qty - sum(opens)
        notional = grid.notional(worst, qty)
        reserves = [grid.notional(worst, lots) if lots else 0 for lots in opens]
        opening = sum(reserves)
        bad |= self._owner_blocks(place, reserves)
        reference = grid.notional(int(mid), qty)
        shorts = side < 0 and closing < qty
        base, quote = portfolio.currencies[instrument]
        if notional > LARGEST:
            bad |= NUMBER
            notional = opening = reference = LARGEST
        elif qty * grid.lot_minor + abs(portfolio.total[base]) > LARGEST:
            bad |= NUMBER
        elif side > 0 or not shorts:
            need = portfolio.need(instrument, side, qty, worst)
            if need > portfolio.free(quote if side > 0 else base) and not (side > 0 and closing):
                bad |= BALANCE
        q = self._q
        q[0], q[1], q[2], q[3], q[4] = instrument, model, side, qty, place.price_tick
        q[5], q[6], q[7] = place.signal_ts, notional, opening
        q[8] = reference
        q[9] = place.purpose != 0
        q[10] = shorts
        q[11] = place.purpose >= 2
        q[_ORDER_TYPE] = place.order_type
        q[_OFF_GRID] = bad
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
            self._promise(answer.approved.order, parts, opens, reserves)
        return answer

    def _grid_blocks(self, place: Place, qty: int, worst: int, grid: Grid) -> int:
        """Check what must be whole and positive before anything can be computed."""
        if qty <= 0:
            return LOT
        if qty > LARGEST or place.side not in (1, -1) or place.order_type not in TYPES:
            return NUMBER
        if place.order_type != MARKET and not 0 < place.price_tick < LARGEST:
            return TICK
        return NUMBER if worst <= 0 or grid.notional(worst, 1) > LARGEST else 0

    def _owner_blocks(self, place: Place, reserves: Sequence[int]) -> int:
        """Check the models behind an order: they may trade, and each share of several fits."""
        bad = 0
        several = len(place.owners) > 1
        for (owner, _), reserve in zip(place.owners, reserves):
            if owner < 0:
                continue
            if not self.may_trade[owner] and place.purpose == Purpose.ENTRY:
                bad |= STATUS
            if several and reserve > 0:
                limit = self.words[_FIELD["limit"] + owner]
                if self.exposure(owner) + reserve > limit:
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
        desk = self.portfolio.desk[0]
        order = Order(int(desk["next_order"]), intent_id, place.instrument, place.side)
        desk["next_order"] += 1
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
        self.portfolio.lock(order)
        width = mid * self._deviation
        return Approved(order, (max(1, int(mid - width)), int(mid + width) + 1), _GATE_KEY)

    def passed(self, at: int) -> Approved:
        """Return the proof of an order that passed in the kernel: only such have a place there."""
        return Approved(None, (0, 0), _GATE_KEY, self._lines[at].tobytes())

    def _promise(
        self, order: Order, parts: tuple[int, ...], opens: tuple[int, ...], reserves: list[int]
    ) -> None:
        """Write down what the order will close and open for each owner; reserve for several."""
        owners = order.owners or ALONE
        for at, (owner, _) in enumerate(owners):
            count_lots(self.portfolio, order, owner, parts[at] - opens[at], opens[at])
        if len(owners) == 1:
            return
        order.owner_left, order.owner_open, order.owner_reserve = parts, list(opens), reserves
        for (owner, _), reserve in zip(owners, reserves):
            if owner >= 0:
                self.words[_FIELD["in_flight"] + owner] += reserve
                seen = _FIELD["max_seen"] + owner
                self.words[seen] = max(self.words[seen], self.exposure(owner))

    def filled(self, order: Order, qty: int, changes: Sequence[Change]) -> None:
        """Count a fill that the portfolio has booked: frees its reserve, adds what it opened."""
        closing = min(qty, order.closing_lot)
        if len(order.owners) > 1:
            freed = [owner_filled(self.portfolio, order, change) for change in changes]
            closing = qty - sum(opened for opened, _ in freed)
            released = [amount for _, amount in freed]
        else:
            opened = qty - closing
            left = reserve_of(self.portfolio, order, order.opening_lot - opened)
            released = [reserve_of(self.portfolio, order, order.opening_lot) - left]
            count_lots(self.portfolio, order, changes[0].owner, -closing, -opened)
        order.closing_lot -= closing
        order.opening_lot -= qty - closing
        for change, amount in zip(changes, released, strict=True):
            self.kernel.fill(
                order.instrument,
                change.owner,
                order.rests,
                order.side * change.qty,
                change.opened,
                change.closed,
                change.gain - change.fee,
                amount,
            )
        self.portfolio.unlock(order, order.qty_lot - order.filled_lot)

    def rests(self, order: Order) -> None:
        """Count an acknowledged order as resting instead of in flight."""
        order.rests = True
        for owner, share in reserves_of(self.portfolio, order):
            self.kernel.rest(owner, share)

    def release(self, order: Order) -> None:
        """Free what an order that is over had reserved and locked."""
        owners = order.owners or ALONE
        reserves = reserves_of(self.portfolio, order)
        for at, (owner, _) in enumerate(owners):
            opening, closing = order.opening_lot, order.closing_lot
            if len(owners) > 1:
                opening = order.owner_open[at]
                closing = order.owner_left[at] - opening
            count_lots(self.portfolio, order, owner, -closing, -opening)
            amount = reserves[at][1]
            self.kernel.end(order.instrument, owner, order.rests, amount, at == 0)
        order.opening_lot = order.closing_lot = 0
        self.portfolio.unlock(order, 0)

    def reopen(self, order: Order) -> None:
        """Reserve again what an order that was over has left: a fill came after its end."""
        if len(order.owners) <= 1:
            order.opening_lot = order.left_lot
        reserves = reserves_of(self.portfolio, order)
        for at, (owner, _) in enumerate(order.owners or ALONE):
            opening, closing = order.opening_lot, 0
            if len(order.owners) > 1:
                opening = order.owner_open[at]
                closing = order.owner_left[at] - opening
            count_lots(self.portfolio, order, owner, closing, opening)
            self.kernel.end(order.instrument, owner, order.rests, -reserves[at][1], -(at == 0))

    def doubt(self, order: Order, unknown: bool) -> None:
        """Move what an order reserves to the unknown exposure, or back."""
        words = self.words
        place = _FIELD["resting" if order.rests else "in_flight"]
        for owner, share in reserves_of(self.portfolio, order):
            if owner >= 0:
                words[place + owner] += -share if unknown else share
                words[_FIELD["unknown"] + owner] += share if unknown else -share

    def opening(self, instrument: int, owner: int, lots: int, moved: tuple[int, int, int]) -> None:
        """Count a position that no order of this run made; moved = (opened, closed, gain)."""
        opened, closed, gain = moved
        self.kernel.fill(instrument, owner, False, lots, opened, closed, gain, 0)

    def capital(self, amount: int) -> None:
        """Count money that the run starts with."""
        for name in ("start_equity", "equity", "peak_equity", "day_equity"):
            self.reals[_FIELD[name]] += amount

    def restore(self, command: int, day: int, minor: int) -> None:
        """Go on counting an earlier run's losses.

        Args:
            command: `DAY_LOSS`, `BELOW_PEAK` or `DRAWDOWN`.
            day: since the epoch, with DAY_LOSS.
            minor: how far the day's first equity, or the peak, lies above equity at cost (positions
                at what they cost). The prices of now make the loss of it, once they are known.
        """
        reals, at_cost = self.reals, at_cost_of(self.record[0])
        if command == Command.DRAWDOWN:
            self.words[_FIELD["drawdown_latched"]] = 1
        elif command == Command.BELOW_PEAK:
            reals[_FIELD["peak_equity"]] = at_cost + minor
        else:
            self.words[_FIELD["day"]] = day
            reals[_FIELD["day_equity"]] = at_cost + minor


def allow(gate: Gate, model: int, allowed: bool) -> None:
    """Say whether a model's signals may cause orders from here on."""
    gate.may_trade[model] = allowed
    gate.portfolio.desk[0]["may_trade"][model] = allowed
