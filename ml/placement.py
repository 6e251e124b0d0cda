"""Where a model is run: in the hot path, or on a thread of its own. Decided once, at registration.

A stopwatch at run time would let the machine's mood decide what a run does. So the time of one row
is measured when a model is registered, compared with the budget of its cadence, and kept.
"""

from typing import Literal

Placement = Literal["inline", "thread"]
Wish = Literal["auto", "inline", "thread"]
TICK_BUDGET_US = 50.0  # a model asked on quotes, trades or a timer
BAR_BUDGET_US = 300.0  # a model asked when a bar has closed


def placement_of(cadence: str, latency_us: float, wish: Wish = "auto") -> Placement:
    """Return where a model belongs; an unknown cadence has the budget of ticks.

    >>> placement_of("bar:1m", 200.0), placement_of("every:250ms", 200.0), placement_of("", 20.0)
    ('inline', 'thread', 'inline')
    """
    if wish != "auto":
        return wish
    budget = BAR_BUDGET_US if cadence.partition(":")[0] == "bar" else TICK_BUDGET_US
    return "inline" if latency_us <= budget else "thread"
