"""Loads the models that a run names; one that cannot serve costs its own signals, never the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from app.fused import fused_sha256, read_stacker
from app.waiting import WaitingRows, waiting_rows
from app.windows import SlotWindow
from config.settings import ModelSettings
from engine.audit_layout import ModelStatus
from engine.errors import UsageError
from engine.events import HoldReason
from engine.kernel.output_layout import FORM
from features.spec import FeatureSpec
from ml.artifact import LoadedModel
from ml.declared import check_declared
from ml.golden import check_rows
from ml.manifest import PROBABILITIES
from ml.output_forms import kernel_form
from ml.refusal import ModelRefused, hold_of
from ml.registry import View, load
from ml.runtime.fusion import COLUMNS
from ml.runtime.model_thread import ModelThread
from ml.runtime.native import NativeRun, native_run
from ml.runtime.session import OrtModel

GOLDEN_BATCH_ROWS = 512
DEADLINE_LATENCIES, MIN_DEADLINE_NS = 4, 50_000_000  # a deadline that nobody has set
NATIVE_LATENCY_US = 10.0  # slower models are called from Python: a kernel call holds the GIL


class Serving:
    """One model of a run: what was loaded of it, or why it holds.

    Attributes:
        index: its number in the run.
        settings: its lines in the config.
        loaded: the verified artifact, None when it cannot serve.
        status: how it stands.  hold: the reason of its HOLDs, NONE while it serves.
        note: why it does not serve, and the command that helps.
        form: what its output is, where that is more than probabilities, for the kernel.
        x, y: float32[1, F] and float32[1, C], bound to its session; of a sequence model x is the
            newest row of its window.
        windows: of a sequence model, for its slots in turn.
        waiting: of a shadow, the rows or windows that wait to be evaluated; None where single rows
            are not the same in batches.
        ort: the bound session, None when it cannot serve.
        may_trade: True for production models, and for those named on the command line.
        threaded: the registry places it on a thread: `ort` has arrays of its own then.
        latency_ns: how long the registry says that it takes.
        deadline_ns: what takes longer is ended.
        stacker: of a fused model by stacking: the session that reads its members' probabilities.
        struck_out: its answers were wrong too often in this run: it is not asked any more.
        thread: its own where it has one; app/inference.py makes it.
    """

    # What `exchange` moves: all that belongs to the version, not to its place in the run.
    _OF_VERSION = tuple(
        (
            "loaded ort native form x y version sha256 may_trade status hold note _batches"
            " threaded latency_ns deadline_ns windows waiting struck_out thread"
        ).split()
    )

    def __init__(self, index: int, settings: ModelSettings) -> None:
        self.index = index
        self.settings = settings
        self.loaded: LoadedModel | None = None
        self.ort: Any = None
        self.status = ModelStatus.SERVING
        self.hold = HoldReason.NONE
        self.note = ""
        self.version = settings.version
        self.sha256 = ""
        self.x = np.zeros((1, 1), np.float32)
        self.y = np.zeros((1, 3), np.float32)
        self.form = np.zeros(1, FORM)
        self.may_trade = False
        self.threaded = False
        self.latency_ns = self.deadline_ns = 0
        self.stacker: OrtModel | None = None
        self.native: NativeRun | None = None  # the runtime's C entry; kept while the kernel lives
        self.windows: list[SlotWindow] = []
        self.waiting: WaitingRows | None = None
        self.struck_out = False
        self.thread: ModelThread | None = None
        self._batches: bool | None = None

    @property
    def is_shadow(self) -> bool:
        """Its signals are recorded apart, and cause no order."""
        return self.settings.mode == "shadow"

    @property
    def model_id(self) -> str:
        """Its id in its registry; a fused model goes by its name."""
        settings = self.settings
        if settings.path:
            return Path(settings.path).parent.name
        return settings.model_id or settings.name

    @property
    def spec(self) -> FeatureSpec | None:
        """Features in order, None when the model does not serve."""
        return None if self.loaded is None or self.hold else self.loaded.spec

    @property
    def sequence_length(self) -> int:
        """Rows of the window that it reads; 0 for single rows, and where it does not serve."""
        return 0 if self.loaded is None or self.hold else self.loaded.sequence_length

    def window(self, place: int) -> SlotWindow | None:
        """Return the window of its slot number `place`, made where it is not there yet."""
        if not self.sequence_length:
            return None
        assert self.loaded is not None
        while len(self.windows) <= place:
            made = (self.ort, self.native, self.y, self.loaded.row_shape, self.threaded)
            self.windows.append(SlotWindow(*made))
        return self.windows[place]

    @property
    def obstacle(self) -> HoldReason:
        """Why it is not asked, NONE while it is."""
        return HoldReason.MODEL_STRUCK_OUT if self.struck_out else self.hold

    @property
    def placement(self) -> str:
        """Where it is run: inline or thread."""
        return "thread" if self.threaded else "inline"

    def run(self) -> None:
        """Evaluate x into y."""
        if self.threaded:
            self.ort.x[:] = self.x
            self.ort.run()
            self.y[:] = self.ort.y
        else:
            self.ort.run()

    def batches(self) -> bool:
        """Rows evaluated together give the same bits as one by one; found out when first asked."""
        if self._batches is None:
            assert self.loaded is not None
            rows = np.asarray(self.loaded.golden.x, np.float32)[:GOLDEN_BATCH_ROWS]
            self._batches = bool(self.ort.batch_equals_single(rows))
        return self._batches

    def exchange(self, other: "Serving") -> None:
        """Let this place go over to the other's version, and the other keep what was here."""
        assert other.index == self.index, "a version is loaded for one place"
        for name in self._OF_VERSION:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)

    def close(self) -> None:
        """End the thread and free the sessions; nothing may call them any more."""
        if self.thread is not None:
            self.thread.close()
        native, ort, self.thread = self.native, self.ort, None
        self.windows, self.waiting = [], None
        self.native = self.ort = self.loaded = None
        if native is not None:
            native.close()
        if ort is not None:
            ort.close()


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
    loaded = load(artifacts, serving.model_id, serving.version, view=view, known=known)
    check_declared(serving.settings, loaded)
    serving.version, serving.sha256 = loaded.entry.version, loaded.sha256
    serving.x = np.zeros((1, len(loaded.spec)), np.float32)
    serving.y = np.zeros((1, loaded.columns), np.float32)
    serving.form = kernel_form(loaded.entry.output_schema)
    if loaded.entry.placement == "thread":
        _place_on_thread(serving, loaded)
        return
    ort = loaded.open(x=serving.x if not loaded.sequence_length else None, y=serving.y)
    _check_rows(loaded, ort)
    serving.ort, serving.loaded = ort, loaded
    if loaded.entry.latency_us <= NATIVE_LATENCY_US:
        serving.native = native_run(
            loaded.model_bytes, ort, loaded.golden.x, loaded.entry.optimisation
        )
    serving.window(0)  # binding it takes a while; a version is loaded beside the hot path
    if serving.is_shadow:
        serving.waiting = waiting_rows(ort, serving.native, loaded.golden.x)


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
