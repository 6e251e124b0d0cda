"""Where the close of the last bar stands in the day and in the week, UTC."""

from features.step import Record, step

NS_PER_DAY = 86_400_000_000_000
THURSDAY = 3  # 1970-01-01, counted from Monday 0
TAU = 6.283185307179586


@step
def day_angle(m: Record) -> float:
    """Return the time of day as an angle, 0 to 2 pi, to the nanosecond."""
    return TAU * (((m["bar_ts"] + m["bar_interval_ns"]) % NS_PER_DAY) / NS_PER_DAY)


@step
def week_angle(m: Record) -> float:
    """Return the day of the week as an angle: Monday 0, then 2 pi / 7 a day."""
    day = (m["bar_ts"] + m["bar_interval_ns"]) // NS_PER_DAY
    return TAU * (((day + THURSDAY) % 7) / 7.0)
