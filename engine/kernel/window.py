"""The window of a sequence model: the last rows of features, as one piece of memory.

Each row is written twice into a ring of twice the length, so that the rows up to the newest always
stand together somewhere; the model is bound to every such place beforehand, and no window is
copied. A row is taken at each decision, whatever becomes of it; a gap of the feed starts anew.
"""

from numba import njit

from engine.kernel.memory import floats32
from engine.kernel.native import ARGUMENTS

WORD_BYTES, FLOAT_BYTES = 8, 4


@njit
def take_window_row(slot, m, whole):  # type: ignore[no-untyped-def]
    """Take the row in the slot's input as the newest one of its window."""
    rows, width = slot["window"], slot["n_features"]
    at = slot["window_at"] + 1
    at = at if at < rows else 0
    slot["window_at"] = at
    x = floats32(slot["x"], width)
    ring = floats32(slot["ring"], 2 * rows * width)
    for column in range(width):
        ring[at * width + column] = x[column]
        ring[(at + rows) * width + column] = x[column]
    if whole == 0:
        slot["window_run"] = 0
    elif m["gap_count"] != slot["window_gaps"]:
        slot["window_run"] = 1
    elif slot["window_run"] < rows:
        slot["window_run"] += 1
    slot["window_gaps"] = m["gap_count"]
    if slot["run"] != 0:
        slot["run_arguments"] = slot["window_arguments"] + at * ARGUMENTS * WORD_BYTES


@njit(forceinline=True)
def keeps_window(slot):  # type: ignore[no-untyped-def]
    """Tell whether the row is read although the model is not asked: a window has one of each."""
    return slot["window"] > 0 and slot["status"] == 0 and slot["absent"] == 0


@njit(forceinline=True)
def missing_rows(slot):  # type: ignore[no-untyped-def]
    """Return how many more valid rows the slot's window wants."""
    return slot["window"] - slot["window_run"]


@njit(forceinline=True)
def window_address(slot):  # type: ignore[no-untyped-def]
    """Return the address of the oldest row of the slot's window."""
    return slot["ring"] + FLOAT_BYTES * (slot["window_at"] + 1) * slot["n_features"]
