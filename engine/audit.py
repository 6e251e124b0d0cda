"""The hot side of the audit: takes the kernel's filled buffer, hashes and writes it on a thread.

The kernel and the pipeline write fixed records to one buffer; `flush` hands it to the writer's
thread, which chains, digests and appends it, and gives another one to go on with (a nearly empty
one is copied). The queue is bounded: in replay a full one makes the engine wait, it never grows.
"""

import queue
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.audit_layout import AUDIT, AUDIT_BYTES, CHAIN_RECORDS
from engine.audit_streams import Streams, link_rest
from engine.errors import RunError
from engine.json_files import line_bytes
from engine.limits import AUDIT_BUFFER
from engine.run_files import AUDIT_RECORDS, CHAIN, EVENTS, FIRST_CHAIN, ChainLink, EventLine

QUEUE_BLOCKS = 8
COPIED = 512  # records at most that are copied: the buffer in use stays in the processor's cache


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
        self._streams = Streams()
        self._rest = b""  # of the link that is being filled: see audit_streams.link_rest
        self._kinds = b""
        self._in_link = 0
        self._last_row = 0
        self._block = 0
        self._first_seq = 0
        self._error: BaseException | None = None
        self.chain = FIRST_CHAIN
        self.records = 0
        self._queue: queue.SimpleQueue[tuple[np.ndarray, int] | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="audit-writer", daemon=True)
        self._thread.start()

    def flush(self, buffer: np.ndarray, count: int) -> np.ndarray:
        """Hand over the first `count` records of the kernel's buffer.

        Args:
            buffer: AUDIT[AUDIT_BUFFER]; the writer's own from now on, unless it is returned.
            count: records in it.
        Returns:
            The buffer to go on with.
        Raises:
            RunError: the writer failed (disk full, read-only): nothing more may be decided.
        """
        if self._error is not None:
            raise RunError(f"the audit cannot be written: {self._error}")
        if count <= 0:
            return buffer
        if count > COPIED:
            self._queue.put((buffer, count))
            return self._free.get()
        block, end = self._free.get(), count * AUDIT_BYTES
        block.view(np.uint8)[:end] = buffer.view(np.uint8)[:end]
        self._queue.put((block, count))
        return buffer

    def event(self, line: EventLine) -> None:
        """Write the words of an EVENT record; where they cannot be, the next flush says so."""
        try:
            _write_all(self._events_file, line_bytes(line))
        except OSError as error:
            self._error = self._error or error

    def close(self) -> str:
        """Write what is left and return the decision digest.

        Raises:
            RunError: the writer failed.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error is None:
            try:
                if self._in_link:
                    self._link()
            except OSError as error:
                self._error = error
        for file in (self._records, self._chain_file, self._events_file):
            file.close()
        if self._error is not None:
            raise RunError(f"the audit cannot be written: {self._error}")
        return self.digest()

    def digest(self) -> str:
        """Return the decision digest of what was written so far; see engine/audit_layout.py."""
        return self._streams.digest()

    def shadow_digest(self) -> str:
        """Return the digest of what the shadows decided so far; empty where there are none."""
        return self._streams.shadow_digest()

    def _serve(self) -> None:
        for _ in range(QUEUE_BLOCKS):
            self._free.put(_new_buffer())
        while (given := self._queue.get()) is not None:
            block, count = given
            if self._error is None:
                try:
                    self._take(block[:count])
                except BaseException as error:  # reported by the next flush
                    self._error = error
            self._free.put(block)

    def _take(self, block: np.ndarray) -> None:
        _write_all(self._records, block.view(np.uint8))
        self.records += len(block)
        start = 0
        while start < len(block):
            part = block[start : start + CHAIN_RECORDS - self._in_link]
            self._streams.update(part)
            kinds, rest = link_rest(part)
            self._kinds += kinds
            self._rest += rest
            self._last_row = max(self._last_row, int(part["row"].max()))
            self._in_link += len(part)
            start += len(part)
            if self._in_link == CHAIN_RECORDS:
                self._link()

    def _link(self) -> None:
        self.chain = self._streams.chain(self.chain, self._kinds + self._rest)
        tape_row = self._last_row + 1
        link = ChainLink(
            block=self._block,
            first_seq=self._first_seq,
            records=self._in_link,
            chain=self.chain.hex(),
            tape_row=tape_row,
            tape_sha256=self._tape_hash_at(tape_row),
        )
        _write_all(self._chain_file, line_bytes(link))
        self._block += 1
        self._first_seq += self._in_link
        self._in_link = self._last_row = 0
        self._kinds = self._rest = b""


def _new_buffer() -> np.ndarray:
    """Return AUDIT[AUDIT_BUFFER] whose pages are there: the kernel does not wait for them."""
    buffer = np.empty(AUDIT_BUFFER, AUDIT)
    buffer.view(np.uint8)[:] = 0
    return buffer


def _write_all(file: object, content: bytes | np.ndarray) -> None:
    """Write every byte: a raw file may take only a part (a disk that fills does)."""
    left = memoryview(content).cast("B")
    while left:
        written = file.write(left)  # type: ignore[attr-defined]
        left = left[written:]
