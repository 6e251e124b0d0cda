"""How long one thread of this process may keep another waiting for the interpreter.

Python's own bound of 5 ms is long for rows that wait; it is shortened while a thread works beside
a session, and put back when the last such thread is done.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator

SWITCH_INTERVAL_S = 5e-5
_lock = threading.Lock()
_kept: list[float] = []  # the interval before the first of those who shortened it, and later ones


def shorten() -> None:
    """Let threads wait for each other only shortly, until as many have called `restore`."""
    with _lock:
        _kept.append(sys.getswitchinterval())
        sys.setswitchinterval(SWITCH_INTERVAL_S)


def restore() -> None:
    """Put the interval back that was before, once the last one is done."""
    with _lock:
        before = _kept.pop()
        if not _kept:
            sys.setswitchinterval(before)


@contextlib.contextmanager
def short_turns() -> Iterator[None]:
    """Keep the interval short for a block.

    Example:
        >>> before = sys.getswitchinterval()
        >>> with short_turns():
        ...     sys.getswitchinterval() == before
        False
        >>> sys.getswitchinterval() == before
        True
    """
    shorten()
    try:
        yield
    finally:
        restore()
