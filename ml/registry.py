"""The registry of models: which versions exist, which one serves, and every change of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import msgspec

from engine.limits import MAX_OUTPUTS
from ml import golden as golden_rows
from ml.artifact import LoadedModel, assemble, check_kernel, read_files
from ml.governance import Evidence, Gates, Judgement, check_gates, judge
from ml.loading import load_model, model_of
from ml.manifest import PROBABILITIES, Entry, Registry, Status
from ml.model_interface import NO_TRUST, Model, ModelSpec, Trust
from ml.refusal import ModelRefused
from ml.registry_file import (
    LAST_GOOD,
    LOCK,
    REGISTRY,
    View,
    find,
    locked,
    place,
    read,
    read_for_writing,
    with_status,
    write,
)
from ml.safe_files import check_name, sha256

__all__ = [
    "LAST_GOOD",
    "LOCK",
    "REGISTRY",
    "Finding",
    "Model",
    "ModelSpec",
    "Trust",
    "View",
    "archive",
    "assess",
    "check",
    "entries",
    "load",
    "load_any",
    "load_model",
    "next_version",
    "promote",
    "register",
    "rollback",
    "rollback_target",
    "set_status",
    "verify",
]


ROLLED_BACK = "rolled back:"  # how the history of a version says that a rollback ended it


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


def entries(root: Path) -> tuple[Entry, ...]:
    """Return all entries, in the order of registration.

    Raises:
        ModelRefused: the registry is missing, torn (with no last good view) or ambiguous.
    """
    return View(root).registry.entries


def load(
    root: Path,
    model_id: str,
    version: str = "production",
    *,
    view: View | None = None,
    known: Mapping[str, str] = MappingProxyType({}),
    tape: bool = True,
) -> LoadedModel:
    """Read one version that a run can serve, and compare all that is claimed of it.

    Args:
        root: the artifacts folder.
        model_id: as in the registry.
        version: a version, or `production`.
        view: a registry read before; None reads it now.
        known: see check_kernel.
        tape: see assemble.
    Returns:
        The model, without a session.
    Raises:
        ModelRefused: one line with the reason and its code (ml/refusal.py).
    """
    entry = (view or View(root)).find(model_id, version)
    if entry.kind != "onnx":
        text = f"{entry.name}: kind {entry.kind} is asked in a worker, not in a run"
        raise ModelRefused("model.kind", f"{text}; export it to ONNX (docs/models.md)")
    if entry.output_schema.columns > MAX_OUTPUTS:
        text = f"{entry.name}: an output of {entry.output_schema.columns} columns"
        raise ModelRefused("model.contract", f"{text}; a run serves {MAX_OUTPUTS} at most")
    return load_any(root, entry, known, tape=tape)


def load_any(
    root: Path,
    entry: Entry,
    known: Mapping[str, str] = MappingProxyType({}),
    *,
    tape: bool = True,
) -> LoadedModel:
    """Read one version of any kind and compare all that is claimed of it."""
    loaded = assemble(entry, read_files(root, entry), tape=tape)
    check_kernel(loaded, known)
    return loaded


def check(loaded: LoadedModel, *, tape: bool = False, trust: Trust = NO_TRUST) -> None:
    """Open a session, or for another kind a worker, and run the golden rows.

    Args:
        loaded: from load.
        tape: run the golden tape slice too, which compiles the features' kernel at its first use;
            registration, promotion and `verify` do.
        trust: what may run code, for kinds that do.
    Raises:
        ModelRefused: `model.golden`, `model.output`, `model.invalid`, `runtime.missing`, or for
            other kinds than onnx what load_model raises.
    """
    wired = loaded.output_kind in PROBABILITIES
    runner = loaded.open() if loaded.entry.kind == "onnx" else model_of(loaded, trust)
    golden_rows.check_rows(loaded.golden, runner, loaded.name, probabilities=wired)
    if tape:
        from ml.golden_tape import check_tape  # the features' kernel: not for looking at lists

        check_tape(loaded)


def verify(
    root: Path, model_id: str = "", version: str = "", *, trust: Trust = NO_TRUST
) -> list[Finding]:
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
            check(load_any(root, entry), tape=True, trust=trust)
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


def register(
    root: Path,
    entry: Entry,
    files: Mapping[str, bytes],
    *,
    replace: bool = False,
    trust: Trust = NO_TRUST,
) -> Entry:
    """Write a version's folder and its entry, each in one step, after checking all of it.

    Args:
        root: the artifacts folder; made when missing.
        entry: `sha256` and `files` are filled in here.
        files: the bytes of all its files.
        replace: allow a version that exists (demonstration models); else it is refused.
        trust: what may run code, for kinds that do.
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
    assert set(files) == set(entry.file_names), sorted(files)
    hashes = {name: sha256(files[name]) for name in entry.file_names}
    entry = msgspec.structs.replace(entry, sha256=hashes[entry.model_file], files=hashes)
    loaded = assemble(entry, files)
    check_kernel(loaded)
    check(loaded, tape=True, trust=trust)
    with locked(root):
        kept = read_for_writing(root, create=True)
        names = [e.name for e in kept.entries]
        if entry.name in names and not replace:
            text = f"{entry.name} exists; versions are never changed, choose another one"
            raise ModelRefused("model.status", text)
        at = names.index(entry.name) if entry.name in names else len(names)
        place(root / entry.model_id, entry.version, files)
        changed = (*kept.entries[:at], entry, *kept.entries[at + 1 :])
        write(root, msgspec.structs.replace(kept, entries=changed))
    return entry


def assess(
    root: Path,
    model_id: str,
    version: str,
    gates: Gates,
    *,
    evidence: Evidence | None = None,
    trust: Trust = NO_TRUST,
) -> list[Judgement]:
    """Say of each promotion gate what was found and whether it holds; nothing changes.

    Raises:
        ModelRefused: the version is unknown, or a file is not what the registry says.
    """
    registry = read(root)
    entry = find(registry, model_id, version)
    return judge(load_any(root, entry), _champion(registry, entry), gates, evidence, trust=trust)


def promote(
    root: Path,
    model_id: str,
    version: str,
    *,
    why: str,
    by: str = "",
    gates: Gates | None = None,
    evidence: Evidence | None = None,
    waive: Sequence[str] = (),
    trust: Trust = NO_TRUST,
) -> Entry:
    """Make one version the serving one, after all its checks; the one before is archived.

    Args:
        why: recorded in the history of both versions.
        by: who; empty takes the user's name.
        gates: what must hold beside the checks; None asks for nothing more.
        evidence: what shadow runs have shown.
        waive: names of gates that need not hold; recorded.
        trust: what may run code, for kinds that do.
    Raises:
        ModelRefused: the version is unknown, fails a check or `model.gate`; nothing changes then.
    """
    with locked(root):
        registry = read_for_writing(root)
        entry = find(registry, model_id, version)
        if entry.status == "production":
            raise ModelRefused("model.status", f"{entry.name} is production already")
        loaded = load_any(root, entry)
        check(loaded, tape=True, trust=trust)
        held: tuple[Judgement, ...] = ()
        if gates is not None:
            found = judge(loaded, _champion(registry, entry), gates, evidence, trust=trust)
            held = check_gates(found, waive, entry.name)
        registry = _serve(registry, entry, by, why)
        registry = with_status(registry, entry.name, "production", by=by, why=why, gates=held)
        write(root, registry)
    return find(registry, model_id, version)


def rollback(
    root: Path,
    model_id: str,
    *,
    why: str,
    by: str = "",
    version: str = "",
    trust: Trust = NO_TRUST,
) -> Entry:
    """Make the version that served before serve again, after all its checks.

    Args:
        model_id: whose.
        why: recorded in the history of both versions.
        by: who; empty takes the user's name.
        version: which one; empty takes the one that served last before the present one.
        trust: what may run code, for kinds that do.
    Raises:
        ModelRefused: `model.missing` when nothing served before; a check of that version fails.
            What serves goes on then.
    """
    with locked(root):
        registry = read_for_writing(root)
        target = rollback_target(registry, model_id, version)
        check(load_any(root, target), tape=True, trust=trust)
        registry = _serve(registry, target, by, f"{ROLLED_BACK} {why}")
        text = f"rollback: {why}"
        registry = with_status(registry, target.name, "production", by=by, why=text)
        write(root, registry)
    return find(registry, model_id, target.version)


def rollback_target(registry: Registry, model_id: str, version: str = "") -> Entry:
    """Return the version that a rollback would make serve.

    Raises:
        ModelRefused: `model.missing`, `model.status`.
    """
    if version:
        target = find(registry, model_id, version)
        if target.status == "production":
            raise ModelRefused("model.status", f"{target.name} is production already")
        return target
    own = [e for e in registry.entries if e.model_id == model_id]
    if not own:
        find(registry, model_id, "production")  # names the known ones
    served = [
        (max(c.at for c in e.history if c.status == "production"), at, e)
        for at, e in enumerate(own)
        if e.status != "production"
        and any(c.status == "production" for c in e.history)
        and ROLLED_BACK not in e.history[-1].why
    ]
    if not served:
        text = f"{model_id}: it has replaced no version that was not itself rolled back"
        help_ = f"name one: models rollback {model_id} --version {own[-1].version}"
        raise ModelRefused("model.missing", f"{text}; {help_}")
    return max(served, key=lambda found: found[:2])[2]


def archive(root: Path, model_id: str, version: str, *, why: str, by: str = "") -> Entry:
    """Take one version out of service; its folder stays.

    Raises:
        ModelRefused: the version is unknown or archived already.
    """
    return set_status(root, model_id, version, "archived", why=why, by=by)


def set_status(
    root: Path, model_id: str, version: str, status: Status, *, why: str, by: str = ""
) -> Entry:
    """Make a version candidate, shadow or archived; production is promote's.

    Raises:
        ModelRefused: the version is unknown or has that status already.
    """
    assert status != "production"
    with locked(root):
        registry = read_for_writing(root)
        entry = find(registry, model_id, version)
        if entry.status == status:
            raise ModelRefused("model.status", f"{entry.name} is {status} already")
        write(root, registry := with_status(registry, entry.name, status, by=by, why=why))
    return find(registry, model_id, entry.version)


def _champion(registry: Registry, entry: Entry) -> Entry | None:
    serving = [e for e in registry.entries if e.model_id == entry.model_id and e != entry]
    return next((e for e in serving if e.status == "production"), None)


def _serve(registry: Registry, entry: Entry, by: str, why: str) -> Registry:
    """Archive whatever serves in the entry's place."""
    champion = _champion(registry, entry)
    if champion is None:
        return registry
    text = f"replaced by {entry.name}: {why}"
    return with_status(registry, champion.name, "archived", by=by, why=text)
