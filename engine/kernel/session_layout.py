"""One record for each instrument: the regular sessions of its exchange, and where time stands."""

import numpy as np

SESSION = np.dtype(
    [
        ("table", "i8"),  # address of int64[count, 2], opens and closes in ns; 0: no calendar
        ("count", "i8"),
        ("exits_wait", "i8"),  # 1: what reduces waits for a session, too
        # what holds from `begins` until before `ends`
        ("begins", "i8"),
        ("ends", "i8"),
        ("shut", "i8"),  # HoldReason, NONE inside a session
        ("closes", "i8"),  # when the session in progress, or the next one, is over
        ("over", "i8"),  # 1: one has just closed, and Python has not yet looked at the orders
    ],
    align=True,
)
