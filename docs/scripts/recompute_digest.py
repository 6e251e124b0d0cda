"""Recompute a run's decision digest from its audit, by the layout that docs/audit.md documents.

    python docs/scripts/recompute_digest.py runs/ID

Needs Python's standard library and NumPy, nothing of Tickgate. Prints the digest; exit code 1 when
summary.json says another one, 2 when there is no audit.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

RECORD_BYTES = 96
KIND_AT = 32  # byte of a record that says what it is
DIGEST_FROM = 8  # the first 8 bytes, the sequence number, are not hashed
DECISION_STREAM = (1, 2, 3, 10)  # RUN, MODEL, DECISION, OUTPUT
ORDER_STREAM = (4, 5, 6, 7, 8)  # INTENT, VERDICT, ORDER, FILL, EXPOSURE
BLOCK = 65_536


def decision_digest(path: Path) -> str:
    """Return sha256(sha256(decision stream) || sha256(order stream)) in hex."""
    decisions, orders = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as file:
        while content := file.read(RECORD_BYTES * BLOCK):
            whole = len(content) // RECORD_BYTES * RECORD_BYTES  # a torn last record is left out
            records = np.frombuffer(content[:whole], np.uint8).reshape(-1, RECORD_BYTES)
            for stream, kinds in ((decisions, DECISION_STREAM), (orders, ORDER_STREAM)):
                chosen = np.isin(records[:, KIND_AT], kinds)
                stream.update(records[chosen, DIGEST_FROM:].tobytes())
    return hashlib.sha256(decisions.digest() + orders.digest()).hexdigest()


def main(arguments: list[str]) -> int:
    """Print the digest of the run named on the command line."""
    if len(arguments) != 1:
        print("usage: recompute_digest.py RUN_FOLDER", file=sys.stderr)
        return 2
    run = Path(arguments[0])
    audit = run / "audit" / "000000.audit"
    if not audit.is_file():
        print(f"{audit}: not there; is this a run folder?", file=sys.stderr)
        return 2
    digest = decision_digest(audit)
    print(digest)
    summary = run / "summary.json"
    if summary.is_file():
        said = json.loads(summary.read_text(encoding="utf-8"))["decision_digest"]
        if said != digest:
            print(f"summary.json says {said}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
