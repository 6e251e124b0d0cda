"""`run_live.py --replay`: from the command line to a replay."""

import argparse
import sys
from pathlib import Path
from typing import Any

from app.command_line import DONE
from app.progress import Bar
from app.run_settings import run_folder, settings_of
from app.spoken import CODES, command_of, say, say_nothing, tell
from app.summary import show
from config.settings import Settings
from engine.errors import DataError, UsageError
from engine.json_files import read_json
from engine.run_files import CONFIG, TAPE_REF, RunConfigFile, TapeRef, resolve_run
from engine.tape import Tape


def speed_of(text: str) -> float:
    """Return 0 for `max`, else the multiple of market time.

    >>> speed_of("max"), speed_of("10x"), speed_of("0.5x")
    (0.0, 10.0, 0.5)

    Raises:
        UsageError: neither.
    """
    if text == "max":
        return 0.0
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = -1.0
    if not 0.0 < speed < 1e9:
        raise UsageError(f"--speed {text}: must be max, or a multiple above 0 such as 1x or 10x")
    return speed


def start_replay(args: argparse.Namespace, argv: list[str]) -> int:
    """Carry out `run_live.py --replay`; return the exit code."""
    from app.replay import Replay, replay

    speed = speed_of(args.speed)
    settings, named = settings_of(args)
    quiet = args.json or not sys.stderr.isatty()
    folder = tape_folder(args, settings, quiet)
    tape = Tape.open(folder, repair=False)
    if not tape.info.rows:
        raise DataError(f"{folder}: the tape is empty")
    new_venue, check, record, answered = _recorded_venue(args, settings, tape)
    bar = None if quiet else Bar(tape.info.rows)
    job = Replay(
        tape=tape,
        settings=settings,
        named=named,
        inputs=tuple(args.replay),
        command=command_of(argv),
        speed=speed,
        say=say if not args.json else say_nothing,
        progress=None if bar is None else bar.update,
        report=not args.no_report,
        subscribe=tell if args.verbose else None,
        new_venue=new_venue,
        check=check,
        live=record,
        answered_by=answered,
        run=run_folder(args.replay, Path(settings.runs_dir)),
    )
    try:
        summary = replay(job)
    finally:
        if bar is not None:
            bar.close()
    show(summary, as_json=args.json)
    if args.compare:
        from app.compare import compare

        found = compare(Path(summary.run_dir), resolve_run(args.compare, Path(settings.runs_dir)))
        print(found.line, file=sys.stderr if args.json else sys.stdout)
        if not found.same:
            return 1
    return CODES.get(summary.exit_reason, DONE)


def _recorded_venue(args: argparse.Namespace, settings: Settings, tape: Tape) -> tuple[Any, ...]:
    """Return a live run's recorded venue, and whose answers stand on a session's tape.

    With other settings the run's market is traded on paper, and its models are asked anew.
    """
    from app.live_record import answered_by, is_live, recorded_venue

    run = run_folder(args.replay, Path(settings.runs_dir))
    if run is None:
        return None, None, None, ()
    own = not args.what_if and not args.config and is_live(run)
    venue = recorded_venue(run, tape) if own else (None, None, None)
    return *venue, answered_by(run, settings)


def tape_folder(args: argparse.Namespace, settings: Settings, quiet: bool) -> Path:
    """Return the tape to replay, made from the data first if need be.

    Raises:
        DataError: a path is missing, empty, or holds nothing that can be replayed.
    """
    runs_dir = Path(settings.runs_dir)
    cache = runs_dir / "tapes"
    run = run_folder(args.replay, runs_dir)
    if run is not None:
        return _referenced(run, cache)
    from app.sources import open_tape

    symbols = tuple(word for word in args.symbols.split(",") if word.strip())
    paths = [Path(path) for path in args.replay]
    convert = None if quiet else Bar(0, "reading")
    try:
        return open_tape(
            paths,
            assumed=settings.assumed,
            cache_dir=cache,
            symbols=symbols,
            progress=None if convert is None else convert.convert,
        )
    finally:
        if convert is not None:
            convert.close()


def _referenced(run: Path, cache: Path) -> Path:
    ref = read_json(run / TAPE_REF, TapeRef)
    for folder in (Path(ref.path), cache / Path(ref.path).name, run / "tape"):
        if (folder / "tape.json").exists():
            tape = Tape.open(folder, repair=not ref.sha256)  # a session that was cut off
            if ref.sha256 in ("", tape.info.sha256):
                return folder
    inputs = " ".join(read_json(run / CONFIG, RunConfigFile).inputs)
    raise DataError(
        f"{run}: its tape ({ref.sha256[:12]}…) is no longer at {ref.path}; "
        f"make it again with: python run_live.py --replay {inputs}"
    )
