"""Puts together what a model that reads own state is told: a record beside the market's.

Nothing is changed by it but the record: who reads does not move the gate's peak, so that a shadow
that is told of the account leaves no trace in what is traded.
"""

import math

from numba import carray, njit

from engine.kernel.memory import pointer
from engine.kernel.places import (
    book_at,
    desk_of,
    market_at,
    markets_of,
    slot_at,
    trigger_at,
)
from engine.limits import MAX_MODELS
from engine.own_state import OWN
from risk.exposure_kernel import gate_of, used_by
from risk.gate_kernel import MINOR, equity_now

NAN = math.nan
FEE_UNIT = 1e-8


@njit
def put_together(root, at):  # type: ignore[no-untyped-def]
    """Fill in the own state of a slot that is about to read it."""
    slot, gate = slot_at(root, at), gate_of(root)
    instrument = slot["instrument"]
    m = market_at(root, instrument)
    o = carray(pointer(slot["own"]), (1,), OWN)[0]
    o["equity"] = equity_now(gate, markets_of(root))
    peak = gate["peak_equity"]
    o["peak"] = o["equity"] if o["equity"] > peak else peak
    o["at_risk"] = 0.0
    for each in range(root["n_instruments"]):
        if gate["instrument_filled"][each] != 0:
            o["at_risk"] += at_risk(root, each)
    o["held"] = worth(gate["position_lot"][instrument], m)
    o["peer_held"] = NAN
    if m["peer"] != 0:
        peer = m["peer"] - 1
        o["peer_held"] = worth(gate["position_lot"][peer], market_at(root, peer))
    o["taker_fee"] = desk_of(root)["taker_rate"] * FEE_UNIT
    owner = o["owner"]
    book = book_at(root, owner, instrument)
    o["position"] = worth(book["position_lot"], m)
    o["cost"] = float(book["cost"])
    o["losses"] = float(desk_of(root)["losses"][owner + 1])
    o["used"] = float(used_by(gate, owner))
    o["limit"] = float(gate["limit"][owner])
    hear(root, o)


@njit(forceinline=True)
def worth(lots, m):  # type: ignore[no-untyped-def]
    """Return what lots are worth at mid, signed; 0 for none, whatever the mid."""
    return lots * m["lot"] * m["mid"] * MINOR if lots != 0 else 0.0


@njit
def at_risk(root, instrument):  # type: ignore[no-untyped-def]
    """Return what is lost in an instrument if every position went to its stop.

    Lots under a stop count with their way from mid to it (0 once the mid is beyond), all other lots
    of the owners' books with their whole worth.
    """
    m = market_at(root, instrument)
    lots = 0
    for owner in range(-1, MAX_MODELS):
        lots += abs(book_at(root, owner, instrument)["position_lot"])
    lost = 0.0
    for at in range(root["trigger_high"]):
        g = trigger_at(root, at)
        if g["active"] == 1 and g["instrument"] == instrument and g["stop_tick"] > 0:
            way = g["side"] * (m["mid"] - g["stop_tick"] * m["tick"])
            if way > 0.0 or way != way:
                lost += g["lots"] * m["lot"] * way * MINOR
            lots -= g["lots"]
    return lost + worth(max(0, lots), m)


@njit
def hear(root, o):  # type: ignore[no-untyped-def]
    """Note what the named models said last, NaN where they are silent or said it too long ago."""
    o["signal_action"] = o["signal_sell"] = o["signal_hold"] = o["signal_buy"] = NAN
    o["classifier_buy"] = NAN
    if speaks(root, o, o["signal_slot"]):
        said = slot_at(root, o["signal_slot"])
        o["signal_action"] = float(said["said_action"])
        o["signal_sell"] = said["said_sell"]
        o["signal_hold"] = said["said_hold"]
        o["signal_buy"] = said["said_buy"]
    if speaks(root, o, o["classifier_slot"]):
        o["classifier_buy"] = slot_at(root, o["classifier_slot"])["said_buy"]


@njit
def speaks(root, o, at):  # type: ignore[no-untyped-def]
    """Tell whether a slot's last decision was a model's answer, and is young enough."""
    if at < 0:
        return False
    said = slot_at(root, at)
    total = said["said_sell"] + said["said_hold"] + said["said_buy"]
    return total > 0.0 and root["now"] - said["said_ts"] <= o["max_signal_age_ns"]
