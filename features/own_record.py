"""Own state for features: the record behind the market's, and shares of the account's equity."""

from numba import carray

from engine.kernel.memory import pointer
from engine.own_state import OWN
from features.step import NAN, Record, step

OWN_STATE = ("own_state",)
OWN_SIGNAL = ("own_state", "own_signal")
OWN_CLASSIFIER = ("own_state", "own_classifier")


@step
def own_of(m: Record) -> Record:
    """Return the OWN record of the slot that decides; only where `m["own"]` is not 0."""
    return carray(pointer(m["own"]), (1,), OWN)[0]


@step
def percent_of_equity(amount: float, o: Record) -> float:
    """Return an amount in percent of the equity; NaN while the account has none.

    >>> import numpy as np
    >>> account = np.zeros(1, OWN)[0]
    >>> account["equity"] = 200.0
    >>> percent_of_equity(5.0, account)
    2.5
    >>> account["equity"] = 0.0
    >>> percent_of_equity(5.0, account)
    nan
    """
    return 100.0 * amount / o["equity"] if o["equity"] > 0.0 else NAN
