"""Run folders: found by path, id or `last`."""

import os

import pytest

from engine.errors import DataError
from engine.json_files import write_json
from engine.run_files import NAMES, Names, RunName, resolve_run


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
