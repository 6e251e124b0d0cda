"""From the root record to the records behind it.

Functions that take the root alone compile in a fraction of the time that those take which are
handed all arrays of the state, and a call of one passes a single pointer.
"""

from numba import carray, njit

from engine.audit_layout import AUDIT
from engine.kernel.asked_layout import ASKED, MODEL
from engine.kernel.bars_layout import BARS
from engine.kernel.layout import (
    BATCH,
    COLLECT,
    MATCHING,
    ORDER,
    OUT,
    SLOT,
    TRIGGER,
)
from engine.kernel.ledger import BOOK, DESK, GRID, LEDGER, WALLET
from engine.kernel.memory import pointer
from engine.kernel.pending_layout import PENDING
from engine.kernel.session_layout import SESSION
from engine.limits import AUDIT_BUFFER, MAX_ORDERS, MAX_OUT, PENDING_PLACES
from engine.market import MARKET

MANY = 1 << 30  # arrays whose length the root does not say; their users know it


@njit(forceinline=True)
def desk_of(root):  # type: ignore[no-untyped-def]
    """Return the DESK record."""
    return carray(pointer(root["desk"]), (1,), DESK)[0]


@njit(forceinline=True)
def grid_at(root, instrument):  # type: ignore[no-untyped-def]
    """Return an instrument's GRID."""
    return carray(pointer(root["grids"]), (MANY,), GRID)[instrument]


@njit(forceinline=True)
def wallet_at(root, currency):  # type: ignore[no-untyped-def]
    """Return a currency's WALLET."""
    return carray(pointer(root["wallets"]), (MANY,), WALLET)[currency]


@njit(forceinline=True)
def book_at(root, owner, instrument):  # type: ignore[no-untyped-def]
    """Return an owner's BOOK in an instrument."""
    at = (owner + 1) * root["n_instruments"] + instrument
    return carray(pointer(root["books_of"]), (MANY,), BOOK)[at]


@njit(forceinline=True)
def used_book(root, owner, instrument):  # type: ignore[no-untyped-def]
    """Return an owner's BOOK, marked as used."""
    book = book_at(root, owner, instrument)
    book["used"] = 1
    return book


@njit(forceinline=True)
def strategy_book(root, strategy, instrument):  # type: ignore[no-untyped-def]
    """Return a strategy's BOOK in an instrument, marked as used."""
    at = strategy * root["n_instruments"] + instrument
    book = carray(pointer(root["strategy_books"]), (MANY,), BOOK)[at]
    book["used"] = 1
    return book


@njit(forceinline=True)
def line_at(root, at):  # type: ignore[no-untyped-def]
    """Return a line of the LEDGER."""
    return carray(pointer(root["ledger"]), (MAX_ORDERS,), LEDGER)[at]


@njit(forceinline=True)
def markets_of(root):  # type: ignore[no-untyped-def]
    """Return MARKET[n_instruments]."""
    return carray(pointer(root["markets"]), (root["n_instruments"],), MARKET)


@njit(forceinline=True)
def market_at(root, instrument):  # type: ignore[no-untyped-def]
    """Return an instrument's MARKET."""
    return carray(pointer(root["markets"]), (MANY,), MARKET)[instrument]


@njit(forceinline=True)
def matching_at(root, instrument):  # type: ignore[no-untyped-def]
    """Return an instrument's MATCHING."""
    return carray(pointer(root["matching"]), (MANY,), MATCHING)[instrument]


@njit(forceinline=True)
def paper_order_at(root, at):  # type: ignore[no-untyped-def]
    """Return a place of the paper venue's ORDERs."""
    return carray(pointer(root["orders"]), (MAX_ORDERS,), ORDER)[at]


@njit(forceinline=True)
def answer_at(root, at):  # type: ignore[no-untyped-def]
    """Return one of the venue's answers, an OUT record."""
    return carray(pointer(root["out"]), (MAX_OUT,), OUT)[at]


@njit(forceinline=True)
def audit_at(root, at):  # type: ignore[no-untyped-def]
    """Return a record of the audit buffer."""
    return carray(pointer(root["audit"]), (AUDIT_BUFFER,), AUDIT)[at]


@njit(forceinline=True)
def next_audit(root):  # type: ignore[no-untyped-def]
    """Take the next record of the audit buffer and fill in its header."""
    record = audit_at(root, root["audit_count"])
    root["audit_count"] += 1
    record["seq"] = root["audit_seq"]
    root["audit_seq"] += 1
    record["ts"] = root["now"]
    record["row"] = root["row"]
    return record


@njit(forceinline=True)
def append_audit(root, head, slots):  # type: ignore[no-untyped-def]
    """Record an event: head = (kind, id, code, aux, instrument, model), seven int64."""
    record = next_audit(root)
    record["kind"] = head[0]
    record["id"] = head[1]
    record["code"] = head[2]
    record["aux"] = head[3]
    record["instrument"] = head[4]
    record["model"] = head[5]
    record["i0"] = slots[0]
    record["i1"] = slots[1]
    record["i2"] = slots[2]
    record["i3"] = slots[3]
    record["i4"] = slots[4]
    record["i5"] = slots[5]
    record["i6"] = slots[6]


@njit(forceinline=True)
def bars_at(root, at):  # type: ignore[no-untyped-def]
    """Return an instrument's BARS."""
    return carray(pointer(root["bars"]), (MANY,), BARS)[at]


@njit(forceinline=True)
def session_at(root, at):  # type: ignore[no-untyped-def]
    """Return an instrument's SESSION, in a run with calendars."""
    return carray(pointer(root["sessions"]), (MANY,), SESSION)[at]


@njit(forceinline=True)
def series_at(root, instrument, at):  # type: ignore[no-untyped-def]
    """Return one of an instrument's further BARS, which stand behind the base bars of all."""
    place = root["n_instruments"] + instrument * root["n_series"] + at
    return carray(pointer(root["bars"]), (MANY,), BARS)[place]


@njit(forceinline=True)
def slot_at(root, at):  # type: ignore[no-untyped-def]
    """Return a SLOT."""
    return carray(pointer(root["slots"]), (MANY,), SLOT)[at]


@njit(forceinline=True)
def model_at(root, at):  # type: ignore[no-untyped-def]
    """Return a MODEL."""
    return carray(pointer(root["models"]), (MANY,), MODEL)[at]


@njit(forceinline=True)
def asked_at(root, place):  # type: ignore[no-untyped-def]
    """Return a place of the ASKED requests: ASKED_PLACES for each slot, in order."""
    return carray(pointer(root["asked"]), (MANY,), ASKED)[place]


@njit(forceinline=True)
def pending_at(root, place):  # type: ignore[no-untyped-def]
    """Return a place of the PENDING rows."""
    return carray(pointer(root["pending"]), (PENDING_PLACES,), PENDING)[place]


@njit(forceinline=True)
def trigger_at(root, at):  # type: ignore[no-untyped-def]
    """Return a place of the TRIGGERs."""
    return carray(pointer(root["triggers"]), (MANY,), TRIGGER)[at]


@njit(forceinline=True)
def collected_at(root, at):  # type: ignore[no-untyped-def]
    """Return a place of the COLLECTed rows."""
    return carray(pointer(root["collect"]), (MANY,), COLLECT)[at]


@njit(forceinline=True)
def batch_at(root, at):  # type: ignore[no-untyped-def]
    """Return a place of the BATCH ring."""
    return carray(pointer(root["batches"]), (MANY,), BATCH)[at]
