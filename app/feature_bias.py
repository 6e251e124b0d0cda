"""Look-ahead and recursion, found by computing the same values again from other rows.

Look-ahead: rows behind a random row are cut off, or become other rows; nothing before may change.
Recursion: the same moment is computed from ever longer histories; the values must come together.
Both compare values of features (and of a model's answers), never trades: what was computed is
named with the first moment at which it differs and both values. The two commands of freqtrade
(lookahead-analysis, recursive-analysis) gave the idea.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from engine.row_arrays import copy_rows, take_rows
from engine.rows import Kind

MULTIPLES = (1, 2, 4, 8, 16)
SETTLED = 1e-3  # of the feature's own spread: what may be left of where the data began
# The start of the data has a place in their formula; the values differ, and say the same.
BEGINS_ANYWHERE = {"vpin": "its buckets of volume are counted from the first bar"}


class Table(NamedTuple):
    """Values at moments: one row of `x` for each.

    Attributes:
        ts: int64[n], ns.
        row: int64[n], the row behind which the values were computed.
        x: float[n, columns]; NaN where there is no value.
        names: of the columns.
    """

    ts: np.ndarray
    row: np.ndarray
    x: np.ndarray
    names: tuple[str, ...]


Compute = Callable[[np.ndarray], Table]  # ROW[n] in, values at the moments among them out


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One feature that is not what it was; `whole` with all rows, `other` with fewer."""

    feature: str
    check: str  # what was done to the rows
    row: int  # number of the moment
    ts: int  # ns
    whole: float | None
    other: float | None
    cut: int = 0  # the row behind which they differ

    def text(self) -> str:
        """Return one line for a person."""
        moment = np.datetime64(self.ts, "ns").astype("datetime64[ms]")
        return (
            f"{self.feature}: row {self.row} ({moment}) is {_shown(self.whole)}, and "
            f"{_shown(self.other)} {self.check}"
        )


def _shown(value: float | None) -> str:
    return "not there" if value is None else f"{value:.9g}"


def look_ahead(
    compute: Compute, rows: np.ndarray, *, cuts: int, draw: np.random.Generator
) -> list[Difference]:
    """Cut the rows at random places and compare all that was computed before.

    Args:
        compute: what to examine.
        rows: ROW[n], of one instrument or two.
        cuts: how many places; at each the rest is cut off once and once made another market.
        draw: chooses the places.
    Returns:
        One difference for each feature that has any: the earliest that was found.
    """
    whole = compute(rows)
    found: dict[str, Difference] = {}
    for cut in sorted(draw.integers(1, max(2, len(rows)), cuts).tolist()):
        for check, changed in (
            (f"when the rows from {cut} on are cut off", take_rows(rows, slice(0, cut))),
            (f"when the rows from {cut} on are others", other_future(rows, cut)),
        ):
            other = compute(changed)
            before = min(
                int(np.searchsorted(whole.ts, _last_time(rows, cut), side="right")),
                int(np.searchsorted(whole.row, cut)),
            )
            for one in differences(whole, other, before, check, cut):
                known = found.get(one.feature)
                if known is None or one.row < known.row:
                    found[one.feature] = one
    return [found[name] for name in whole.names if name in found]


def _last_time(rows: np.ndarray, cut: int) -> int:
    """Return the kernel time up to which the first `cut` rows have said everything."""
    kept = rows[:cut]
    return int(np.where(kept["ts_recv"] > 0, kept["ts_recv"], kept["ts_event"]).max())


def other_future(rows: np.ndarray, cut: int) -> np.ndarray:
    """Return the rows with everything from `cut` on at prices and sizes half as large again."""
    changed = copy_rows(rows)
    late = changed[cut:]
    for slot, kinds in (
        ("f0", (Kind.QUOTE, Kind.TRADE, Kind.BAR, Kind.DEPTH)),
        ("f1", (Kind.QUOTE, Kind.TRADE, Kind.BAR, Kind.DEPTH)),
        ("f2", (Kind.QUOTE, Kind.BAR)),
        ("f3", (Kind.QUOTE, Kind.BAR)),
        ("f4", (Kind.BAR,)),
    ):
        chosen = np.isin(late["kind"], [int(kind) for kind in kinds])
        late[slot] = np.where(chosen, 1.5 * late[slot], late[slot])
    return changed


def differences(
    whole: Table, other: Table, before: int, check: str, cut: int = 0
) -> list[Difference]:
    """Compare the first `before` moments bit for bit; return the first difference of each name."""
    count = min(before, len(whole.ts), len(other.ts))
    a, b = whole.x[:count], other.x[:count]
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    fewer = len(other.ts) < before <= len(whole.ts)
    found = []
    for column, name in enumerate(whole.names):
        at = np.flatnonzero(differ[:, column])
        if not len(at) and not fewer:
            continue
        k = int(at[0]) if len(at) else len(other.ts)
        found.append(
            Difference(
                feature=name,
                check=check,
                row=k,
                ts=int(whole.ts[k]),
                whole=float(whole.x[k, column]),
                other=float(b[k, column]) if len(at) else None,
                cut=cut,
            )
        )
    return found


class Settling(NamedTuple):
    """How a feature comes together with longer histories.

    Attributes:
        feature: its name.
        worst: largest distance at each of MULTIPLES, in spreads of the feature; NaN: no value.
        settles: whether the last one is at most SETTLED.
        example: the worst at the longest history.
        note: why it need not, or empty.
    """

    feature: str
    worst: tuple[float, ...]
    settles: bool
    example: Difference | None
    note: str


def recursion(
    compute: Compute,
    rows: np.ndarray,
    *,
    places: int,
    draw: np.random.Generator,
    unit: int = 0,
    notes: Mapping[str, str] | None = None,
) -> list[Settling]:
    """Compute random late moments from short histories, and compare with the whole one.

    Args:
        compute: what to examine.
        rows: ROW[n].
        places: how many moments.
        draw: chooses them.
        unit: rows in one unit of history; 0 takes what the slowest feature needs to be warm.
        notes: feature -> why the start of the data may show in it.
    Returns:
        One line for each feature, in order; empty where the rows are too few.
    """
    whole = compute(rows)
    unit = unit or _rows_until_warm(compute, rows, whole)
    longest = MULTIPLES[-1] * unit
    if unit < 1 or len(rows) <= longest + 1:
        return []
    ends = sorted(draw.integers(longest + 1, len(rows) + 1, places).tolist())
    spread = np.nanstd(np.where(np.isfinite(whole.x), whole.x, np.nan), axis=0)
    worst = np.zeros((len(MULTIPLES), len(whole.names)))
    examples: dict[str, Difference] = {}
    for end in ends:
        for k, multiple in enumerate(MULTIPLES):
            part = compute(take_rows(rows, slice(end - multiple * unit, end)))
            last = _last_common(whole, part)
            if last is None:
                continue
            i, j = last
            away = _distance(whole.x[i], part.x[j], spread)
            if multiple == MULTIPLES[-1]:
                _keep_worst(examples, whole, part, (i, j), (away, worst[k]))
            worst[k] = np.fmax(worst[k], away)
    found = []
    for column, name in enumerate(whole.names):
        line = tuple(float(x) for x in worst[:, column])
        note = next((why for key, why in (notes or {}).items() if name.startswith(key)), "")
        example = examples.get(name)
        found.append(Settling(name, line, line[-1] <= SETTLED, example, note))
    return found


def _rows_until_warm(compute: Compute, rows: np.ndarray, whole: Table) -> int:
    """Return how many rows stand before the first moment at which every column has a value.

    Columns that never have one are not waited for.
    """
    there = np.isfinite(whole.x)
    ever = there.any(axis=0)
    ready = np.flatnonzero(there[:, ever].all(axis=1)) if ever.any() else np.zeros(0, np.int64)
    if not len(ready):
        return 0
    known = np.where(rows["ts_recv"] > 0, rows["ts_recv"], rows["ts_event"])
    return int(np.searchsorted(np.maximum.accumulate(known), whole.ts[ready[0]], side="right"))


def _last_common(whole: Table, part: Table) -> tuple[int, int] | None:
    """Return the places of the latest moment that both have."""
    for j in range(len(part.ts) - 1, -1, -1):
        i = int(np.searchsorted(whole.ts, part.ts[j], side="right")) - 1
        if i >= 0 and whole.ts[i] == part.ts[j]:
            return i, j
    return None


def _distance(a: np.ndarray, b: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return |a - b| in spreads; infinite where only one of them has a value."""
    with np.errstate(all="ignore"):
        away = np.abs(a.astype(float) - b.astype(float)) / np.where(spread > 0.0, spread, 1.0)
    away = np.where(a == b, 0.0, away)
    one_sided = np.isfinite(a) & ~np.isfinite(b)
    return np.where(one_sided, np.inf, np.where(np.isfinite(a), away, 0.0))


def _keep_worst(
    examples: dict[str, Difference],
    whole: Table,
    part: Table,
    at: tuple[int, int],
    away: tuple[np.ndarray, np.ndarray],
) -> None:
    i, j = at
    now, known = away
    for column in np.flatnonzero(now > known).tolist():
        name = whole.names[column]
        examples[name] = Difference(
            feature=name,
            check=f"from the last {MULTIPLES[-1]} warm-ups of rows alone",
            row=i,
            ts=int(whole.ts[i]),
            whole=float(whole.x[i, column]),
            other=float(part.x[j, column]),
        )
