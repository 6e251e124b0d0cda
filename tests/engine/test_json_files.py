"""JSON files: written whole, read strictly, torn lines seen."""

import os

import pytest

from engine.errors import DataError
from engine.json_files import read_json, read_lines, write_bytes
from engine.run_files import ChainLink, Summary


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
