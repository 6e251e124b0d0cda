"""Compares somebody's feature matrix with the kernel's, column by column, and says what differs.

A matrix was made by other code, mostly pandas. Before its model may run here, every column must be
what our kernel computes from the same data, at the same time. Where it is not, the difference has
one of few causes, each with a test of its own: `CAUSES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CAUSES = {
    "agrees": "equal within the tolerance",
    "swapped": "two columns hold each other's values",
    "other_feature": "it holds the values of another feature",
    "ahead": "it holds what the kernel knows only later: look-ahead",
    "behind": "it holds what the kernel knew earlier",
    "scaled": "a constant factor or offset",
    "seed": "another start: the difference dies away",
    "rounded": "rounded",
    "some_rows": "differs at some rows only",
    "differs": "another formula, parameter or data",
    "blind": "no row in which both have a number",
}
MAX_SHIFT = 5
RELATIVE, OF_SPREAD = 1e-4, 1e-5
FEW = 8  # rows below which nothing is concluded


@dataclass(frozen=True)
class Finding:
    """What is to be said of one column.

    Attributes:
        column: its name in the matrix.
        feature: the feature it was compared with.
        rows: rows in which both have a number.
        cause: a key of CAUSES.
        largest: largest difference, absolute.
        first_row: row of the matrix that differs first, -1 for none; `theirs` and `ours` there.
        shift: the time shift, in the kernel's rows, at which the difference is least: +1 says that
            the matrix holds what the kernel knows one row later.
        text: what it means and what helps, one sentence.
    """

    column: str
    feature: str
    rows: int
    cause: str
    largest: float
    first_row: int
    theirs: float
    ours: float
    shift: int
    text: str

    @property
    def agrees(self) -> bool:
        """Whether nothing has to be done."""
        return self.cause == "agrees"


class Pairing:
    """Matrix rows beside kernel rows.

    Args:
        kernel: float[n, F], all rows in time order.
        features: their names.
        at: int64[m], the kernel row of each matrix row; -1 for none.
    """

    def __init__(self, kernel: np.ndarray, features: Sequence[str], at: np.ndarray) -> None:
        self.kernel = np.asarray(kernel, np.float64)
        self.features = list(features)
        self.at = at

    def ours(self, feature: str, shift: int = 0) -> np.ndarray:
        """Return the values for the matrix rows, moved by kernel rows; NaN where there are none."""
        column = self.kernel[:, self.features.index(feature)]
        at = np.where(self.at < 0, -1, self.at + shift)
        good = (at >= 0) & (at < len(column))
        return np.where(good, column[np.clip(at, 0, max(0, len(column) - 1))], np.nan)


def pair(matrix_ts: np.ndarray, kernel_ts: np.ndarray, *, exact: bool) -> np.ndarray:
    """Return for each matrix row the kernel row of its time, -1 where there is none.

    Args:
        matrix_ts, kernel_ts: int64 ns; the kernel's ascending.
        exact: only equal times (bars); else the last kernel row not after it (ticks).
    """
    if not len(kernel_ts):
        return np.full(len(matrix_ts), -1, np.int64)
    at = np.searchsorted(kernel_ts, matrix_ts, side="right") - 1
    if exact:
        at = np.where((at >= 0) & (kernel_ts[at.clip(0)] == matrix_ts), at, -1)
    return at.astype(np.int64)


def compare(
    columns: Mapping[str, np.ndarray], mapping: Mapping[str, str], pairing: Pairing
) -> list[Finding]:
    """Compare every mapped column with its feature.

    Args:
        columns: name -> float[m] of the matrix.
        mapping: column -> feature, both unique.
        pairing: the kernel's rows beside the matrix's.
    """
    found = []
    for column, feature in mapping.items():
        theirs = np.asarray(columns[column], np.float64)
        found.append(_compare_one(column, feature, theirs, pairing))
    held = {f.column: f.feature for f in found if f.cause == "other_feature"}
    named = {feature: column for column, feature in mapping.items()}
    return [
        _pair_up(finding, held, named) if finding.column in held else finding for finding in found
    ]


def _pair_up(finding: Finding, held: Mapping[str, str], named: Mapping[str, str]) -> Finding:
    """Turn two columns that hold each other's feature into a swapped pair."""
    theirs = finding.text  # the feature whose values it holds
    other = named.get(theirs, "")
    swapped = other in held and other != finding.column
    if swapped:
        text = f"holds {theirs}, and {other} holds {finding.feature}: the two are swapped"
        return _replace(finding, "swapped", f"{text}; rename them")
    text = f"holds the values of {theirs}, not of {finding.feature}"
    return _replace(
        finding, "other_feature", f"{text}; rename it, or --map {finding.column}={theirs}"
    )


def _replace(finding: Finding, cause: str, text: str) -> Finding:
    values = {**vars(finding), "cause": cause, "text": text}
    return Finding(**values)


def _compare_one(column: str, feature: str, theirs: np.ndarray, pairing: Pairing) -> Finding:
    ours = pairing.ours(feature)
    both = np.isfinite(theirs) & np.isfinite(ours)
    rows = int(both.sum())
    if rows < FEW:
        text = f"{rows} rows in which matrix and kernel both have a number; check times and symbol"
        return Finding(column, feature, rows, "blind", 0.0, -1, np.nan, np.nan, 0, text)
    gap = np.where(both, np.abs(theirs - ours), 0.0)
    wrong = both & ~_near(theirs, ours)
    lost = np.isfinite(ours) & ~np.isfinite(theirs) & (pairing.at >= 0)
    shift = _best_shift(theirs, feature, pairing) if wrong.any() else 0
    first = int(np.flatnonzero(wrong)[0]) if wrong.any() else -1
    cause, text = _cause(feature, theirs, pairing, wrong, shift)
    if cause == "agrees" and lost.any():
        cause = "some_rows"
        first = int(np.flatnonzero(lost)[0])
        text = f"no number in {int(lost.sum())} rows in which the kernel has one"
    seen = (float(theirs[first]), float(ours[first])) if first >= 0 else (np.nan, np.nan)
    largest = float(gap.max())
    return Finding(column, feature, rows, cause, largest, first, seen[0], seen[1], shift, text)


def _near(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Say where two columns agree: relative to the value, or to the spread of the column."""
    good = ours[np.isfinite(ours)]
    spread = float(good.std()) if len(good) else 0.0
    with np.errstate(invalid="ignore"):
        return np.abs(theirs - ours) <= OF_SPREAD * spread + RELATIVE * np.abs(ours) + 1e-9


def _share(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Return the share of rows that agree, of those in which both have a number."""
    both = np.isfinite(theirs) & np.isfinite(ours)
    return float(_near(theirs, ours)[both].mean()) if both.sum() >= FEW else 0.0


def _fits(theirs: np.ndarray, ours: np.ndarray) -> bool:
    return _share(theirs, ours) > 0.995


def _moves(values: np.ndarray) -> bool:
    """Say whether a column holds enough different numbers to be told from others."""
    good = values[np.isfinite(values)]
    return len(np.unique(good)) >= FEW


def _best_shift(theirs: np.ndarray, feature: str, pairing: Pairing) -> int:
    """Return the shift with the least median difference; of equal ones the smallest."""
    best, least = 0, np.inf
    for shift in sorted(range(-MAX_SHIFT, MAX_SHIFT + 1), key=lambda k: (abs(k), k)):
        ours = pairing.ours(feature, shift)
        both = np.isfinite(theirs) & np.isfinite(ours)
        if both.sum() < FEW:
            continue
        gap = float(np.median(np.abs(theirs - ours)[both]))
        if gap < least * (1 - 1e-9):
            best, least = shift, gap
    return best


def _cause(
    feature: str, theirs: np.ndarray, pairing: Pairing, wrong: np.ndarray, shift: int
) -> tuple[str, str]:
    """Find the cause of a difference: the likeliest that its own test proves."""
    if not wrong.any():
        return "agrees", ""
    ours = pairing.ours(feature)
    if _moves(theirs):
        for other in pairing.features:
            if other != feature and _fits(theirs, pairing.ours(other)):
                return "other_feature", other
        if shift and _fits(theirs, pairing.ours(feature, shift)):
            return _shifted(shift)
        if text := _scaled(theirs, ours):
            return "scaled", text
    if text := _seeded(theirs, ours, wrong):
        return "seed", text
    if text := _rounded(theirs, ours):
        return "rounded", text
    count, share = int(wrong.sum()), _share(theirs, ours)
    if share >= 0.5:
        text = f"differs in {count} rows of {len(wrong)}; look at gaps, joins and fills there"
        return "some_rows", text
    return "differs", _unlike(theirs, ours, shift)


def _shifted(shift: int) -> tuple[str, str]:
    rows = f"{abs(shift)} row{'s' if abs(shift) > 1 else ''}"
    if shift > 0:
        text = f"runs {rows} ahead: it knows what is known only later (look-ahead); shift it back"
        return "ahead", f"{text} and train again"
    return "behind", f"lags {rows} behind; compute it up to the row itself, or move its time stamps"


def _scaled(theirs: np.ndarray, ours: np.ndarray) -> str:
    """Say which factor and offset make the columns equal; empty for none."""
    both = np.isfinite(theirs) & np.isfinite(ours)
    x, y = ours[both], theirs[both]
    if x.std() == 0 or y.std() == 0:
        return ""
    factor = float(np.cov(x, y, bias=True)[0, 1] / x.var())
    offset = float(y.mean() - factor * x.mean())
    left = np.abs(y - (factor * x + offset))
    if factor == 0 or left.max() > 1e-4 * y.std():
        return ""
    if abs(offset) < 1e-4 * y.std():
        return f"is {factor:.6g} times the feature; divide it by {factor:.6g} and train again"
    text = f"is {factor:.6g} times the feature plus {offset:.6g}: normalised?"
    return f"{text} give raw rows, and mean and std in metadata.json"


def _seeded(theirs: np.ndarray, ours: np.ndarray, wrong: np.ndarray) -> str:
    """Say how a difference dies away from the first rows on; empty when it does not."""
    both = np.flatnonzero(np.isfinite(theirs) & np.isfinite(ours))
    gap = np.abs(theirs - ours)[both]
    last = int(np.flatnonzero(wrong[both])[-1]) + 1
    if last < FEW or not wrong[both][: FEW // 2].all():
        return ""
    quarter = max(2, last // 4)
    if gap[:quarter].max() < 4 * gap[max(quarter, last - quarter) : last].max():
        return ""
    used = gap[:last] > gap.max() * 1e-7
    at = np.arange(last)[used]
    logs = np.log(gap[:last][used])
    slope = float(np.polyfit(at, logs, 1)[0])
    if slope >= 0 or float(np.corrcoef(at, logs)[0, 1]) > -0.6:
        return ""
    keep = float(np.exp(slope))
    text = f"starts elsewhere: the difference shrinks to about {keep:.3f} of itself a row"
    text += f" (an exponential mean of span {max(1, round(2 / (1 - keep) - 1))}, or of 1/span"
    text += f" {max(1, round(1 / (1 - keep)))}, with another seed)"
    if last < len(both):
        text += f" and is gone after {last} rows"
    return f"{text}; seed it as docs/features.md says, or give --data with more rows before"


def _rounded(theirs: np.ndarray, ours: np.ndarray) -> str:
    both = np.isfinite(theirs) & np.isfinite(ours)
    for digits in range(9):
        step = 10.0**-digits
        off_grid = np.abs(theirs[both] / step - np.round(theirs[both] / step)).max()
        if off_grid < 1e-3 and np.abs(theirs - ours)[both].max() <= 0.501 * step:
            return f"is rounded to {digits} decimals; keep all digits and train again"
    return ""


def _unlike(theirs: np.ndarray, ours: np.ndarray, shift: int) -> str:
    both = np.isfinite(theirs) & np.isfinite(ours)
    x, y = ours[both], theirs[both]
    if x.std() == 0 or y.std() == 0:
        return "is another formula: one of the two never changes"
    like = float(np.corrcoef(x, y)[0, 1])
    text = f"is another formula, parameter or data: correlation {like:.3f}"
    text += f", nearest at a shift of {shift} rows" if shift else ""
    return f"{text}; compare it with `lab.py features show`"
