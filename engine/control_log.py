"""The tape's side log: what CONTROL rows refer to and no row has room for.

One line of JSON for each, in `control.jsonl` beside the tape's segments; a row names its line by
number (from 0) and carries the first word of the line's sha256, so that the tape's hash covers it.
A line is written before its row: a row without its line cannot be.
"""

import os
import threading
from pathlib import Path

import msgspec

from engine.errors import DataError
from engine.hash_words import text_word
from engine.json_files import line_bytes, read_lines
from engine.run_files import EVENTS, EventLine

CONTROL_LOG = "control.jsonl"
SWAP_EVENT = "model_swapped"  # the audit's event at a swap row
MAX_LINE_BYTES = 4096
MAX_LINES = 1_000_000


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """A model's slot goes over to another version.

    Attributes:
        name: what the run calls the model.
        model_id: in the registry.
        version: that serves from the row on.
        sha256: of its model.onnx.
        trades: whether its signals may cause orders.
        cause: who asked: file, hangup, rollback.
    """

    name: str
    model_id: str
    version: str
    sha256: str
    trades: bool
    cause: str = ""


def swap_line(swap: Swap) -> bytes:
    """Encode a line, line end included."""
    line = line_bytes(swap)
    assert len(line) <= MAX_LINE_BYTES, "a control line is too long"
    return line


def line_word(line: bytes) -> int:
    """Return what a CONTROL row says of its line."""
    return text_word(line.decode().rstrip("\n"))


class ControlLog:
    """Appends lines for one writing thread; the file is made with the first of them.

    Another thread may close it at any time.

    Args:
        folder: of the tape.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CONTROL_LOG
        self._file = -1
        self._closed = False
        self._lock = threading.Lock()
        self.lines = 0

    def append(self, swap: Swap) -> tuple[int, int]:
        """Write one line; return its number and its word.

        Raises:
            OSError: it could not be written whole, or the log is closed; nothing may refer to it
                then.
        """
        line = swap_line(swap)
        with self._lock:
            self._write(line)
        self.lines += 1
        return self.lines - 1, line_word(line)

    def _write(self, line: bytes) -> None:
        if self._closed:
            raise OSError(f"{self._path.name} is closed")
        if self._file < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(f"{self._path.name}: a line was written in part only")
        except OSError:
            os.ftruncate(self._file, size)
            raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._closed = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def read_control_log(folder: Path) -> list[tuple[Swap, int]]:
    """Return the lines of a tape's side log with their words; none where there is no such file.

    A last line that a crash has cut off has no row and is left out.

    Raises:
        DataError: the file cannot be read, or a line is none.
    """
    path = folder / CONTROL_LOG
    found: list[tuple[Swap, int]] = []
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if not line.endswith(b"\n"):
                    break
                found.append((msgspec.json.decode(line, type=Swap), line_word(line)))
                if len(found) > MAX_LINES:
                    raise DataError(f"{path}: more than {MAX_LINES:,} lines")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: line {len(found) + 1} is not readable: {error}") from None
    return found


def swap_text(swap: Swap) -> str:
    """Return the words of a swap's event in the audit."""
    return f"{swap.name} {swap.model_id}:{swap.version} {swap.sha256} {swap.cause}"


def swapped_versions(run_dir: Path) -> dict[str, str]:
    """Return the version of each sha256 that was swapped in during a run, from its audit."""
    found = {}
    for _, _, line in read_lines(run_dir / EVENTS, EventLine):
        if line is not None and line.name == SWAP_EVENT:
            _, name, sha256, *_ = line.text.split(" ")
            found[sha256] = name.partition(":")[2]
    return found
