"""After a market row: our resting orders may fill, our stops and targets may fire."""

from numba import njit

from engine.kernel.apply import BAR, TOUCH, TRADE
from engine.kernel.match import match_bar, match_open, match_touch, match_trade
from engine.kernel.places import matching_at
from engine.kernel.triggers import triggers_on_bar, triggers_on_touch
from engine.rows import ASSUMED, BAR_OPEN

CHANGED_SHIFT, FLAGS_SHIFT = 32, 40  # places in the word that says what happened


@njit
def follow_market(root, what):  # type: ignore[no-untyped-def]
    """Match our orders and look at our triggers after a market row moved an instrument.

    what = instrument | changed << CHANGED_SHIFT | flags << FLAGS_SHIFT, one word.
    """
    instrument = what & 0xFFFF
    changed = (what >> CHANGED_SHIFT) & 0xFF
    flags = what >> FLAGS_SHIFT
    x = matching_at(root, instrument)
    if changed & TOUCH != 0:
        if flags & BAR_OPEN != 0 and root["waiting_open"] > 0:
            match_open(root, instrument)
        if x["resting"] > 0:
            match_touch(root, instrument)
        if x["triggers"] > 0:
            if flags & ASSUMED != 0 or x["watching"] == 1:
                x["watching"] = 1
            triggers_on_touch(root, instrument)
    if changed & TRADE != 0 and x["resting"] > 0 and x["trusted"] == 1:
        match_trade(root, instrument)
    if changed & BAR != 0:
        if x["resting"] > 0:
            match_bar(root, instrument)
        if x["triggers"] > 0:
            triggers_on_bar(root, instrument)
