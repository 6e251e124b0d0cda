"""Recompute the links of a run's audit chain, as docs/audit.md documents them.

    python docs/scripts/recompute_chain.py runs/ID

Needs Python's standard library and NumPy, nothing of Tickgate. Prints the last value; exit code 1
when a link of chain.jsonl says another one, 2 when there is no audit.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

RECORD_BYTES = 96
KIND_AT = 32  # byte of a record that says what it is
HASHED_FROM = 8  # the first 8 bytes, the sequence number, say only where the record stands
STREAMS = ((1, 2, 3, 10), (4, 5, 6, 7, 8))  # decisions, orders
NO_LINK = bytes(32)


def check(run: Path) -> tuple[str, str]:
    """Return the last chain value in hex, and what is wrong ('' when nothing is)."""
    streams = [hashlib.sha256(), hashlib.sha256()]
    chain = NO_LINK
    with (run / "audit" / "000000.audit").open("rb") as file:
        for line in (run / "audit" / "chain.jsonl").read_text(encoding="utf-8").splitlines():
            link = json.loads(line)
            content = file.read(RECORD_BYTES * link["records"])
            records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
            kinds = records[:, KIND_AT]
            for stream, members in zip(streams, STREAMS, strict=True):
                stream.update(records[np.isin(kinds, members), HASHED_FROM:].tobytes())
            others = records[~np.isin(kinds, sum(STREAMS, ())), HASHED_FROM:]
            parts = (chain, *(s.digest() for s in streams), kinds.tobytes(), others.tobytes())
            chain = hashlib.sha256(b"".join(parts)).digest()
            if chain.hex() != link["chain"]:
                return chain.hex(), f"link {link['block']} says {link['chain']}"
    return chain.hex(), ""


def main(arguments: list[str]) -> int:
    """Print the last chain value of the run named on the command line."""
    if len(arguments) != 1:
        print("usage: recompute_chain.py RUN_FOLDER", file=sys.stderr)
        return 2
    run = Path(arguments[0])
    if not (run / "audit" / "000000.audit").is_file():
        print(f"{run / 'audit'}: not there; is this a run folder?", file=sys.stderr)
        return 2
    value, wrong = check(run)
    print(value)
    if wrong:
        print(wrong, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
