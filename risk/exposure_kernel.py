"""What orders and fills do to the gate's record: exposures of models, instruments, account.

Exposure is at cost: filled (what the position cost) + resting + in flight + unknown (at the worst
price the order may fill at).
"""

from numba import carray, njit

from engine.audit_layout import Record
from engine.kernel.memory import pointer
from engine.kernel.places import append_audit
from risk.gate_layout import GATE

EXPOSURE = int(Record.EXPOSURE)


@njit(forceinline=True)
def gate_of(root):  # type: ignore[no-untyped-def]
    """Return the GATE record."""
    return carray(pointer(root["gate"]), (1,), GATE)[0]


@njit(forceinline=True)
def used_by(gate, model):  # type: ignore[no-untyped-def]
    """Return a model's exposure: filled + resting + in flight + unknown."""
    return (
        gate["filled"][model]
        + gate["resting"][model]
        + gate["in_flight"][model]
        + gate["unknown"][model]
    )


@njit
def move(gate, model, change):  # type: ignore[no-untyped-def]
    """Change a model's (filled, resting, in flight, unknown) exposure."""
    gate["filled"][model] += change[0]
    gate["resting"][model] += change[1]
    gate["in_flight"][model] += change[2]
    gate["unknown"][model] += change[3]
    gate["max_seen"][model] = max(gate["max_seen"][model], used_by(gate, model))


@njit
def record_exposure(root, model, cause):  # type: ignore[no-untyped-def]
    """Write a model's exposure into the audit; cause = (record kind, order id, instrument)."""
    if model < 0:
        return
    gate = gate_of(root)
    slots = (
        gate["filled"][model],
        gate["resting"][model],
        gate["in_flight"][model],
        gate["unknown"][model],
        used_by(gate, model),
        gate["limit"][model],
        cause[1],
    )
    append_audit(root, (EXPOSURE, root["exposure_id"], cause[0], 0, cause[2], model), slots)
    root["exposure_id"] += 1


@njit
def release_reserve(gate, owner, amount):  # type: ignore[no-untyped-def]
    """Take back what was reserved for lots; owner = (instrument, model, rests)."""
    gate["gross_reserved"] -= amount
    gate["instrument_reserved"][owner[0]] -= amount
    if owner[1] >= 0:
        if owner[2] != 0:
            gate["resting"][owner[1]] -= amount
        else:
            gate["in_flight"][owner[1]] -= amount


@njit
def book_fill(gate, owner, fill):  # type: ignore[no-untyped-def]
    """Count a fill.

    owner = (instrument, model, rests), fill = (signed lots, opened, closed, gain, released).

    `opened` and `closed` are at cost, `gain` is net of the fee, `released` what the filled lots had
    reserved. The reserve goes first, so that no reader of the audit sees both.
    """
    lots, opened, closed, gain, released = fill
    release_reserve(gate, owner, released)
    at = owner[0]
    sign = 1 if lots > 0 else -1
    gate["position_lot"][at] += lots
    gate["position_cost"][at] += sign * (opened + closed)
    gate["instrument_filled"][at] += opened - closed
    gate["gross_filled"] += opened - closed
    gate["realized"] += gain
    if owner[1] >= 0:
        move(gate, owner[1], (opened - closed, 0, 0, 0))


@njit
def end_order(gate, owner, released):  # type: ignore[no-untyped-def]
    """Count an order that is over; owner = (instrument, model, rests, 1 for its first owner)."""
    gate["open_orders"] -= owner[3]
    if released != 0:
        release_reserve(gate, owner, released)


@njit
def to_resting(gate, model, amount):  # type: ignore[no-untyped-def]
    """Count an acknowledged order as resting instead of in flight."""
    if model >= 0:
        gate["in_flight"][model] -= amount
        gate["resting"][model] += amount
