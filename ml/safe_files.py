"""Bounded reads that follow no link, and atomic writes, for everything under artifacts/."""

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ml.refusal import ModelRefused

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


def check_name(name: str, what: str) -> str:
    """Return `name` when it is a plain basename.

    Raises:
        ModelRefused: `model.path`; it is empty, too long, or could leave its folder.
    Example:
        >>> check_name("SignalClassifier", "model id")
        'SignalClassifier'
        >>> check_name("../x", "model id")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ml.refusal.ModelRefused: model id '../x' is not a plain name ... [model.path]
    """
    if not isinstance(name, str) or not NAME.match(name) or ".." in name:
        text = f"{what} {str(name)[:80]!r} is not a plain name (letters, digits, _ . -)"
        raise ModelRefused("model.path", text)
    return name


def sha256(data: bytes) -> str:
    """Return the hex sha256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def open_folder(root: Path, *names: str) -> Iterator[int]:
    """Open `root/names...` as a directory descriptor; below the root no link is followed.

    Raises:
        ModelRefused: `model.path` for a link or a name that is no plain one, `model.missing` for
            a folder that is not there.
    """
    shown = "/".join((root.name, *names))
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        text = f"{shown}: no such folder ({os.strerror(error.errno or 0)})"
        raise ModelRefused("model.missing", text) from None
    try:
        for name in names:
            check_name(name, "folder")
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            try:
                deeper = os.open(name, flags, dir_fd=fd)
            except FileNotFoundError:
                text = f"{shown}: no such folder; `python lab.py models list` shows what there is"
                raise ModelRefused("model.missing", text) from None
            except OSError:
                raise ModelRefused("model.path", f"{shown}: {name} is a link or a file") from None
            os.close(fd)
            fd = deeper
        yield fd
    finally:
        os.close(fd)


def read_bounded(folder_fd: int, name: str, max_bytes: int, shown: str) -> bytes:
    """Read a regular file once, at most `max_bytes` of it.

    Args:
        folder_fd: descriptor from open_folder.
        name: a plain basename.
        max_bytes: larger files are refused before they are read.
        shown: how messages call the file.
    Raises:
        ModelRefused: `model.missing`, `model.path` (link, folder, FIFO) or `model.metadata` (size).
    """
    check_name(name, "file name")
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder_fd)
    except FileNotFoundError:
        raise ModelRefused("model.missing", f"{shown}: the file is missing") from None
    except OSError as error:
        text = f"{shown}: a link, or not readable ({os.strerror(error.errno or 0)})"
        raise ModelRefused("model.path", text) from None
    with os.fdopen(fd, "rb", buffering=0) as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise ModelRefused("model.path", f"{shown}: not a regular file")
        if state.st_size > max_bytes:
            text = f"{shown}: {state.st_size} bytes, at most {max_bytes} are read"
            raise ModelRefused("model.metadata", text)
        chunks = []
        left = max_bytes + 1
        while left > 0 and (chunk := file.read(min(left, state.st_size + 1))):
            chunks.append(chunk)
            left -= len(chunk)
    if left <= 0:
        raise ModelRefused("model.metadata", f"{shown}: grew above {max_bytes} bytes")
    return b"".join(chunks)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step; after a crash the old or the new content is there."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
