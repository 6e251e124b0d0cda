"""The rows that feature checks run on: stretches of one instrument of the data that is named."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from app.feature_paths import Stretch, wants_bars
from config.load import load_settings
from engine.errors import DataError
from engine.instruments import Instrument
from engine.row_arrays import copy_rows, join_rows, take_rows
from engine.rows import Kind
from engine.tape import Tape
from features.registry import reads_peer
from features.spec import FeatureSpec

TICK_ROWS = 60_000  # rows of an instrument that a set is checked on
BAR_ROWS = 1_000_000  # of ticks of which bars are made


def open_named(
    data: Sequence[Path], symbols: Sequence[str] = (), cache_dir: Path = Path("data/tapes")
) -> Tape:
    """Open data as a tape, converting it first if need be.

    Raises:
        DataError: a path is missing or cannot be used.
    """
    from app.sources import open_tape

    settings = load_settings(None)
    folder = open_tape(
        list(data), assumed=settings.assumed, cache_dir=cache_dir, symbols=list(symbols)
    )
    return Tape.open(folder)


def stretches_of(
    tape: Tape, spec: FeatureSpec, rows: int = 0, pair: tuple[str, str] | None = None
) -> Iterator[Stretch]:
    """Yield the rows of each instrument, from the first good quote on.

    Args:
        tape: the data.
        spec: says whether bars are wanted, and whether a second instrument is.
        rows: at most so many of each instrument; 0 takes TICK_ROWS or BAR_ROWS.
        pair: symbols of an instrument and of the one that it is paired with; else a set that reads
            a pair gets the first two.
    Raises:
        DataError: the pair is not on the tape.
    """
    bars = wants_bars(spec)
    settings = load_settings(None)
    for own, peer in _chosen(tape.instruments, spec, pair):
        made = bars and "bars" not in tape.instruments[own].has
        most = rows or (BAR_ROWS if made else TICK_ROWS)
        found = _rows_of(tape, own, peer, most)
        if len(found):
            names = [tape.instruments[at] for at in (own, peer) if at >= 0]
            yield Stretch(found, tuple(names), settings, bars)


def held(stretch: Stretch) -> set[str]:
    """Return what the data of a stretch holds, as `absent_features` asks for it."""
    peer = {"peer_bars"} if len(stretch.instruments) > 1 else set()
    return set(stretch.instruments[0].has) | peer


def _chosen(
    instruments: Sequence[Instrument], spec: FeatureSpec, pair: tuple[str, str] | None
) -> list[tuple[int, int]]:
    """Return (instrument, its pair or -1) to look at."""
    if not reads_peer([spec]):
        return [(at, -1) for at in range(len(instruments))]
    if pair is None:
        return [(0, 1)] if len(instruments) > 1 else [(0, -1)]
    symbols = [instrument.symbol for instrument in instruments]
    for symbol in pair:
        if symbol not in symbols:
            raise DataError(f"--pair: {symbol} is not in the data; it has {', '.join(symbols)}")
    return [(symbols.index(pair[0]), symbols.index(pair[1]))]


def _rows_of(tape: Tape, own: int, peer: int, most: int) -> np.ndarray:
    """Return up to `most` rows of an instrument and its pair, renumbered 0 and 1."""
    parts, count = [], 0
    for segment in tape.segments:
        for _, rows in segment.strides():
            chosen = np.flatnonzero((rows["instrument"] == own) | (rows["instrument"] == peer))
            chosen = chosen[: most - count]
            parts.append(copy_rows(take_rows(rows, chosen)))
            count += len(chosen)
            if count >= most:
                break
        if count >= most:
            break
    if not count:
        return np.zeros(0, tape.segments[0].rows.dtype)
    rows = join_rows(parts)
    rows["instrument"] = np.where(rows["instrument"] == own, 0, 1)
    return take_rows(rows, slice(_begin(rows), None))


def _begin(rows: np.ndarray) -> int:
    """Return the first row with a touch: a quote, or a packet of depth where there are none."""
    own = rows["instrument"] == 0
    for kind in (Kind.QUOTE, Kind.DEPTH, Kind.TRADE, Kind.BAR):
        found = np.flatnonzero(own & (rows["kind"] == kind))
        if len(found):
            return int(found[0]) if kind == Kind.QUOTE else 0
    return 0
