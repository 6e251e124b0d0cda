"""Find the data files below what a person names, and what venue, symbol and kind each one is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.errors import DataError
from engine.instruments import Instrument, split_symbol
from engine.wire_formats import FORMATS
from store.columns import KINDS, match
from store.feeds import Source
from store.tables import TABLE_SUFFIXES, Table

INSTRUMENT_NAME = "instrument.json"
WIRE_SUFFIXES = (".jsonl.gz", ".jsonl")
# Second words of venue names, so that binance_spot_BTCUSDT splits after the second one.
_MARKETS = ("spot", "usdm", "coinm", "futures", "perp", "linear", "inverse", "us", "options")
_SYMBOL = re.compile(r"[A-Z0-9]*[A-Z][A-Z0-9]*\Z")
_TARDIS = re.compile(
    r"([a-z0-9-]+)_(?:trades|quotes|book_ticker|incremental_book_L2)_\d{4}-\d\d-\d\d_([A-Z0-9_-]+)\Z"
)
_UNKNOWN_VENUE = "file"


@dataclass
class Found:
    """The files to convert, the instruments described beside them, and what was left out."""

    sources: list[Source] = field(default_factory=list)
    known: dict[tuple[str, str], Instrument] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find(paths: Sequence[Path], *, venue: str | None = None, symbol: str | None = None) -> Found:
    """Find the source files.

    Files named one by one are taken as they are. Of folders the files of known kinds are taken, all
    levels down; wire captures only where a folder holds nothing else, since they mostly repeat the
    tables beside them.

    Args:
        paths: files and folders.
        venue: overrides what names say; then `symbol` does too.
        symbol: in any form, such as BTC/USDT.
    Raises:
        DataError: a path does not exist, or a folder holds no data.
    """
    found = Found()
    for path in paths:
        if path.is_dir():
            _walk(path, found)
        elif path.exists():
            found.sources.append(describe(path))
        else:
            raise DataError(f"{path}: no such file or folder")
    if venue is not None or symbol is not None:
        found.sources = [_renamed(one, venue, symbol) for one in found.sources]
    distinct = {one.path.resolve(): one for one in found.sources}
    found.sources = list(distinct.values())
    for folder in {one.folder for one in found.sources if one.folder is not None}:
        instrument = read_instrument(folder / INSTRUMENT_NAME)
        found.known[(instrument.venue, instrument.symbol)] = instrument
    return found


def _renamed(source: Source, venue: str | None, symbol: str | None) -> Source:
    """Return a source under the names that a person gave; a column of symbols is asked by row."""
    canonical = split_symbol(symbol)[0] if symbol else source.symbol
    if source.kind != "wire" and _lists_symbols(source.path):
        canonical = ""
    return Source(source.path, venue or source.venue, canonical, source.kind, source.folder)


def _walk(folder: Path, found: Found) -> None:
    """Add the data files of a folder."""
    tables: list[Source] = []
    wires: list[Source] = []
    ignored = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith(".") or path.name == INSTRUMENT_NAME:
            continue
        name = path.name.lower()
        if (path.parent / INSTRUMENT_NAME).is_file():
            continue  # what lies beside instrument.json describes the data, it is none
        if name.endswith(WIRE_SUFFIXES):
            wires.append(describe(path))
        elif name.endswith(TABLE_SUFFIXES) and (
            path.parent.name in KINDS or name.endswith((".parquet", ".csv", ".csv.gz"))
        ):
            tables.append(describe(path))
        elif not name.endswith((".json", ".md")):
            ignored += 1
    known = [one for one in wires if one.venue in FORMATS]
    if tables:
        ignored += len(wires)
    elif known:
        ignored += len(wires) - len(known)
        wires = known
    found.sources += tables or wires
    if not tables and not wires:
        raise DataError(
            f"{folder}: no data in it; wanted are <venue>/<SYMBOL>/<kind>/*.parquet or .csv.gz, "
            "or <kind>/<venue>_<SYMBOL>_*.parquet"
        )
    if ignored:
        taken = len(tables) or len(wires)
        extra = f", {len(wires)} of them wire captures" if tables and wires else ""
        found.notes.append(f"{folder}: {taken} files used, {ignored} left out{extra}")


def describe(path: Path) -> Source:
    """Tell venue, symbol and kind of a file from its place and name.

    A folder with instrument.json says it; else the name `<venue>_<SYMBOL>_...`; else the folders
    `<venue>/<SYMBOL>/<kind>/`. What stays unknown is "" and has to come from the rows.
    """
    parent = path.absolute().parent
    wire = path.name.lower().endswith(WIRE_SUFFIXES)
    kind = "wire" if wire else parent.name if parent.name in KINDS else ""
    if (parent.parent / INSTRUMENT_NAME).is_file() and kind:
        instrument = read_instrument(parent.parent / INSTRUMENT_NAME)
        return Source(path, instrument.venue, instrument.symbol, kind, parent.parent)
    venue, symbol = venue_and_symbol(path.name)
    above = parent.parent.name
    if not (venue and symbol) and kind in KINDS and _SYMBOL.match(above) and len(above) > 1:
        venue, symbol = parent.parent.parent.name, above
    if not wire and _lists_symbols(path):
        symbol = ""
    return Source(path, venue or _UNKNOWN_VENUE, symbol, kind)


def venue_and_symbol(name: str) -> tuple[str, str]:
    """Split a file name into venue and canonical symbol, each "" where it does not say.

    >>> venue_and_symbol("binance_spot_BTCUSDT_202408.parquet")
    ('binance_spot', 'BTCUSDT')
    >>> venue_and_symbol("us_multi_1m_20190211.parquet"), venue_and_symbol("BTC-USDT-1m.csv")
    (('us', ''), ('', 'BTCUSDT'))
    """
    stem = name
    for suffix in (*WIRE_SUFFIXES, *TABLE_SUFFIXES):
        stem = stem.removesuffix(suffix)
    if dump := _TARDIS.match(stem):
        return dump[1].replace("-", "_"), split_symbol(dump[2])[0]
    words = stem.split("_")
    for k, word in enumerate(words):
        if k and _SYMBOL.match(word) and len(word) > 1:
            if all(one.islower() or one.isdigit() for one in words[:k]):
                return "_".join(words[:k]), word
            break
    if len(words) > 1 and words[0].islower() and not any(one.isupper() for one in words):
        two = len(words) > 2 and words[1] in _MARKETS
        return "_".join(words[: 2 if two else 1]), ""
    pair = re.match(r"([A-Z0-9]{2,}[-_]?[A-Z]{3,})(?=$|[-_.])", stem)
    return "", split_symbol(pair.group(1))[0] if pair else ""


def _lists_symbols(path: Path) -> bool:
    """Say whether a table has a column of symbols, so that its name means all of them."""
    return "symbol" in match("bars", Table(path).names)


def read_instrument(path: Path) -> Instrument:
    """Read instrument.json.

    Raises:
        DataError: missing or of the wrong shape.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Instrument)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except msgspec.MsgspecError as error:
        raise DataError(f"{path}: not an instrument description ({error})") from None
