"""The signal file: how a person or a script asks running sessions for other model versions.

Looking at it costs one `lstat`. It is read only when it has changed, without following links or
waiting for anybody, and at most 4 KiB of it; what is no plain file of this user's is refused.
"""

import os
import re
import stat
import time
from pathlib import Path
from typing import NamedTuple

from ml.safe_files import write_atomic

DEFAULT_NAME = "models.signal"  # in the artifacts folder
MAX_BYTES = 4096
MAX_LINES = 64
FRESH_NS = 1_000_000_000  # a file's time is coarse: one so young is read once more
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_LINE = re.compile(rf"(?:(rollback) +({_NAME})|({_NAME}):({_NAME}))\Z")
FORMAT = "write nothing, ID:VERSION or `rollback ID`, one a line"


class Wish(NamedTuple):
    """One line of the file."""

    model_id: str
    version: str  # empty: back to the version that served before


class SignalRefused(Exception):
    """The file cannot be believed; the message says why, and holds nothing of its content."""


class SignalFile:
    """Watches one path. What lies there at the start is not acted on.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._look()
        self._content: bytes | None = None
        self._fresh = False
        self._was_empty = False

    def look(self) -> tuple[Wish, ...] | None:
        """Return what is asked for since the last look; None for nothing.

        An empty tuple asks for the production versions. A file is empty for a moment while it is
        being written: it counts when two looks in a row find it so.

        Raises:
            SignalRefused: it has changed, and is not what a signal file must be.
        """
        now = self._look()
        changed = now != self._seen
        if not changed and not self._fresh and not self._was_empty:
            return None
        self._seen = now
        if now is None:
            self._fresh = self._was_empty = False
            return None
        content = self._read()
        known, self._content = not changed and self._content == content, content
        if content.strip():
            self._was_empty = False
            return None if known else parse(content)
        waited, self._was_empty = self._was_empty, not self._was_empty and not known
        return () if waited else None

    def _look(self) -> tuple[int, ...] | None:
        try:
            seen = os.lstat(self.path)
        except OSError:
            return None
        return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_size, seen.st_mode

    def _read(self) -> bytes:
        """Read the file, or say why not; never waits for a writer or a reader."""
        self._fresh = False
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
        try:
            if not stat.S_ISREG(os.lstat(self.path).st_mode):  # not even opened
                raise SignalRefused("it is no plain file")
            handle = os.open(self.path, flags)
        except OSError as error:
            raise SignalRefused(f"it cannot be opened ({error.strerror})") from None
        try:
            state = os.fstat(handle)
            if problem := distrust(state, os.geteuid()):
                raise SignalRefused(problem)
            content = os.read(handle, MAX_BYTES + 1)
        except OSError as error:
            raise SignalRefused(f"it cannot be read ({error.strerror})") from None
        finally:
            os.close(handle)
        if len(content) > MAX_BYTES:
            raise SignalRefused(f"it holds more than {MAX_BYTES} bytes")
        self._fresh = time.time_ns() - state.st_mtime_ns < FRESH_NS
        return content


def distrust(state: os.stat_result, user: int) -> str:
    """Say why a file must not be believed; empty where it may."""
    if not stat.S_ISREG(state.st_mode):
        return "it is no plain file"
    if state.st_uid != user:
        return "it belongs to another user"
    if state.st_mode & stat.S_IWOTH:
        return "everybody may write it"
    if state.st_size > MAX_BYTES:
        return f"it holds more than {MAX_BYTES} bytes"
    return ""


def parse(content: bytes) -> tuple[Wish, ...]:
    """Read the lines of a signal file.

    >>> parse(b"TickMLP:2\\nrollback SignalClassifier\\n")
    (Wish(model_id='TickMLP', version='2'), Wish(model_id='SignalClassifier', version=''))

    Raises:
        SignalRefused: a line is none of the known ones.
    """
    try:
        lines = [line.strip() for line in content.decode("ascii").splitlines()]
    except UnicodeDecodeError:
        raise SignalRefused(f"it is no text; {FORMAT}") from None
    wishes = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        found = _LINE.match(line)
        if found is None:
            raise SignalRefused(f"line {number} is none that is known; {FORMAT}")
        wishes.append(Wish(found[2] or found[3], found[4] or ""))
    if len(wishes) > MAX_LINES:
        raise SignalRefused(f"it holds more than {MAX_LINES} lines")
    return tuple(wishes)


def send(path: Path, text: str = "") -> None:
    """Ask the sessions that watch a path; empty asks for the production versions.

    Raises:
        OSError: the file cannot be written there.
    """
    write_atomic(path, text.encode())
