"""What a command says while it runs, and the exit code it ends with."""

import argparse
import sys
from pathlib import Path

from app.command_line import DONE, FAILED, HALTED, INTERRUPTED
from app.summary import show
from engine.bus import Bus
from engine.events import Action, Fill, Signal
from engine.run_files import Summary

CODES = {"interrupted": INTERRUPTED, "halted": HALTED, "failed": FAILED}


def ended(summary: Summary, args: argparse.Namespace) -> int:
    """Show how a session ended; return the exit code."""
    show(summary, as_json=args.json)
    return CODES.get(summary.exit_reason, DONE)


def say(line: str) -> None:
    """Say a line on stderr."""
    print(line, file=sys.stderr, flush=True)


def tell(bus: Bus) -> None:
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


def say_nothing(_: str) -> None:
    """Say nothing."""


def command_of(argv: list[str]) -> tuple[str, ...]:
    """Return the command as a run's config keeps it."""
    return (Path(argv[0]).name, *argv[1:]) if argv else ()
