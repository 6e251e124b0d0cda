"""The compiled half of the gate, as the gate calls it."""

from collections.abc import Callable


class GateKernel:
    """The compiled functions the gate calls, bound to one run's state.

    Args:
        mid_tick: gives an instrument's mid in ticks, 0 before the first quote.
        check: takes a REQUEST's address, returns Block bits and reserves on 0.
        fill, end, rest: see app/kernel.py.
    """

    __slots__ = ("check", "end", "fill", "mid_tick", "rest")

    def __init__(
        self,
        mid_tick: Callable[[int], float],
        check: Callable[[int], int],
        fill: Callable[..., None],
        end: Callable[..., None],
        rest: Callable[[int, int], None],
    ) -> None:
        self.mid_tick = mid_tick
        self.check = check
        self.fill = fill
        self.end = end
        self.rest = rest
