"""The bars of `make bench`: a figure of ours, its floor of the same run, and what it must reach."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: what was measured.
        ours, floor: in `unit`; the floor is 0.0 where there is none.
        ratio: what is compared with the bar: ours / floor of times, or floor / ours of speeds.
        bar: the highest ratio allowed; the lowest where `at_least`.
        unit: of ours and floor.
        note: what the floor is, and what else was seen.
    """

    name: str
    ours: float
    floor: float
    ratio: float
    bar: float
    unit: str
    note: str = ""
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Tell whether the bar is met.

        >>> Figure("a", 3.0, 2.0, 1.5, 1.75, "ns").passed
        True
        >>> Figure("b", 3.0, 2.0, 1.5, 12.0, "ns", at_least=True).passed
        False
        """
        return self.ratio >= self.bar if self.at_least else self.ratio <= self.bar

    @property
    def verdict(self) -> str:
        """Return `<= 1.75 PASS` and the like."""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.bar:.4g} {'PASS' if self.passed else 'MISS'}"
