"""`lab.py train`: feature rows by the trading kernel, then a recipe, then the registry."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from config.settings import AssumedMarket
from engine.errors import DataError, UsageError
from features.spec import FeatureSpec, parse_spec

# OpenMP threads that wait must sleep: on busy cores spinning ones take a hundred times longer.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

SPECS = Path("config/features")
RECIPES = ("signal_classifier", "tick_mlp")
DEFAULT_SPEC = {"signal_classifier": "signal_classifier_28", "tick_mlp": "tick_mlp"}
FLAGS = {
    "signal_classifier": {
        "horizon": "bars until the vertical barrier",
        "take_profit_atr": "distance of the target, in average true ranges",
        "stop_loss_atr": "distance of the stop, in average true ranges",
        "trees": "boosting rounds at most",
        "max_depth": "depth of a tree",
        "learning_rate": "shrinkage of each tree",
        "row_share": "rows drawn for each tree",
        "column_share": "features drawn for each tree",
        "min_child_weight": "least sum of hessians in a leaf",
        "min_split_gain": "least gain of a split",
        "l1": "L1 penalty",
        "l2": "L2 penalty",
        "patience": "rounds without a better validation loss",
        "cost_bps": "of a round trip, in the economic figures",
        "seed": "of everything random",
    },
    "tick_mlp": {
        "cadence_ms": "distance of the decisions",
        "horizon_ms": "how far the label looks ahead",
        "epochs": "passes over the data at most",
        "patience": "epochs without a better validation loss",
        "cost_bps": "of a round trip, in the economic figures",
        "seed": "of everything random",
    },
}
EPILOG = """\
examples:
  lab.py train signal_classifier --data data/sample
  lab.py train tick_mlp --data data/binance_spot --symbols BTC/USDT --cadence-ms 250
The result is a candidate. Promote it with: lab.py models promote ID:VERSION
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Register the command and its recipes."""
    parser = commands.add_parser("train", help="train a model", epilog=EPILOG)
    recipes = parser.add_subparsers(dest="recipe", metavar="RECIPE", required=True)
    for name, summary in (
        ("signal_classifier", "gradient-boosted trees on bars, triple-barrier labels"),
        ("tick_mlp", "a small network on ticks, labels by the middle a moment later"),
    ):
        recipe = recipes.add_parser(name, help=summary, description=summary.capitalize() + ".")
        recipe.add_argument("--data", type=Path, nargs="+", required=True, metavar="PATH")
        recipe.add_argument("--symbols", default="", metavar="A,B", help="only these")
        recipe.add_argument("--spec", default=DEFAULT_SPEC[name], metavar="NAME|FILE")
        recipe.add_argument("--id", default="", help="model id; default: the recipe's")
        recipe.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR")
        recipe.add_argument("--cache", type=Path, default=Path("data/tapes"), metavar="DIR")
        recipe.add_argument("--json", action="store_true", help="print one JSON object")
        for flag, text in FLAGS[name].items():
            kind = float if flag in FLOATS else int
            recipe.add_argument(f"--{flag.replace('_', '-')}", type=kind, metavar="X", help=text)
    parser.set_defaults(command="train")


FLOATS = frozenset(
    "take_profit_atr stop_loss_atr learning_rate row_share column_share min_child_weight "
    "min_split_gain l1 l2 cost_bps".split()
)


def read_spec(name: str) -> FeatureSpec:
    """Read a spec by its name in config/features, or by path.

    Raises:
        UsageError: there is no such file; the line names the known specs.
    """
    path = SPECS / f"{name}.json" if "/" not in name and not name.endswith(".json") else Path(name)
    try:
        return parse_spec(path.read_bytes(), str(path))
    except OSError:
        known = ", ".join(sorted(p.stem for p in SPECS.glob("*.json")))
        raise UsageError(f"--spec {name}: no such spec; known are {known}") from None


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Any]:
    """Show stages on stderr, one bar each; yield `progress(stage, share)`. Quiet off a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:24}"), BarColumn(), TimeRemainingColumn())
    hidden = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bar:
        tasks: dict[str, Any] = {}

        def progress(stage: str, share: float) -> None:
            if stage not in tasks:
                for done in tasks.values():
                    bar.update(done, completed=1.0)
                tasks[stage] = bar.add_task(stage, total=1.0)
            bar.update(tasks[stage], completed=share)

        yield progress
        for done in tasks.values():
            bar.update(done, completed=1.0)


def gather(
    data: Sequence[Path],
    spec: FeatureSpec,
    cadence: str,
    *,
    symbols: Sequence[str] = (),
    cache_dir: Path = Path("data/tapes"),
    assumed: AssumedMarket | None = None,
    progress: Any = None,
) -> tuple[Any, str]:
    """Make feature rows from whatever the user names, by the kernel that trades.

    Args:
        data: tape folders, data folders, Parquet or CSV files.
        spec: features of each row.
        cadence: when a row is due, as in the settings of a model.
        symbols: only these; empty takes all.
        cache_dir: where converted tapes are kept.
        assumed: what stands in for sizes and spreads that the data lacks; None reads the settings.
        progress: called with a stage and its share.
    Returns:
        The rows (app.collect.FeatureRows) and the sha256 of the tape's content.
    Raises:
        DataError: a path is missing or cannot be used.
    """
    from app.collect import collect_rows
    from app.sources import open_tape
    from config.load import load_settings
    from engine.tape import Tape

    settings = load_settings(None)
    assumed = assumed or settings.assumed
    folder = open_tape(list(data), assumed=assumed, cache_dir=cache_dir, symbols=symbols)
    tape = Tape.open(folder)
    show = progress or (lambda stage, share: None)
    rows = collect_rows(
        tape,
        spec,
        cadence,
        settings,
        progress=lambda done, total: show("features", done / max(1, total)),
    )
    if not len(rows.ts):
        raise DataError(f"{data[0]}: no decision is due at cadence {cadence}")
    return rows, tape.info.sha256


def train_signal_classifier(
    data: Sequence[Path],
    *,
    out_dir: Path = Path("artifacts"),
    symbols: Sequence[str] = (),
    spec: FeatureSpec | None = None,
    cache_dir: Path = Path("data/tapes"),
    bar: str = "bar:1m",
    note: str = "",
    progress: Any = lambda stage, share: None,
    model_id: str = "SignalClassifier",
    **settings: Any,
) -> Any:
    """Train, test, export and register a SignalClassifier; the CLI's work as a plain function.

    Args:
        data: what to train on: tapes, data folders, files.
        out_dir: the artifacts folder.
        symbols: only these; empty takes all.
        spec: features; None takes the 28.
        cache_dir: where converted tapes are kept.
        bar: cadence of the rows.
        note: one sentence that the card repeats.
        progress: called with a stage and its share.
        model_id: name in the registry.
        settings: fields of ml.training.signal_classifier.Settings: horizon, take_profit_atr,
            stop_loss_atr, trees, max_depth, learning_rate, row_share, column_share,
            min_child_weight, min_split_gain, l1, l2, seed, ...
    Returns:
        ml.training.study.TrainResult.
    """
    from ml.training import signal_classifier
    from ml.training.rows import Source

    chosen = signal_classifier.Settings(**settings)
    chosen.check()
    spec = spec or read_spec(DEFAULT_SPEC["signal_classifier"])
    options = {"symbols": symbols, "cache_dir": cache_dir, "progress": progress}
    rows, digest = gather(data, spec, bar, **options)
    source = Source(source_name(data), digest, note or statement(data))
    return signal_classifier.train(
        rows,
        spec,
        source,
        out_dir=out_dir,
        settings=chosen,
        model_id=model_id,
        extra_meta=statistics(rows, spec),
        progress=progress,
    )


def train_tick_mlp(
    data: Sequence[Path],
    *,
    out_dir: Path = Path("artifacts"),
    symbols: Sequence[str] = (),
    spec: FeatureSpec | None = None,
    cache_dir: Path = Path("data/tapes"),
    note: str = "",
    progress: Any = lambda stage, share: None,
    model_id: str = "TickMLP",
    **settings: Any,
) -> Any:
    """Train, test, export and register a TickMLP; arguments as of train_signal_classifier.

    `settings` are fields of ml.training.tick_mlp.Settings: cadence_ms, horizon_ms, hidden, epochs,
    batch, rate, decay, patience, seed, ...
    """
    from ml.training import tick_mlp
    from ml.training.rows import Source

    chosen = tick_mlp.Settings(**settings)
    chosen.check()
    spec = spec or read_spec(DEFAULT_SPEC["tick_mlp"])
    options = {"symbols": symbols, "cache_dir": cache_dir, "progress": progress}
    rows, digest = gather(data, spec, f"every:{chosen.cadence_ms}ms", **options)
    source = Source(source_name(data), digest, note or statement(data))
    return tick_mlp.train(
        rows,
        spec,
        source,
        out_dir=out_dir,
        settings=chosen,
        model_id=model_id,
        extra_meta=statistics(rows, spec),
        progress=progress,
    )


def statistics(rows: Any, spec: FeatureSpec) -> dict[str, Any]:
    """Return what a model's metadata keeps of the rows it was made from, for the watch.

    Args:
        rows: app.collect.FeatureRows; those that are whole count.
        spec: their features.
    """
    from ml.watch.reference import KEY, reference_of

    whole = rows.valid
    if whole.sum() < 2:
        return {}
    found = reference_of(rows.x[whole], spec.names, rows.instrument[whole])
    return {KEY: msgspec.to_builtins(found)}


def source_name(data: Sequence[Path]) -> str:
    """Return what to call a data set: the last names of its paths, never where they lie."""
    return ", ".join(Path(path).resolve().name for path in data)[:200]


def statement(data: Sequence[Path]) -> str:
    """Return what a synthetic data set says of itself, empty for other data."""
    for path in data:
        for folder in (path, *path.parents):
            about = folder / "manifest.json"
            if about.is_file():
                found = msgspec.json.decode(about.read_bytes())
                return str(found.get("statement", ""))[:1000]
    return ""


def main(args: argparse.Namespace) -> int:
    """Train one model; print what it is worth.

    Raises:
        UsageError: a flag, path or setting is wrong.
    """
    for path in args.data:
        if not path.exists():
            raise UsageError(f"--data {path}: no such file or folder")
    settings = {
        flag: getattr(args, flag) for flag in FLAGS[args.recipe] if getattr(args, flag) is not None
    }
    symbols = tuple(s for s in args.symbols.replace("/", "").upper().split(",") if s)
    train = {"signal_classifier": train_signal_classifier, "tick_mlp": train_tick_mlp}[args.recipe]
    extra = {"model_id": args.id} if args.id else {}
    with progress_bar(args.json) as progress:
        result = train(
            args.data,
            out_dir=args.artifacts,
            symbols=symbols,
            spec=read_spec(args.spec),
            cache_dir=args.cache,
            progress=progress,
            **extra,
            **settings,
        )
    if args.json:
        found = dataclasses.asdict(result) | {"entry": msgspec.to_builtins(result.entry)}
        print(json.dumps(found | {"folder": str(result.folder)}, allow_nan=False))
    else:
        _report(result)
    return 0


def _report(result: Any) -> None:
    """Print the test figures beside the baselines, 80 columns wide."""
    from rich.console import Console
    from rich.table import Table

    from ml.training.card import verdict

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("on the test part")
    for name in result.test:
        table.add_column(name.replace("_", " "), justify="right")
    for figure in result.test["model"]:
        cells = (result.test[name].get(figure) for name in result.test)
        table.add_row(figure.replace("_", " "), *("-" if c is None else f"{c:.4f}" for c in cells))
    console = Console(width=None if sys.stdout.isatty() else 80, highlight=False)
    console.print(table)
    console.print(verdict(result.test))
    rows = ", ".join(str(count) for count in result.rows)
    entry = result.entry
    console.print(f"rows: {rows} (train, validation, test); {result.seconds:.0f} s")
    console.print(f"{entry.name} is a {entry.status} in {result.folder}", soft_wrap=True)
    console.print(f"next: python lab.py models promote {entry.name}", soft_wrap=True)
