"""Merging: every row once, in order of time, stably, with packets whole, however it is batched."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.row_arrays import join_rows
from engine.rows import LAST, ROW, Kind
from store.merge import merge, time_key

stream = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 4)), max_size=15)


def packets_of(number: int, packets: list[tuple[int, int]]) -> np.ndarray:
    """Return rows of packets (time, length); `i2` numbers the rows of the stream."""
    rows = np.zeros(sum(length for _, length in packets), ROW)
    rows["kind"] = Kind.DEPTH
    rows["instrument"] = number
    rows["i2"] = np.arange(len(rows))
    start = 0
    for time, length in packets:
        rows["ts_recv"][start : start + length] = time
        rows["flags"][start + length - 1] = LAST
        start += length
    return rows


def cut(rows: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Cut rows into batches of these sizes, again and again."""
    parts, start, k = [], 0, 0
    while start < len(rows):
        parts.append(rows[start : start + sizes[k % len(sizes)]])
        start += sizes[k % len(sizes)]
        k += 1
    return parts


@given(
    streams=st.lists(stream, min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    ordered=st.booleans(),
)
def test_merge_is_a_stable_sort_that_keeps_packets(
    streams: list, sizes: list[int], ordered: bool
) -> None:
    if ordered:
        streams = [sorted(one) for one in streams]
    inputs = [packets_of(k, one) for k, one in enumerate(streams)]
    batches = list(merge([iter(cut(rows, sizes)) for rows in inputs]))
    whole = list(merge([iter([rows] if len(rows) else []) for rows in inputs]))
    assert b"".join(one.tobytes() for one in batches) == b"".join(one.tobytes() for one in whole)
    merged = join_rows(batches) if batches else np.zeros(0, ROW)
    assert len(merged) == sum(len(rows) for rows in inputs)
    for number, rows in enumerate(inputs):
        own = merged[merged["instrument"] == number]
        assert own.tobytes() == rows.tobytes(), "a stream's own order was changed"
    assert all(batch["flags"][-1] & LAST for batch in batches)
    inside = merged["flags"][:-1] & LAST == 0
    assert np.array_equal(inside & (np.diff(merged["instrument"].astype(int)) != 0), inside & False)
    if ordered and len(merged):
        assert (np.diff(time_key(merged)) >= 0).all()


def test_rows_of_one_time_stand_in_the_order_of_their_kinds() -> None:
    kinds = [Kind.DEPTH, Kind.QUOTE, Kind.TRADE, Kind.GAP]
    streams = []
    for kind in kinds:
        rows = packets_of(0, [(5, 1), (6, 1)])
        rows["kind"] = kind
        streams.append(iter([rows]))
    merged = join_rows(list(merge(streams)))
    assert merged["kind"].tolist() == 2 * [Kind.GAP, Kind.TRADE, Kind.QUOTE, Kind.DEPTH]


def test_join_keeps_every_byte() -> None:
    draw = np.random.default_rng(3)
    parts = [np.frombuffer(draw.bytes(64 * n), ROW) for n in (3, 1, 7)]
    assert join_rows(parts).tobytes() == b"".join(part.tobytes() for part in parts)
