"""The hot side of the audit: takes the kernel's filled buffer, hashes and writes it on a thread.

The kernel and the pipeline write fixed records to one buffer; `flush` hands a copy to the writer's
thread, which chains, digests and appends it. The queue is bounded: in replay a full one makes the
engine wait, it never grows.
"""

import hashlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.audit_layout import (
    AUDIT,
    AUDIT_BYTES,
    CHAIN_RECORDS,
    DECISION_STREAM,
    DIGEST_FROM,
    ORDER_STREAM,
)
from engine.errors import RunError
from engine.run_files import (
    AUDIT_RECORDS,
    CHAIN,
    EVENTS,
    FIRST_CHAIN,
    ChainLink,
    EventLine,
    chain_value,
    line_bytes,
)

QUEUE_BLOCKS = 8
_IN_DECISIONS = np.isin(np.arange(256), DECISION_STREAM)
_IN_ORDERS = np.isin(np.arange(256), ORDER_STREAM)


class AuditWriter:
    """Appends records to `audit/000000.audit` and links to `audit/chain.jsonl`.

    Args:
        folder: the run's folder.
        tape_hash_at: gives the tape's hash for the complete blocks before a row.
    """

    def __init__(self, folder: Path, tape_hash_at: Callable[[int], str]) -> None:
        (folder / "audit").mkdir(parents=True, exist_ok=True)
        self._tape_hash_at = tape_hash_at
        self._records = (folder / AUDIT_RECORDS).open("xb", buffering=0)
        self._chain_file = (folder / CHAIN).open("xb", buffering=0)
        self._events_file = (folder / EVENTS).open("xb", buffering=0)
        self._decisions = hashlib.sha256()
        self._orders = hashlib.sha256()
        self._rest = np.zeros((0, AUDIT_BYTES), np.uint8)
        self._block = 0
        self._first_seq = 0
        self._error: BaseException | None = None
        self.chain = FIRST_CHAIN
        self.records = 0
        self._queue: queue.Queue[np.ndarray | None] = queue.Queue(QUEUE_BLOCKS)
        self._thread = threading.Thread(target=self._serve, name="audit-writer", daemon=True)
        self._thread.start()

    def flush(self, buffer: np.ndarray, count: int) -> None:
        """Hand over the first `count` records of the kernel's buffer.

        Raises:
            RunError: the writer failed (disk full, read-only): nothing more may be decided.
        """
        if self._error is not None:
            raise RunError(f"the audit cannot be written: {self._error}")
        if count > 0:
            octets = buffer.view(np.uint8)[: count * AUDIT_BYTES]
            self._queue.put(octets.copy().view(AUDIT))

    def event(self, line: EventLine) -> None:
        """Write the words of an EVENT record."""
        self._events_file.write(line_bytes(line))

    def close(self) -> str:
        """Write what is left and return the decision digest.

        Raises:
            RunError: the writer failed.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error is None:
            try:
                if len(self._rest):
                    self._link(self._rest)
                self._rest = self._rest[:0]
            except OSError as error:
                self._error = error
        for file in (self._records, self._chain_file, self._events_file):
            file.close()
        if self._error is not None:
            raise RunError(f"the audit cannot be written: {self._error}")
        return self.digest()

    def digest(self) -> str:
        """Return the decision digest of what was written so far; see engine/audit_layout.py."""
        joined = self._decisions.digest() + self._orders.digest()
        return hashlib.sha256(joined).hexdigest()

    def _serve(self) -> None:
        while (block := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._take(block)
                except BaseException as error:  # reported by the next flush
                    self._error = error

    def _take(self, block: np.ndarray) -> None:
        # As bytes from here on: numpy copies overlapping fields one by one, which may change them.
        octets = block.view(np.uint8).reshape(-1, AUDIT_BYTES)
        _write_all(self._records, octets)
        self.records += len(octets)
        kinds = block["kind"]
        for member, digest in ((_IN_DECISIONS, self._decisions), (_IN_ORDERS, self._orders)):
            chosen = member[kinds]
            count = int(np.count_nonzero(chosen))
            if count == len(octets):  # a stretch of nothing but decisions: no picking
                digest.update(np.ascontiguousarray(octets[:, DIGEST_FROM:]))
            elif count:
                digest.update(np.ascontiguousarray(octets[chosen, DIGEST_FROM:]))
        waiting = np.concatenate((self._rest, octets)) if len(self._rest) else octets
        whole = len(waiting) // CHAIN_RECORDS * CHAIN_RECORDS
        for start in range(0, whole, CHAIN_RECORDS):
            self._link(waiting[start : start + CHAIN_RECORDS])
        self._rest = waiting[whole:].copy()

    def _link(self, records: np.ndarray) -> None:
        self.chain = chain_value(self.chain, memoryview(records).cast("B"))
        tape_row = int(records.reshape(-1).view(AUDIT)["row"].max()) + 1
        link = ChainLink(
            block=self._block,
            first_seq=self._first_seq,
            records=len(records),
            chain=self.chain.hex(),
            tape_row=tape_row,
            tape_sha256=self._tape_hash_at(tape_row),
        )
        _write_all(self._chain_file, line_bytes(link))
        self._block += 1
        self._first_seq += len(records)


def _write_all(file: object, content: bytes | np.ndarray) -> None:
    """Write every byte: a raw file may take only a part (a disk that fills does)."""
    left = memoryview(content).cast("B")
    while left:
        written = file.write(left)  # type: ignore[attr-defined]
        left = left[written:]
