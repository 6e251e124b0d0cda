"""`lab.py models watch RUN`: how far the models of a run are from what they were trained on."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from app.watching import Look

RUNS = Path("runs")


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    verb.add_argument("run", metavar="RUN", help="run folder, id, start of an id, or `last`")
    verb.add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help="where runs are")
    text = "settings whose `watch:` holds; default: the run's own"
    verb.add_argument("--config", type=Path, metavar="FILE", help=text)


def main(args: argparse.Namespace) -> int:
    """Print what was found; 1 where a model would be demoted for it.

    Raises:
        DataError: there is no such run, or its tape is gone.
        UsageError: a model of the run is not there any more.
    """
    from app.train import progress_bar
    from app.watching import watch_run
    from engine.run_files import resolve_run

    run = resolve_run(args.run, args.runs)
    with progress_bar(args.json) as progress:
        looks = watch_run(run, args.config, lambda share: progress("features", share))
    if args.json:
        print(json.dumps({"run": run.name, "models": msgspec.to_builtins(looks)}, allow_nan=False))
    else:
        show(looks)
    return int(any(look.demote for look in looks))


def show(looks: "list[Look]") -> None:
    """Print a table for each model, and what follows from it."""
    from app.models import console, table

    out = console()
    for at, look in enumerate(looks):
        if at:
            out.print()
        out.print(f"{look.name} ({look.model})", style="bold", highlight=False)
        grid = table("check", "found", "bound", "", "what was seen")
        for one in look.findings:
            found = "-" if one.value is None else f"{one.value:.3g}"
            bound = "-" if one.bound is None else f"{one.bound:.3g}"
            verdict = "?" if one.value is None else "drift" if one.failed else "ok"
            grid.add_row(one.check, found, bound, verdict, one.text)
        out.print(grid)
        if look.demote:
            out.print(
                f"{look.demote}: in a session it would be a shadow now; next: python lab.py models "
                f'shadow {look.model} --why "{look.demote}"',
                soft_wrap=True,
            )
