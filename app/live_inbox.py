"""What a venue's side tells a live run: rows for the tape, and trouble with the measures it asks.

The account journals first and tells then; here every event of this run's orders becomes rows. An
event of an earlier run's order changes the account only; a late fill of one is an OPENING row.
"""

from collections.abc import Callable, Mapping

from app.log import logger
from engine.account import Account
from engine.account_state import Market
from engine.client_ids import client_id
from engine.events import Command
from engine.journal_layout import Latch
from engine.live_tape import LiveTape
from engine.money import Grid
from engine.row_words import row_head
from engine.rows import Kind
from engine.venue_answers import POSITION
from engine.venue_events import Filled, Healed, Measure, Trouble, Unknown, VenueEvent
from engine.venue_rows import rows_of

TROUBLE_EVENT = 23  # event code of the audit for what befalls orders
A_RESTART_ENDS = frozenset({"journal.failed", "orders.task_failed", "orders.send_failed"})


class Inbox:
    """Takes an account's events, in its turn; never calls back.

    Args:
        now: stamps rows, ns.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._tape: LiveTape | None = None
        self._log = logger("orders")
        self.reduce_only: set[str] = set()  # symbols
        self.halts: list[str] = []  # why; the newest last
        self.latches: list[tuple[Latch, str]] = []  # to be journalled
        self.counts: dict[str, int] = {}  # of events by kind

    def bind(
        self,
        tape: LiveTape,
        account: Account,
        assets: Mapping[str, int],
        *,
        wake: Callable[[], None],
        note: Callable[[str, str], None],
        tell_person: Callable[[str, str], None],
    ) -> None:
        """Write rows from here on.

        Args:
            tape: of the run.
            account: whose orders they are.
            assets: places of the wallets.
            wake: says that rows have come.
            note: writes an event into the audit.
            tell_person: tells people who are not watching, by a code of docs/notifications.md.
        """
        self._tape, self._account, self._assets = tape, account, dict(assets)
        self._wake, self._note, self._tell_person = wake, note, tell_person
        self._places = {one.symbol: at for at, one in enumerate(tape.instruments)}
        if self.halts:
            self._kill(self.halts[-1])

    def release(self) -> None:
        """Write no more rows: the tape is being closed."""
        self._tape = None

    def tell(self, event: VenueEvent) -> None:
        """Take one event."""
        name = type(event).__name__
        self.counts[name] = self.counts.get(name, 0) + 1
        if isinstance(event, Trouble):
            self._trouble(event)
        elif isinstance(event, Healed):
            self._log.info("orders.healed", trouble=event.code)
            if event.symbol:
                self.reduce_only.discard(event.symbol)
            elif event.code == "orders.unresolved":
                self.reduce_only.clear()
        elif self._tape is not None:
            self._rows(event)
            if isinstance(event, Unknown):
                text = (
                    f"{event.symbol}: nobody knows whether an order stands; it counts as if it did"
                )
                self._tell_person("order_unknown", text)

    def refuse(self, instrument: int, order_id: int, reason: int) -> None:
        """Say on the tape that an order was not sent."""
        assert self._tape is not None
        head = row_head(int(Kind.NOT_SENT), instrument)
        self._tape.push(head, 0, self._now(), (order_id, int(reason), 0, 0, 0))
        self._wake()

    def command(self, command: Command, reference: int = 0, argument: int = 0) -> None:
        """Put a command onto the tape."""
        assert self._tape is not None
        head = row_head(int(Kind.CONTROL))
        self._tape.push(head, 0, self._now(), (int(command), reference, argument, 0, 0))
        self._wake()

    def opening(self, asset: int, amount: int, capital: bool) -> None:
        """Put a balance onto the tape."""
        assert self._tape is not None
        head = row_head(int(Kind.OPENING))
        self._tape.push(head, 0, self._now(), (asset, amount, 0, int(capital), 0))

    def position(self, symbol: str, side: int, lots: int, owner_cost: tuple[int, int]) -> None:
        """Put a position onto the tape; owner_cost = (owner, cost in minor units)."""
        assert self._tape is not None
        head = row_head(int(Kind.OPENING), self._places[symbol], side)
        owner, cost = owner_cost
        self._tape.push(head, 0, self._now(), (POSITION, lots, owner, 0, cost))

    def _rows(self, event: VenueEvent) -> None:
        tape = self._tape
        assert tape is not None
        if isinstance(event, Filled) and event.tag != self._account.tag:
            self._earlier(event)
            return
        if getattr(event, "symbol", "") not in self._places:
            return
        rows = rows_of(
            event,
            self._account.tag,
            self._now(),
            self._places,
            lambda name: self._assets.get(name, -1),
        )
        if len(rows) and not tape.append(rows):  # no room but what is kept for these
            for row in rows:
                head = row_head(
                    int(row["kind"]), int(row["instrument"]), int(row["side"]), int(row["flags"])
                )
                words = tuple(int(row[f"i{at}"]) for at in range(5))
                tape.push(head, int(row["ts_event"]), int(row["ts_recv"]), words)
        self._wake()

    def _earlier(self, fill: Filled) -> None:
        """Book a fill of an earlier run's order: it moves balances and the position."""
        order = self._account.state.orders[client_id(fill.tag, fill.ordinal)]
        market: Market = self._account.state.markets[order.ref]
        one, grid = market.instrument, Grid(market.instrument)
        notional = grid.notional(fill.price_tick, fill.qty_lot)
        moves = [
            (one.base, fill.side * fill.qty_lot * grid.lot_minor),
            (one.quote, -fill.side * notional),
            (fill.fee_asset, -fill.fee_minor),
        ]
        for name, amount in moves:
            if amount and name in self._assets:
                self.opening(self._assets[name], amount, False)
        if one.symbol in self._places:
            self.position(one.symbol, fill.side, fill.qty_lot, (-1, notional))
        self._note("orders.earlier_fill", f"{one.symbol}: {fill.side * fill.qty_lot} lots")
        self._wake()

    def _trouble(self, trouble: Trouble) -> None:
        name = trouble.measure.name.lower()
        self._log.warning("orders.trouble", trouble=trouble.code, text=trouble.text, measure=name)
        if self._tape is not None:
            self._note(trouble.code, f"{name}: {trouble.text}"[:300])
        if trouble.measure == Measure.REDUCE:
            self.reduce_only.add(trouble.symbol)
        elif trouble.measure == Measure.HALT:
            why = f"{trouble.code}: {trouble.text}"
            self.halts.append(why)
            if trouble.code not in A_RESTART_ENDS:
                self.latches.append((Latch.ACCOUNT, why))
            if self._tape is not None:
                self._kill(why)

    def _kill(self, why: str) -> None:
        self._tell_person("halt", why)
        self._log.error("orders.halted", cause=why, remedy="look, then lab.py account show")
        self.command(Command.KILL)
