"""The sync of books: whatever is lost, doubled or late, what is applied has no hole."""

from hypothesis import given
from hypothesis import strategies as st

from engine.book_sync import CHAINED, FIRST_TO_LAST, BookSync, Delta, GapReason, SyncRule, SyncState


def deltas(widths: list[int], rule: SyncRule, start: int = 101) -> list[Delta[str]]:
    """Return consecutive updates; on chained venues ids jump, and `prev_id` names the last one."""
    found = []
    last = start - 1
    for k, width in enumerate(widths):
        first = last + 1 + (5 if rule.chained else 0)
        found.append(Delta(first, first + width - 1, last if rule.chained else -1, f"d{k}"))
        last = first + width - 1
    return found


def test_spot_procedure_drops_what_the_snapshot_holds() -> None:
    sync: BookSync[str] = BookSync(FIRST_TO_LAST)
    stream = deltas([10, 10, 10, 10], FIRST_TO_LAST)  # 101-110, 111-120, ...
    for one in stream[:3]:
        assert sync.on_delta(one) is None
    assert sync.needs_snapshot
    assert sync.on_snapshot(115, "book") == ["book", "d1", "d2"]
    assert sync.dropped == 1
    assert sync.on_delta(stream[3]) == "d3"
    assert (sync.book_id, sync.state, sync.gaps) == (140, SyncState.SYNCED, 0)


def test_spot_snapshot_at_the_edges_of_an_update() -> None:
    for last_id, expected in ((100, ["b", "d0", "d1"]), (110, ["b", "d1"]), (120, ["b"])):
        sync: BookSync[str] = BookSync(FIRST_TO_LAST)
        for one in deltas([10, 10], FIRST_TO_LAST):
            sync.on_delta(one)
        assert sync.on_snapshot(last_id, "b") == expected


def test_fault_F10_snapshot_older_than_the_updates_is_refused() -> None:
    for rule in (FIRST_TO_LAST, CHAINED):
        sync: BookSync[str] = BookSync(rule)
        sync.on_delta(Delta(101, 110, 95, "d"))
        assert sync.on_snapshot(90, "old") == []
        assert sync.needs_snapshot
        assert sync.on_snapshot(105, "book") == ["book", "d"]


def test_usdm_first_update_must_hold_the_snapshot_and_then_chain() -> None:
    sync: BookSync[str] = BookSync(CHAINED)
    sync.on_delta(Delta(90, 99, 80, "before"))
    sync.on_delta(Delta(100, 110, 99, "around"))
    assert sync.on_snapshot(105, "book") == ["book", "around"]
    assert sync.on_delta(Delta(117, 120, 110, "next")) == "next"
    assert sync.on_delta(Delta(125, 130, 121, "broken")) is None
    assert sync.gap is GapReason.SEQUENCE
    assert sync.needs_snapshot


def test_fault_F06_a_lost_update_is_a_gap_until_the_next_snapshot() -> None:
    for rule in (FIRST_TO_LAST, CHAINED):
        stream = deltas([3] * 6, rule)
        sync: BookSync[str] = BookSync(rule)
        sync.on_snapshot(stream[0].last_id, "book")
        assert sync.on_delta(stream[1]) == "d1"
        assert sync.on_delta(stream[3]) is None
        assert sync.gap is GapReason.SEQUENCE
        assert sync.on_delta(stream[4]) is None
        assert sync.gap is None
        assert sync.on_snapshot(stream[3].last_id, "again")[0] == "again"
        assert sync.on_delta(stream[5]) == "d5"
        assert sync.gaps == 1


def test_fault_F07_repeated_updates_are_ignored_and_counted() -> None:
    stream = deltas([3, 3], FIRST_TO_LAST)
    sync: BookSync[str] = BookSync(FIRST_TO_LAST)
    sync.on_snapshot(100, "book")
    assert sync.on_delta(stream[0]) == "d0"
    assert sync.on_delta(stream[0]) is None
    assert sync.on_delta(stream[1]) == "d1"
    assert (sync.dropped, sync.gaps) == (1, 0)


def test_fault_F09_ids_that_begin_anew_while_a_snapshot_is_awaited() -> None:
    for rule in (FIRST_TO_LAST, CHAINED):
        sync: BookSync[str] = BookSync(rule)
        for one in deltas([10, 10], rule, start=5001):
            sync.on_delta(one)
        anew = deltas([10] * 12, rule, start=1)
        for one in anew[:8]:
            sync.on_delta(one)
        assert sync.on_snapshot(anew[3].last_id - 1, "book") == []  # they may just be late
        sync.on_delta(anew[8])
        wanted = ["book"] + [one.packet for one in anew[3:9]]
        assert sync.on_snapshot(anew[3].last_id - 1, "book") == wanted
        assert [sync.on_delta(one) for one in anew[9:]] == ["d9", "d10", "d11"]
        assert (sync.dropped, sync.gaps) == (2 + 3, 0)


def test_a_disconnect_forgets_the_book_once() -> None:
    sync: BookSync[str] = BookSync(FIRST_TO_LAST)
    assert sync.lose(GapReason.DISCONNECT) is False
    sync.on_snapshot(100, "book")
    assert sync.lose(GapReason.DISCONNECT) is True
    assert sync.lose(GapReason.DISCONNECT) is False
    assert sync.needs_snapshot


events = st.lists(
    st.tuples(
        st.sampled_from(["next", "next", "next", "skip", "repeat", "book"]), st.integers(1, 9)
    ),
    max_size=60,
)


@given(events=events, chained=st.booleans(), lag=st.integers(0, 4))
def test_what_is_applied_never_has_a_hole(events: list, chained: bool, lag: int) -> None:
    """Model: ids applied since the last snapshot cover everything up to the book id, in order."""
    rule = CHAINED if chained else FIRST_TO_LAST
    stream = deltas([width for _, width in events], rule)
    ranges = {one.packet: one for one in stream}
    sync: BookSync[str] = BookSync(rule)
    covered = 0  # the venue's id up to which the book is whole; 0 while unknown
    at = 0
    for what, _ in events:
        if what == "skip":
            at += 1
            continue
        if what == "book":
            upto = stream[max(min(at, len(stream)) - 1 - lag, 0)].last_id
            applied = sync.on_snapshot(upto, "book")
            if applied:
                assert applied[0] == "book"
                covered = upto
            found = applied[1:]
        else:
            index = max(at - 1, 0) if what == "repeat" else at
            if index >= len(stream):
                break
            at = index + 1
            packet = sync.on_delta(stream[index])
            found = [packet] if packet else []
        for packet in found:
            one = ranges[packet]
            begins = one.prev_id if chained else one.first_id - 1
            assert begins <= covered, "a hole in the book"
            assert one.last_id >= covered, "an update was applied backwards"
            covered = one.last_id
        if sync.gap is not None:
            assert sync.needs_snapshot
        if not sync.needs_snapshot:
            assert sync.book_id == covered
