"""Further bars of an instrument, beside the base bars and from the same pass over the tape.

Each is a BARS record of its own: by time, closed by the timers that close the base bars, or by a
count of trades, base units or quote units, closed by the print that fills it. Where bars come as
rows (data of bars only, history), longer bars by time are made of them. What is late, torn by a gap
or quiet is judged for each by its own interval. `fused` stands for the generated feature functions.
"""

import numpy as np
from numba import njit

from engine.kernel.bars import (
    BY_TICKS,
    BY_VOLUME,
    MAX_AMOUNT,
    UNIT_PARTS,
    add_print,
    close_bar,
    copy_bar,
    forget_bars,
    grow,
    next_close,
    reset_bar,
    show_peer,
    show_prints,
    show_volumes,
)
from engine.kernel.kept_bar import keep_bar, show_kept
from engine.kernel.places import bars_at, market_at, series_at
from engine.rows import GROWING, HISTORY

WITH_SERIES = True  # written False into the kernels of runs that have no further bars
BY_TIME = 0  # BarKind
FROM_ROWS = 2  # place of what BAR rows have made of the current bar


@njit
def close_series(root, fused, instrument, at):  # type: ignore[no-untyped-def]
    """Close an instrument's further bar and let its features see it, and those of its peers."""
    m, base = market_at(root, instrument), bars_at(root, instrument)
    b = series_at(root, instrument, at)
    keep_bar(base["shown"], m)
    show_kept(b["shown"], m)
    seen = close_bar(m, b) if b["kind"] == BY_TIME else close_count(m, b)
    reset_bar(b, FROM_ROWS)
    keep_bar(b["shown"], m)
    if seen == 1:
        root["closed_series"] |= 1 << at
    if root["follows"] == 0:
        fused.on_series(at, seen, fused.features_at(root, instrument), m)
        if seen == 1 and root["paired"] == 1 and b["kind"] == BY_TIME:
            show_peers(root, fused, instrument, at)
    show_kept(base["shown"], m)


@njit
def show_peers(root, fused, instrument, at):  # type: ignore[no-untyped-def]
    """Let features of the instruments paired with this one see its bar in the market record."""
    peer = market_at(root, instrument)
    for other in range(root["n_instruments"]):
        m = market_at(root, other)
        if m["peer"] == instrument + 1:
            show_peer(m, peer)
            fused.on_series_peer(at, fused.features_at(root, other), m)


@njit
def close_count(m, b):  # type: ignore[no-untyped-def]
    """Close a bar by count into the market record; it is always whole."""
    show_prints(m, b)
    show_volumes(m, b)
    m["bar_ts"] = b["opened_ts"]
    m["bar_interval_ns"] = max(1, b["last_ts"] - b["opened_ts"])
    m["bar_count"] += 1
    reset_bar(b, 0)
    return 1


@njit
def fill_count(b, ts, print_):  # type: ignore[no-untyped-def]
    """Add a print to a bar by count; return 1 when it is full.

    What is over counts towards the next bar, so that bars end where the sum since the start passes
    a multiple of the size: ends of bars of twice the size are ends of these too.
    """
    price, size, _ = print_
    if b["prints"][0] == 0:
        b["opened_ts"] = ts
    grow(b, 0, print_)
    b["last_ts"] = ts
    if b["kind"] == BY_TICKS:
        b["filled"] += 1
    else:
        amount = size if b["kind"] == BY_VOLUME else price * size
        b["filled"] += np.int64(np.rint(min(amount, MAX_AMOUNT) * UNIT_PARTS))
    if b["filled"] < b["size"]:
        return 0
    b["filled"] %= b["size"]
    return 1


@njit
def take_print(root, fused, instrument, mode, seen):  # type: ignore[no-untyped-def]
    """Add a print to all further bars that prints make; seen = (event time, flags, print)."""
    ts, flags, print_ = seen
    for at in range(root["n_series"]):
        b = series_at(root, instrument, at)
        if b["mode"] != mode:
            continue
        if b["kind"] != BY_TIME:
            if fill_count(b, ts, print_) == 1:
                close_series(root, fused, instrument, at)
        elif b["by_rows"] == 0 or meets_rows(root, b, ts, flags) == 1:
            b["late"] += add_print(root, b, ts, print_)


@njit
def meets_rows(root, b, ts, flags):  # type: ignore[no-untyped-def]
    """Fit a print to a bar made of rows; return 0 where it stands in one of them."""
    inside = b["end"] - b["interval_ns"] <= ts < b["end"]
    if flags & HISTORY != 0:
        return 1 if inside else 0  # rows that follow replace it
    b["by_rows"] = 0
    if not inside:
        forget_bars(b)
        return 1
    b["in_gap"] = 1  # nobody knows what came between the last row and this print
    root["next_timer"] = min(root["next_timer"], next_close(root, b))
    return 1


@njit
def take_bar_row(root, fused, instrument, row):  # type: ignore[no-untyped-def]
    """Add a BAR row of the base interval to the longer bars by time."""
    length = root["bar_interval_ns"]
    opens = row["ts_event"]
    for at in range(root["n_series"]):
        b = series_at(root, instrument, at)
        if b["kind"] != BY_TIME or b["interval_ns"] % length != 0:
            continue
        if b["by_rows"] == 1 and 0 < b["end"] <= opens and b["prints"][FROM_ROWS] > 0:
            copy_bar(b, FROM_ROWS, 0)
            close_series(root, fused, instrument, at)  # its last rows are not there
        if row["flags"] & GROWING != 0:
            begin_growing(root, b, opens)
            continue
        place_row(b, opens)
        merge_row(b, row)
        if opens + length >= b["end"]:
            close_series(root, fused, instrument, at)


@njit
def place_row(b, opens):  # type: ignore[no-untyped-def]
    """Make the bar that a row belongs to the current one."""
    interval = b["interval_ns"]
    end = (opens // interval + 1) * interval
    if b["rows_from"] == 0:
        b["rows_from"] = opens
    if b["by_rows"] == 0 or b["end"] != end:
        forget_bars(b)
        reset_bar(b, FROM_ROWS)
        b["end"] = end
        b["by_rows"] = 1
    b["in_gap"] = 1 if end - interval < b["rows_from"] else 0


@njit
def merge_row(b, row):  # type: ignore[no-untyped-def]
    """Add a row's bar to what rows have made of the current one; prints since then are in it."""
    if b["prints"][FROM_ROWS] == 0:
        b["open"][FROM_ROWS] = row["f0"]
        b["high"][FROM_ROWS] = row["f1"]
        b["low"][FROM_ROWS] = row["f2"]
    b["high"][FROM_ROWS] = max(b["high"][FROM_ROWS], row["f1"])
    b["low"][FROM_ROWS] = min(b["low"][FROM_ROWS], row["f2"])
    b["close"][FROM_ROWS] = row["f3"]
    whole = np.floor(row["f4"])
    b["volume"][FROM_ROWS] += whole
    b["volume_part"][FROM_ROWS] += np.rint((row["f4"] - whole) * UNIT_PARTS)
    b["buy"][FROM_ROWS] = np.nan  # rows do not say who the aggressor was
    b["sell"][FROM_ROWS] = np.nan
    b["prints"][FROM_ROWS] += 1
    copy_bar(b, FROM_ROWS, 0)
    reset_bar(b, 1)


@njit
def begin_growing(root, b, opens):  # type: ignore[no-untyped-def]
    """Let prints go on with the bar that rows have led up to `opens`."""
    interval = b["interval_ns"]
    start = opens // interval * interval
    led = b["by_rows"] == 1 and b["end"] == start + interval
    if led:
        copy_bar(b, FROM_ROWS, 0)
        reset_bar(b, 1)
    else:
        forget_bars(b)
        b["end"] = start + interval
        b["in_gap"] = 0 if start == opens else 1
    b["by_rows"] = 0
    root["next_timer"] = min(root["next_timer"], next_close(root, b))


@njit
def close_due(root, fused, instrument, ts):  # type: ignore[no-untyped-def]
    """Close an instrument's further bars whose time is over at `ts`."""
    for at in range(root["n_series"]):
        b = series_at(root, instrument, at)
        while next_close(root, b) <= ts:
            close_series(root, fused, instrument, at)


@njit
def next_of_series(root, instrument, nearest):  # type: ignore[no-untyped-def]
    """Return the next time at which one of an instrument's further bars closes, or `nearest`."""
    for at in range(root["n_series"]):
        nearest = min(nearest, next_close(root, series_at(root, instrument, at)))
    return nearest


@njit
def forget_series(root, instrument):  # type: ignore[no-untyped-def]
    """Drop what grows of an instrument's further bars, at a gap."""
    for at in range(root["n_series"]):
        b = series_at(root, instrument, at)
        forget_bars(b)
        reset_bar(b, FROM_ROWS)
        b["last_close"] = np.nan
        b["whole_from"] = root["now"]
        b["by_rows"] = 0
        b["rows_from"] = 0
        b["filled"] = 0
