"""Threads that leave the interpreter, and the processor, to others."""

import os
import sys
import threading
import time

import pytest

from ml.runtime.switching import NICE, giving_way, in_no_hurry


def called() -> None:
    """Do nothing."""


def test_work_that_gives_way_sleeps_whenever_it_has_worked_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with giving_way(work_s=0.001, pause_s=0.25):
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            called()
    assert set(slept) == {0.25}
    assert 3 <= len(slept) <= 21
    count = len(slept)
    time.sleep(0.5)
    assert slept[count:] == [0.5], "it is over with the block"


def test_what_fails_while_it_gives_way_fails_and_gives_way_no_longer() -> None:
    with pytest.raises(ZeroDivisionError), giving_way():
        assert sys.getprofile() is not None
        1 / 0  # noqa: B018
    assert sys.getprofile() is None


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="no priorities here")
def test_a_thread_in_no_hurry_is_alone_in_that() -> None:
    found: list[int] = []

    def look() -> None:
        in_no_hurry()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, 0)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [max(NICE, before)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
