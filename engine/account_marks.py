"""What stands in an account besides orders: markets, latches, counters, an operator's word."""

from decimal import Decimal

from engine.account import Account
from engine.account_state import LOSSES, NO_PEAK, WHOSE, Market, market_key
from engine.events import OrderState, RejectReason
from engine.instruments import Instrument
from engine.journal_layout import Kind, Latch, Name, Note, named
from engine.journal_sync import GroupCommit

MAX_NUMBERS = 9


def market_of(account: Account, instrument: Instrument) -> Market:
    """Return the account's entry of an instrument, journalled at its first use."""
    return account.state.markets[account.name(Name.INSTRUMENT, market_key(instrument))]


async def latch(account: Account, commit: GroupCommit, which: Latch, why: str) -> None:
    """Latch what stops new exposure; kept as the policy promises when this returns.

    It stays latched in every later run until `clear`.
    """
    seq = _latch(account, which, 1, why)
    await commit.durable(seq)


async def clear(account: Account, commit: GroupCommit, which: Latch, why: str) -> None:
    """Clear a latch, by an operator's word, with the reason; kept when this returns."""
    await commit.durable(operator_clears(account, which, why))


def operator_clears(account: Account, which: Latch, why: str) -> int:
    """Let an operator's word clear a latch; return the record's number.

    With DRAWDOWN goes the peak that it was counted from, or the next price would latch it again:
    the peak begins anew with the first equity that is known.
    """
    assert why, "an operator says why"
    account.note(Note.OPERATOR, f"{which.name} cleared: {why}")
    kept = counted(account, LOSSES, WHOSE)
    if which == Latch.DRAWDOWN and kept is not None:
        count(account, LOSSES, WHOSE, (*kept[:2], NO_PEAK))
    return _latch(account, which, 0, why)


def _latch(account: Account, which: Latch, on: int, why: str) -> int:
    ref = account.name(Name.TEXT, why[:1000] or "-")
    return account.put(Kind.LATCH, code=which, ref=ref, numbers=(on, *(0,) * 8))


def count(account: Account, counter: int, whose: str, numbers: tuple[int, ...]) -> int:
    """Store a counter's newest numbers (the loss of a day, say); return the record's number.

    The fold keeps the newest of each (counter, whose).
    """
    assert len(numbers) <= MAX_NUMBERS
    ref = account.name(Name.TEXT, whose)
    padded = (*numbers, *(0,) * (MAX_NUMBERS - len(numbers)))
    return account.put(Kind.COUNTERS, code=counter, ref=ref, numbers=padded)


def counted(account: Account, counter: int, whose: str) -> tuple[int, ...] | None:
    """Return a counter's newest numbers, None when there are none."""
    ref = account.state.reference(Name.TEXT, whose)
    return account.state.counters.get((counter, ref)) if ref else None


def declare_balance(account: Account, asset: str, amount: Decimal, why: str) -> None:
    """Let an operator's word be what the account holds of an asset now."""
    counts = account.state.expected(asset)
    instead = "" if counts is None else f" instead of {counts:f}"
    account.note(Note.OPERATOR, f"{asset} {amount:f}{instead}: {why}")
    account.put(Kind.BALANCE, ref=account.name(Name.ASSET, asset), body=named(f"{amount:f}"))


def operator_ends(account: Account, client: str, why: str) -> None:
    """Let an operator's word end an order that no proof ends.

    UNKNOWN: it never arrived. One that contradicts the venue's: it is over there.
    """
    assert why, "an operator says why"
    if account.state.orders[client].state == OrderState.UNKNOWN:
        account.note(Note.OPERATOR, f"{client} never arrived: {why}")
        account.ended(client, Kind.REJECT, RejectReason.NEVER_ARRIVED, 0, "operator")
    else:
        account.note(Note.OPERATOR, f"{client} is over at the venue: {why}")
        account.ended(client, Kind.CANCELED, RejectReason.ENDED_BY_VENUE)
