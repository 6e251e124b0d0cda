"""Run folders: found by path, id or `last`; written whole; read strictly; torn lines seen."""

import os

import pytest

from engine.errors import DataError
from engine.run_files import (
    NAMES,
    ChainLink,
    Names,
    RunName,
    Summary,
    hash_words,
    read_json,
    read_lines,
    resolve_run,
    words_hash,
    write_bytes,
    write_json,
)


@pytest.fixture
def runs(tmp_path):
    for at, name in enumerate(("b-2", "a-1", "a-2")):
        folder = tmp_path / "runs" / name
        run = RunName(id=name, mode="replay")
        write_json(folder / NAMES, Names(instruments=(), models=(), run=run))
        os.utime(folder / NAMES, (1000 + at, 1000 + at))
    (tmp_path / "runs" / "accounts").mkdir()
    return tmp_path / "runs"


def test_runs_are_found(runs):
    assert resolve_run("last", runs).name == "a-2"
    assert resolve_run("b-2", runs).name == resolve_run("b", runs).name == "b-2"
    assert resolve_run(str(runs / "a-1"), runs / "other") == runs / "a-1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a", "fits 2 runs"),
        ("c", "latest: a-2, a-1, b-2"),
        ("", "no run"),
        ("accounts", "no such run"),
    ],
)
def test_wrong_names_are_told_in_one_line(runs, text, says):
    with pytest.raises(DataError, match=says):
        resolve_run(text, runs)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_bytes(path, b"before")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_reading_is_strict_about_types_and_kind_to_later_fields(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"run_id": "r", "run_dir": "d", "mode": "m", "exit_reason": "done", "new": 1}')
    assert read_json(path, Summary).run_id == "r"
    path.write_text('{"run_id": 5, "run_dir": "d", "mode": "m", "exit_reason": "done"}')
    with pytest.raises(DataError, match="run_id"):
        read_json(path, Summary)
    with pytest.raises(DataError, match="not there"):
        read_json(tmp_path / "none.json", Summary)


def test_torn_and_foreign_lines_are_none(tmp_path):
    link = b'{"block":0,"first_seq":0,"records":1,"chain":"","tape_row":0,"tape_sha256":""}\n'
    path = tmp_path / "chain.jsonl"
    path.write_bytes(link + b"{}\n" + link[:-1])
    found = list(read_lines(path, ChainLink))
    assert [(number, offset) for number, offset, _ in found] == [(1, 0), (2, 79), (3, 82)]
    assert found[0][2].records == 1
    assert [value for _, _, value in found[1:]] == [None, None]
    assert list(read_lines(tmp_path / "none", ChainLink)) == []


def test_hash_words_and_back():
    sha = "00ff" * 16
    assert words_hash(hash_words(sha)) == sha
    assert hash_words("") == (0, 0, 0, 0)
