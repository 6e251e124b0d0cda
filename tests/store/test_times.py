"""Times in any usual form become nanoseconds, UTC."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from store.times import to_ns

NS = 1_564_617_600_123_456_789


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1_564_617_600], 1_564_617_600_000_000_000),
        ([1_564_617_600_123], 1_564_617_600_123_000_000),
        ([1_564_617_600_123_456], 1_564_617_600_123_456_000),
        ([NS], NS),
        ([1_564_617_600.25], 1_564_617_600_250_000_000),
        ([1_564_617_600_123.5], 1_564_617_600_123_500_000),
        ([20190131], 1_548_892_800_000_000_000),
        (["1564617600"], 1_564_617_600_000_000_000),
        (["1564617600.123456789"], NS),
        (["1564617600123.456"], 1_564_617_600_123_456_000),
        (["2019-08-01T00:00:00.123456789Z"], NS),
        (["2019-08-01 02:00:00.123456789+02:00"], NS),
        (["2019-08-01 00:00:00"], 1_564_617_600_000_000_000),
        (["2019-08-01 00:00:00 UTC"], 1_564_617_600_000_000_000),
        (["2019-08-01"], 1_564_617_600_000_000_000),
        (["2019.08.01 00:00"], 1_564_617_600_000_000_000),
        (["20190801 000000"], 1_564_617_600_000_000_000),
        ([datetime(2019, 8, 1, tzinfo=UTC)], 1_564_617_600_000_000_000),
        ([datetime(2019, 8, 1)], 1_564_617_600_000_000_000),
        ([None, 1_564_617_600], 0),
    ],
)
def test_usual_forms(values: list, expected: int) -> None:
    assert to_ns(pa.array(values), "time", "f")[0] == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["01/02/2019"], "holds no times that are understood, such as '01/02/2019'"),
        (["soon"], "holds no times"),
        ([True], "of type bool holds no times"),
        ([-5], "outside the years 1970 to 2100"),
        ([9 * 10**18], "outside the years 1970 to 2100"),
    ],
)
def test_what_is_no_time_is_refused_in_one_line(values: list, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        to_ns(pa.array(values), "time", "f.csv")
    assert str(caught.value).startswith("f.csv: column time")
    assert "\n" not in str(caught.value)


@given(st.lists(st.integers(946_684_800_000, 4_000_000_000_000), min_size=1, max_size=20))
def test_numbers_and_text_agree(stamps: list[int]) -> None:
    numbers = to_ns(pa.array(stamps), "t", "f")
    assert np.array_equal(numbers, np.array(stamps) * 1_000_000)
    assert np.array_equal(to_ns(pa.array([str(one) for one in stamps]), "t", "f"), numbers)
