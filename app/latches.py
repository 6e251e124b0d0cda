"""Tells people when risk's latches close: the kill switch, the largest drawdown.

Whoever latched it, and wherever the row came from: the gate's record is looked at between wakes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

TOLD = (
    ("killed", "kill", "the kill switch is latched, nothing opens any more"),
    ("drawdown_latched", "halt", "the largest drawdown is reached, nothing opens any more"),
)


class Latches:
    """Looks at the latches of one session; each is told once, when it closes.

    Args:
        gate: GATE record of the run.
        tell: called with a code of docs/notifications.md and a text.

    Example:
        >>> gate = np.zeros(1, [("killed", "i8"), ("drawdown_latched", "i8")])
        >>> latches = Latches(gate[0], lambda code, text: print(code))
        >>> latches.look()
        >>> gate["killed"] = 1
        >>> latches.look(), latches.look()
        kill
        (None, None)
    """

    def __init__(self, gate: np.void, tell: Callable[[str, str], Any]) -> None:
        self._gate, self._tell = gate, tell
        self._open = list(TOLD)

    def look(self) -> None:
        """Tell of what has closed since the last look."""
        for latch in [one for one in self._open if self._gate[one[0]]]:
            self._open.remove(latch)
            self._tell(*latch[1:])
