"""End with the parent: an inherited pipe whose other end closes, or the parent's process handle."""

import asyncio
import os
from collections.abc import Callable

from engine.errors import UsageError

POLL_S = 0.5


def watch_pipe(descriptor: int, on_end: Callable[[], None]) -> None:
    """Call `on_end` when the other end of an inherited pipe is closed, also by kill -9.

    Raises:
        UsageError: the descriptor is not open.
    """
    loop = asyncio.get_running_loop()
    try:
        os.set_blocking(descriptor, False)
    except OSError:
        raise UsageError(f"exchange: --lifeline-fd {descriptor} is not open") from None

    def readable() -> None:
        if os.read(descriptor, 4096) == b"":
            loop.remove_reader(descriptor)
            on_end()

    loop.add_reader(descriptor, readable)


def watch_process(pid: int, on_end: Callable[[], None]) -> None:
    """Call `on_end` when a process ends.

    Raises:
        UsageError: there is no such process.
    """
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        raise UsageError(f"exchange: --parent-pid {pid} is no running process") from None
    except (AttributeError, OSError):  # no process handles here: look now and then
        _poll(loop, pid, on_end)
        return

    def ended() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        on_end()

    loop.add_reader(handle, ended)


def _poll(loop: asyncio.AbstractEventLoop, pid: int, on_end: Callable[[], None]) -> None:
    """Ask twice a second whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        on_end()
    except PermissionError:
        loop.call_later(POLL_S, _poll, loop, pid, on_end)
    else:
        loop.call_later(POLL_S, _poll, loop, pid, on_end)
