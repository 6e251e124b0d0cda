"""Let a venue's word on an order or a plan's steps become records and events of the account."""

from collections.abc import Iterable

from engine.account import Account
from engine.journal_layout import Doubt, Kind, Note
from engine.reconcile import (
    Acknowledge,
    Book,
    Contradiction,
    Differs,
    Doubtful,
    End,
    Foreign,
    Missing,
    Step,
    difference,
    end_of,
)
from engine.venue_events import Measure, OrderReport, Trouble


def apply_report(account: Account, report: OrderReport) -> int:
    """Book what a report proves; return how many filled lots are still to be asked for.

    An order is not ended while fills of it are missing: they come first.
    """
    order = account.state.orders.get(report.client_id)
    if order is None:
        return 0
    field = difference(order, report, account.state)
    if field:
        contradict(account, report.client_id, field)
        return 0
    account.acked(report.client_id, report.venue_id, report.ts_event)
    if report.filled_lot > order.filled_lot:
        return report.filled_lot - order.filled_lot
    ends = end_of(order, report)
    if ends is not None and not order.over:
        account.ended(report.client_id, ends[0], ends[1], report.ts_event, report.code)
    return 0


def contradict(account: Account, client: str, field: str) -> None:
    """Put a message aside that cannot be about our order, and halt."""
    account.note(Note.QUARANTINE, f"{client}: the venue has another {field}")
    account.tell(
        Trouble(
            code="orders.quarantine",
            text=f"the venue's order {client} has another {field} than ours",
            measure=Measure.HALT,
            orders=(client,),
        )
    )


def carry_out(account: Account, steps: Iterable[Step]) -> list[Missing]:
    """Carry out a plan, in order; return the fills that the venue still owes."""
    missing = []
    for step in steps:
        if isinstance(step, Acknowledge):
            account.acked(step.client_id, step.venue_id, step.ts_event)
        elif isinstance(step, Book):
            account.filled(step.trade)
        elif isinstance(step, End):
            account.ended(step.client_id, Kind(step.kind), step.reason, step.ts_event)
        elif isinstance(step, Doubtful):
            account.unknown(step.client_id, Doubt.RESTART)
        elif isinstance(step, Contradiction):
            contradict(account, step.client_id, step.field)
        elif isinstance(step, Foreign):
            _foreign(account, step)
        elif isinstance(step, Differs):
            _differs(account, step)
        elif isinstance(step, Missing):
            missing.append(step)
    return missing


def _foreign(account: Account, step: Foreign) -> None:
    """Report an order that is not ours, once for each start."""
    report = step.report
    what = (
        "an order with an id of ours that the journal does not know"
        if step.lost
        else ("an order that this engine did not send")
    )
    name = report.client_id if step.lost else f"venue id {_plain(report.venue_id)}"
    account.note(Note.FOREIGN_ORDER, f"{report.symbol} {name}")
    account.tell(
        Trouble(
            code="account.lost_order" if step.lost else "account.foreign_order",
            text=f"{report.symbol}: {what} is open ({name}); it is left alone",
            measure=Measure.HALT if step.lost else Measure.TELL,
            symbol=report.symbol,
            orders=(report.client_id,) if step.lost else (),
        )
    )


def _differs(account: Account, step: Differs) -> None:
    words = f"{step.asset}: the venue says {step.found}, the journal adds up to {step.expected}"
    account.note(Note.BALANCE_DIFFERS, words)
    account.tell(
        Trouble(
            code="account.balance_differs",
            text=f"{words}; no new exposure until an operator has looked",
            measure=Measure.HALT,
        )
    )


def _plain(text: str) -> str:
    """Return a venue's id without what could be taken for anything else in a log."""
    return "".join(c for c in text if c.isalnum() or c in "-_")[:40]
