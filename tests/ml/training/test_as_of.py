"""Labels are joined to feature rows by time; a join by row number would be another one."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.training.as_of import Labels, join_as_of
from ml.training.labels import triple_barrier

MINUTE = 60_000_000_000


def rows_at(stamps: list[int], whole: list[bool] | None = None) -> SimpleNamespace:
    ts = np.array(stamps, np.int64)
    x = ts[:, None].astype(np.float32) * np.float32([1.0, -1.0])
    valid = np.ones(len(ts), bool) if whole is None else np.array(whole)
    return SimpleNamespace(ts_available=ts, x=x.reshape(-1, 2), valid=valid)


def labels_at(due: list[int]) -> Labels:
    ts = np.array(due, np.int64)
    kinds = np.arange(len(ts)) % 3
    return Labels(ts, ts + 7, kinds, ts * 1.0, ts * -1.0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 60), max_size=25).map(sorted),
    st.lists(st.integers(0, 60), max_size=25),
    st.integers(0, 20),
    st.data(),
)
def test_a_label_gets_the_last_whole_row_that_was_known(
    stamps: list[int], due: list[int], age: int, data: st.DataObject
) -> None:
    whole = data.draw(st.lists(st.booleans(), min_size=len(stamps), max_size=len(stamps)))
    found = join_as_of(rows_at(stamps, whole), labels_at(due), max_age_ns=age)
    expected = []
    for place, time in sorted(enumerate(due), key=lambda pair: pair[1]):
        known = [k for k, stamp in enumerate(stamps) if stamp <= time]
        if known and whole[known[-1]] and time - stamps[known[-1]] <= age:
            expected.append((time, time + 7, place % 3, float(stamps[known[-1]])))
    got = zip(found.ts, found.end_ts, found.label, found.x[:, 0].astype(float), strict=True)
    assert [tuple(one) for one in got] == expected
    assert (found.ts >= found.x[:, 0]).all()  # no row is younger than its label's decision


def test_labels_of_bars_meet_rows_that_lack_some() -> None:
    """Rows 40 to 59 were held back: joined by number, every later label would be 20 bars off."""
    draw = np.random.default_rng(1)
    n = 300
    close = 100.0 * np.exp(np.cumsum(draw.normal(0, 1e-3, n)))
    found = triple_barrier(close + 0.05, close - 0.05, close, horizon=10, take_profit_atr=2.0,
                           stop_loss_atr=2.0)  # fmt: skip
    closes = MINUTE * np.arange(1, n + 1)
    labels = Labels(closes, closes[found.end], found.label, found.long_return, found.short_return)
    labels = Labels(*(column[found.label >= 0] for column in labels))
    kept = np.delete(np.arange(n), np.arange(40, 60))
    rows = SimpleNamespace(
        ts_available=closes[kept], x=close[kept, None].astype(np.float32), valid=np.ones(280, bool)
    )
    joined = join_as_of(rows, labels, max_age_ns=0)
    assert len(joined) == (found.label >= 0).sum() - 20
    at = joined.ts // MINUTE - 1
    assert np.array_equal(joined.x[:, 0], close[at].astype(np.float32))
    assert np.array_equal(joined.label, found.label[at])
    by_number = rows.x[: len(labels.ts), 0]
    assert not np.array_equal(by_number[60:200], close[found.label >= 0][60:200])


def test_a_label_known_before_its_decision_is_a_mistake() -> None:
    labels = labels_at([5])._replace(end_ts=np.array([4]))
    with pytest.raises(AssertionError):
        join_as_of(rows_at([1]), labels, max_age_ns=9)
