"""The watchdog sees a loop that stands still, once each time, and says for how long."""

import threading
import time

from app.watchdog import Watchdog


def wait_for(condition, within_s: float = 10.0) -> bool:
    """Wait until a condition holds."""
    ends = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True


def test_each_standstill_is_told_once():
    told: list[float] = []
    dog = Watchdog(told.append, blocked_s=0.3)
    dog.start()
    try:
        assert wait_for(lambda: len(told) == 1)
        time.sleep(0.6)
        assert len(told) == 1, "one standstill is told once"
        dog.beat()
        assert wait_for(lambda: len(told) == 2)
    finally:
        dog.stop()
    assert dog.blocks == 2
    assert all(seconds > 0.3 for seconds in told)
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}


def test_a_loop_that_beats_is_left_alone():
    told: list[float] = []
    dog = Watchdog(told.append, blocked_s=5.0)
    dog.start()
    for _ in range(20):
        dog.beat()
        time.sleep(0.02)
    dog.stop()
    assert told == []
