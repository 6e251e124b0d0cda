"""Sums and levels over a window of kernel time, in a ring of cells.

A window of `seconds` is cut into 1,000 cells; everything inside one cell is summed. The window at
time t holds the cells later than the cell of t - seconds, so its edge is as fine as a thousandth of
its length, and the ring of 1,024 cells is never full. The ring is checked all the same: a cell that
would overwrite one still in the window counts in `m["window_overflows"]`. A gap of the feed
restarts the window.

A read looks for the window's edge from where the last read found it, so that each cell is passed
once, however long nothing is added. What it adds up cell by cell (while the oldest sum in force
lies between `flip` and the newest cell, and nothing is added) it keeps for the reads that follow:
one pass over the cells for each LANES of them that leave the window. Neither changes what is read,
so it does not matter how often a window is read.
"""

from typing import Any

import numpy as np

from features.step import Record, step

CELLS = 1000
RING = 1024
NS_PER_S = 1_000_000_000
LANES = 8  # sums from so many neighbouring places are made in one pass
NOTHING = -LANES  # `summed` where no sums are kept


def window_dtype(columns: int, ring: int = RING) -> np.dtype[Any]:
    """Lay out a window of one column (levels) or two (sums); `ring` is a power of two.

    >>> window_dtype(1).itemsize, window_dtype(2).itemsize
    (16600, 24792)
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
    if w["head"] - k > LANES:
        return kept_sums(w, k)
    x = 0.0
    y = 0.0
    for at in range(k, w["head"]):
        x += w["x"][at & mask]
        y += w["y"][at & mask]
    return x, y


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
def kept_sums(w: Record, k: int) -> tuple[float, float]:
    """Return the sums from place k to the newest cell, making them where they are not kept."""
    if not 0 <= k - w["summed"] < LANES:
        sum_lanes(w["x"], k, w["head"], w["sums_x"])
        sum_lanes(w["y"], k, w["head"], w["sums_y"])
        w["summed"] = k
    lane = k - w["summed"]
    return w["sums_x"][lane], w["sums_y"][lane]


@step
def sum_lanes(ring: np.ndarray, first: int, head: int, sums: np.ndarray) -> None:
    """Add up the places from `first`, from the one after it, and so on, each sum to `head`.

    More than LANES places. Each sum goes from its oldest place to the newest; additions of one sum
    wait for each other, those of several do not, so that LANES sums take little longer than one.

    >>> sums = np.zeros(LANES); sum_lanes(np.arange(16.0), 3, 12, sums); [int(x) for x in sums]
    [63, 60, 56, 51, 45, 38, 30, 21]
    """
    mask = ring.size - 1
    for lane in range(LANES):
        sums[lane] = 0.0
        for at in range(first + lane, first + LANES):
            sums[lane] += ring[at & mask]
    s0, s1, s2, s3 = sums[0], sums[1], sums[2], sums[3]
    s4, s5, s6, s7 = sums[4], sums[5], sums[6], sums[7]
    for at in range(first + LANES, head):
        x = ring[at & mask]
        s0 += x
        s1 += x
        s2 += x
        s3 += x
        s4 += x
        s5 += x
        s6 += x
        s7 += x
    sums[0], sums[1], sums[2], sums[3] = s0, s1, s2, s3
    sums[4], sums[5], sums[6], sums[7] = s4, s5, s6, s7


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
