"""Compare two runs decision by decision, and name the first that differs."""

from pathlib import Path

import msgspec
import numpy as np

from engine.audit_layout import AUDIT, AUDIT_BYTES, DECISION_STREAM, ORDER_STREAM, Record
from engine.run_files import AUDIT_RECORDS

BLOCK = 1 << 16
COMPARED = (*DECISION_STREAM, *ORDER_STREAM)
FIELDS = [name for name in AUDIT.names or () if name != "seq" and not name.startswith("f")]


class Difference(msgspec.Struct, frozen=True):
    """Whether two runs decided alike, and one line that says where not."""

    same: bool
    line: str


def _records(run: Path) -> np.ndarray:
    path = run / AUDIT_RECORDS
    count = path.stat().st_size // AUDIT_BYTES
    records = np.memmap(path, AUDIT, "r", shape=(count,)) if count else np.zeros(0, AUDIT)
    return records[np.isin(records["kind"], COMPARED)]


def compare(ours: Path, theirs: Path) -> Difference:
    """Compare the decisions and orders of two runs."""
    a, b = _records(ours), _records(theirs)
    for start in range(0, min(len(a), len(b)), BLOCK):
        x, y = a[start : start + BLOCK], b[start : start + BLOCK]
        n = min(len(x), len(y))
        different = np.zeros(n, bool)
        for name in FIELDS:
            different |= x[name][:n] != y[name][:n]
        if different.any():
            at = int(np.flatnonzero(different)[0])
            return Difference(False, _describe(x[at], y[at], theirs))
    if len(a) != len(b):
        return Difference(
            False,
            f"{theirs.name} has {len(b):,} records, this run {len(a):,}; all shared are equal",
        )
    return Difference(True, f"every one of {len(a):,} records equals {theirs.name}")


def _describe(x: np.void, y: np.void, theirs: Path) -> str:
    kinds = [Record(int(record["kind"])).name for record in (x, y)]
    if kinds[0] != kinds[1]:
        return f"row {x['row']}: this run has a {kinds[0]} record, {theirs.name} a {kinds[1]}"
    name = next(name for name in FIELDS if x[name] != y[name])
    slot = f"f{name[1]}" if name[0] == "i" and name[1:].isdigit() else name
    return (
        f"row {x['row']}: {kinds[0]} {x['id']} differs in {name}: "
        f"{x[slot]} here, {y[slot]} in {theirs.name}"
    )
