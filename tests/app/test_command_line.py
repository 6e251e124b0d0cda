"""Exit codes and one-line errors; lab.py starts fast and imports only the chosen command."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.command_line import Parser, run
from config.problem import ConfigProblem
from engine.errors import ConfigError, DataError, ModelError, RunError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigProblem("x.yaml:3: a.b: no"), 2),
        (ConfigError("no"), 2),
        (DataError("no\nsecond line"), 2),
        (ModelError("no"), 1),
        (RunError("no"), 1),
        (KeyboardInterrupt(), 130),
        (ModuleNotFoundError("No module named 'lightgbm'", name="lightgbm.basic"), 1),
    ],
)
def test_errors_are_one_line_and_an_exit_code(capsys, error, code):
    def main() -> int:
        raise error

    assert run("lab.py", main) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lab.py: ")
    assert err.count("\n") == 1


def test_a_programmer_error_is_not_hidden():
    def main() -> int:
        raise AssertionError("border")

    with pytest.raises(AssertionError):
        run("lab.py", main)


def test_success_is_what_the_command_returns():
    assert run("x", lambda: 3) == 3


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["modles"], "did you mean models?"),
        (["zzzz"], "known are models, train"),
        (["models", "--verbsoe"], "did you mean --verbose?"),
        ([], "required"),
    ],
)
def test_bad_usage_is_one_line_with_the_nearest_word(capsys, argv, expected):
    parser = Parser(prog="lab.py")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("models")
    commands.add_parser("train")
    parser.add_argument("--verbose", action="store_true")
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(argv)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert expected in err
    assert err.count("\n") == 1


def lab(*argv: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "lab.py", *argv]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_imports_none_of_the_heavy_packages():
    done = lab("--help", flags=("-X", "importtime"))
    assert done.returncode == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"numpy", "numba", "structlog", "msgspec", "ruamel.yaml", "pyarrow", "rich"}


def test_unknown_commands_exit_with_2_and_the_nearest():
    done = lab("adta")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean data?" in done.stderr


def test_python_without_asserts_is_refused():
    done = lab("--help", flags=("-O",))
    assert done.returncode == 2
    assert "-O" in done.stderr
