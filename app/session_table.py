"""Writes the text of engine/session_data.py; `make sessions` runs it (ARGS="--last 2035-12-31").

It needs exchange_calendars, which brings pandas, and so it runs in an environment of its own.
"""

import argparse
import sys

import numpy as np

from engine.session_table import packed

EXCHANGES = ("XNYS", "XLON", "XETR", "XTKS")
FIRST, LAST = "2000-01-01", "2030-12-31"  # where nothing else is asked for
WIDTH = 88


def library_sessions(exchange: str, last: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the sessions until a day, and their breaks, each int64[n, 2] minutes, UTC."""
    import exchange_calendars

    calendar = exchange_calendars.get_calendar(exchange, start=FIRST, end=last)
    pairs = (calendar.opens, calendar.closes), (calendar.break_starts, calendar.break_ends)
    days, breaks = (
        np.stack(
            [
                times.dropna().dt.tz_convert(None).to_numpy().astype("datetime64[m]")
                for times in pair
            ],
            axis=1,
        ).astype(np.int64)
        for pair in pairs
    )
    return days, breaks


def source(last: str = LAST) -> str:
    """Return the text of engine/session_data.py, with the sessions until a day."""
    found = {exchange: library_sessions(exchange, last) for exchange in EXCHANGES}
    lines = [
        '"""Made by `python -m app.session_table` from exchange_calendars. Do not edit."""',
        "",
        "# fmt: off",
        "PACKED = {  # see engine/session_table.py",
    ]
    for exchange, (days, _) in found.items():
        lines += entry(exchange, days)
    lines += ["}", "BREAKS = {"]
    for exchange, (_, breaks) in found.items():
        if len(breaks):
            lines += entry(exchange, breaks)
    return "\n".join([*lines, "}", ""])


def entry(exchange: str, table: np.ndarray) -> list[str]:
    """Return the lines of one exchange."""
    text = packed(table)
    parts = [text[at : at + WIDTH] for at in range(0, len(text), WIDTH)]
    return [f'    "{exchange}": (', *(f"        {part!r}" for part in parts), "    ),"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make sessions", description=__doc__)
    parser.add_argument("--last", default=LAST, help="the last day of the table")
    sys.stdout.write(source(parser.parse_args().last))
