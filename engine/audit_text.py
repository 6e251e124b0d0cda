"""Hold audit.jsonl against the records: a line that was edited is named by its number."""

from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from engine.audit_render import Renderer
from engine.json_files import read_lines
from engine.run_files import AUDIT_TEXT, EVENTS, EventLine, Names


class _Seq(msgspec.Struct):
    seq: int
    to_seq: int = -1  # of a stretch of HOLDs


class TextWitness:
    """Renders the records again and compares with what the file says, streaming."""

    def __init__(self, run_dir: Path, names: Names, *, enabled: bool = True) -> None:
        """Open audit.jsonl; a run that was killed may not have it, and `note` says so."""
        self._renderer = Renderer(names, read_lines(run_dir / EVENTS, EventLine))
        self._file: BinaryIO | None = None
        self._offset = 0
        self.lines = 0  # that were as they must be
        self.wrong = ""  # what is wrong with the first bad line
        self.wrong_seq = -1  # the record it tells of
        self.wrong_last_seq = -1  # where it tells of a stretch
        self.wrong_offset = -1
        self.note = "not compared, as asked"
        if enabled:
            self.note = f"no {AUDIT_TEXT}"
            if (run_dir / AUDIT_TEXT).exists():
                self._file = (run_dir / AUDIT_TEXT).open("rb")
                self.note = ""

    def update(self, part: np.ndarray) -> None:
        """Compare the lines of the next AUDIT[n] records; the first bad one stands in `wrong`."""
        if self._file is not None and not self.wrong:
            self._compare(self._renderer.lines(part))

    def finish(self, *, cut: bool) -> None:
        """Compare the end of the file; lines behind the last record may stand where it is cut."""
        if self._file is None or self.wrong:
            return
        self._compare(self._renderer.close().encode())
        if not self.wrong and not cut and self._file.read(1):
            self._blame("a line stands behind the last record", -1, 0)
        if not self.wrong:
            self.note = f"{self.lines:,} lines of {AUDIT_TEXT} say what the records say"

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _compare(self, expected: bytes) -> None:
        assert self._file is not None
        found = self._file.read(len(expected))
        if found == expected:
            self.lines += expected.count(b"\n")
            self._offset += len(expected)
            return
        before = 0
        lines = zip(expected.splitlines(keepends=True), [*found.splitlines(keepends=True), b""])
        for wanted, got in lines:
            if wanted != got:
                ends = "the text ends here" if not got else "the text differs from the record"
                records = _records(wanted, got)
                self._blame(ends, records[0], before)
                self.wrong_last_seq = records[1]
                return
            self.lines += 1
            before += len(wanted)
        self._blame("the text ends here", -1, before)

    def _blame(self, what: str, seq: int, before: int) -> None:
        self.wrong = f"line {self.lines + 1:,}: {what}"
        self.wrong_seq = seq
        self.wrong_offset = self._offset + before


def _records(*lines: bytes) -> tuple[int, int]:
    """Return the first and last record that some versions of a line tell of."""
    first, last = [], [-1]
    for line in lines:
        try:
            found = msgspec.json.decode(line, type=_Seq)
        except msgspec.MsgspecError:
            continue
        first.append(found.seq)
        last.append(found.to_seq)
    return min(first, default=-1), max(last)
