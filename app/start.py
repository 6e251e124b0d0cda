"""From the command line to a run: which data, settings and models, and what is shown of it."""

import argparse
import functools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.command_line import DONE, FAILED, HALTED, INTERRUPTED
from app.summary import show
from config.load import check_settings, lay_over, load_settings
from config.settings import ModelSettings, Settings
from engine.bus import Bus
from engine.errors import DataError, UsageError
from engine.events import Action, Fill, Signal
from engine.run_files import (
    CONFIG,
    TAPE_REF,
    RunConfigFile,
    Summary,
    TapeRef,
    read_json,
    resolve_run,
)
from engine.tape import Tape

CADENCES = {"bar": "bar:1m"}
SHOW_EVERY_S = 0.1


def start(args: argparse.Namespace, argv: list[str]) -> int:
    """Carry out `run_live.py`; return the exit code."""
    if args.live:
        return start_live(args, argv)
    return start_paper(args, argv) if args.paper else start_replay(args, argv)


def duration_of(text: str) -> float:
    """Return seconds; 0 for no end.

    >>> duration_of("60s"), duration_of("10m"), duration_of("1.5h"), duration_of("")
    (60.0, 600.0, 5400.0, 0.0)

    Raises:
        UsageError: no such length of time.
    """
    if not text:
        return 0.0
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    try:
        seconds = float(text[:-1]) * units[text[-1]]
    except (KeyError, ValueError):
        seconds = -1.0
    if not 0.0 < seconds < 1e9:
        raise UsageError(f"--duration {text}: must be a length of time such as 60s, 10m or 2h")
    return seconds


def start_paper(args: argparse.Namespace, argv: list[str]) -> int:
    """Carry out `run_live.py --paper`; return the exit code."""
    duration_s = duration_of(args.duration)
    settings, named = settings_of(args)
    from app.live import Job, paper
    from app.live_screen import Screen

    job = Job(
        settings=settings,
        named=named,
        command=_command(argv),
        venue=args.venue,
        symbols=tuple(word for word in args.symbols.split(",") if word.strip()),
        duration_s=duration_s,
        say=_say if not args.json else _quiet,
        screen=None if args.json else functools.partial(_screen, Screen),
        report=not args.no_report,
        subscribe=_tell if args.verbose else None,
    )
    return _ended(paper(job), args)


def start_live(args: argparse.Namespace, argv: list[str]) -> int:
    """Carry out `run_live.py --live`; return the exit code."""
    from app.live_permission import KEY_ENV, SECRET_ENV, LiveWish, permit_live
    from app.live_urls import urls_of

    if args.model:
        raise UsageError("--live: --model is for paper; a model trades once it is in production")
    duration_s = duration_of(args.duration)
    urls = urls_of(args.venue, args.base_url, args.stream_url)
    wish = LiveWish(
        args.venue, tuple(urls), args.config is not None, args.confirm_live or "", args.account
    )
    keys = permit_live(wish, os.environ)
    for name in (KEY_ENV, SECRET_ENV):
        os.environ.pop(name)
    settings, _ = settings_of(args)
    from app.live_orders import LiveJob, live

    job = LiveJob(
        settings=settings,
        command=_command(argv),
        venue=args.venue,
        symbols=tuple(word for word in args.symbols.split(",") if word.strip()),
        duration_s=duration_s,
        say=_say if not args.json else _quiet,
        report=not args.no_report,
        subscribe=_tell if args.verbose else None,
        urls=urls,
        account=args.account,
        clear=args.clear_latches,
    )
    return _ended(live(job, keys), args)


def _ended(summary: Summary, args: argparse.Namespace) -> int:
    """Show how a session ended; return the exit code."""
    show(summary, as_json=args.json)
    codes = {"interrupted": INTERRUPTED, "halted": HALTED, "failed": FAILED}
    return codes.get(summary.exit_reason, DONE)


def _screen(made: Any, parts: Any, health: Any, title: str) -> Any:
    return made(parts, health, title=title, monotonic_ns=time.monotonic_ns)


def start_replay(args: argparse.Namespace, argv: list[str]) -> int:
    """Carry out `run_live.py --replay`; return the exit code."""
    from app.replay import Replay, replay

    speed = speed_of(args.speed)
    settings, named = settings_of(args)
    quiet = args.json or not sys.stderr.isatty()
    tape = Tape.open(tape_folder(args, settings, quiet), repair=False)
    if not tape.info.rows:
        raise DataError(f"{tape.folder}: the tape is empty")
    new_venue, check, record = _recorded_venue(args, settings, tape)
    bar = None if quiet else Bar(tape.info.rows)
    job = Replay(
        tape=tape,
        settings=settings,
        named=named,
        inputs=tuple(args.replay),
        command=_command(argv),
        speed=speed,
        say=_say if not args.json else _quiet,
        progress=None if bar is None else bar.update,
        report=not args.no_report,
        subscribe=_tell if args.verbose else None,
        new_venue=new_venue,
        check=check,
        live=record,
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
    return {"interrupted": INTERRUPTED, "halted": HALTED}.get(summary.exit_reason, DONE)


def _recorded_venue(args: argparse.Namespace, settings: Settings, tape: Tape) -> tuple[Any, ...]:
    """Return a live run's recorded venue; with other settings its market is traded on paper."""
    from app.live_record import is_live, recorded_venue

    runs_dir = Path(settings.runs_dir)
    run = run_folder(args.replay, runs_dir)
    if run is None or not is_live(run) or args.what_if or args.config:
        return None, None, None
    return recorded_venue(run, tape)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell(bus: Bus) -> None:
    """Log every piece of advice and every fill (--verbose)."""
    from app.log import logger

    signals, fills = logger("signals"), logger("fills")
    bus.topic(Signal).subscribe(
        lambda s: signals.debug("signal", id=s.signal_id, action=Action(s.action).name, row=s.row)
    )
    bus.topic(Fill).subscribe(
        lambda f: fills.debug(
            "fill", order=f.order_id, side=f.side, lots=f.qty_lot, tick=f.price_tick
        )
    )


def _quiet(_: str) -> None:
    """Say nothing."""


def _command(argv: list[str]) -> tuple[str, ...]:
    return (Path(argv[0]).name, *argv[1:]) if argv else ()


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


def run_folder(paths: Sequence[str], runs_dir: Path) -> Path | None:
    """Return the run folder that the one PATH names, None when it is data."""
    if len(paths) != 1:
        return None
    path = Path(paths[0])
    if (path / CONFIG).exists() and (path / TAPE_REF).exists():
        return path
    if not path.exists() and len(path.parts) == 1 and runs_dir.is_dir():
        return resolve_run(paths[0], runs_dir) if any(runs_dir.glob(f"{paths[0]}*")) else None
    return None


def settings_of(args: argparse.Namespace) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings of the run and the models named on the command line.

    A run folder brings its own settings and models; --config, --what-if and the flags go before.

    Raises:
        ConfigProblem, UsageError: something is not as it must be.
    """
    changes: dict[str, Any] = {}
    if args.block_rows is not None:
        changes["engine.block_rows"] = args.block_rows
    base = load_settings(args.config, changes)
    named = tuple(args.model)
    run = run_folder(args.replay or (), Path(base.runs_dir))
    if run is not None:
        recorded = read_json(run / CONFIG, RunConfigFile)
        if args.config is None:
            base = _recorded(recorded, base, args)
        named = named or recorded.model_overrides
    if args.what_if is not None and (run is None or args.config is not None):
        base = lay_over(msgspec.to_builtins(base), args.what_if)
    return with_models(base, args.model), named


def _recorded(recorded: RunConfigFile, base: Settings, args: argparse.Namespace) -> Settings:
    """Return the settings of a run folder, with where things lie taken from today's config."""
    tree = dict(recorded.settings)
    tree |= {"artifacts_dir": base.artifacts_dir, "runs_dir": base.runs_dir}
    engine = dict(tree.get("engine", {}))
    if args.block_rows is not None:
        engine["block_rows"] = args.block_rows
    tree["engine"] = engine
    if args.what_if is not None:
        return lay_over(tree, args.what_if)
    return check_settings(tree, f"{recorded.run_id}: {CONFIG}")


def with_models(settings: Settings, named: Sequence[str]) -> Settings:
    """Put the models of --model into the settings: in place of that model, or beside the others.

    Raises:
        UsageError: not of the form ID:VERSION.
    """
    models = list(settings.models)
    for word in named:
        model_id, colon, version = word.partition(":")
        if not colon or not model_id or not version:
            raise UsageError(f"--model {word}: must be ID:VERSION, see python lab.py models list")
        same = [at for at, model in enumerate(models) if model.model_id == model_id]
        for at in same:
            models[at] = msgspec.structs.replace(models[at], version=version)
        if not same:
            models.append(_new_model(settings, model_id, version))
    return msgspec.structs.replace(settings, models=tuple(models))


def _new_model(settings: Settings, model_id: str, version: str) -> ModelSettings:
    from ml.refusal import ModelRefused
    from ml.registry import View

    try:
        cadence = View(Path(settings.artifacts_dir)).find(model_id, version).cadence
    except ModelRefused as error:
        raise UsageError(f"--model {model_id}:{version}: {error}") from None
    return ModelSettings(
        name=model_id, model_id=model_id, version=version, cadence=CADENCES.get(cadence, cadence)
    )


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


class Bar:
    """The progress bar of a replay or conversion, on stderr."""

    def __init__(self, rows: int, what: str = "replay") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("eta"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=10,
        )
        self._task = self._progress.add_task(what, total=rows or None, rate="")
        self._progress.start()
        self._started = time.perf_counter()
        self._shown = 0.0

    def update(self, done: int, total: int, now: int) -> None:
        """Show rows done, rows in all and market time."""
        clock = time.perf_counter()
        if clock - self._shown < SHOW_EVERY_S and done < total:
            return
        self._shown = clock
        rate = done / max(clock - self._started, 1e-9)
        market = time.strftime("%m-%d %H:%M:%S", time.gmtime(now / 1e9))
        self._progress.update(
            self._task, completed=done, total=total, rate=f"{rate / 1e6:.2f} M ev/s  {market}"
        )

    def convert(self, what: str, done: int, total: int) -> None:
        """Show how far a conversion is."""
        self._progress.update(
            self._task, description=what[-30:], completed=done, total=total or None
        )

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()
