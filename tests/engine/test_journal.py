"""The journal keeps what it took: prefixes, damage, rotation, disk full, two engines, kill -9."""

import asyncio
import errno
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.account_state import AccountState
from engine.errors import DataError, JournalError, UsageError
from engine.journal import Journal
from engine.journal_layout import RECORD_BYTES, Kind, Latch, Note
from engine.journal_reader import fold, read_journal, verify
from engine.journal_sync import GroupCommit, promised
from tests.engine.account_world import World, picture

NOTHING = lambda record: None  # noqa: E731


def filled_account(folder: Path, orders: int = 30, **settings) -> World:
    """Make an account in which every kind of record stands."""
    world = World(folder, **settings)
    account = world.account
    for ordinal in range(orders):
        client = world.sent(ordinal, side=1 if ordinal % 3 else -1)
        if ordinal % 7 == 0:
            account.unknown(client, 1)
        account.acked(client, str(1000 + ordinal), 5)
        account.filled(world.trade(client, f"t{ordinal}", 40 + ordinal % 2 * 60))
        if ordinal % 5 == 0:
            account.cancel_asked(client)
            account.ended(client, Kind.CANCELED, 9)
    account.put(Kind.LATCH, code=Latch.KILL, numbers=(1,) + (0,) * 8)
    account.put(Kind.COUNTERS, code=1, numbers=(19, -500, 0, 0, 0, 0, 0, 0, 0))
    account.note(Note.OPERATOR, "x" * 200)
    return world


def test_a_journal_folds_to_what_the_live_account_holds(tmp_path):
    world = filled_account(tmp_path / "a", segment_records=64)
    live = picture(world.account.state)
    world.account.journal.close()
    assert picture(fold(tmp_path / "a")) == live
    found = verify(tmp_path / "a")
    assert found.segments > 2
    assert found.orders == 30
    assert found.fills == 30
    again = World(tmp_path / "a", segment_records=64)
    assert again.tag != world.tag
    again.account.journal.close()


def test_the_folder_and_its_files_are_private(tmp_path):
    filled_account(tmp_path / "a", segment_records=64).account.journal.close()
    for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0


@pytest.fixture(scope="module")
def one_segment(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("journal") / "a"
    filled_account(folder, segment_records=1024).account.journal.close()
    return Quiet((folder / "journal" / "000000.journal").read_bytes())


class Quiet(bytes):
    """Bytes that a failing test does not print."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


def laid_down(data: bytes, at: Path) -> Path:
    folder = at / "a"
    (folder / "journal").mkdir(parents=True)
    (folder / "journal" / "000000.journal").write_bytes(data)
    return folder


def folded(folder: Path) -> tuple[AccountState, int, int]:
    state = AccountState()
    journal = Journal(folder, lambda r: state.apply(r) and None, segment_records=1024)
    cut, head = journal.cut, journal.head
    journal.close()
    return state, cut, head


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_prefix_recovers_to_the_fold_of_its_whole_records(one_segment, data):
    used = len(one_segment.rstrip(b"\0"))
    cut = data.draw(st.integers(RECORD_BYTES, used + RECORD_BYTES))
    zeros = data.draw(st.booleans())
    with tempfile.TemporaryDirectory() as name:
        torn = one_segment[:cut]
        if zeros:
            torn = torn.ljust(len(one_segment), b"\0")
        folder = laid_down(torn, Path(name))
        state, was_cut, head = folded(folder)
        # A record whose last bytes are zeros is whole without them.
        records = -(-len(torn.rstrip(b"\0")) // RECORD_BYTES) - 1
        assert head in (records, records - 1)
        assert bool(was_cut) == (head == records - 1)
        whole = one_segment[: (head + 1) * RECORD_BYTES].ljust(len(one_segment), b"\0")
        expected = fold(laid_down(whole, Path(name) / "b"))
        assert picture(state) == picture(expected)
        assert picture(folded(folder)[0]) == picture(expected)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_fault_P08_a_flipped_bit_in_the_middle_is_refused_with_its_offset(one_segment, data):
    used = len(one_segment.rstrip(b"\0"))
    at = data.draw(st.integers(RECORD_BYTES, used - 2 * RECORD_BYTES))
    bit = data.draw(st.integers(0, 7))
    damaged = bytearray(one_segment)
    damaged[at] ^= 1 << bit
    offset = at // RECORD_BYTES * RECORD_BYTES
    with tempfile.TemporaryDirectory() as name:
        folder = laid_down(bytes(damaged), Path(name))
        with pytest.raises(DataError, match=f"at offset {offset}; .*restore"):
            Journal(folder, NOTHING, segment_records=1024)
        assert (folder / "journal" / "000000.journal").read_bytes() == damaged
        with pytest.raises(DataError, match=f"offset {offset}"):
            verify(folder)


def test_fault_P08_a_torn_last_record_is_cut_with_an_event(tmp_path, one_segment):
    used = -(-len(one_segment.rstrip(b"\0")) // RECORD_BYTES) * RECORD_BYTES
    torn = bytearray(one_segment)
    torn[used - 80 : used] = bytes(80)
    folder = laid_down(bytes(torn), tmp_path)
    world = World(folder, segment_records=1024)
    assert world.account.journal.cut > 0
    assert world.account.state.notes[-1][0] == Note.TAIL_CUT
    world.account.journal.close()


def test_an_edited_record_with_new_checks_breaks_the_chain(tmp_path, one_segment):
    """Checks can be recomputed by anyone; the chain's later links cannot be without showing."""
    from engine.journal_layout import put_check, stored_check, unpack_header

    data = bytearray(one_segment)
    check = unpack_header(bytes(data[:RECORD_BYTES])).check_before
    for start in range(RECORD_BYTES, len(data), RECORD_BYTES):
        raw = bytearray(data[start : start + RECORD_BYTES])
        if not any(raw):
            break
        if start == 20 * RECORD_BYTES:
            raw[16] ^= 1
        assert start != 20 * RECORD_BYTES or stored_check(raw)
        raw[52:56] = bytes(4)
        check = put_check(raw, check)
        data[start : start + RECORD_BYTES] = raw
    with pytest.raises(DataError, match="chain breaks at record 64"):
        verify(laid_down(bytes(data), tmp_path))


def test_a_power_loss_that_keeps_a_later_page_is_cut_only_if_nothing_was_promised(tmp_path):
    world = filled_account(tmp_path / "a", segment_records=1024, policy="synced")
    journal = world.account.journal
    journal.sync()
    promised = journal.head
    for ordinal in range(100, 110):
        world.sent(ordinal)
    data = bytearray((tmp_path / "a/journal/000000.journal").read_bytes())
    journal.close()
    hole = (promised + 2) * RECORD_BYTES
    data[hole : hole + RECORD_BYTES] = bytes(RECORD_BYTES)
    _, cut, head = folded(laid_down(bytes(data), tmp_path / "b"))
    assert head == promised + 1
    assert cut > RECORD_BYTES
    earlier = (promised - 2) * RECORD_BYTES
    data[earlier] ^= 1
    with pytest.raises(DataError, match="in the middle"):
        folded(laid_down(bytes(data), tmp_path / "c"))


def test_fault_P14_a_second_engine_is_refused_with_the_owners_pid(tmp_path):
    journal = Journal(tmp_path / "a", NOTHING, segment_records=64)
    with pytest.raises(UsageError, match=f"process id {os.getpid()} trades this account"):
        Journal(tmp_path / "a", NOTHING, segment_records=64)
    journal.close()
    Journal(tmp_path / "a", NOTHING, segment_records=64).close()


def test_fault_P04_no_space_at_start_is_one_clear_line(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path; from engine.journal import Journal\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "Journal(Path(sys.argv[1]), lambda r: None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True
    )
    assert "JournalError" in done.stderr
    assert "cannot allocate 8.4 MB for the account's journal" in done.stderr
    assert not list((tmp_path / "a").rglob("*.journal"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def test_fault_P04_in_the_run_intents_are_refused_and_answers_still_fit(tmp_path, monkeypatch):
    world = World(tmp_path / "a", segment_records=128)
    client = world.sent(0)

    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(JournalError, match=r"no space left.*no order leaves"):
        for ordinal in range(1, 200):
            world.intent(ordinal)
    world.account.acked(client, "77")
    world.account.cancel_asked(client)
    world.account.filled(world.trade(client, "t", 100))
    live = picture(world.account.state)
    monkeypatch.undo()
    world.intent(300)
    world.account.journal.close()
    assert picture(fold(tmp_path / "a"))["positions"] == live["positions"]


def test_a_journal_that_is_moved_or_cut_in_use_takes_no_more_intents(tmp_path):
    world = World(tmp_path / "a", segment_records=64)
    world.account.journal.check_place()
    file = tmp_path / "a/journal/000000.journal"
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="moved, deleted or cut"):
        world.account.journal.check_place()
    with pytest.raises(JournalError):
        world.intent(1)


@pytest.mark.asyncio
async def test_waiters_share_a_sync_and_learn_when_the_disk_refuses(tmp_path, monkeypatch):
    calls = []
    real = os.fdatasync

    def counted(descriptor):
        calls.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    world = World(tmp_path / "a", segment_records=128, policy="synced")
    journal = world.account.journal
    commit = GroupCommit(journal)
    calls.clear()
    seqs = []
    for ordinal in range(20):
        client = world.intent(ordinal)
        seqs.append(world.account.sent(client, (1, 2)))
    await asyncio.gather(*(commit.durable(seq) for seq in seqs))
    assert promised(journal) == journal.head
    assert len(calls) == 1

    def refuses(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", refuses)
    client = world.intent(50)
    with pytest.raises(JournalError, match="the disk refused"):
        await commit.durable(world.account.sent(client, (1, 2)))
    monkeypatch.setattr(os, "fdatasync", real)
    with pytest.raises(JournalError, match="the disk refused"):
        world.intent(51)
    await commit.close()


WRITER = """
import asyncio, os, sys
from pathlib import Path
from engine.journal_sync import GroupCommit
from tests.engine.account_world import World

async def main():
    policy = sys.argv[2]
    world = World(Path(sys.argv[1]), segment_records=256, policy=policy)
    commit = GroupCommit(world.account.journal)
    for ordinal in range(1_000_000):
        client = world.intent(ordinal)
        seq = world.account.sent(client, (1, 2))
        await commit.durable(seq)
        os.write(1, f"{seq} {client} S\\n".encode())
        world.account.acked(client, str(ordinal))
        world.account.filled(world.trade(client, f"t{ordinal}", 60))
        seq = world.account.journal.head - 1
        if policy == "written":
            os.write(1, f"{seq} {client} F\\n".encode())
        world.account.journal.settle()

asyncio.run(main())
"""


@pytest.mark.parametrize("policy", ["written", "synced"])
def test_fault_P01_kill_9_at_random_moments_loses_nothing_that_was_promised(tmp_path, policy):
    chance = random.Random(policy)
    for round_ in range(5):
        folder = tmp_path / str(round_)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), policy], stdout=subprocess.PIPE
        )
        heard = [process.stdout.readline() for _ in range(chance.randrange(1, 60))]
        process.send_signal(signal.SIGKILL)
        said = (b"".join(heard) + process.stdout.read()).decode().splitlines()
        process.wait()
        process.stdout.close()
        said = [line.split() for line in said if line.endswith((" S", " F"))]
        assert len(said) >= len(heard)
        seen = []
        found = read_journal(folder, seen.append)
        assert found.records == len(seen)
        state = fold(folder)
        for seq, client, what in said:
            assert int(seq) < found.records
            assert state.orders[client].sent
            assert what == "S" or state.orders[client].filled_lot == 60
        ordinals = [order.ordinal for order in state.orders.values()]
        assert ordinals == list(range(len(ordinals)))
        again = World(folder, segment_records=256)
        left = [order for order in again.account.state.orders.values() if order.state == 2]
        assert not left
        again.account.journal.close()
