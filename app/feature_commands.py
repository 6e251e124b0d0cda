"""Registers the `lab.py features` commands that need data; each imports its work when it runs."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from app.feature_sets import add_data_flags

LOOK_AHEAD = """\
Rows behind random rows are cut off, and made others; values of features and
signals before them must not change. What does is named, with the first row and
both values. --function FILE.py:NAME examines a function of your own: a dict of
arrays (ts_event, open, high, low, close, volume; or bid, ask, ...) in, a dict of
columns of the same length out.
"""
RECURSION = """\
Random late rows are computed from 1, 2, 4, 8 and 16 warm-ups of history alone.
The distance from the value with the whole history is shown in spreads (standard
deviations) of the feature; above 0.001 at 16 warm-ups it never comes together.
"""
BUILD = """\
Runs the kernel that trains and trades over the data and writes a snapshot:
instrument, ts_event, ts_recv, ts_available, the features (null: not warm), valid.
Labels are joined later, by time. docs/feature_lab.md
"""


def add_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Register new, build, lookahead, recursion and drift."""
    _add_new(commands)
    _add_build(commands)
    for name, summary, text, count in (
        ("lookahead", "find features and signals that see the future", LOOK_AHEAD, "cuts"),
        ("recursion", "find features that never forget where data began", RECURSION, "places"),
    ):
        parser = commands.add_parser(name, help=summary, description=text)
        _add_subjects(parser)
        add_data_flags(parser)
        if name == "recursion":
            parser.add_argument(
                "--history", type=int, default=0, metavar="N",
                help="rows in one warm-up; default: what the slowest feature needs",
            )  # fmt: skip
        parser.add_argument(f"--{count}", type=int, default=20, metavar="N", help="random rows")
        parser.set_defaults(run=_later("app.feature_bias_command", f"main_{name}"))
    drift = commands.add_parser(
        "drift", help="whether features of one snapshot look like those of another"
    )
    drift.add_argument("a", type=Path, metavar="A", help="snapshot that is the reference")
    drift.add_argument("b", type=Path, metavar="B", help="snapshot that is looked at")
    drift.add_argument(
        "--level", type=float, default=0.05, metavar="P", help="probability of a false alarm"
    )
    drift.add_argument("--seed", type=int, default=1, metavar="N", help="of the simulation")
    drift.add_argument("--json", action="store_true", help="print one JSON object")
    drift.set_defaults(run=_later("app.feature_drift", "main"))


def add_check_flags(parser: argparse.ArgumentParser) -> None:
    """Register the flags of `check` that run the checks."""
    parser.add_argument("--spec", action="append", metavar="NAME|FILE", help="a set; repeatable")
    parser.add_argument("--all", action="store_true", help="every set of config/features")
    add_data_flags(parser, required=False)


def main_check(args: argparse.Namespace) -> int:
    """Run the checks."""
    return int(import_module("app.feature_check_command").main(args))


def _later(module: str, name: str) -> Any:
    """Return a function that imports its work when it is called."""

    def run(args: argparse.Namespace) -> int:
        return int(getattr(import_module(module), name)(args))

    return run


def _add_new(commands: "argparse._SubParsersAction[Any]") -> None:
    new = commands.add_parser(
        "new", help="write a feature that passes the checks, to be changed",
        description="Writes features/NAME.py and its independent version references/NAME.py.",
    )  # fmt: skip
    new.add_argument("name", metavar="NAME", help="lower case, such as range_vs_mean")
    new.add_argument("--on", choices=("bars", "quotes", "trades"), default="bars")
    new.add_argument("--group", default="other", metavar="G", help="its chapter in the catalogue")
    new.set_defaults(run=_later("app.feature_scaffold", "main"))


def _add_build(commands: "argparse._SubParsersAction[Any]") -> None:
    build = commands.add_parser(
        "build", help="write a point-in-time snapshot of feature rows", description=BUILD
    )
    build.add_argument("--spec", required=True, metavar="NAME|FILE", help="the set")
    build.add_argument("--data", type=Path, nargs="+", required=True, metavar="PATH")
    build.add_argument("--out", type=Path, metavar="FILE", help="one Parquet file")
    build.add_argument("--store", type=Path, metavar="ROOT", help="a store, by instrument and day")
    build.add_argument(
        "--on", default="", metavar="CADENCE",
        help="when rows are read: bar:1m, every:250ms, every_n:50, quote, trade",
    )  # fmt: skip
    build.add_argument("--symbols", default="", metavar="A,B", help="only these")
    build.add_argument("--again", action="store_true", help="also when a fresh one is there")
    build.add_argument("--cache", type=Path, default=Path("data/tapes"), metavar="DIR")
    build.add_argument("--json", action="store_true", help="print one JSON object")
    build.set_defaults(run=_later("app.feature_build", "main"))


def _add_subjects(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spec", action="append", metavar="NAME|FILE", help="a set; repeatable")
    parser.add_argument("--all", action="store_true", help="every set of config/features")
    parser.add_argument("--model", metavar="ID:VERSION", help="its set, and its answers")
    parser.add_argument(
        "--function", metavar="FILE.py:NAME", help="dict of columns in, dict of columns out"
    )
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR")
