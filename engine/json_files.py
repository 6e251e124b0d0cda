"""JSON files of structs: written whole or not at all, read strictly; .jsonl line by line."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.errors import DataError

T = TypeVar("T")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary file in the same folder, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def to_json(value: Any, *, indent: int = 2) -> bytes:
    """Encode as strict JSON (NaN and infinities become null); indent 0 gives one line."""
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=indent) if indent else encoded


def write_json(path: Path, value: Any) -> None:
    """Write one struct as indented JSON, atomically."""
    write_bytes(path, to_json(value) + b"\n")


def read_json(path: Path, kind: type[T]) -> T:
    """Read one struct.

    Raises:
        DataError: the file is missing, no JSON, or not of this struct.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise DataError(f"{path}: not there; is this a run folder?") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: not a readable {kind.__name__}: {error}") from None


def line_bytes(value: Any) -> bytes:
    """Encode one line of a .jsonl file, line end included."""
    return msgspec.json.encode(value) + b"\n"


def read_lines(path: Path, kind: type[T]) -> Iterator[tuple[int, int, T | None]]:
    """Yield (line number from 1, byte offset, struct) of a .jsonl file, streaming.

    A last line that is torn or without line end is yielded as None; so is any unreadable line
    before it: the caller knows by position which it is. A missing file has no lines.
    """
    decoder = msgspec.json.Decoder(kind)
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                value = decoder.decode(line) if line.endswith(b"\n") else None
            except msgspec.MsgspecError:
                value = None
            yield number, offset, value
            offset += len(line)
