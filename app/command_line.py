"""What every command shares: one-line errors that help, and the exit codes."""

import argparse
import difflib
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from config.problem import ConfigProblem
from engine.errors import TickgateError, UsageError

DONE, FAILED, BAD_USAGE, HALTED, INTERRUPTED = 0, 1, 2, 3, 130
_PROJECT = Path(__file__).resolve().parent.parent
_TRAINING = set("lightgbm onnx onnxmltools scipy skl2onnx sklearn skops xgboost".split())
_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


class _Help(argparse.RawDescriptionHelpFormatter):
    """80 columns wherever the help is read; names and their help on one line."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, **(kwargs | {"max_help_position": 26, "width": 80}))


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line that name the nearest word; no abbreviated flags."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _Help)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        if found := _CHOICE.search(message):
            known = re.findall(r"[\w.:-]+", found[2])
            message = f"unknown {found[1]!r}; {_nearest(found[1], known)}"
        elif message.startswith("unrecognized arguments: "):
            word = message.split()[2]
            flag = word.partition("=")[0]
            known = [flag for action in self._actions for flag in action.option_strings]
            message = f"unknown {word!r}; {_nearest(flag, known)}"
        line = " ".join(message.split())
        print(f"{self.prog}: {line} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(BAD_USAGE)


def run(program: str, main: Callable[[], int]) -> int:
    """Call a command and return its exit code; operating errors become one line on stderr.

    Args:
        program: name before the line, for example `lab.py`.
        main: the command; returns an exit code.
    Returns:
        0 done, 1 failed, 2 bad usage or config, 3 halted by risk, 130 interrupted.
    """
    if not __debug__:
        return _say(program, "python -O removes the engine's safety checks; start without -O", 2)
    try:
        return main()
    except (UsageError, ConfigProblem) as error:
        return _say(program, str(error), BAD_USAGE)
    except TickgateError as error:
        return _say(program, str(error), FAILED)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in _TRAINING:
            line = f"this command needs {name}, which is not installed: run `make extras`"
        elif (_PROJECT / name).exists() or Path(sys.prefix) == _PROJECT / ".venv":
            raise
        else:
            line = (
                f"this Python has no {name}: `make replay` fills .venv, then use .venv/bin/python"
            )
        return _say(program, line, FAILED)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return _say(program, "interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output went away; say nothing more into it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _say(program: str, line: str, code: int) -> int:
    print(f"{program}: {' '.join(line.split())}", file=sys.stderr)
    return code


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
