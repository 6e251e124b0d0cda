"""From the command line to a run: which of them, and the sessions, `--paper` and `--live`."""

import argparse
import functools
import gc
import os
from collections.abc import Callable
from typing import Any

from app.lean import load_numba
from engine.errors import UsageError


def start(args: argparse.Namespace, argv: list[str]) -> int:
    """Carry out `run_live.py`; return the exit code."""
    if args.live:
        return start_live(args, argv)
    if args.paper:
        return start_paper(args, argv)
    load_numba()
    from app.start_replay import start_replay

    return start_replay(args, argv)


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
    gc.disable()  # nothing that a start makes is garbage; the session collects from its beginning
    from app.paper_exchange import begun

    with begun(args.venue) as exchange:  # it starts while the engine is loaded
        from app.run_settings import settings_of

        settings, named = settings_of(args)
        load_numba()
        from app.live import paper
        from app.live_job import Job
        from app.live_screen import Screen
        from app.spoken import command_of, ended, say, say_nothing, tell

        job = Job(
            settings=settings,
            named=named,
            command=command_of(argv),
            venue=args.venue,
            symbols=tuple(word for word in args.symbols.split(",") if word.strip()),
            duration_s=duration_s,
            say=say if not args.json else say_nothing,
            screen=None if args.json else functools.partial(_screen, Screen),
            report=not args.no_report,
            subscribe=tell if args.verbose else None,
            exchange=exchange,
        )
        return ended(paper(job), args)


def start_live(args: argparse.Namespace, argv: list[str]) -> int:
    """Carry out `run_live.py --live`; return the exit code."""
    from app.live_permission import KEY_ENV, SECRET_ENV, LiveWish, permit_live
    from app.live_urls import urls_of
    from app.run_settings import settings_of
    from app.spoken import command_of, ended, say, say_nothing, tell

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
    load_numba()
    from app.live_run import LiveJob, live
    from app.live_screen import Screen

    job = LiveJob(
        settings=settings,
        command=command_of(argv),
        venue=args.venue,
        symbols=tuple(word for word in args.symbols.split(",") if word.strip()),
        duration_s=duration_s,
        say=say if not args.json else say_nothing,
        screen=None if args.json else functools.partial(_screen, Screen),
        report=not args.no_report,
        subscribe=tell if args.verbose else None,
        urls=urls,
        account=args.account,
        clear=args.clear_latches,
    )
    return ended(live(job, keys), args)


def _screen(made: Any, parts: Any, health: Any, title: str, now_ns: Callable[[], int]) -> Any:
    return made(parts, health, title=title, now_ns=now_ns)
