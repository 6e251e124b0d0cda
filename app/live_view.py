"""The numbers of a running session, read and never changed: what the status on the terminal shows.

Everything is read from the records of the run. Nothing here marks, counts or latches: a status that
moved an equity peak would make the decisions depend on how often somebody looked.
"""

import datetime
import math
from collections import Counter, deque
from collections.abc import Callable

import numpy as np

from app.live_numbers import (
    ExposureLine,
    FeedLine,
    LiveView,
    MarketLine,
    ModelLine,
    Money,
    OrderLine,
    PositionLine,
    RiskLine,
    StageLine,
    Waiting,
)
from app.parts import Parts
from app.serving import Serving
from app.slots import SlotPlan
from app.terminal import short_reason
from engine.audit_layout import ModelStatus
from engine.books import NOBODY, Book, Books
from engine.events import Action, Block, HoldReason, OrderState, Signal
from engine.feed_health import FeedHealth, FeedState
from engine.instruments import decimals
from engine.kernel.layout import WORD
from engine.money import MINOR_PER_UNIT

KEPT_LINES = 64  # lines of a kind that are made at most; the rest is only counted
RATE_NS = 5_000_000_000  # messages a second are counted over this time
LATENCY_NS = 2_000_000_000  # percentiles are taken again after this time
NOW = WORD["now"]
NOT_WARM = int(HoldReason.NOT_WARM)
ADVICE = {HoldReason.NONE, HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD}
NO_DECISION = -1
UNIT = float(MINOR_PER_UNIT)


def made_before_s(serving: Serving, now_ns: int) -> float | None:
    """Return the age of a serving version; None where it is not known."""
    if serving.loaded is None:
        return None
    try:
        made = datetime.datetime.fromisoformat(serving.loaded.entry.created_at)
    except ValueError:
        return None
    if made.tzinfo is None:
        return None
    age_s = now_ns / 1e9 - made.timestamp()
    return age_s if age_s >= 0.0 else None


class Collector:
    """Reads a session; keeps what it needs to tell a rate and which decision was the last.

    Args:
        parts: the running session.
        health: counters of its feed.
        title: mode and venue, for a person.
        now_ns: the session's clock, which stamps messages too; it never goes back.
    """

    def __init__(
        self, parts: Parts, health: FeedHealth, title: str, now_ns: Callable[[], int]
    ) -> None:
        self._parts = parts
        self._health = health
        self._title = title
        self._clock = now_ns
        self._started = now_ns()
        self._seen: deque[tuple[int, int]] = deque()
        self._holds = np.zeros_like(parts.state.slots["holds"][: len(parts.plans)])
        self._reasons = np.full(len(parts.plans), NO_DECISION)
        self._stages: list[StageLine] = []
        self._stages_at = self._started - LATENCY_NS
        symbols = Counter(one.symbol for one in parts.instruments)
        self._symbols = [
            one.symbol if symbols[one.symbol] == 1 else one.name for one in parts.instruments
        ]
        self._price_places = [decimals(one.tick) for one in parts.instruments]
        self._size_places = [decimals(one.lot) for one in parts.instruments]

    def collect(self) -> LiveView:
        """Return the session as it stands."""
        parts, at = self._parts, self._clock()
        waiting, positions = self._waiting(), self._positions()
        return LiveView(
            title=self._title,
            now_ns=int(parts.state.words[NOW]),
            uptime_s=(at - self._started) / 1e9,
            latches=self._latches(),
            feed=self._feed(at),
            markets=self._markets(at),
            models=self._models(),
            waiting=waiting,
            money=self._money(),
            positions=positions,
            exposures=self._exposures(),
            stages=self._latency(at),
            orders=self._orders(),
            risk=self._risk(),
            counts={
                "markets": len(parts.instruments),
                "orders": len(parts.desk.open_orders),
                "positions": self._book_count,
                "reloads": parts.swaps.count,
            },
        )

    def _latches(self) -> list[str]:
        gate = self._parts.gate.record[0]
        found = []
        if gate["killed"]:
            found.append("KILL SWITCH: no order leaves")
        elif self._parts.state.root[0]["halted"]:
            found.append("HALTED: models hold")
        if gate["drawdown_latched"]:
            found.append("DRAWDOWN LIMIT: no new exposure")
        equity = self._equity()
        if math.isnan(equity):
            found.append("EQUITY UNKNOWN: no new exposure until what is held has a price")
        if float(gate["day_equity"]) - equity > float(gate["max_daily_loss"]):
            found.append("DAILY LOSS LIMIT: no new exposure")
        return found

    def _feed(self, at: int) -> FeedLine:
        health, seen = self._health, self._seen
        seen.append((at, health.messages))
        while len(seen) > 2 and at - seen[1][0] >= RATE_NS:
            seen.popleft()
        taken = at - seen[0][0]
        return FeedLine(
            connected=health.connected,
            last_end="" if health.last_end is None else short_reason(health.last_end.name),
            messages=health.messages,
            messages_per_s=(health.messages - seen[0][1]) * 1e9 / taken if taken > 0 else None,
            gaps=sum(one.gaps for one in health.instruments),
            reconnects=health.reconnects,
            decode_errors=health.decode_errors,
            dropped=health.dropped_messages,
        )

    def _markets(self, at: int) -> list[MarketLine]:
        """Return the instruments, those in trouble first."""
        health = self._health.instruments
        order = sorted(
            range(len(self._symbols)),
            key=lambda k: k < len(health) and health[k].state is FeedState.LIVE,
        )
        return [self._market(k, at) for k in order[:KEPT_LINES]]

    def _market(self, index: int, at: int) -> MarketLine:
        market = self._parts.state.markets[index]
        bid, ask, mid = float(market["bid"]), float(market["ask"]), float(market["mid"])
        last = float(market["trade_price"])
        known = index < len(self._health.instruments)
        one = self._health.instruments[index] if known else None
        age = self._health.age_ns(index, at) if known else -1
        return MarketLine(
            symbol=self._symbols[index],
            state=FeedState.OFF if one is None else one.state,
            halted=one is not None and one.halted,
            price=last if last == last else mid,
            bid=bid,
            ask=ask,
            spread_bps=(ask - bid) / mid * 1e4 if mid else float("nan"),
            age_s=None if age < 0 else age / 1e9,
            gaps=0 if one is None else one.gaps,
            places=self._price_places[index],
        )

    def _models(self) -> list[ModelLine]:
        parts = self._parts
        slots = parts.state.slots[: len(parts.plans)]
        last: dict[int, Signal] = {}
        for (model, _), signal in parts.pipeline.signals.items():
            if model not in last or signal.signal_id > last[model].signal_id:
                last[model] = signal
        lines = []
        for serving in parts.models[:KEPT_LINES]:
            line = ModelLine(
                name=serving.settings.name,
                version=serving.version,
                status=short_reason(ModelStatus(serving.status).name),
                may_trade=parts.gate.may_trade[serving.index],
                decisions=int(slots["counts"][slots["model"] == serving.index].sum()),
                threaded=serving.threaded,
                old_s=made_before_s(serving, parts.state.words[NOW]),
            )
            if (heard := last.get(serving.index)) is not None:
                line.action = Action(heard.action).name
                line.confidence = heard.confidence
                line.symbol = self._symbols[heard.instrument]
                line.age_s = max(0, parts.state.words[NOW] - heard.ts) / 1e9
            lines.append(line)
        return lines

    def _waiting(self) -> list[Waiting]:
        """Return who gives no advice where, and why: the reason of the last decision."""
        parts = self._parts
        slots = parts.state.slots[: len(parts.plans)]
        holds = slots["holds"]
        fresh = holds - self._holds
        self._holds = holds.copy()
        for at in np.flatnonzero(fresh.any(axis=1)).tolist():
            made = fresh[at]
            if made[NOT_WARM] < made.sum():
                made[NOT_WARM] = 0  # it warmed up between two looks
            self._reasons[at] = int(made.argmax())
        found: dict[tuple[str, int], list[str]] = {}
        stands = zip(parts.plans, self._reasons.tolist(), slots["status"].tolist())
        for plan, reason, status in stands:
            if reason not in ADVICE and not status:
                key = (self._owner_of(plan), reason)
                found.setdefault(key, []).append(self._symbols[plan.instrument])
        lines = [
            Waiting(
                owner,
                "no decision yet"
                if reason == NO_DECISION
                else short_reason(HoldReason(reason).name),
                symbols,
                reason in (NO_DECISION, NOT_WARM),
            )
            for (owner, reason), symbols in found.items()
        ]
        return sorted(lines, key=lambda line: not line.warming)[:KEPT_LINES]

    def _owner_of(self, plan: SlotPlan) -> str:
        if plan.serving is not None:
            return plan.serving.settings.name
        return self._parts.strategies[plan.strategies[0].index][0].name

    def _equity(self) -> float:
        """Return the equity at the current mids in minor units, as the gate would mark it."""
        gate, markets = self._parts.gate.record[0], self._parts.state.markets
        lots = gate["position_lot"][: len(markets)]
        held = np.flatnonzero(lots)
        value = lots[held] * markets["lot"][held] * markets["mid"][held] * MINOR_PER_UNIT
        unrealized = float((value - gate["position_cost"][held]).sum())
        return float(gate["start_equity"]) + float(gate["realized"]) + unrealized

    def _money(self) -> Money:
        portfolio, gate = self._parts.portfolio, self._parts.gate.record[0]
        currency = self._parts.quote
        equity = self._equity()
        peak = max(float(gate["peak_equity"]), equity)
        drawdown = (peak - equity) / peak if peak > 0.0 else 0.0
        realized = portfolio.realized.get(currency, 0)
        day_equity = float(gate["day_equity"])
        return Money(
            currency=currency,
            realized=realized / UNIT,
            unrealized=(equity - float(gate["start_equity"]) - realized) / UNIT,
            fees=portfolio.fees.get(currency, 0) / UNIT,
            equity=equity / UNIT,
            free=portfolio.free(currency) / UNIT,
            drawdown=drawdown,
            max_drawdown=max(float(gate["max_drawdown_seen"]), drawdown),
            day_loss=(day_equity - equity) / UNIT,
        )

    def _positions(self) -> list[PositionLine]:
        """Return the owners' books, open positions first, then those that only had results."""
        books: Books = self._parts.portfolio.books
        records = books.records
        told = (records["position_lot"] != 0) | (records["realized"] != 0) | (records["fees"] != 0)
        places = np.flatnonzero(told)
        self._book_count = len(places)
        flat = records["position_lot"][places] == 0
        places = places[np.argsort(flat, kind="stable")][:KEPT_LINES]
        width = len(self._symbols)
        return [self._position(at // width + NOBODY, at % width) for at in places.tolist()]

    def _position(self, owner: int, at: int) -> PositionLine:
        portfolio = self._parts.portfolio
        book: Book = portfolio.books.peek(owner, at)
        size = book.position_lot * portfolio.grids[at].lot
        mid = float(self._parts.state.markets["mid"][at])
        models = self._parts.models
        return PositionLine(
            owner=models[owner].settings.name if owner >= 0 else "rules",
            symbol=self._symbols[at],
            size=size,
            size_places=self._size_places[at],
            average=book.cost / UNIT / size if size else float("nan"),
            price_places=self._price_places[at],
            realized=book.realized / UNIT,
            unrealized=portfolio.unrealized(book, at, mid) / UNIT,
            fees=book.fees / UNIT,
        )

    def _exposures(self) -> list[ExposureLine]:
        """Return all owners together first, then each model."""
        gate = self._parts.gate.record[0]
        gross = ExposureLine(
            name="gross",
            limit=float(gate["max_gross_exposure"]) / UNIT,
            filled=float(gate["gross_filled"]) / UNIT,
            reserved=float(gate["gross_reserved"]) / UNIT,
        )
        lines = [gross]
        for serving in self._parts.models[:KEPT_LINES]:
            by_state = {
                name.replace("_", " "): float(gate[name][serving.index]) / UNIT
                for name in ("resting", "in_flight", "unknown")
            }
            lines.append(
                ExposureLine(
                    name=serving.settings.name,
                    limit=float(gate["limit"][serving.index]) / UNIT,
                    filled=float(gate["filled"][serving.index]) / UNIT,
                    reserved=sum(by_state.values()),
                    by_state=by_state,
                )
            )
        return lines

    def _latency(self, at: int) -> list[StageLine]:
        """Return the percentiles; they are taken anew every LATENCY_NS only."""
        if at - self._stages_at >= LATENCY_NS:
            self._stages_at = at
            samples = self._parts.pipeline.stages.samples()
            self._stages = [
                StageLine(name, *(float(v) / 1e3 for v in np.percentile(values, (50, 99))))
                for name, values in sorted(samples.items())
                if len(values)
            ]
        return self._stages

    def _orders(self) -> list[OrderLine]:
        """Return the open orders, the newest first."""
        orders = self._parts.desk.open_orders
        newest = sorted(orders, reverse=True)[:KEPT_LINES]
        return [self._order(order_id) for order_id in newest]

    def _order(self, order_id: int) -> OrderLine:
        order = self._parts.desk.open_orders[order_id]
        grid = self._parts.portfolio.grids[order.instrument]
        price = order.price_tick * grid.tick if order.price_tick else float("nan")
        return OrderLine(
            order_id=order_id,
            side=order.side,
            symbol=self._symbols[order.instrument],
            left=order.left_lot * grid.lot,
            size_places=self._size_places[order.instrument],
            price=price,
            price_places=self._price_places[order.instrument],
            state=short_reason(OrderState(order.state).name),
        )

    def _risk(self) -> RiskLine:
        counts = self._parts.desk.counts
        by_reason = sorted(counts.blocked.items(), key=lambda item: (-item[1], item[0]))
        return RiskLine(
            intents=counts.intents,
            approved=counts.approved,
            orders=counts.orders,
            fills=counts.fills,
            rejects=counts.rejects,
            blocked=[(short_reason(Block(bit).name or str(bit)), n) for bit, n in by_reason],
        )
