"""The records of models on threads: what each is busy with, and the requests that are open."""

from enum import IntEnum

import numpy as np

MODEL = np.dtype(
    [
        ("every_n_count", "i8"),
        ("serves", "i8"),  # place of the request in service, plus 1; 0 while its thread is free
    ],
    align=True,
)

ASKED = np.dtype(
    [  # one open request to a model on a thread: what its signal will stand on
        ("state", "i8"),  # AskedState
        ("request", "i8"),
        ("ts", "i8"),  # kernel time of the decision that asked
        ("due_ts", "i8"),  # when it answers, where the tape does not say
        ("row_hash", "i8"),
        ("quote_ts", "i8"),
        ("bid", "f8"),
        ("ask", "f8"),
        ("p_sell", "f8"),
        ("p_hold", "f8"),
        ("p_buy", "f8"),
    ],
    align=True,
)


class AskedState(IntEnum):
    """Where an open request is. Where the tape answers, requests WAIT until it does."""

    FREE = 0
    WAITING = 1
    IN_SERVICE = 2
    ANSWERED = 3  # with a result, that a wake will settle
