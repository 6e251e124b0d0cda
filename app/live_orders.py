"""Live orders: the session's pipeline trades through ccxt at a venue, on an account's journal.

The engine's side is a `Venue` of a session (app/live.py): it takes the outbox after every wake,
puts what the venue says onto the tape as rows, and keeps latches and losses in the journal.
"""

import asyncio
import contextlib
import signal
from pathlib import Path

from app.account_books import positions_of
from app.live import Session
from app.live_books import NS_PER_DAY, Losses
from app.live_inbox import TROUBLE_EVENT, Inbox
from app.live_job import Venue
from app.log import logger
from app.rules import NS_PER_MS
from engine.clock import SystemClock
from engine.errors import RunError
from engine.events import Command, RejectReason
from engine.journal_layout import Kind, Latch, Name
from engine.json_files import write_json
from engine.money import MINOR_PER_UNIT, minor
from engine.orders import Approved
from engine.run_files import LIVE, LiveRun
from risk.limits import at_cost_of
from venues.order_desk import OrderDesk
from venues.outbox import Outbox

FINISH_S = 45.0  # how long the fate of orders is awaited at the end; proofs take up to 30 s
KEEP_S = 1.0  # how often losses are journalled


def cancel_known(desk: OrderDesk) -> None:
    """Ask for the removal of what the venue is known to have; what is UNKNOWN must be found first.

    One cancel of an order is under way at a time, and the desk halts when it is never proven.
    """
    for client, order in list(desk.account.state.live.items()):
        if order.venue_id:
            desk.orders.cancel_client(client)


class LiveOrders(Venue):
    """A session's venue: an account at an exchange.

    Args:
        desk: started; earlier orders are over.
        inbox: gets the account's events.
        folder: of the account.
        clock: the session's.
    """

    mode = "live"

    def __init__(self, desk: OrderDesk, inbox: Inbox, folder: Path, clock: SystemClock) -> None:
        self._desk = desk
        self._account = desk.account
        self._inbox = inbox
        self._folder = folder
        self._clock = clock
        self._news = asyncio.Event()
        self._losses = Losses(desk.account)
        self._closing = False
        self._log = logger("orders")
        self._max_age_ns = 0
        self._outbox: Outbox
        self._session: Session

    def new_venue(self, now):  # type: ignore[no-untyped-def, override]
        """Make the outbox that the pipeline sends to."""
        self._outbox = Outbox(now)
        return self._outbox

    def begin(self, session: Session) -> None:
        """Write live.json, and the opening state onto the tape."""
        self._session = session
        parts, inbox = session.parts, self._inbox
        self._max_age_ns = parts.settings.engine.max_order_age_ms * NS_PER_MS
        box, box.held = self._outbox, inbox.reduce_only
        box.wall_ns, box.max_age_ns = self._clock.now_ns, self._max_age_ns
        box.hand_over = self._desk.orders.submit
        record = LiveRun(account=str(self._folder.resolve()), tag=self._account.tag)
        write_json(session.run_dir / LIVE, record)
        assets = {name: at for at, name in enumerate(parts.portfolio.total)}
        inbox.bind(
            session.tape,
            self._account,
            assets,
            wake=self._news.set,
            note=lambda code, text: parts.recorder.event(TROUBLE_EVENT, code, text),
            tell_person=session.tell_person,
        )
        for name, text in parts.settings.portfolio.balances.items():
            inbox.opening(assets[name], minor(text), True)
        self._positions(session)
        self._restore()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._kill)

    def _positions(self, session: Session) -> None:
        """Open with what fills of earlier runs have made."""
        instruments = {one.symbol: one for one in session.parts.instruments}
        owners = {one.model_id: one.index for one in reversed(session.parts.models)}
        for held in positions_of(self._folder):
            symbol, ours = held.instrument.symbol, instruments.get(held.instrument.symbol)
            if ours is None:
                continue  # its base currency is a balance, and nothing here trades it
            if (ours.tick, ours.lot) != (held.instrument.tick, held.instrument.lot):
                raise RunError(
                    f"{symbol}: the venue has changed tick or lot while {held.lots} lots are held"
                )
            owner = owners.get(held.model, -1)
            side = 1 if held.lots > 0 else -1
            self._inbox.position(symbol, side, abs(held.lots), (owner, abs(held.cost)))

    def _restore(self) -> None:
        """Put latches and losses of earlier runs onto the tape."""
        inbox, latches = self._inbox, self._account.state.latches
        day, began, peak = self._losses.before
        if day == self._clock.now_ns() // NS_PER_DAY:
            inbox.command(Command.DAY_LOSS, day, began)
        if day > 0:
            inbox.command(Command.BELOW_PEAK, 0, peak)
        if Latch.DRAWDOWN in latches:
            inbox.command(Command.DRAWDOWN)
        for which in (Latch.KILL, Latch.ACCOUNT):
            if which in latches:
                self._log.error(
                    "orders.latched",
                    latch=which.name,
                    cause=latches[which],
                    remedy="look, then lab.py account show",
                )
                inbox.command(Command.KILL)

    def _kill(self) -> None:
        """Latch the kill switch: the operator's SIGUSR1."""
        self._log.error("orders.killed", cause="SIGUSR1")
        self._inbox.command(Command.KILL)

    def send(self) -> None:
        """Give the desk what lies in the outbox."""
        if not self._outbox.waiting:
            return
        now = self._clock.now_ns()
        for ts, approved, cancelled in self._outbox.take():
            if approved is not None:
                self._send_or_refuse(approved, now - ts)
            elif cancelled is not None:
                self._desk.orders.cancel(cancelled)

    def _send_or_refuse(self, approved: Approved, age_ns: int) -> None:
        """Give the desk an order unless something stands against it; say so on the tape."""
        order, reason = approved.order, RejectReason.NONE
        symbol = self._session.parts.instruments[order.instrument].symbol
        if self._closing:
            reason = RejectReason.PAUSED
        elif age_ns > self._max_age_ns:
            reason = RejectReason.ENGINE_LATE
        elif symbol in self._inbox.reduce_only and order.opening_lot > 0:
            reason = RejectReason.PAUSED
        if reason:
            self._inbox.refuse(order.instrument, order.order_id, int(reason))
        else:
            self._desk.orders.submit(approved)

    async def watch(self) -> None:
        """Wake the pipeline when the venue has said something; keep losses and latches."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_S):
                    await self._news.wait()
            self._news.clear()
            self._session.wake()
            self._keep()
            self._session.rehearse()

    def _keep(self) -> None:
        """Journal what must count in later runs."""
        gate = self._session.parts.gate.record[0]
        latches = self._account.state.latches
        waiting = list(self._inbox.latches)
        self._inbox.latches.clear()
        if gate["killed"] and Latch.KILL not in latches and Latch.ACCOUNT not in latches:
            if not waiting and not self._inbox.halts:
                waiting.append((Latch.KILL, "the kill switch was latched"))
        if gate["drawdown_latched"] and Latch.DRAWDOWN not in latches:
            waiting.append((Latch.DRAWDOWN, "the largest drawdown was reached"))
        for which, why in waiting:
            if which not in latches:
                ref = self._account.name(Name.TEXT, why[:1000])
                numbers = (1, *(0,) * 8)
                self._account.put(Kind.LATCH, code=which, ref=ref, numbers=numbers)
        at_cost = at_cost_of(gate)
        day, peak = (int(gate[name]) - at_cost for name in ("day_equity", "peak_equity"))
        self._losses.keep(int(gate["day"]), day, peak)

    async def finish(self) -> None:
        """Cancel what is open, wait for the venue's word, and send nothing more."""
        session, state = self._session, self._account.state
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
        self._closing = True
        self._outbox.hand_over = None
        self._desk.orders.stopped = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_S):
                while state.live:
                    cancel_known(self._desk)
                    await asyncio.sleep(0.05)
                    session.drain()
        if state.live:
            self._log.warning("orders.left_open", orders=sorted(state.live))
        self._keep()
        await self._desk.close()
        self._news.set()
        while self._news.is_set():  # a stop may want an order yet: it is refused, on the tape
            self._news.clear()
            session.drain()
        self._inbox.release()
        self._agree()

    def _agree(self) -> None:
        """Make sure that the engine's money and the journal's are the same, to the last unit.

        Raises:
            RunError: they differ: a fill was lost or counted twice between journal and books.
        """
        total = self._session.parts.portfolio.total
        for asset, amount in total.items():
            expected = self._account.state.expected(asset)
            if expected is not None and expected * MINOR_PER_UNIT != amount:
                raise RunError(
                    f"the engine counts {amount} units of {asset}, the journal "
                    f"{expected * MINOR_PER_UNIT:f}: the books cannot be trusted, start again"
                )
