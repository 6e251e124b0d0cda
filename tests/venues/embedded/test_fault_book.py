"""Which messages a fault hits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from venues.embedded.faults import MAX_FAULTS, Fault, FaultBook


@given(
    skip=st.integers(0, 5), every=st.integers(1, 4), count=st.integers(0, 4),
    names=st.lists(st.sampled_from(["a@trade", "a@depth", "b@trade"]), max_size=40),
)  # fmt: skip
def test_hits_are_those_of_a_plain_count(skip, every, count, names) -> None:
    book = FaultBook()
    book.add(
        Fault(target="market", action="drop", match="*@trade", skip=skip, every=every, count=count)
    )
    hits = [at for at, name in enumerate(names) if book.hit("market", name)]
    matches = [at for at, name in enumerate(names) if name.endswith("@trade")]
    expected = matches[skip::every]
    assert hits == (expected[:count] if count else expected)
    assert ("market" in book.busy) == (not count or len(expected) < count)


def test_targets_actions_and_phases_are_kept_apart() -> None:
    book = FaultBook()
    book.add(Fault(target="rest", action="hang", match="POST *", phase="after"))
    number = book.add(Fault(target="rest", action="stale"))
    assert book.hit("ws_api", "POST x") is None
    assert book.hit("rest", "POST x", phase="before") is None
    found = book.hit("rest", "POST x", phase="after")
    assert found is not None
    assert found.action == "hang"
    assert book.hit("rest", "GET x") is None  # stale is asked for by name
    assert book.hit("rest", "GET x", action="stale") is not None
    assert book.remove(number)
    assert not book.remove(number)
    assert [one["hits"] for one in book.described()] == [1]


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "melt"}, {"skip": -1}, {"every": 0}, {"delay_ms": -1.0}, {"status": 99},
        {"delay_ms": float("nan")},
    ],
)  # fmt: skip
def test_senseless_faults_are_refused(fields: dict) -> None:
    with pytest.raises(UsageError):
        FaultBook().add(Fault(**({"target": "rest", "action": "status"} | fields)))


def test_faults_are_bounded() -> None:
    book = FaultBook()
    for _ in range(MAX_FAULTS):
        book.add(Fault(target="user", action="drop"))
    with pytest.raises(UsageError, match=str(MAX_FAULTS)):
        book.add(Fault(target="user", action="drop"))
