"""The clock: a step of the wall clock changes nothing."""

from engine.clock import SystemClock


def test_time_runs_on_by_the_monotonic_clock_whatever_the_wall_clock_does() -> None:
    wall, monotonic = [1_000_000], [50]
    clock = SystemClock(lambda: wall[0], lambda: monotonic[0])
    assert (clock.now_ns(), clock.monotonic_ns()) == (1_000_000, 50)
    wall[0] -= 3_600
    monotonic[0] += 7
    assert (clock.now_ns(), clock.monotonic_ns()) == (1_000_007, 57)


def test_the_machines_clock_never_goes_back() -> None:
    clock = SystemClock()
    stamps = [clock.now_ns() for _ in range(1000)]
    assert stamps == sorted(stamps)
