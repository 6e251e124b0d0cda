"""`lab.py features lookahead` and `recursion`: who sees the future, and who never forgets."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from app.feature_bias import (
    BEGINS_ANYWHERE,
    MULTIPLES,
    Compute,
    Difference,
    Settling,
    look_ahead,
    recursion,
)
from app.feature_data import open_named, stretches_of
from app.feature_functions import (
    kind_read,
    load_function,
    model_of,
    of_function,
    of_model,
    of_set,
)
from app.feature_paths import Stretch
from app.feature_sets import check_paths, chosen_sets, grid, pair_of, say, symbols_of, tell
from app.train import read_spec
from engine.errors import UsageError

HISTORY = 50  # rows in a unit of history where a function's own warm-up is not known


def subjects(args: argparse.Namespace) -> Iterator[tuple[str, Stretch, Compute]]:
    """Yield (what is examined, the rows, how it is computed).

    Raises:
        UsageError: something named is not there.
    """
    check_paths(args.data)
    pair = pair_of(args.pair)
    tape = open_named(args.data, symbols_of(args.symbols), args.cache)
    if args.function:
        function = load_function(args.function)
        for stretch in stretches_of(tape, read_spec("tfa_55"), args.rows):
            name = f"{args.function.rpartition(':')[2]} on {stretch.instruments[0].name}"
            yield name, stretch, of_function(function, kind_read(stretch))
        return
    if args.model:
        spec, ask, classes = model_of(args.model, args.artifacts)
        for stretch in stretches_of(tape, spec, args.rows, pair):
            name = f"{args.model} on {stretch.instruments[0].name}"
            yield name, stretch, of_model(of_set(spec, stretch), ask, classes)
        return
    for name, spec in chosen_sets(args.spec, args.all).items():
        for stretch in stretches_of(tape, spec, args.rows, pair):
            yield f"{name} on {stretch.instruments[0].name}", stretch, of_set(spec, stretch)


def main_lookahead(args: argparse.Namespace) -> int:
    """Cut the rows at random places; exit code 1 when an earlier value changed."""
    if args.cuts < 1:
        raise UsageError(f"--cuts {args.cuts}: must be 1 or more")
    found: dict[str, list[Difference]] = {}
    for name, stretch, compute in subjects(args):
        tell(f"{name}: {len(stretch.rows):,} rows, {args.cuts} cuts")
        draw = np.random.default_rng(args.seed)
        found[name] = look_ahead(compute, stretch.rows, cuts=args.cuts, draw=draw)
    if not found:
        raise UsageError("there are no rows to look at")
    biased = any(found.values())
    if args.json:
        print(json.dumps({"biased": biased, "seed": args.seed, "subjects": _plain(found)}))
    else:
        for name, differences in found.items():
            verdict = f"{len(differences)} see what comes later" if differences else "no look-ahead"
            say(f"{name}: {verdict} ({args.cuts} cuts, seed {args.seed})")
            for one in differences:
                say(f"  {one.text()}")
    return int(biased)


def _plain(found: dict[str, list[Difference]]) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [{k: _number(v) for k, v in asdict(one).items()} for one in differences]
        for name, differences in found.items()
    }


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main_recursion(args: argparse.Namespace) -> int:
    """Compute late moments from short histories; exit code 1 when a feature never settles."""
    found: dict[str, list[Settling]] = {}
    for name, stretch, compute in subjects(args):
        tell(f"{name}: {len(stretch.rows):,} rows, {args.places} places")
        unit = args.history or (HISTORY * _stride(stretch) if args.function else 0)
        found[name] = recursion(
            compute,
            stretch.rows,
            places=args.places,
            draw=np.random.default_rng(args.seed),
            unit=unit,
            notes=BEGINS_ANYWHERE,
        )
    if not any(found.values()):
        raise UsageError(
            f"too few rows: {MULTIPLES[-1]} times the slowest warm-up must fit (--rows, --history)"
        )
    endless = any(not one.settles and not one.note for lines in found.values() for one in lines)
    if args.json:
        lines = {name: [_settling(one) for one in some] for name, some in found.items()}
        print(json.dumps({"endless": endless, "seed": args.seed, "subjects": lines}))
    else:
        for name, some in found.items():
            _show(name, some, args)
    return int(endless)


def _stride(stretch: Stretch) -> int:
    """Return how many tape rows one row of a function's columns takes, about."""
    kind = kind_read(stretch)
    own = int((stretch.rows["kind"] == kind).sum())
    return max(1, round(len(stretch.rows) / max(own, 1)))


def _settling(one: Settling) -> dict[str, Any]:
    example = one.example and {k: _number(v) for k, v in asdict(one.example).items()}
    worst = [_number(x) for x in one.worst]
    return {**one._asdict(), "worst": worst, "example": example}


def _show(name: str, some: list[Settling], args: argparse.Namespace) -> None:
    if not some:
        say(f"{name}: too few rows")
        return
    say(f"{name}: distance from the whole history, in spreads (seed {args.seed})")
    table = grid("feature", *(f"{n}x" for n in MULTIPLES), "")
    for one in some:
        verdict = "" if one.settles else ("see below" if one.note else "never warms")
        table.add_row(one.feature, *(f"{x:.1e}" if x else "0" for x in one.worst), verdict)
    say(table)
    for one in some:
        if one.note and not one.settles:
            say(f"  {one.feature}: {one.note}")
        elif not one.settles and one.example is not None:
            say(f"  {one.example.text()}")
