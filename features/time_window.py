"""Sums and levels over a window of kernel time, in a ring of cells.

A window of `seconds` is cut into 1,000 cells; everything inside one cell is summed. The window at
time t holds the cells later than the cell of t - seconds, so its edge is as fine as a thousandth of
its length, and the ring of 1,024 cells is never full. The ring is checked all the same: a cell that
would overwrite one still in the window counts in `m["window_overflows"]`. A gap of the feed
restarts the window.

A read costs the same however long nothing was added: it looks for the window's edge from where the
last read found it, and keeps the sums that it had to make. Neither changes what is read, so it does
not matter how often a window is read.
"""

from typing import Any

import numpy as np

from features.step import Record, step

CELLS = 1000
RING = 1024
NS_PER_S = 1_000_000_000
LANES = 4  # sums of so many neighbouring starts are made in one pass
NOTHING = -LANES  # `summed` when no sums are kept


def window_dtype(columns: int, ring: int = RING) -> np.dtype[Any]:
    """Lay out a window of one column (levels) or two (sums); `ring` is a power of two.

    >>> window_dtype(1).itemsize, window_dtype(2).itemsize
    (16536, 24728)
    """
    words: list[tuple[Any, ...]] = [("cell", "i8", (ring,))]
    words += [(name, "f8", (ring,)) for name in ("x", "y")[:columns]]
    words += [(name, "i8") for name in "head tail flip found cell_ns start started gaps".split()]
    words += [("late_x", "f8"), ("late_y", "f8"), ("summed", "i8")]
    words += [("sums_x", "f8", (LANES,)), ("sums_y", "f8", (LANES,))]
    return np.dtype(words, align=True)


@step
def window_init(w: Record, seconds: int) -> None:
    """Start an empty window of so many seconds."""
    w["cell_ns"] = seconds * NS_PER_S // CELLS
    w["started"] = 0
    w["start"] = 0
    w["gaps"] = 0
    w["head"] = 0
    w["tail"] = 0
    w["flip"] = 0
    w["found"] = 0
    w["late_x"] = 0.0
    w["late_y"] = 0.0
    w["summed"] = NOTHING


@step
def window_init_ms(w: Record, milliseconds: int) -> None:
    """Start an empty window of so many milliseconds."""
    window_init(w, 1)
    w["cell_ns"] = milliseconds * 1_000_000 // CELLS


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
    w["flip"] = 0
    w["found"] = 0
    w["late_x"] = 0.0
    w["late_y"] = 0.0
    w["summed"] = NOTHING
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

    Nothing is ever subtracted, so no rounding is left behind: cells before `flip` hold the sum from
    themselves up to `flip`, later ones their own sums, which `late_x` and `late_y` add up.
    """
    cells = w["cell"]
    mask = cells.size - 1
    edge = edge_cell(w, m)
    cell = m["ts"] // w["cell_ns"]
    tail = w["tail"]
    while tail < w["head"] and cells[tail & mask] <= edge:
        tail += 1
    fresh = tail == w["head"] or cells[(w["head"] - 1) & mask] < cell
    if fresh and w["head"] - tail == cells.size:
        m["window_overflows"] += 1
        tail += 1
    if tail > w["tail"]:
        w["tail"] = tail
        if tail >= w["flip"]:
            window_flip(w)
    w["late_x"] += x
    w["late_y"] += y
    w["summed"] = NOTHING
    if fresh:
        slot = w["head"] & mask
        cells[slot] = cell
        w["x"][slot] = x
        w["y"][slot] = y
        w["head"] += 1
    elif w["head"] > w["flip"]:
        w["x"][(w["head"] - 1) & mask] += x
        w["y"][(w["head"] - 1) & mask] += y


@step
def window_flip(w: Record) -> None:
    """Replace the sums of all cells by the sums from each one to the newest."""
    mask = w["cell"].size - 1
    x = 0.0
    y = 0.0
    for back in range(w["head"] - w["tail"]):
        at = (w["head"] - 1 - back) & mask
        x += w["x"][at]
        y += w["y"][at]
        w["x"][at] = x
        w["y"][at] = y
    w["flip"] = w["head"]
    w["late_x"] = 0.0
    w["late_y"] = 0.0


@step
def window_sums(w: Record, m: Record) -> tuple[float, float]:
    """Return the sums of x and y over the window that ends now."""
    mask = w["cell"].size - 1
    k = first_inside(w, edge_cell(w, m))
    if k < w["flip"]:
        return w["x"][k & mask] + w["late_x"], w["y"][k & mask] + w["late_y"]
    if k == w["tail"]:
        return w["late_x"], w["late_y"]
    if not 0 <= k - w["summed"] < LANES:
        sum_from(w, k)
    lane = k - w["summed"]
    return w["sums_x"][lane], w["sums_y"][lane]


@step
def first_inside(w: Record, edge: int) -> int:
    """Return the first place from the tail on whose cell is newer than the edge.

    Time moves on a little between two reads, so the place is near the one found before.
    """
    cells = w["cell"]
    mask = cells.size - 1
    k = max(w["found"], w["tail"])
    while k > w["tail"] and cells[(k - 1) & mask] > edge:
        k -= 1
    while k < w["head"] and cells[k & mask] <= edge:
        k += 1
    w["found"] = k
    return k


@step
def sum_from(w: Record, first: int) -> None:
    """Keep the sums from each of LANES places, `first` and those after it, to the newest cell.

    Each is added up from its oldest cell on. The additions of one sum wait for each other, those
    of several do not: four take about as long as one, and serve four times as long.
    """
    mask = w["cell"].size - 1
    x0 = x1 = x2 = x3 = 0.0
    y0 = y1 = y2 = y3 = 0.0
    for at in range(first, w["head"]):
        x = w["x"][at & mask]
        y = w["y"][at & mask]
        x0 += x
        y0 += y
        x1 += x if at > first else 0.0
        y1 += y if at > first else 0.0
        x2 += x if at > first + 1 else 0.0
        y2 += y if at > first + 1 else 0.0
        x3 += x if at > first + 2 else 0.0
        y3 += y if at > first + 2 else 0.0
    w["summed"] = first
    w["sums_x"][0], w["sums_x"][1], w["sums_x"][2], w["sums_x"][3] = x0, x1, x2, x3
    w["sums_y"][0], w["sums_y"][1], w["sums_y"][2], w["sums_y"][3] = y0, y1, y2, y3


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
    """Return the level in force at the edge of the window that ends now."""
    k = first_inside(w, edge_cell(w, m))
    return w["x"][max(k - 1, w["tail"]) & (w["cell"].size - 1)]
