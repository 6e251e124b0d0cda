"""What a live run's folder says of its account, and the venue of its replay made from that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from app.parts import NewVenue
from config.settings import Settings
from engine.errors import DataError
from engine.journal_reader import fold
from engine.json_files import read_json
from engine.rows import Kind
from engine.run_files import CONFIG, LIVE, NAMES, LiveRun, Names, RunConfigFile
from engine.tape import Tape
from venues.recorded import Recorded

PLACES = ("artifacts_dir", "runs_dir", "notify", "watch")
PACE = ("block_rows", "batch_rows", "inference_cores")


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


def answered_by(run: Path, settings: Settings) -> tuple[str, ...]:
    """Return the sha256 of the models whose answers stand on a run's tape, in order.

    None for a run whose tape holds no answers, and for settings other than the run's: they may ask
    at other times.
    """
    recorded = read_json(run / CONFIG, RunConfigFile)
    same = _decisive(recorded.settings) == _decisive(msgspec.to_builtins(settings))
    if not recorded.answers_on_tape or not same:
        return ()
    return tuple(model.sha256 for model in read_json(run / NAMES, Names).models)


def _decisive(settings: dict[str, Any]) -> bytes:
    """Write down settings without those that no decision depends on."""
    kept = {name: value for name, value in settings.items() if name not in PLACES}
    engine = {k: v for k, v in settings.get("engine", {}).items() if k not in PACE}
    return msgspec.json.encode(kept | {"engine": engine}, order="deterministic")


def account_folder(runs_dir: Path, account: str) -> Path:
    """Return where an account's journal lies; it outlives runs."""
    return runs_dir / "accounts" / account
