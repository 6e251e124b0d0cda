"""What a model worker and its owner share: one memory for rows and answers, messages of one line.

The owner writes float32 rows at 0 and a JSON line `{"do": ..., "shape": [...]}`; the worker writes
float32 answers at ANSWERS_AT and answers `{"ok": true, "shape": [...]}` or `{"ok": false, ...}`.
Nothing is ever pickled.
"""

import mmap
import socket
import time
from typing import Any

import msgspec
import numpy as np

ROWS_BYTES = 16 << 20  # of one call; longer ones go in parts
ANSWERS_BYTES = 8 << 20
ANSWERS_AT = ROWS_BYTES
MEMORY_BYTES = ROWS_BYTES + ANSWERS_BYTES
MAX_LINE = 1 << 20


class Gone(Exception):
    """The other side is gone, or wrote what is no message."""


class Late(Exception):
    """No message came in time."""


class Channel:
    """Messages of one JSON line over a stream socket, bounded in size and time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._kept = b""

    def send(self, message: dict[str, Any]) -> None:
        """Send one message.

        Raises:
            Gone: nobody hears it.
        """
        try:
            self._connection.sendall(msgspec.json.encode(message) + b"\n")
        except OSError:
            raise Gone("the connection is closed") from None

    def receive(self, within_s: float | None = None) -> dict[str, Any]:
        """Wait for one message.

        Raises:
            Late: none came within the time.
            Gone: the connection was closed, or what came is no message.
        """
        until = None if within_s is None else time.monotonic() + within_s
        while b"\n" not in self._kept:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise Late
            self._connection.settimeout(left)
            try:
                chunk = self._connection.recv(65_536)
            except TimeoutError:
                raise Late from None
            except OSError:
                raise Gone("the connection broke") from None
            if not chunk or len(self._kept) > MAX_LINE:
                raise Gone("the connection was closed" if not chunk else "a message has no end")
            self._kept += chunk
        line, _, self._kept = self._kept.partition(b"\n")
        try:
            return msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise Gone("what came is no message") from None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def view(memory: mmap.mmap, at: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 of this shape over the shared memory at a byte offset."""
    count = int(np.prod(shape, dtype=np.int64))
    limit = ROWS_BYTES if at == 0 else ANSWERS_BYTES
    assert 0 <= count * 4 <= limit, shape
    return np.frombuffer(memory, np.float32, count, at).reshape(shape)
