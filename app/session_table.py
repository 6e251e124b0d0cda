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


def library_sessions(exchange: str, last: str) -> np.ndarray:
    """Return the sessions until a day as the library knows them, int64[n, 2] minutes, UTC."""
    import exchange_calendars

    calendar = exchange_calendars.get_calendar(exchange, start=FIRST, end=last)
    columns = [
        times.dt.tz_convert(None).to_numpy().astype("datetime64[m]")
        for times in (calendar.opens, calendar.closes)
    ]
    return np.stack(columns, axis=1).astype(np.int64)


def source(last: str = LAST) -> str:
    """Return the text of engine/session_data.py, with the sessions until a day."""
    lines = [
        '"""Made by `python -m app.session_table` from exchange_calendars. Do not edit."""',
        "",
    ]
    lines += ["# fmt: off", "PACKED = {  # see engine/session_table.py"]
    for exchange in EXCHANGES:
        text = packed(library_sessions(exchange, last))
        parts = [text[at : at + WIDTH] for at in range(0, len(text), WIDTH)]
        lines += [f'    "{exchange}": (']
        lines += [f"        {part!r}" for part in parts]
        lines += ["    ),"]
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make sessions", description=__doc__)
    parser.add_argument("--last", default=LAST, help="the last day of the table")
    sys.stdout.write(source(parser.parse_args().last))
