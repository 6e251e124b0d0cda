"""The signal file: every shape that it can have is acted on or refused, and none is waited for."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.signal_file import (
    MAX_BYTES,
    MAX_LINES,
    SignalFile,
    SignalRefused,
    Wish,
    distrust,
    parse,
    send,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models.signal"


def looks(file: SignalFile, count: int = 4) -> list:
    """Look so often; return what was asked for."""
    return [wish for _ in range(count) if (wish := file.look()) is not None]


def test_a_file_that_is_not_there_asks_for_nothing(path):
    assert looks(SignalFile(path)) == []


def test_what_lies_there_at_the_start_is_not_acted_on(path):
    path.write_text("TickMLP:2\n")
    assert looks(SignalFile(path)) == []


def test_a_touch_asks_for_production_once(path):
    file = SignalFile(path)
    path.touch()
    assert looks(file) == [()]
    os.utime(path, ns=(1, 2_000_000_000_000_000_000))
    assert looks(file) == [()]


def test_fault_M17_a_thousand_touches_between_two_looks_are_one_wish(path):
    file = SignalFile(path)
    for _ in range(1000):
        path.touch()
    assert looks(file) == [()]


def test_a_file_that_is_being_written_is_waited_for(path):
    file = SignalFile(path)
    path.write_text("")  # as `echo ... > file` leaves it for a moment
    assert file.look() is None
    path.write_text("TickMLP:2\n")
    assert looks(file) == [(Wish("TickMLP", "2"),)]


def test_the_same_words_again_count_again_when_the_file_changes(path):
    file = SignalFile(path)
    for _ in range(2):
        send(path, "TickMLP:2\n")
        assert looks(file) == [(Wish("TickMLP", "2"),)]


def test_a_change_within_the_grain_of_the_files_time_is_seen(path):
    file = SignalFile(path)
    path.write_text("TickMLP:2\n")
    seen = os.stat(path)
    assert file.look() == (Wish("TickMLP", "2"),)
    path.write_text("TickMLP:3\n")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert looks(file) == [(Wish("TickMLP", "3"),)]


def test_fault_M19_a_deleted_file_asks_for_nothing(path):
    file = SignalFile(path)
    path.touch()
    assert file.look() is None
    path.unlink()
    assert looks(file) == []
    path.touch()
    assert looks(file) == [()]


def test_a_send_replaces_what_stands_there(path):
    os.mkfifo(path)
    file = SignalFile(path)
    send(path)
    assert looks(file) == [()]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("TickMLP:2\n")
    path.symlink_to(target)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as heard:
        heard.bind(str(path))


def open_to_all(path: Path) -> None:
    path.write_text("TickMLP:2\n")
    path.chmod(0o646)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 34)


def long(path: Path) -> None:
    path.write_text("a" * (MAX_BYTES + 1))


def binary(path: Path) -> None:
    path.write_bytes(b"\x00\xff\xfe" * 20)


def many_lines(path: Path) -> None:
    path.write_text("A:1\n" * (MAX_LINES + 1))


def traversal(path: Path) -> None:
    path.write_text("../../etc:1\n")


@pytest.mark.parametrize(
    "shape",
    [
        fifo,
        folder,
        link,
        endless,
        listening,
        open_to_all,
        huge,
        long,
        binary,
        many_lines,
        traversal,
    ],
)
def test_fault_M19_other_shapes_are_refused_at_once(path, shape):
    file = SignalFile(path)
    shape(path)
    with pytest.raises(SignalRefused):
        for _ in range(2):
            file.look()
    path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
    send(path, "TickMLP:2")
    assert looks(file) == [(Wish("TickMLP", "2"),)]


def test_fault_M19_a_file_of_somebody_else_is_refused(path):
    path.touch(mode=0o644)
    state = os.stat(path)
    assert distrust(state, state.st_uid) == ""
    assert distrust(state, state.st_uid + 1) == "it belongs to another user"


@given(st.binary(max_size=200))
def test_any_bytes_are_wishes_or_refused(content):
    try:
        wishes = parse(content)
    except SignalRefused as error:
        assert "\n" not in str(error)
    else:
        assert len(wishes) <= MAX_LINES
        for wish in wishes:
            assert wish.model_id.encode() in content
            assert "/" not in wish.model_id + wish.version


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, NAMES | st.just("")), max_size=8))
def test_what_is_written_is_what_is_read(pairs):
    lines = [f"{name}:{version}" if version else f"rollback {name}" for name, version in pairs]
    assert parse("\n".join(lines).encode()) == tuple(Wish(*pair) for pair in pairs)
