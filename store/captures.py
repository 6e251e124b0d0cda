"""Read wire captures (`.jsonl.gz`: recv_ns, dir, conn, raw) through a venue's decoder and sync."""

import base64
import gzip
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from engine.book_sync import GapReason
from engine.errors import DataError
from engine.instruments import split_symbol
from engine.row_arrays import copy_rows, join_rows
from engine.rows import ROW, ROW_BYTES
from engine.wire_formats import FORMATS, WireDecoder
from store.depth import PacketSync, Place
from store.feeds import Learnt, Registry, Source, learn_market
from store.times import MAX_NS

BATCH_ROWS = 16_384
MAX_MESSAGE_ROWS = 40_000  # the largest book a venue sends has 2 x 5,000 levels


class Line(msgspec.Struct, gc=False):
    """One line of a capture."""

    recv_ns: Annotated[int, Meta(ge=0, le=MAX_NS)]
    dir: str
    conn: str = ""
    raw: str | None = None
    raw_b64: str | None = None


class _Symbols(dict[str, int]):
    """Symbol -> number in the registry, found out as messages name them."""

    def __init__(self, venue: str, registry: Registry) -> None:
        super().__init__()
        self._venue = venue
        self._registry = registry

    def __missing__(self, symbol: str) -> int:
        if not symbol or not symbol.isascii() or not symbol.replace("_", "").isalnum():
            raise KeyError(symbol)
        number = self._registry.index(self._venue, split_symbol(symbol)[0])
        if number < 0:
            raise KeyError(symbol)
        self[symbol] = number
        return number


class CaptureFeed:
    """All captures of one venue and name, one after the other: books stay in sync across files."""

    def __init__(self, sources: list[Source], scratch: Path) -> None:
        """Take the files in order of time.

        Args:
            sources: captures of one venue; a `symbol` says whose the bare snapshots are.
            scratch: a folder for the decoded rows.
        Raises:
            DataError: no decoder knows the venue.
        """
        self.source = sources[0]
        self.learnt = Learnt()
        self._sources = sources
        self.on_share: Callable[[float], None] = lambda share: None
        if self.source.venue not in FORMATS:
            known = ", ".join(sorted(FORMATS)) or "none"
            raise DataError(
                f"{self.source.path}: no wire decoder for the venue {self.source.venue}; known: "
                f"{known} (lab.py data import --venue says it); others take Parquet and CSV only"
            )
        self._format = FORMATS[self.source.venue]
        self._decoder: WireDecoder | None = None
        self._spool: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
        self._buffer = np.zeros(BATCH_ROWS + MAX_MESSAGE_ROWS, ROW)
        self._books: dict[int, PacketSync] = {}
        self._connections: set[str] = set()

    @property
    def paths(self) -> list[Path]:
        """Return the files it reads."""
        return [one.path for one in self._sources]

    def learn(self, registry: Registry, dropped: Counter[str]) -> None:
        """Decode the files, keep the rows in the scratch file, and learn from them."""
        decoder = self._format.decoder(_Symbols(self.source.venue, registry))
        self._decoder = decoder
        for number, source in enumerate(self._sources):
            self.on_share(number / len(self._sources))
            for rows in self._decoded(source, decoder, dropped):
                self.learnt.add(rows)
                learn_market(rows, registry)
                self._spool.write(rows.tobytes())
        for reason, count in decoder.skipped.items():
            dropped[f"message: {reason}"] += count
        waiting = sum(book.sync.dropped for book in self._books.values())
        if waiting:
            dropped["depth message older than the snapshot, or before it"] += waiting

    def batches(self) -> Iterator[np.ndarray]:
        """Yield the rows, books in sync."""
        self._spool.seek(0)
        while content := self._spool.read(BATCH_ROWS * ROW_BYTES):
            yield np.frombuffer(bytearray(content), ROW)

    def _decoded(
        self, source: Source, decoder: WireDecoder, dropped: Counter[str]
    ) -> Iterator[np.ndarray]:
        """Yield rows of one file in the order in which a book must apply them."""
        buffer = memoryview(self._buffer.view(np.uint8))
        at = 0
        plain = 0  # rows before this one wait to be copied out
        found: list[np.ndarray] = []
        for line in read_lines(source.path, dropped):
            if line.dir == "open":
                found.append(copy_rows(self._buffer[plain:at]))
                found += self._reopened(line)
                plain = at
            message = _message(line)
            if message is None:
                continue
            symbol = _symbol_of(line.conn) or source.symbol
            count = decoder.decode_into(message, buffer, at, line.recv_ns, symbol)
            if count < 0:
                dropped["message: more levels than any venue sends"] += 1
                continue
            if (depth := decoder.depth) is not None:
                found.append(copy_rows(self._buffer[plain:at]))
                packet = copy_rows(self._buffer[at : at + count])
                self._note_latency(packet)
                book = self._books.setdefault(depth.instrument, PacketSync(self._format.rule))
                place = Place(depth.instrument, line.recv_ns)
                found += book.take(packet, depth, place)
                plain = at + count
            at += count
            if at >= BATCH_ROWS:
                found.append(copy_rows(self._buffer[plain:at]))
                yield join_rows(found)
                at = plain = 0
                found = []
        found.append(copy_rows(self._buffer[plain:at]))
        yield join_rows(found)

    def _reopened(self, line: Line) -> list[np.ndarray]:
        """Forget all books when a connection is opened again; return the gap rows."""
        again = line.conn in self._connections
        self._connections.add(line.conn)
        gaps: list[np.ndarray] = []
        for number, book in self._books.items() if again else ():
            gaps += book.lose(GapReason.DISCONNECT, number, line.recv_ns)
        return gaps

    def _note_latency(self, packet: np.ndarray) -> None:
        """Count a depth packet's latency even if no book needs it, as in the other formats."""
        self.learnt.latencies.add(packet["ts_recv"][:1], packet["ts_event"][:1])


def read_lines(path: Path, dropped: Counter[str]) -> Iterator[Line]:
    """Yield the lines of a capture.

    Raises:
        DataError: no gzip, or cut off.
    """
    decode = msgspec.json.Decoder(Line).decode
    first = True
    try:
        with _opened(path) as file:
            for text in file:
                try:
                    line = decode(text)
                except (msgspec.MsgspecError, RecursionError) as error:
                    if first:
                        raise DataError(
                            f"{path}: no wire capture; lines need recv_ns, dir, conn, raw ({error})"
                        ) from None
                    dropped["capture line that cannot be read"] += 1
                    continue
                if first:
                    first = False
                yield line
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if first:
        raise DataError(f"{path}: the file is empty")


def first_stamp(path: Path) -> int:
    """Return the receive time of a capture's first line, ns."""
    return next(read_lines(path, Counter())).recv_ns


def _message(line: Line) -> bytes | None:
    """Return what came in, or None."""
    if line.dir not in ("in", "http"):
        return None
    if line.raw is not None:
        return line.raw.encode(errors="replace")
    if line.raw_b64 is not None:
        try:
            return base64.b64decode(line.raw_b64, validate=True)
        except ValueError:
            return None
    return None


def _symbol_of(conn: str) -> str:
    """Return the symbol that a REST request asks for, or an empty text."""
    _, found, rest = conn.partition("symbol=")
    return rest.partition("&")[0].upper() if found else ""


def _opened(path: Path) -> Any:
    """Open a plain or gzipped file for reading bytes."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")
