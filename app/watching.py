"""Watches the models of a run from its tape and its audit: the audit's reader, not the hot path.

The rows go through the run's own kernel once more, with everything off but its features; what the
models answered stands in the audit. A finished run is read to its end, a session as it grows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from app.kernel import load_kernel
from app.opening import root_of
from app.parts import Parts
from app.recorded_models import pins_of
from app.slots import columns_of
from app.wire import new_state, plan
from config.load import check_settings, load_settings
from config.settings import Settings, WatchSettings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile
from engine.events import HoldReason
from engine.hash_words import words_hash
from engine.instruments import Instrument
from engine.json_files import read_json
from engine.kernel.layout import NEVER, Collected, Reason
from engine.rows import Kind
from engine.run_files import (
    CONFIG,
    NAMES,
    SUMMARY,
    TAPE_REF,
    Names,
    RunConfigFile,
    Summary,
    TapeRef,
)
from engine.tape import Tape
from ml.artifact import read_files
from ml.manifest import PROBABILITIES, Entry
from ml.refusal import ModelRefused
from ml.registry import View
from ml.watch.judge import DECISION, Finding, ModelWatch, Watched
from ml.watch.reference import Reference, reference_in

CHUNK = 4096
MODELS, DECISIONS = (Record.MODEL, Record.SHADOWED), (Record.DECISION, Record.SHADOW)
FULL, HEAD = int(Reason.BATCH), int(Reason.HEAD)


class Look(msgspec.Struct, frozen=True):
    """What a look at one model has shown.

    Attributes:
        index, name, model, sha256: which one.
        findings: of every check.
        demote: the first check that says, as often in a row as the rules ask, that it must not
            trade; empty for none.
    """

    index: int
    name: str
    model: str
    sha256: str
    findings: tuple[Finding, ...]
    demote: str = ""


class Watching:
    """The models of one run.

    Args:
        run: its folder.
        settings: the run's own.
        instruments: of its tape.
        implied_wakes: as the tape says.
        rules: None takes those of the settings.
    """

    def __init__(
        self,
        run: Path,
        settings: Settings,
        instruments: Sequence[Instrument],
        implied_wakes: bool,
        *,
        rules: WatchSettings | None = None,
    ) -> None:
        self.rules = rules or settings.watch
        self._artifacts = Path(settings.artifacts_dir)
        self._views: dict[Path, View] = {}
        parts = plan(settings, instruments, (), pins_of(run, settings))
        parts.kernel = load_kernel(parts.specs, bars=parts.bars)
        self._parts: Parts = parts
        self._state = new_state(parts, implied_wakes, CHUNK)
        root = self._state.root[0]
        root["ahead"], root["ahead_all"] = 1, int(Collected.READ)
        root["sample_ns"] = NEVER // 4
        slots = self._state.slots
        slots["status"][slots["own"] != 0] = HoldReason.FEATURE_ABSENT  # no account is kept here
        self._failed: dict[tuple[int, str], int] = {}
        self._took_us: dict[int, list[float]] = {}
        names = read_json(run / NAMES, Names)
        self.models: dict[int, ModelWatch] = {}
        for model in names.models:
            if (
                model.sha256
                and model.index < len(parts.models)
                and not _is_fused(parts, model.index)
            ):
                self._watch(model.index, model.sha256)

    def _watch(self, index: int, sha256: str) -> None:
        """Begin anew with the version that serves in a model's place."""
        serving = self._parts.models[index]
        root = root_of(serving.settings, self._artifacts)
        found = self._registered(root, serving.model_id, sha256)
        entry = next((one for one in found if one.version == serving.version), None)
        entry = entry or (found[0] if found else None)
        shown = entry.name if entry else f"{serving.model_id}:?"
        watched = Watched(
            name=serving.settings.name,
            model=shown,
            sha256=sha256,
            created_at=entry.created_at if entry else "",
            latency_us=entry.latency_us if entry else 0.0,
            chances=entry is not None and entry.output_schema.kind in PROBABILITIES,
            reference=self._reference(index, entry, root),
            own_state=bool(columns_of(serving)),
        )
        self.models[index] = ModelWatch(watched, self.rules)
        self._took_us.pop(index, None)

    def _registered(self, root: Path, model_id: str, sha256: str) -> list[Entry]:
        """Return the entries of one content; what was registered since the start is seen too."""
        view = self._views.get(root) or self._views.setdefault(root, View(root))
        for _ in range(2):
            found = [
                entry
                for entry in view.registry.entries
                if (entry.model_id, entry.sha256) == (model_id, sha256)
            ]
            if found or not view.refresh():
                break
        return found

    def _reference(self, index: int, entry: Entry | None, root: Path) -> Reference | None:
        """Return what a version was trained on, where it reads what this run's rows hold."""
        spec = self._parts.models[index].spec
        if entry is None or spec is None or tuple(spec.names) != tuple(entry.input_features):
            return None
        return reference_for(root, entry)

    def take_rows(self, rows: np.ndarray, first_row: int) -> None:
        """Take the next rows of the tape, ROW[n], contiguous."""
        root, stop = self._state.root[0], first_row + len(rows)
        address = rows.ctypes.data
        reasons = 0
        while not reasons & HEAD:
            reasons = self._parts.kernel.advance(self._state.address, address, first_row, stop)
            count = int(root["collect_count"])
            if count and reasons & (FULL | HEAD):
                self._take_collected(self._state.collect[:count], self._state.collect_x[:count])
                root["collect_count"] = 0
        self._take_times(rows)

    def _take_collected(self, seen: np.ndarray, x: np.ndarray) -> None:
        for at, one in enumerate(self._parts.plans):
            if one.serving is None or one.serving.index not in self.models:
                continue
            mine = np.flatnonzero((seen["slot"] == at) & (seen["valid"] == 1))
            width = int(self._state.slots[at]["n_features"])
            self.models[one.serving.index].add_rows(x[mine, :width], seen["instrument"][mine])

    def _take_times(self, rows: np.ndarray) -> None:
        """Note how long models on threads took, where there is one of them."""
        threaded = [one.index for one in self._parts.models if one.threaded]
        if len(threaded) != 1:  # a SIGNAL row does not say whose it is
            return
        answers = rows[rows["kind"] == Kind.SIGNAL]
        took = (answers["ts_recv"] - answers["ts_event"]) / 1e3
        kept = [*self._took_us.get(threaded[0], []), *took.tolist()]
        self._took_us[threaded[0]] = kept[-self.rules.window_rows :]

    def take_records(self, records: np.ndarray) -> None:
        """Take the next records of the audit, AUDIT[n]."""
        start = 0
        for at in np.flatnonzero(np.isin(records["kind"], MODELS)):
            self._take_decisions(records[start:at])
            start, record = int(at), records[at]
            sha256 = words_hash([int(record[f"i{k}"]) for k in range(4)])
            watch = self.models.get(int(record["model"]))
            if watch is not None and watch.watched.sha256 != sha256:
                self._watch(int(record["model"]), sha256)
        self._take_decisions(records[start:])

    def _take_decisions(self, records: np.ndarray) -> None:
        decided = records[np.isin(records["kind"], DECISIONS)]
        for index, watch in self.models.items():
            mine = decided[decided["model"] == index]
            found = np.zeros(len(mine), DECISION)
            found["ts"], found["instrument"] = mine["ts"], mine["instrument"]
            found["mid"] = 0.5 * (mine["f4"] + mine["f5"])
            found["reason"] = mine["aux"] & 0xFF
            for column, slot in enumerate(("f0", "f1", "f2")):
                found["p"][:, column] = mine[slot]
            watch.add_decisions(found)

    def took(self, latency_us: float) -> None:
        """Take the median of the inline models' calls, where there is one such model."""
        inline = [one.index for one in self._parts.models if not one.threaded and one.ort]
        if len(inline) == 1:
            self._took_us[inline[0]] = [latency_us]

    def look(self) -> list[Look]:
        """Judge every model by what has come so far."""
        now = int(self._state.root[0]["now"])
        looks = []
        for index, watch in self.models.items():
            if self._took_us.get(index):
                watch.took(float(np.median(self._took_us[index])))
            findings = tuple(watch.look(now))
            one = watch.watched
            demote = self._confirmed(index, findings)
            looks.append(Look(index, one.name, one.model, one.sha256, findings, demote))
        return looks

    def _confirmed(self, index: int, findings: Sequence[Finding]) -> str:
        """Count in a row; return the first check that has failed often enough."""
        enough = ""
        for finding in findings:
            key = (index, finding.check)
            self._failed[key] = self._failed.get(key, 0) + 1 if finding.failed else 0
            wanted = finding.check in self.rules.demote_on
            if wanted and self._failed[key] >= self.rules.confirmations:
                enough = enough or finding.check
        return enough

    def close(self) -> None:
        """Free the models' sessions."""
        for serving in self._parts.models:
            serving.close()


def _is_fused(parts: Parts, index: int) -> bool:
    """Tell whether a model is made of others: it reads no features, and its members are watched."""
    return parts.models[index].settings.fusion is not None


def reference_for(artifacts: Path, entry: Entry) -> Reference | None:
    """Return the training statistics of a registered version; None where it has none."""
    try:
        meta = msgspec.json.decode(read_files(artifacts, entry)["model.meta.json"])
    except (ModelRefused, msgspec.DecodeError):
        return None
    return reference_in(meta, entry.input_features)


def settings_of_run(run: Path) -> Settings:
    """Return the settings that a run was made with."""
    recorded = read_json(run / CONFIG, RunConfigFile)
    return check_settings(dict(recorded.settings), f"{recorded.run_id}: {CONFIG}")


def watch_run(
    run: Path, config: Path | None = None, progress: Callable[[float], None] = lambda _: None
) -> list[Look]:
    """Watch a finished run from its first row to its last; one look counts as enough of them.

    Args:
        run: its folder.
        config: settings whose `watch:` is taken; None takes the run's own.
        progress: called with the share of the tape that is done.
    Raises:
        DataError: the run has no tape or no audit any more.
        UsageError: a model of the run is not there any more, or another one now.
    """
    settings = settings_of_run(run)
    rules = settings.watch if config is None else load_settings(config).watch
    rules = msgspec.structs.replace(rules, confirmations=1)
    ref = read_json(run / TAPE_REF, TapeRef)
    tape = Tape.open(run / "tape" if (run / "tape" / "000000.tape").exists() else Path(ref.path))
    watching = Watching(run, settings, tape.instruments, tape.info.wakes == "implied", rules=rules)
    try:
        for segment in tape.segments:
            for start in range(0, len(segment.rows), 1 << 16):
                rows = segment.rows[start : start + (1 << 16)]
                watching.take_rows(rows, segment.first_row + start)
                progress((segment.first_row + start) / max(1, tape.info.rows))
            tape.release(segment.stop_row)
        for block in Records(run).new():
            watching.take_records(block)
        if (run / SUMMARY).exists():
            stage = read_json(run / SUMMARY, Summary).latency_us.get("inference")
            if stage is not None and stage.p50:
                watching.took(stage.p50)
        return watching.look()
    finally:
        watching.close()


class Records:
    """The records of an audit that may still grow."""

    def __init__(self, run: Path) -> None:
        self._run, self._at = run, 0

    def new(self) -> list[np.ndarray]:
        """Return what has come since the last call, AUDIT[n] each.

        Raises:
            DataError: the run has no audit.
        """
        blocks = list(AuditFile(self._run).blocks(self._at))
        self._at += sum(len(block) for block in blocks)
        return blocks
