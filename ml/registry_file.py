"""registry.json on disk: read with a last good view, locked for writers, replaced in one step."""

import contextlib
import fcntl
import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ml.manifest import (
    MAX_BYTES,
    SCHEMA_VERSION,
    Change,
    Entry,
    GateResult,
    Registry,
    Status,
    read_registry_bytes,
    to_json,
)
from ml.refusal import ModelRefused
from ml.safe_files import check_name, open_folder, read_bounded, write_atomic

REGISTRY = "registry.json"
LAST_GOOD = "registry.last.json"  # not committed; what is used when registry.json is torn
TORN = "registry.torn.json"  # not committed; a torn registry.json that a writer has replaced
LOCK = "registry.lock"
EMPTY = Registry(schema_version=SCHEMA_VERSION, entries=())


class View:
    """The registry as last read well; a torn or contradictory file does not replace it.

    Attributes:
        registry: the last good content.
        problem: why the newest content was not taken; empty when it was.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problem = ""
        try:
            self.registry = read(root)
        except ModelRefused as error:
            if error.code != "registry.torn":
                raise
            self.registry = _last_good(root, error)
            self.problem = f"{error}; the last good view is used"

    def refresh(self) -> bool:
        """Read again; return whether the new content was taken."""
        try:
            self.registry = read(self.root)
        except ModelRefused as error:
            self.problem = f"{error}; the last good view is used"
            return False
        self.problem = ""
        return True

    def find(self, model_id: str, version: str = "production") -> Entry:
        """Return one entry; `production` is the version that serves.

        Raises:
            ModelRefused: `model.missing`, `model.path`.
        """
        return find(self.registry, model_id, version)


def read(root: Path, name: str = REGISTRY) -> Registry:
    """Read a registry file.

    Raises:
        ModelRefused: `model.missing`, `registry.torn`, `registry.ambiguous`, `model.path`.
    """
    try:
        with open_folder(root) as folder:
            data = read_bounded(folder, name, MAX_BYTES[REGISTRY], f"{root.name}/{name}")
    except ModelRefused as error:
        if error.code != "model.missing":
            raise
        text = f"{root.name}: no registry.json there; `make demo-models` writes one"
        raise ModelRefused("model.missing", text) from None
    return read_registry_bytes(data)


def read_for_writing(root: Path, *, create: bool = False) -> Registry:
    """Read what a writer changes: of a torn registry the last good view.

    Args:
        root: the artifacts folder.
        create: an absent registry is an empty one; else it is refused.
    Raises:
        ModelRefused: it is torn with no last good view, or contradicts itself.
    """
    return EMPTY if create and not (root / REGISTRY).exists() else View(root).registry


def _last_good(root: Path, error: ModelRefused) -> Registry:
    try:
        return read(root, LAST_GOOD)
    except ModelRefused:
        raise error from None


def find(registry: Registry, model_id: str, version: str) -> Entry:
    """Return one entry; `production` is the version that serves.

    Raises:
        ModelRefused: `model.missing` with what there is, `model.path`.
    """
    check_name(model_id, "model id")
    check_name(version, "version")
    own = [entry for entry in registry.entries if entry.model_id == model_id]
    if not own:
        known = ", ".join(sorted({entry.model_id for entry in registry.entries})) or "none"
        raise ModelRefused("model.missing", f"no model {model_id!r}; there are: {known}")
    for entry in own:
        if version in (entry.version, entry.status if version == "production" else None):
            return entry
    if version == "production":
        text = f"{model_id} has no production version"
        help_ = f"promote one: python lab.py models promote {own[-1].name}"
        raise ModelRefused("model.missing", f"{text}; {help_}")
    known = ", ".join(entry.version for entry in own)
    raise ModelRefused("model.missing", f"{model_id} has no version {version!r}; it has: {known}")


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the registry's lock: one writer at a time, also among processes."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / LOCK, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(root: Path, registry: Registry) -> None:
    """Replace registry.json and its last good copy, after checking what is written.

    The lock is held: what lies about of writers that were killed belongs to nobody. A torn file is
    set aside, since a person may have been at work in it.
    """
    data = to_json(registry)
    read_registry_bytes(data)
    for left in root.glob(".registry.*json.*"):
        left.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        try:
            read_registry_bytes((root / REGISTRY).read_bytes())
        except ModelRefused:
            os.replace(root / REGISTRY, root / TORN)
    write_atomic(root / REGISTRY, data)
    write_atomic(root / LAST_GOOD, data)


def with_status(
    registry: Registry,
    name: str,
    status: Status,
    *,
    by: str,
    why: str,
    gates: Sequence[GateResult] = (),
) -> Registry:
    """Return a registry in which one entry has another status, and its history says so."""
    changed = []
    for entry in registry.entries:
        if entry.name == name:
            change = Change(at=_now(), by=_who(by), status=status, why=why, gates=tuple(gates))
            history = (*entry.history, change)
            entry = msgspec.structs.replace(entry, status=status, history=history)
        changed.append(entry)
    return msgspec.structs.replace(registry, entries=tuple(changed))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _who(by: str) -> str:
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def place(folder: Path, version: str, files: Mapping[str, bytes]) -> None:
    """Put files into `folder/version` in one rename; what stood there goes."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=folder))
    try:
        for name, data in files.items():
            write_atomic(stage / name, data)
        os.chmod(stage, 0o755)  # noqa: S103 - mkdtemp made it private
        target = folder / version
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{version}.old.", dir=folder))
            os.replace(target, old / version)
            os.replace(stage, target)
            shutil.rmtree(old)
        else:
            os.replace(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
