"""Async tests run on uvloop; one that leaves a task, a socket or a thread behind fails."""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def sockets() -> set[str]:
    """Return the open internet sockets of this process, by their inode."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:"):
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.family in (socket.AF_INET, socket.AF_INET6):
                    found.add(target)
    return found


@pytest_asyncio.fixture
async def _no_task_left() -> AsyncIterator[None]:
    before, threads = sockets(), set(threading.enumerate())
    yield
    for _ in range(100):  # the loop closes a socket one turn after it was told to
        if sockets() <= before:
            break
        await asyncio.sleep(0.01)
    assert sockets() <= before, "a socket is left open"
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks are left: {left}"
    named = {one.name for one in set(threading.enumerate()) - threads if "asyncio" not in one.name}
    assert not named, f"threads are left: {named}"


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Watch the async tests."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("_no_task_left")
    yield
