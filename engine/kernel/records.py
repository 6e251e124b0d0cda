"""Writing audit records from jitted code: into the buffer that the audit writer empties."""

from numba import njit

from engine.audit_layout import Record
from engine.kernel.places import market_at, next_audit

DECISION, SHADOW = int(Record.DECISION), int(Record.SHADOW)


@njit(forceinline=True)
def open_decision(root, slot):  # type: ignore[no-untyped-def]
    """Record a decision but for what was decided: its number, its row, and the market it saw."""
    m = market_at(root, slot["instrument"])
    kind = DECISION
    if slot["shadow"] == 1:
        kind = SHADOW
        root["signal_id"] = root["shadow_decisions"]
        root["shadow_decisions"] += 1
    else:
        root["signal_id"] = root["decisions"]
        root["decisions"] += 1
    record = next_audit(root)
    record["id"] = root["signal_id"]
    record["kind"] = kind
    record["instrument"] = slot["instrument"]
    record["model"] = slot["model"]
    record["i3"] = slot["row_hash"]
    record["f4"] = m["bid"]
    record["f5"] = m["ask"]
    record["i6"] = root["now"] - m["quote_ts"]
    return record


@njit(forceinline=True)
def close_decision(root, slot, record, verdict):  # type: ignore[no-untyped-def]
    """Put into the record what the model said and what became of it, verdict = (action, reason)."""
    action, reason = verdict
    slot["counts"][action] += 1
    slot["holds"][reason] += 1
    record["code"] = action
    record["aux"] = reason
    record["f0"] = root["p_sell"]
    record["f1"] = root["p_hold"]
    record["f2"] = root["p_buy"]


@njit(forceinline=True)
def push_decision(root, slot, action, reason):  # type: ignore[no-untyped-def]
    """Record a decision: what the model said, what became of it, and the market it saw."""
    close_decision(root, slot, open_decision(root, slot), (action, reason))
    root["action"] = action
    root["hold_reason"] = reason
    root["signal_ts"] = root["now"]
    root["signal_row"] = root["row"]
    root["signal_instrument"] = slot["instrument"]
    root["signal_model"] = slot["model"]
    if slot["told"] == 1:
        slot["said_ts"] = root["now"]
        slot["said_action"] = action
        slot["said_sell"], slot["said_hold"] = root["p_sell"], root["p_hold"]
        slot["said_buy"] = root["p_buy"]
