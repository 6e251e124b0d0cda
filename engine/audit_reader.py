"""Read an audit in blocks of fixed memory: its records, their digest, what they add up to."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.audit_layout import (
    AUDIT,
    AUDIT_BYTES,
    Record,
    Verdict,
)
from engine.audit_streams import Streams
from engine.errors import DataError
from engine.events import Action, Block, HoldReason
from engine.json_files import read_json
from engine.run_files import AUDIT_RECORDS, NAMES, Names

BLOCK_RECORDS = 65_536  # records read at once: 6 MiB


class AuditFile:
    """The records of a run. A last record that is cut off is not counted; `torn_bytes` says so."""

    def __init__(self, run_dir: Path) -> None:
        """Open a run's audit.

        Raises:
            DataError: the folder has no audit.
        """
        self.run_dir = run_dir
        self.path = run_dir / AUDIT_RECORDS
        try:
            size = self.path.stat().st_size
        except OSError:
            raise DataError(f"{self.path}: not there; is this a run folder?") from None
        self.records = size // AUDIT_BYTES
        self.torn_bytes = size % AUDIT_BYTES

    def blocks(self, start: int = 0, size: int = BLOCK_RECORDS) -> Iterator[np.ndarray]:
        """Yield AUDIT[<= size] copies from record number `start` on, in order."""
        with self.path.open("rb") as file:
            file.seek(start * AUDIT_BYTES)
            left = self.records - start
            while left > 0:
                block = np.fromfile(file, dtype=AUDIT, count=min(size, left))
                if len(block) == 0:
                    return
                left -= len(block)
                yield block

    def pick(self, kinds: tuple[Record, ...]) -> Iterator[np.ndarray]:
        """Yield the records of some kinds, block by block, in order."""
        for block in self.blocks():
            chosen = block[np.isin(block["kind"], kinds)]
            if len(chosen):
                yield chosen


def decision_digest(run_dir: Path) -> str:
    """Recompute a run's decision digest from its records.

    Raises:
        DataError: the folder has no audit.
    """
    streams = Streams()
    for block in AuditFile(run_dir).blocks():
        streams.update(block)
    return streams.digest()


class Funnel:
    """Counts from decisions down to fills, fed block by block."""

    def __init__(self) -> None:
        """Start at zero."""
        self.actions = dict.fromkeys((Action.BUY, Action.SELL, Action.HOLD), 0)
        self.hold_reasons = np.zeros(256, dtype=np.int64)
        self.verdicts = np.zeros(3, dtype=np.int64)
        self.blocked: dict[str, int] = {}
        self.kinds = np.zeros(256, dtype=np.int64)
        self.orders = 0

    def update(self, block: np.ndarray) -> None:
        """Count the next AUDIT[n] records."""
        self.kinds += np.bincount(block["kind"], minlength=256)
        decisions = block[block["kind"] == Record.DECISION]
        for action in self.actions:
            self.actions[action] += int(np.count_nonzero(decisions["code"] == action))
        holds = decisions["aux"][decisions["code"] == Action.HOLD] & 0xFF
        self.hold_reasons += np.bincount(holds, minlength=256)
        verdicts = block[block["kind"] == Record.VERDICT]
        self.verdicts += np.bincount(np.minimum(verdicts["code"], 2), minlength=3)
        self.orders += int(np.count_nonzero(verdicts["code"] != Verdict.BLOCKED))
        blocks = verdicts["i0"][verdicts["code"] == Verdict.BLOCKED]
        for block_flag in Block:
            count = int(np.count_nonzero(blocks & int(block_flag)))
            if block_flag and count:
                name = str(block_flag.name)
                self.blocked[name] = self.blocked.get(name, 0) + count

    def holds(self) -> dict[str, int]:
        """Return HOLDs by the name of their reason, most frequent first."""
        order = np.argsort(-self.hold_reasons, kind="stable")
        return {
            reason_name(HoldReason, int(k)): int(self.hold_reasons[k])
            for k in order
            if self.hold_reasons[k]
        }

    def count(self, kind: Record) -> int:
        """Return how many records of a kind there are."""
        return int(self.kinds[kind])


def reason_name(enum: type, value: int) -> str:
    """Name an enum's value; a number that it does not know stays a number.

    >>> reason_name(HoldReason, 2), reason_name(HoldReason, 99)
    ('BELOW_THRESHOLD', '99')
    """
    try:
        return str(enum(value).name)
    except ValueError:
        return str(value)


def hold_words(aux: int) -> str:
    """Say why a signal is HOLD, from a DECISION's `aux`.

    >>> hold_words(2), hold_words(HoldReason.WINDOW_SHORT | 12 << 8)
    ('BELOW_THRESHOLD', 'WINDOW_SHORT: 12 rows missing')
    """
    reason, missing = aux & 0xFF, aux >> 8
    more = " or more" if missing == 255 else ""
    words = f": {missing}{more} rows missing" if reason == HoldReason.WINDOW_SHORT else ""
    return reason_name(HoldReason, reason) + words


def block_names(bits: int) -> list[str]:
    """Name every limit in a VERDICT's `blocks`.

    >>> block_names(Block.MODEL_EXPOSURE | Block.DRAWDOWN)
    ['MODEL_EXPOSURE', 'DRAWDOWN']
    """
    return [str(flag.name) for flag in Block if flag and bits & int(flag)]


def read_names(run_dir: Path) -> Names:
    """Read the instrument and model tables of a run.

    Raises:
        DataError: there is none, or it is not readable.
    """
    return read_json(run_dir / NAMES, Names)
