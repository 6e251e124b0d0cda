"""How long one thread of this process may keep another waiting for the interpreter.

Python's own bound of 5 ms is long for rows that wait; it is shortened while a thread works beside
a session, and put back when the last such thread is done. Work that is in no hurry gives way by
itself: a thread that waits for the interpreter gets it late, after the interval and two switches,
and takes it from the other again in the middle of its turn.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

SWITCH_INTERVAL_S = 5e-5
WORK_S, PAUSE_S = 1e-4, 1e-3  # of work that gives way
NICE = 10  # of a thread that is in no hurry
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


@contextlib.contextmanager
def giving_way(work_s: float = WORK_S, pause_s: float = PAUSE_S) -> Iterator[None]:
    """Let this thread sleep for `pause_s` whenever it has worked for `work_s`, for a block.

    It looks at the clock where it calls a function and where one returns; a single call of machine
    code lasts as long as it does. The thread's profile function is taken for that.
    """
    clock, sleep = time.perf_counter, time.sleep
    until = clock() + work_s

    def look(_frame: FrameType, _event: str, _argument: Any) -> None:
        nonlocal until
        if clock() > until:
            sleep(pause_s)
            until = clock() + work_s

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


def in_no_hurry() -> None:
    """Let this thread run after others where processors are few; it stays so, as do its threads."""
    with contextlib.suppress(OSError):  # a system whose threads have no priority of their own
        own = os.PRIO_PROCESS, threading.get_native_id()
        os.setpriority(*own, max(NICE, os.getpriority(*own)))
