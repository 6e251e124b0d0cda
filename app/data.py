"""`lab.py data import|fetch|record|synth|show|repair`: bring market data in, look at it."""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.fetch import add_fetch_parser
from app.record import add_record_parser
from app.synth import add_synth_parser
from engine.errors import DataError, UsageError

EPILOG = """\
venues with a wire decoder: binance_spot, binance_usdm; any other name takes
Parquet and CSV. Columns and formats: docs/data.md
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `data` and what stands below it."""
    parser = commands.add_parser("data", help="import market data, make synthetic data, look at it")
    below = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_import(below)
    add_fetch_parser(below)
    add_record_parser(below)
    add_synth_parser(below)
    show = below.add_parser("show", help="what a tape, data folder or file holds")
    show.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    show.set_defaults(run=main_show)
    repair = below.add_parser("repair", help="cut the torn tail off a tape whose writer died")
    repair.add_argument("tape", type=Path, metavar="TAPE")
    repair.set_defaults(run=main_repair)


def _add_import(below: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `import`."""
    parser = below.add_parser(
        "import",
        help="Parquet, CSV(.gz) and wire captures into a data folder",
        description="Read Parquet, CSV(.gz), candles in JSON and wire captures (.jsonl.gz) of\n"
        "one instrument, merge them by time, and write DIR/<venue>/<SYMBOL>/<kind>/.",
        epilog=EPILOG,
    )
    parser.add_argument("--venue", required=True, metavar="V", help="such as binance_spot")
    parser.add_argument("--symbol", required=True, metavar="S", help="such as BTC/USDT")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the data folder")
    parser.add_argument("--tick", metavar="X", help="price increment; default: finest seen")
    parser.add_argument("--lot", metavar="X", help="size increment; default: finest seen")
    parser.add_argument("--min-notional", metavar="X", help="smallest order, in quote currency")
    parser.add_argument(
        "--clock-offset",
        default="auto",
        metavar="MS",
        help="added to receive times: milliseconds, none, or auto (only where latencies are "
        "negative)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a former import")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.set_defaults(run=main_import)


def main(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    return int(args.run(args))


def main_import(args: argparse.Namespace) -> int:
    """Import files of one instrument.

    Raises:
        UsageError: an option or a file cannot be used.
    """
    from app.sources import make_tape
    from engine.tape import Tape
    from store.export import export_tape
    from store.folders import find

    options = import_options(args)
    found = find(args.files, venue=args.venue, symbol=args.symbol)
    target = args.out / args.venue / options.symbols[0]
    if target.exists() and not args.overwrite:
        raise DataError(f"{target}: is there already; --overwrite replaces it")
    scratch = args.out / f".import-{os.getpid()}"
    try:
        scratch.mkdir(parents=True)
        with progress_bar() as progress:
            make_tape(found, options, scratch / "tape", (), progress)
            tape = Tape.open(scratch / "tape")
            folders = export_tape(tape, args.out, overwrite=args.overwrite, progress=progress)
    except OSError as error:
        raise UsageError(f"{args.out}: cannot write here ({error.strerror})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print_tape(tape)  # its pages stay mapped although the files are gone
    print(f"written to {folders[0]}")
    return 0


def import_options(args: argparse.Namespace) -> Any:
    """Check the options of an import.

    Raises:
        UsageError: a name or number is not usable.
    """
    from config.settings import AssumedMarket
    from engine.instruments import split_symbol
    from store.convert import Options
    from store.grid import checked_increment

    if not args.venue.replace("_", "").replace("-", "").isalnum() or not args.venue.isascii():
        raise UsageError(f"--venue {args.venue}: allowed are letters, digits, - and _")
    canonical = split_symbol(args.symbol)[0]
    if not canonical.isalnum() or not canonical.isascii():
        raise UsageError(f"--symbol {args.symbol}: not a symbol such as BTC/USDT")
    return Options(
        # Quotes made from bars are not written to the folder: any value serves here.
        assumed=AssumedMarket(quote_size_notional=1.0, bar_spread_bps=0.0),
        symbols=(canonical,),
        tick=checked_increment("--tick", args.tick),
        lot=checked_increment("--lot", args.lot),
        min_notional=checked_increment("--min-notional", args.min_notional, zero=True),
        clock_offset=args.clock_offset,
    )


def main_show(args: argparse.Namespace) -> int:
    """Print what a tape, folder or files hold, reading them once."""
    import tempfile

    from app.sources import open_tape
    from config.settings import AssumedMarket
    from engine.tape import Tape

    assumed = AssumedMarket(quote_size_notional=1.0, bar_spread_bps=0.0)
    with tempfile.TemporaryDirectory(prefix="tickgate-") as scratch, progress_bar() as progress:
        folder = open_tape(args.paths, assumed=assumed, cache_dir=Path(scratch), progress=progress)
        print_tape(Tape.open(folder))
    return 0


def main_repair(args: argparse.Namespace) -> int:
    """Cut the torn tail off a tape, and say what was cut."""
    from engine.tape import Tape

    tape = Tape.open(args.tape, repair=True)
    tape.verify()
    print(
        f"{args.tape}: {tape.repaired or f'nothing to repair, {tape.info.rows:,} rows are whole'}"
    )
    return 0


@contextmanager
def progress_bar() -> Iterator[Any]:
    """Give a function (what, done, total) that shows a bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from app.terminal import console

    columns = (
        TextColumn("{task.description:<24.24}"), BarColumn(None),
        TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=max(total, 1))
            bar.update(tasks[what], completed=done, total=max(total, 1))

        yield show


def print_tape(tape: Any) -> None:
    """Print instruments, rows by kind, what was dropped and why, and what was assumed."""
    from rich.table import Table

    from app.terminal import console
    from store.contents import contents

    out = console()
    for one in contents(tape):
        instrument = one.instrument
        inferred = instrument.inferred
        grid = ", ".join(
            f"{name.replace('_', ' ')} {getattr(instrument, name)}"
            + (" (inferred)" if name in inferred else "")
            for name in ("tick", "lot", "min_notional")
        )
        out.print(f"[bold]{instrument.name}[/]  {grid}")
        if instrument.clock_offset_ns:
            out.print(f"  receive times corrected by {instrument.clock_offset_ns / 1e6:+.0f} ms")
        table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
        table.add_column("  kind")
        table.add_column("rows", justify="right")
        table.add_column("first (UTC)")
        table.add_column("last (UTC)")
        for line in one.kinds:
            table.add_row(f"  {line.name}", f"{line.rows:,}", line.first, line.last)
        out.print(table)
    dropped = tape.info.dropped
    if dropped:
        out.print(f"dropped: {sum(dropped.values()):,}")
        for reason, count in dropped.items():
            out.print(f"  {count:,} {reason}", soft_wrap=False)
    else:
        out.print("dropped: 0")
    for note in tape.info.notes:
        out.print(f"note: {note}")
