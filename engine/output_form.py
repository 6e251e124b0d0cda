"""What the columns of a model's output are, as a strategy sees it beside the numbers."""

import msgspec


class OutputForm(msgspec.Struct, frozen=True):
    """The declared form of one model's output.

    Attributes:
        kind: classifier3, binary, regressor, quantiles, size, action or discrete8.
        columns: their names, in order.
        horizons, levels: of quantiles: columns are horizon by horizon, each with these levels.
        act_on: of quantiles: the horizon that decides.
    """

    kind: str
    columns: tuple[str, ...]
    horizons: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    act_on: str = ""

    @property
    def sizes(self) -> bool:
        """Whether its signals say which position is wanted."""
        return self.kind in ("size", "action", "discrete8")

    def column(self, horizon: str, level: float) -> int:
        """Return the column of a quantile; -1 where there is none.

        Args:
            horizon: one of `horizons`; empty takes the one that decides.
            level: one of `levels`.
        Example:
            >>> OutputForm("quantiles", ("a", "b"), ("1m",), (0.1, 0.5), "1m").column("", 0.5)
            1
        """
        horizon = horizon or self.act_on
        if horizon not in self.horizons or level not in self.levels:
            return -1
        return self.horizons.index(horizon) * len(self.levels) + self.levels.index(level)


NO_FORM = OutputForm("", ())
