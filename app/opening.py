"""Opens the models that a run names; one that cannot serve costs its own signals, never the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from app.fused import fused_sha256, read_stacker
from app.serving import Serving
from app.waiting import waiting_rows
from config.settings import ModelSettings
from engine.audit_layout import ModelStatus
from engine.errors import UsageError
from ml.artifact import LoadedModel
from ml.declared import check_declared
from ml.golden import check_rows
from ml.manifest import PROBABILITIES
from ml.output_forms import kernel_form
from ml.refusal import ModelRefused, hold_of
from ml.registry import View, load
from ml.runtime.fusion import COLUMNS
from ml.runtime.native import NativeModel
from ml.runtime.session import OrtModel

DEADLINE_LATENCIES, MIN_DEADLINE_NS = 4, 50_000_000  # a deadline that nobody has set
NATIVE_LATENCY_US = 10.0  # slower models are called from Python: a kernel call holds the GIL


class Pin(msgspec.Struct, frozen=True):
    """The version that a recorded run's model began with: its replay takes no other.

    Attributes:
        run: whose it is, for messages.
        trades: whether it may; None where an old run does not say.
        status: name of its ModelStatus then.  note: why it did not serve.
        artifacts: the folder that the run took it from; looked into after today's.
    """

    run: str
    version: str
    sha256: str
    trades: bool | None
    status: str
    note: str = ""
    artifacts: str = ""


def load_models(
    models: Sequence[ModelSettings],
    artifacts: Path,
    named: Sequence[str],
    pins: Mapping[str, Pin] = MappingProxyType({}),
) -> list[Serving]:
    """Load every model of a run, in order; failures are notes.

    Args:
        models: what the config names.
        artifacts: the folder with registry.json.
        named: `ID:VERSION` given on the command line; these may trade whatever their status.
        pins: by name, for the models of a recorded run.
    Raises:
        UsageError: a pinned version is not there any more, or is another one now.
    """
    served = []
    view: View | None = None
    for index, settings in enumerate(models):
        serving = Serving(index, settings)
        pin = pins.get(settings.name)
        if settings.fusion is not None:
            _load_fused(serving, artifacts, models)
            served.append(_as_recorded(serving, pin))
            continue
        if pin is not None:
            served.append(load_pinned(serving, artifacts, pin))
            continue
        try:
            if settings.path:
                load_from_path(serving)
            else:
                view = view or View(artifacts)
                load_version(serving, artifacts, view)
        except ModelRefused as error:
            refuse(serving, error)
        named_here = f"{serving.model_id}:{serving.version}" in named
        named_here |= f"{settings.model_id}:{settings.version}" in named
        entry = None if serving.loaded is None else serving.loaded.entry
        production = named_here or (entry is not None and entry.status == "production")
        serving.may_trade = production and not serving.is_shadow
        served.append(serving)
    return served


def refuse(serving: Serving, error: ModelRefused) -> None:
    """Let a model hold."""
    serving.status, serving.hold, serving.note = error.status, error.hold, str(error)
    serving.loaded = serving.ort = None


def load_version(
    serving: Serving, artifacts: Path, view: View, known: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Load `serving.version`, check it whole, and open it; what it may is not decided here.

    Args:
        serving: where it goes.
        artifacts: the folder with registry.json.
        view: of the registry.
        known: identities of feature code that runs already, by the sha256 of their spec.
    Raises:
        ModelRefused: with the reason; the place holds no session then.
    """
    loaded = load(artifacts, serving.model_id, serving.version, view=view, known=known, tape=False)
    check_declared(serving.settings, loaded)
    serving.version, serving.sha256 = loaded.entry.version, loaded.sha256
    serving.x = np.zeros((1, len(loaded.spec)), np.float32)
    serving.y = np.zeros((1, loaded.columns), np.float32)
    serving.form = kernel_form(loaded.entry.output_schema)
    if loaded.entry.placement == "thread":
        _place_on_thread(serving, loaded)
        return
    quick = loaded.entry.latency_us <= NATIVE_LATENCY_US
    x = serving.x if not loaded.sequence_length else None
    ort = loaded.open(x=x, y=serving.y, quick=quick)
    _check_rows(loaded, ort)
    serving.ort, serving.loaded = ort, loaded
    if quick and isinstance(ort, NativeModel):
        serving.native = ort
    serving.window(0)  # binding it takes a while; a version is loaded beside the hot path
    if serving.is_shadow and not loaded.sequence_length:
        serving.waiting = waiting_rows(ort, loaded.golden.x)


def _place_on_thread(serving: Serving, loaded: LoadedModel) -> None:
    """Open a model over arrays of its own; it is not evaluated ahead: its answers are rare."""
    serving.threaded = serving._batches = True
    serving.latency_ns = int(loaded.entry.latency_us * 1000)
    given = serving.settings.deadline_ms
    serving.deadline_ns = (
        max(MIN_DEADLINE_NS, DEADLINE_LATENCIES * serving.latency_ns)
        if given is None
        else int(given * 1e6)
    )
    ort = loaded.open()
    _check_rows(loaded, ort)
    serving.ort, serving.loaded = ort, loaded


def _check_rows(loaded: LoadedModel, ort: Any) -> None:
    """Run the golden rows."""
    wanted = loaded.output_kind in PROBABILITIES
    check_rows(loaded.golden, ort, loaded.name, probabilities=wanted)


def load_pinned(serving: Serving, artifacts: Path, pin: Pin) -> Serving:
    """Load the version that a recorded run had, by its sha256; or hold, where that run held.

    Raises:
        UsageError: it is not there, or not the same; one line that says which.
    """
    name = f"{serving.model_id}:{pin.version}"
    serving.version, serving.sha256 = pin.version, pin.sha256
    if pin.status != ModelStatus.SERVING.name:
        serving.status = ModelStatus[pin.status]
        serving.hold, serving.note = hold_of(serving.status), pin.note
        serving.may_trade = bool(pin.trades)
        return serving
    problem = ""
    own = root_of(serving.settings, artifacts)
    for folder in dict.fromkeys((own, Path(pin.artifacts or own))):
        serving.version = pin.version
        try:
            load_version(serving, folder, View(folder))
        except ModelRefused as error:
            problem = problem or str(error)
            continue
        if serving.sha256 == pin.sha256:
            break
        found = f"in {folder}/ {name} is {serving.sha256[:12]} now: restore that model.onnx"
        problem = problem or found
        serving.close()
    if serving.ort is None:
        raise UsageError(
            f"run {pin.run} was decided by {name} (sha256 {pin.sha256[:12]}): {problem}"
        )
    assert serving.loaded is not None
    production = serving.loaded.entry.status == "production" if pin.trades is None else pin.trades
    serving.may_trade = production and not serving.is_shadow
    return serving


def _load_fused(serving: Serving, artifacts: Path, models: Sequence[ModelSettings]) -> None:
    """Prepare a model that is made of others; a stacking model that cannot be had makes it hold."""
    settings = serving.settings
    assert settings.fusion is not None
    serving.version = settings.fusion.rule
    serving.may_trade = not serving.is_shadow
    serving.x = np.zeros((1, 3 * len(settings.fusion.members)), np.float32)
    serving.y = np.zeros((1, COLUMNS), np.float32)
    try:
        stacker = read_stacker(settings.name, settings.fusion, artifacts)
        if stacker:
            serving.stacker = OrtModel(stacker, x=serving.x, y=np.zeros((1, 3), np.float32))
        serving.sha256 = fused_sha256(settings, models, stacker)
    except ModelRefused as error:
        refuse(serving, error)


def load_from_path(serving: Serving) -> None:
    """Load a version that the settings name by its folder ROOT/ID/VERSION.

    Raises:
        ModelRefused: with the reason.
    """
    root = root_of(serving.settings, Path())
    serving.version = Path(serving.settings.path).name
    load_version(serving, root, View(root))


def root_of(settings: ModelSettings, artifacts: Path) -> Path:
    """Return the artifacts folder that a model comes from."""
    return Path(settings.path).parent.parent if settings.path else artifacts


def _as_recorded(serving: Serving, pin: Pin | None) -> Serving:
    """Make sure that a recorded run's fused model is fused as it was.

    Raises:
        UsageError: it is not.
    """
    if pin is not None and pin.sha256 != serving.sha256:
        name = serving.settings.name
        raise UsageError(
            f"run {pin.run}: {name} was fused otherwise then (sha256 {pin.sha256[:12]}); "
            f"{serving.note or 'its stacking model or its members are others now'}"
        )
    return serving
