"""The registry of models: which versions exist, which one serves, and every change of that."""

import contextlib
import fcntl
import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec

from ml import golden as golden_rows
from ml.artifact import LoadedModel, assemble, check_kernel, read_files
from ml.manifest import (
    FILES,
    MAX_BYTES,
    SCHEMA_VERSION,
    Change,
    Entry,
    Registry,
    Status,
    read_registry_bytes,
    to_json,
)
from ml.refusal import ModelRefused
from ml.safe_files import check_name, open_folder, read_bounded, sha256, write_atomic

REGISTRY = "registry.json"
LAST_GOOD = "registry.last.json"  # not committed; what is used when registry.json is torn
LOCK = "registry.lock"


@dataclass(frozen=True)
class Finding:
    """What `verify` says of one version: `code` and `reason` are empty when all is well."""

    entry: Entry
    code: str
    reason: str

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return not self.code


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
            self.registry = _read(root, REGISTRY)
        except ModelRefused as error:
            if error.code != "registry.torn":
                raise
            self.registry = _last_good(root, error)
            self.problem = f"{error}; the last good view is used"

    def refresh(self) -> bool:
        """Read again; return whether the new content was taken."""
        try:
            self.registry = _read(self.root, REGISTRY)
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
        return _find(self.registry, model_id, version)


def _read(root: Path, name: str) -> Registry:
    try:
        with open_folder(root) as folder:
            data = read_bounded(folder, name, MAX_BYTES[REGISTRY], f"{root.name}/{name}")
    except ModelRefused as error:
        if error.code != "model.missing":
            raise
        text = f"{root.name}: no registry.json there; `make demo-models` writes one"
        raise ModelRefused("model.missing", text) from None
    return read_registry_bytes(data)


def _last_good(root: Path, error: ModelRefused) -> Registry:
    try:
        return _read(root, LAST_GOOD)
    except ModelRefused:
        raise error from None


def _find(registry: Registry, model_id: str, version: str) -> Entry:
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


def entries(root: Path) -> tuple[Entry, ...]:
    """Return all entries, in the order of registration.

    Raises:
        ModelRefused: the registry is missing, torn (with no last good view) or ambiguous.
    """
    return View(root).registry.entries


def load(
    root: Path, model_id: str, version: str = "production", *, view: View | None = None
) -> LoadedModel:
    """Read one version, compare everything that is claimed of it, and return it without a session.

    Args:
        root: the artifacts folder.
        model_id: as in the registry.
        version: a version, or `production`.
        view: a registry read before; None reads it now.
    Raises:
        ModelRefused: one line with the reason and its code (ml/refusal.py).
    """
    entry = (view or View(root)).find(model_id, version)
    loaded = assemble(entry, read_files(root, entry))
    check_kernel(loaded)
    return loaded


def check(loaded: LoadedModel, *, tape: bool = False) -> None:
    """Open a session and run the golden rows.

    Args:
        loaded: from load.
        tape: run the golden tape slice too, which compiles the features' kernel at its first use;
            registration, promotion and `verify` do.
    Raises:
        ModelRefused: `model.golden`, `model.output`, `model.invalid`, `runtime.missing`.
    """
    golden_rows.check_rows(loaded.golden, loaded.open(), loaded.name)
    if tape:
        from ml.golden_tape import check_tape  # the features' kernel: not for looking at lists

        check_tape(loaded)


def verify(root: Path, model_id: str = "", version: str = "") -> list[Finding]:
    """Hash and check every version again (or those asked for), golden rows included.

    Raises:
        ModelRefused: the registry itself cannot be used, or the model asked for is not in it.
    """
    view = View(root)
    if model_id:
        known = any(entry.model_id == model_id for entry in view.registry.entries)
        if version or not known:
            view.find(model_id, version or "production")
    found = []
    for entry in view.registry.entries:
        if (model_id and entry.model_id != model_id) or (
            version and version not in (entry.version, entry.status)
        ):
            continue
        try:
            check(load(root, entry.model_id, entry.version, view=view), tape=True)
            found.append(Finding(entry, "", ""))
        except ModelRefused as error:
            found.append(Finding(entry, error.code, str(error)))
    return found


def next_version(root: Path, model_id: str) -> str:
    """Return the next whole number as a version, "1" for a new model."""
    if not (root / REGISTRY).exists():
        return "1"
    own = [entry.version for entry in entries(root) if entry.model_id == model_id]
    return str(max((int(version) for version in own if version.isdigit()), default=0) + 1)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the registry's lock: one writer at a time."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / LOCK, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(root: Path, registry: Registry) -> None:
    data = to_json(registry)
    read_registry_bytes(data)
    write_atomic(root / REGISTRY, data)
    write_atomic(root / LAST_GOOD, data)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _who(by: str) -> str:
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def register(
    root: Path, entry: Entry, files: Mapping[str, bytes], *, replace: bool = False
) -> Entry:
    """Write a version's folder and its entry, each in one step, after checking all of it.

    Args:
        root: the artifacts folder; made when missing.
        entry: `sha256` and `files` are filled in here.
        files: the bytes of all FILES.
        replace: allow a version that exists (demonstration models); else it is refused.
    Returns:
        The entry as written.
    Raises:
        ModelRefused: the version exists, or a check fails; nothing is written then.
    """
    for name in (entry.model_id, entry.version):
        check_name(name, "model id or version")
    if entry.version in get_args(Status):
        text = f"version {entry.version!r} is a status, choose another word"
        raise ModelRefused("model.path", text)
    assert set(files) == set(FILES), sorted(files)
    hashes = {name: sha256(files[name]) for name in FILES}
    entry = msgspec.structs.replace(entry, sha256=hashes["model.onnx"], files=hashes)
    loaded = assemble(entry, files)
    check_kernel(loaded)
    check(loaded, tape=True)
    with _locked(root):
        kept = Registry(schema_version=SCHEMA_VERSION, entries=())
        if (root / REGISTRY).exists():
            kept = View(root).registry
        others = tuple(e for e in kept.entries if e.name != entry.name)
        if len(others) != len(kept.entries) and not replace:
            text = f"{entry.name} exists; versions are never changed, choose another one"
            raise ModelRefused("model.status", text)
        _place(root / entry.model_id, entry.version, files)
        position = [e.name for e in kept.entries].index(entry.name) if others != kept.entries else 0
        at = position if others != kept.entries else len(others)
        _write(root, msgspec.structs.replace(kept, entries=(*others[:at], entry, *others[at:])))
    return entry


def _place(folder: Path, version: str, files: Mapping[str, bytes]) -> None:
    """Put files into `folder/version` in one rename; what stood there goes."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=folder))
    try:
        for name in FILES:
            write_atomic(stage / name, files[name])
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


def _set_status(registry: Registry, name: str, status: Status, by: str, why: str) -> Registry:
    changed = []
    for entry in registry.entries:
        if entry.name == name:
            change = Change(at=_now(), by=_who(by), status=status, why=why)
            history = (*entry.history, change)
            entry = msgspec.structs.replace(entry, status=status, history=history)
        changed.append(entry)
    return msgspec.structs.replace(registry, entries=tuple(changed))


def promote(root: Path, model_id: str, version: str, *, why: str, by: str = "") -> Entry:
    """Make one version the serving one, after all its checks; the one before is archived.

    Args:
        why: recorded in the history of both versions.
        by: who; empty takes the user's name.
    Raises:
        ModelRefused: the version is unknown or fails a check; nothing changes then.
    """
    with _locked(root):
        registry = _read(root, REGISTRY)
        entry = _find(registry, model_id, version)
        if entry.status == "production":
            raise ModelRefused("model.status", f"{entry.name} is production already")
        loaded = assemble(entry, read_files(root, entry))
        check_kernel(loaded)
        check(loaded, tape=True)
        for other in registry.entries:
            if other.model_id == model_id and other.status == "production":
                text = f"replaced by {entry.name}: {why}"
                registry = _set_status(registry, other.name, "archived", by, text)
        registry = _set_status(registry, entry.name, "production", by, why)
        _write(root, registry)
    return _find(registry, model_id, version)


def rollback(root: Path, model_id: str, *, why: str, by: str = "") -> Entry:
    """Let the version serve again that the production version replaced, after all its checks.

    Args:
        why: recorded in the history of both versions.
        by: who; empty takes the user's name.
    Raises:
        ModelRefused: there is none, or it fails a check; nothing changes then.
    """
    view = View(root)
    now = view.find(model_id)
    words = f"replaced by {now.name}:"
    before = [
        entry
        for entry in view.registry.entries
        if entry.model_id == model_id
        and entry.status == "archived"
        and entry.history
        and entry.history[-1].why.startswith(words)
    ]
    if not before:
        raise ModelRefused("model.status", f"{now.name} has replaced no version that is there")
    earlier = max(before, key=lambda entry: entry.history[-1].at)
    return promote(root, model_id, earlier.version, why=why, by=by)


def archive(root: Path, model_id: str, version: str, *, why: str, by: str = "") -> Entry:
    """Take one version out of service; its folder stays.

    Raises:
        ModelRefused: the version is unknown or archived already.
    """
    with _locked(root):
        registry = _read(root, REGISTRY)
        entry = _find(registry, model_id, version)
        if entry.status == "archived":
            raise ModelRefused("model.status", f"{entry.name} is archived already")
        _write(root, registry := _set_status(registry, entry.name, "archived", by, why))
    return _find(registry, model_id, entry.version)
