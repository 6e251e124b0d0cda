"""What stands beside the rows of a tape: `tape.json`, the segment header, content hashes."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from engine.errors import DataError
from engine.instruments import Instrument
from engine.rows import ROW_BYTES, TAPE_VERSION

INFO_NAME = "tape.json"
SEGMENT_SUFFIX = ".tape"
BLOCK_ROWS = 65_536  # rows a content hash covers
HEADER_BYTES = 4096  # a page, so that rows stay aligned to cache lines
MAGIC = b"TICKTAPE"
WAKES = ("implied", "recorded")

# `head` stands alone in its cache line: it is the word that the writer publishes by.
HEADER = np.dtype(
    {
        "names": ["magic", "version", "row_bytes", "first_row", "capacity", "wakes", "head"],
        "formats": ["S8", "u4", "u4", "i8", "i8", "u4", "i8"],
        "offsets": [0, 8, 12, 16, 24, 32, 64],
        "itemsize": HEADER_BYTES,
    }
)


class SourceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that a tape was made from."""

    name: str
    sha256: str


class TapeInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of `tape.json`. `sha256` is empty while the tape is being written."""

    version: int = TAPE_VERSION
    wakes: str = "implied"
    instruments: tuple[Instrument, ...] = ()
    rows: int = 0
    block_rows: int = BLOCK_ROWS
    block_sha256: tuple[str, ...] = ()  # one per 65,536 rows of the tape, the last partial
    sha256: str = ""  # identity of the content: instruments, wakes, rows
    sources: tuple[SourceFile, ...] = ()
    dropped: dict[str, int] = {}  # reason -> rows of the sources that are not on the tape
    notes: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Say whether the writer finished the tape."""
        return self.sha256 != ""


def content_sha256(
    instruments: Sequence[Instrument], wakes: str, rows: int, blocks: Sequence[str]
) -> str:
    """Return the identity of a tape's content, in hex.

    It is sha256 over the JSON of (version, wakes, rows, instruments) and the bytes of all block
    hashes; names of source files, dropped rows and notes are no part of it.
    """
    head = [TAPE_VERSION, wakes, rows, [msgspec.to_builtins(one) for one in instruments]]
    digest = hashlib.sha256(msgspec.json.encode(head, order="deterministic"))
    for block in blocks:
        digest.update(bytes.fromhex(block))
    return digest.hexdigest()


def segment_path(folder: Path, number: int) -> Path:
    """Return the file of a segment: `000000.tape` is the first."""
    return folder / f"{number:06d}{SEGMENT_SUFFIX}"


def segment_paths(folder: Path) -> list[Path]:
    """List a tape's segments in order.

    Raises:
        DataError: one in between is missing.
    """
    paths = sorted(folder.glob("[0-9]" * 6 + SEGMENT_SUFFIX))
    for number, path in enumerate(paths):
        if path != segment_path(folder, number):
            raise DataError(f"{folder}: segment {segment_path(folder, number).name} is missing")
    return paths


def is_tape(folder: Path) -> bool:
    """Say whether a path is a tape folder."""
    return (folder / INFO_NAME).is_file()


def read_info(folder: Path) -> TapeInfo:
    """Read `tape.json`, strictly.

    Raises:
        DataError: it is missing, unreadable, of another version, or of the wrong shape.
    """
    path = folder / INFO_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{folder}: not a tape ({INFO_NAME} is missing)") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        version = msgspec.json.decode(text, type=_Version).version
        if version != TAPE_VERSION:
            raise DataError(
                f"{path}: tape version {version}, this program reads version {TAPE_VERSION}"
            )
        info = msgspec.json.decode(text, type=TapeInfo)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path}: not a tape description ({error})") from None
    if info.wakes not in WAKES:
        raise DataError(f"{path}: wakes is {info.wakes!r}, allowed: {', '.join(WAKES)}")
    if info.block_rows != BLOCK_ROWS:
        raise DataError(f"{path}: block_rows is {info.block_rows}, allowed: {BLOCK_ROWS}")
    return info


class _Version(msgspec.Struct):
    version: int


def write_info(folder: Path, info: TapeInfo) -> None:
    """Write `tape.json` atomically, mode 0600."""
    text = msgspec.json.format(msgspec.json.encode(info), indent=1)
    temporary = folder / f".{INFO_NAME}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text + b"\n")
        os.replace(temporary, folder / INFO_NAME)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def checked_header(page: bytes, path: Path) -> np.void:
    """Return a segment's header record.

    Args:
        page: the first HEADER_BYTES of the segment.
        path: named in the error.
    Raises:
        DataError: it is cut off, foreign, or of another version.
    """
    if len(page) < HEADER_BYTES:
        raise DataError(f"{path}: cut off inside its header ({len(page)} bytes)")
    header = np.frombuffer(page, HEADER, count=1)[0]
    if header["magic"] != MAGIC:
        raise DataError(f"{path}: not a tape segment")
    if header["version"] != TAPE_VERSION or header["row_bytes"] != ROW_BYTES:
        raise DataError(
            f"{path}: tape version {header['version']} with rows of {header['row_bytes']} bytes, "
            f"this program reads version {TAPE_VERSION} with {ROW_BYTES}"
        )
    if not 0 <= header["head"] <= header["capacity"]:
        raise DataError(f"{path}: head {header['head']} outside 0..{header['capacity']}")
    return header
