"""What a live run's folder says of its account, and the venue of its replay made from that."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.wire import NewVenue
from engine.errors import DataError
from engine.journal_reader import fold
from engine.rows import Kind
from engine.run_files import CONFIG, LIVE, LiveRun, RunConfigFile, read_json
from engine.tape import Tape
from venues.recorded import Recorded


def is_live(run: Path) -> bool:
    """Return True for the folder of a live run, or of a replay of one."""
    return (run / LIVE).exists()


def recorded_venue(run: Path, tape: Tape) -> tuple[NewVenue, Callable[[], None], LiveRun]:
    """Return what makes the venue of a live run's replay, its check for the end, and live.json.

    Args:
        run: the live run's folder.
        tape: the run's.
    Raises:
        DataError: the account's journal is not there, or does not know the run.
    """
    live = read_json(run / LIVE, LiveRun)
    folder = Path(live.account)
    if not folder.is_dir():  # moved together with its runs
        folder = account_folder(run.resolve().parent, folder.name)
    if not folder.is_dir():
        raise DataError(f"{run}: the journal of its account is not at {folder}")
    state = fold(folder)
    if live.tag not in state.tags:
        raise DataError(f"{run}: the journal at {folder} does not know this run ({live.tag})")
    orders = {order.ordinal: order for order in state.orders.values() if order.tag == live.tag}
    symbols = {ref: market.instrument.symbol for ref, market in state.markets.items()}
    unsent: set[int] = set()
    for segment in tape.segments:
        rows = segment.rows
        unsent.update(rows["i0"][np.flatnonzero(rows["kind"] == Kind.NOT_SENT)].tolist())
    venue = Recorded(orders, symbols, unsent, live.tag, tape.instruments)
    return lambda now: venue, venue.check_all_seen, live


def has_answers(run: Path) -> bool:
    """Return True when a run's models on threads were answered by rows of its tape."""
    return read_json(run / CONFIG, RunConfigFile).answers_on_tape


def account_folder(runs_dir: Path, account: str) -> Path:
    """Return where an account's journal lies; it outlives runs."""
    return runs_dir / "accounts" / account
