"""Sums and levels over a window of kernel time, in a ring of cells.

A window of `seconds` is cut into 1,000 cells; everything inside one cell is summed. The window at
time t holds the cells later than the cell of t - seconds, so its edge is as fine as a thousandth of
its length, and the ring of 1,024 cells is never full. The ring is checked all the same: a cell that
would overwrite one still in the window counts in `m["window_overflows"]`. A gap of the feed
restarts the window.
"""

from typing import Any

import numpy as np

from features.step import Record, step

CELLS = 1000
RING = 1024
NS_PER_S = 1_000_000_000


def window_dtype(columns: int, ring: int = RING) -> np.dtype[Any]:
    """Lay out a window of one column (levels) or two (sums); `ring` is a power of two.

    >>> window_dtype(1).itemsize, window_dtype(2).itemsize
    (16448, 24640)
    """
    words = [("cell", "i8", (ring,))]
    words += [(name, "f8", (ring,)) for name in ("x", "y")[:columns]]
    counters = [(name, "i8") for name in ("head", "tail", "cell_ns", "start", "started", "gaps")]
    sums = [("total_x", "f8"), ("total_y", "f8")]
    return np.dtype([*words, *counters, *sums], align=True)


@step
def window_init(w: Record, seconds: int) -> None:
    """Start an empty window of so many seconds."""
    w["cell_ns"] = seconds * NS_PER_S // CELLS
    w["started"] = 0
    w["start"] = 0
    w["gaps"] = 0
    w["head"] = 0
    w["tail"] = 0
    w["total_x"] = 0.0
    w["total_y"] = 0.0


@step
def window_touch(w: Record, m: Record) -> bool:
    """Tell whether the window goes on; start it anew at the first event and after a gap."""
    if w["started"] == 1 and w["gaps"] == m["gap_count"]:
        return True
    w["started"] = 1
    w["start"] = m["ts"]
    w["gaps"] = m["gap_count"]
    w["head"] = 0
    w["tail"] = 0
    w["total_x"] = 0.0
    w["total_y"] = 0.0
    return False


@step
def window_warm(w: Record, m: Record) -> bool:
    """Tell whether the window has been open for its whole length, without a gap."""
    return (
        w["started"] == 1
        and w["gaps"] == m["gap_count"]
        and m["ts"] - w["start"] >= w["cell_ns"] * CELLS
    )


@step
def edge_cell(w: Record, m: Record) -> int:
    """Return the newest cell that lies outside the window now."""
    return m["ts"] // w["cell_ns"] - CELLS


@step
def window_add(w: Record, m: Record, x: float, y: float) -> None:
    """Add (x, y) at the time of m, in a window of two columns.

    Sums are rebuilt from the ring once a turn and cleared when the window is empty, so that
    rounding cannot add up.
    """
    cells = w["cell"]
    mask = cells.size - 1
    edge = edge_cell(w, m)
    while w["tail"] < w["head"] and cells[w["tail"] & mask] <= edge:
        w["total_x"] -= w["x"][w["tail"] & mask]
        w["total_y"] -= w["y"][w["tail"] & mask]
        w["tail"] += 1
    if w["tail"] == w["head"]:
        w["total_x"] = 0.0
        w["total_y"] = 0.0
    cell = m["ts"] // w["cell_ns"]
    if w["tail"] < w["head"] and cells[(w["head"] - 1) & mask] >= cell:
        w["x"][(w["head"] - 1) & mask] += x
        w["y"][(w["head"] - 1) & mask] += y
    else:
        if w["head"] - w["tail"] == cells.size:
            m["window_overflows"] += 1
            w["total_x"] -= w["x"][w["tail"] & mask]
            w["total_y"] -= w["y"][w["tail"] & mask]
            w["tail"] += 1
        slot = w["head"] & mask
        cells[slot] = cell
        w["x"][slot] = x
        w["y"][slot] = y
        w["head"] += 1
    w["total_x"] += x
    w["total_y"] += y
    if w["head"] & mask == 0:
        window_rebuild(w)


@step
def window_rebuild(w: Record) -> None:
    """Sum the cells of the window afresh."""
    mask = w["cell"].size - 1
    total_x = 0.0
    total_y = 0.0
    for k in range(w["tail"], w["head"]):
        total_x += w["x"][k & mask]
        total_y += w["y"][k & mask]
    w["total_x"] = total_x
    w["total_y"] = total_y


@step
def window_sums(w: Record, m: Record) -> tuple[float, float]:
    """Return the sums of x and y over the window that ends now. Changes nothing."""
    cells = w["cell"]
    mask = cells.size - 1
    edge = edge_cell(w, m)
    x = w["total_x"]
    y = w["total_y"]
    k = w["tail"]
    while k < w["head"] and cells[k & mask] <= edge:
        x -= w["x"][k & mask]
        y -= w["y"][k & mask]
        k += 1
    return (x, y) if k < w["head"] else (0.0, 0.0)


@step
def level_set(w: Record, m: Record, x: float) -> None:
    """Note that the level is x from now on; the last one before the window stays as its base."""
    cells = w["cell"]
    mask = cells.size - 1
    edge = edge_cell(w, m)
    while w["tail"] + 1 < w["head"] and cells[(w["tail"] + 1) & mask] <= edge:
        w["tail"] += 1
    cell = m["ts"] // w["cell_ns"]
    if w["tail"] < w["head"] and cells[(w["head"] - 1) & mask] >= cell:
        w["x"][(w["head"] - 1) & mask] = x
        return
    if w["head"] - w["tail"] == cells.size:
        m["window_overflows"] += 1
        w["tail"] += 1
    cells[w["head"] & mask] = cell
    w["x"][w["head"] & mask] = x
    w["head"] += 1


@step
def level_before(w: Record, m: Record) -> float:
    """Return the level in force at the edge of the window that ends now. Changes nothing."""
    cells = w["cell"]
    mask = cells.size - 1
    edge = edge_cell(w, m)
    k = w["tail"]
    while k + 1 < w["head"] and cells[(k + 1) & mask] <= edge:
        k += 1
    return w["x"][k & mask]
