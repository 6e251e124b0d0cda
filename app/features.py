"""`lab.py features`: the catalogue, what a set needs and hashes to; the other commands' door."""

import argparse
import sys
from pathlib import Path
from typing import Any

from app.feature_commands import add_check_flags, add_commands
from app.feature_commands import main_check as main_checks
from engine.errors import UsageError
from features.identity import kernel_identity
from features.registry import (
    GROUPS,
    OWN_INPUTS,
    Feature,
    absent_features,
    catalogue,
    lookup,
    own_features,
    reads_peer,
    required_inputs,
    resolve_one,
    warmup_of,
)
from features.spec import FeatureSpec, parse_spec

INPUTS = ("bars", "quotes", "quote_sizes", "trades", "trade_sides", "depth", "peer_bars")
CHECK = """\
With --data: every set (or --spec) is computed by the kernel that trades in one
call, in random groups, row by row and after losses of the connection, with rows
cut off, and by an independent version; warm-up, mask and memory are looked at.
Exit code 1 and the feature, the row and both values where anything differs.
Without: what a spec needs, and its two hashes.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register `features` and its commands; `main` carries them out."""
    features = subparsers.add_parser(
        "features", help="list, write and prove features; snapshots of them, and drift"
    )
    commands = features.add_subparsers(dest="features_command", required=True, metavar="COMMAND")
    listed = commands.add_parser("list", help="one line for each feature")
    listed.set_defaults(run=main_list)
    shown = commands.add_parser("show", help="formula, parameters and source of a feature")
    shown.add_argument("name", nargs="+", metavar="NAME", help="for example rsi_14")
    shown.add_argument("--plot", action="store_true", help="draw it on data/sample")
    shown.add_argument("--png", type=Path, metavar="FILE", help="draw it into a file")
    shown.set_defaults(run=main_show)
    checked = commands.add_parser(
        "check",
        help="prove sets on data; or what a spec needs, and its two hashes",
        description=CHECK,
    )
    checked.add_argument("file", type=Path, nargs="?", metavar="SPEC", help="a feature spec, JSON")
    checked.add_argument(
        "--has", metavar="KINDS", help=f"what the data holds, by commas: {', '.join(INPUTS)}"
    )
    add_check_flags(checked)
    checked.set_defaults(run=main_check)
    add_commands(commands)


def main(args: argparse.Namespace) -> int:
    """Carry out the chosen command and return its exit code."""
    return int(args.run(args))


def main_list(args: argparse.Namespace) -> int:
    """Print the name and the first line of every feature, chapter by chapter."""
    for group in GROUPS:
        found = [entry for entry in catalogue() if entry.words.group == group]
        if found:
            sys.stdout.write(f"{group}\n")
        for entry in found:
            first = entry.words.doc.strip().splitlines()[0]
            sys.stdout.write(f"  {entry.name:<36} {first}\n")
    return 0


def main_show(args: argparse.Namespace) -> int:
    """Print all that the catalogue says of the named features."""
    for name in args.name:
        entry, _ = lookup(name)
        found = resolve_one(name)
        values = ", ".join(f"{key} {_word(entry, key, v)}" for key, v in found.params.items())
        words = entry.words
        sys.stdout.write(
            f"{name}\n{words.doc.strip()}\n"
            f"parameters: {values or 'none'}\ninputs: {', '.join(found.inputs)}\n"
            f"warm after: {found.warmup.n} {found.warmup.of}\nunit: {words.unit}\n"
            f"range: {words.range}\nsource: {words.source}\nfile: {_file(entry)}\n\n"
        )
        if args.plot or args.png is not None:
            _plot(name, args.png)
    return 0


def _plot(name: str, png: Path | None) -> None:
    from app.feature_plot import lines_of, sample_values, save

    ts, values, instrument = sample_values(name)
    if png is not None:
        save(png, name, ts, values, instrument)
        return
    sys.stdout.write(f"{name} on {instrument} of data/sample, {len(values):,} values\n")
    sys.stdout.write("\n".join(lines_of(values)) + "\n\n")


def main_check(args: argparse.Namespace) -> int:
    """Run the checks on --data; or print what a spec needs, and whether --has is enough for it."""
    if args.data:
        if args.file is not None:
            args.spec = [*(args.spec or []), str(args.file)]
        return main_checks(args)
    if args.file is None:
        raise UsageError("say which data to check sets on (--data), or which SPEC to look at")
    spec = read_spec(args.file)
    warm = ", ".join(f"{n} {of}" for of, n in sorted(warmup_of(spec).items()))
    inputs = sorted(required_inputs(spec)) + (["peer_bars"] if reads_peer([spec]) else [])
    own = own_features(spec)
    inputs += [f"own state of a run ({', '.join(own)})"] if own else []
    sys.stdout.write(
        f"features: {len(spec)}\ninputs: {', '.join(inputs)}\n"
        f"warm after: {warm}\nspec sha256: {spec.sha256}\n"
        f"kernel identity: {kernel_identity(spec)}\n"
    )
    if args.has is None:
        return 0
    has = [word.strip() for word in args.has.split(",") if word.strip()]
    unknown = sorted(set(has) - set(INPUTS))
    if unknown:
        raise UsageError(f"--has: unknown {unknown[0]!r}; known: {', '.join(INPUTS)}")
    absent = absent_features(spec, [*has, *OWN_INPUTS])
    for name, missing in absent.items():
        sys.stdout.write(f"absent: {name} needs {', '.join(missing)}\n")
    return 1 if absent else 0


def read_spec(path: Path) -> FeatureSpec:
    """Read a spec file.

    Raises:
        UsageError: there is no such file.
        ConfigError: it is no spec, or names what the catalogue does not have.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return parse_spec(data, str(path))


def _word(entry: Feature, key: str, value: int | float) -> str:
    return entry.choices[key][int(value)] if key in entry.choices else str(value)


def _file(entry: Feature) -> str:
    return entry.module.replace(".", "/") + ".py"
