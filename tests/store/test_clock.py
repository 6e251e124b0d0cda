"""Clock offsets: impossible latencies are corrected by a constant, possible ones are left alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from store.clock import Latencies, offset_ns, offsets

MS = 1_000_000
SENT = np.arange(10_000, 11_000, dtype=np.int64) * 1000 * MS


def record(*latencies_ms: float) -> Latencies:
    """Return a record of latencies."""
    found = Latencies()
    values = np.array([round(one * MS) for one in latencies_ms], dtype=np.int64)
    found.add(SENT[: len(values)] + values, SENT[: len(values)])
    return found


@given(
    latencies=st.lists(st.integers(-5_000, 500), min_size=1, max_size=300),
    parts=st.integers(1, 5),
)
def test_after_the_correction_every_message_arrives_after_it_was_sent(
    latencies: list[int], parts: int
) -> None:
    values = np.array(latencies, dtype=np.int64) * MS
    found = Latencies()
    for part in np.array_split(np.arange(len(values)), parts):
        found.add(SENT[part] + values[part], SENT[part])
    least = int(values.min())
    offset = offset_ns(found)
    if least >= 0:
        assert offset == 0
    elif (values < least + 1_000 * MS).sum() >= min(64, len(values)):
        assert MS <= least + offset <= 11 * MS + 10 * MS


def test_a_single_glitch_moves_nothing() -> None:
    assert offset_ns(record(*[20.0] * 200, -4000.0)) == 0
    assert offset_ns(record(*[-1268.0] * 200, -9000.0)) == 1270 * MS


def test_unknown_times_do_not_count() -> None:
    found = Latencies()
    found.add(np.array([5, 0], dtype=np.int64), np.array([0, 7], dtype=np.int64))
    assert found.least() is None
    assert offset_ns(found) == 0


def test_venues_of_one_recorder_share_one_offset() -> None:
    venues = {"a": record(-1268.0), "b": record(-1272.0), "c": record(15.0), "d": record(-9000.0)}
    assert offsets(venues, "auto") == {
        "a": 1280 * MS, "b": 1280 * MS, "c": 0, "d": 9010 * MS,
    }  # fmt: skip
    assert offsets(venues, "none") == dict.fromkeys("abcd", 0)
    assert offsets(venues, "-12.5") == dict.fromkeys("abcd", -12_500_000)


@pytest.mark.parametrize("option", ["soon", "nan", "1e20", ""])
def test_wrong_options_are_refused(option: str) -> None:
    with pytest.raises(UsageError, match="allowed are auto, none, or milliseconds"):
        offsets({"a": record(1.0)}, option)
