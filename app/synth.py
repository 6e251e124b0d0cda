"""`lab.py data synth`: make a seeded synthetic market."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import UsageError


def add_synth_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `synth` below `data`, with `run` set to main_synth."""
    parser = subparsers.add_parser(
        "synth",
        help="make a seeded synthetic market",
        description="Make a seeded synthetic market. Whatever is made from it shows plumbing, "
        "not skill.",
    )
    parser.add_argument("--symbols", type=int, default=2, metavar="N", help="instruments, 1 to 64")
    parser.add_argument("--hours", type=float, required=True, metavar="H", help="market hours")
    parser.add_argument("--seed", type=int, required=True, metavar="S", help="0 to 2^63 - 1")
    parser.add_argument(
        "--predictability", type=float, required=True, metavar="P",
        help="share of the mid's moves whose side follows the latent state; 0 is a martingale",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--start", metavar="TIME", help="first minute, ISO (UTC) or ns since 1970")
    parser.add_argument(
        "--rows-per-s", type=float, default=4.0, metavar="R", help="rows per instrument and second"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a former result")
    parser.set_defaults(run=main_synth)


def main_synth(args: argparse.Namespace) -> int:
    """Generate, show a progress bar on a terminal, print what was made.

    Raises:
        UsageError: one line about the bad argument.
    """
    from store.synth import DEFAULT_START_NS, STATEMENT, SynthSettings, check_settings, write_market

    settings = SynthSettings(
        symbols=args.symbols,
        hours=args.hours,
        seed=args.seed,
        predictability=args.predictability,
        start_ns=DEFAULT_START_NS if args.start is None else parse_start(args.start),
        rows_per_s=args.rows_per_s,
    )
    check_settings(settings)
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty()) as bar:
        tasks: dict[str, int] = {}

        def show(symbol: str, share: float) -> None:
            task = tasks.get(symbol)
            if task is None:
                task = tasks[symbol] = int(bar.add_task(symbol, total=1.0))
            bar.update(task, completed=share)  # type: ignore[arg-type]

        manifest = write_market(settings, args.out, overwrite=args.overwrite, progress=show)
    for symbol, counts in manifest["symbols"].items():
        print(f"{symbol}: {counts['quotes']:,} quotes, {counts['trades']:,} trades")
    print(f"predictability {settings.predictability:g}, seed {settings.seed}, in {args.out}")
    print(STATEMENT)
    return 0


def parse_start(text: str) -> int:
    """Read a start time: ISO (UTC where no zone is given) or ns since the epoch.

    Raises:
        UsageError: neither.
    Example:
        >>> parse_start("2025-01-06T00:00") == parse_start("1736121600000000000")
        True
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"data synth: --start {text} is not a time; allowed is ISO, such as 2025-01-06T00:00, "
            "or nanoseconds since 1970"
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return int(moment.timestamp()) * 1_000_000_000
