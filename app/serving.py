"""Loads the models that a run names; one that cannot serve costs its own signals, never the run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from config.settings import ModelSettings
from engine.audit_layout import ModelStatus
from engine.errors import ConfigError
from engine.events import HoldReason
from engine.kernel.layout import Cadence, OutputKind
from engine.rows import NS_PER_S
from features.spec import FeatureSpec
from ml.artifact import LoadedModel
from ml.refusal import ModelRefused
from ml.registry import View, check, load
from ml.runtime.native import NativeRun, native_run

_UNITS_NS = {
    "ms": 1_000_000,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86400 * NS_PER_S,
}
_SPAN = re.compile(r"^([0-9]+)(ms|s|m|h|d)$")
_SIMPLE = {"quote": Cadence.QUOTE, "trade": Cadence.TRADE}
OUTPUT_KINDS = {"classifier3": OutputKind.CLASSIFIER3, "binary": OutputKind.BINARY}
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
        x, y: float32[1, F] and float32[1, C], bound to its session.
        batches: rows evaluated together give the same bits as one by one.
        ort: the bound session, None when it cannot serve.
        may_trade: True for production models, and for those named on the command line.
        threaded: the registry places it on a thread: `ort` has arrays of its own then.
        latency_ns: how long the registry says that it takes.
        deadline_ns: what takes longer is ended.
    """

    def __init__(self, index: int, settings: ModelSettings, named: bool) -> None:
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
        self.may_trade = named and settings.mode == "production"
        self.batches = False
        self.threaded = False
        self.latency_ns = self.deadline_ns = 0
        self.native: NativeRun | None = None  # the runtime's C entry; kept while the kernel lives

    @property
    def spec(self) -> FeatureSpec | None:
        """Features in order, None when the model does not serve."""
        return None if self.loaded is None or self.hold else self.loaded.spec

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


def load_models(
    models: Sequence[ModelSettings], artifacts: Path, named: Sequence[str]
) -> list[Serving]:
    """Load every model of a run, in order; failures are notes.

    Args:
        models: what the config names.
        artifacts: the folder with registry.json.
        named: `ID:VERSION` given on the command line; these may trade whatever their status.
    """
    served = []
    view: View | None = None
    for index, settings in enumerate(models):
        serving = Serving(index, settings, f"{settings.model_id}:{settings.version}" in named)
        try:
            view = view or View(artifacts)
            _load_one(serving, artifacts, view)
        except ModelRefused as error:
            serving.status, serving.hold = error.status, error.hold
            serving.note = str(error)
            serving.loaded = serving.ort = None
        served.append(serving)
    return served


def _load_one(serving: Serving, artifacts: Path, view: View) -> None:
    settings = serving.settings
    loaded = load(artifacts, settings.model_id, settings.version, view=view)
    serving.version, serving.sha256 = loaded.entry.version, loaded.sha256
    check(loaded)
    production = loaded.entry.status == "production" and settings.mode == "production"
    serving.may_trade = serving.may_trade or production
    serving.x = np.zeros((1, len(loaded.spec)), np.float32)
    serving.y = np.zeros((1, loaded.columns), np.float32)
    if loaded.entry.placement == "thread":
        _place_on_thread(serving, loaded)
        return
    serving.ort = loaded.open(x=serving.x, y=serving.y)
    serving.loaded = loaded
    rows = np.asarray(loaded.golden.x, np.float32)[:GOLDEN_BATCH_ROWS]
    serving.batches = bool(serving.ort.batch_equals_single(rows))
    if loaded.entry.latency_us <= NATIVE_LATENCY_US:
        serving.native = native_run(
            loaded.model_bytes, serving.ort, loaded.golden.x, loaded.entry.optimisation
        )


def _place_on_thread(serving: Serving, loaded: LoadedModel) -> None:
    """Open a model over arrays of its own; it is not evaluated ahead: its answers are rare."""
    serving.threaded = serving.batches = True
    serving.latency_ns = int(loaded.entry.latency_us * 1000)
    given = serving.settings.deadline_ms
    serving.deadline_ns = (
        max(MIN_DEADLINE_NS, DEADLINE_LATENCIES * serving.latency_ns)
        if given is None
        else int(given * 1e6)
    )
    serving.ort = loaded.open()
    serving.loaded = loaded


def parse_cadence(text: str, bar_interval_ns: int) -> tuple[Cadence, int]:
    """Return a cadence and its number (ns or events).

    >>> parse_cadence("every:250ms", 60 * NS_PER_S)
    (<Cadence.EVERY_NS: 3>, 250000000)

    Raises:
        ConfigError: no such cadence, or a bar interval that is not the engine's.
    """
    word, _, rest = text.partition(":")
    if word in _SIMPLE and not rest:
        return _SIMPLE[word], 0
    if word == "every_n" and rest.isdigit() and int(rest) > 0:
        return Cadence.EVERY_N, int(rest)
    found = _SPAN.match(rest)
    if found and int(found[1]) > 0:
        span = int(found[1]) * _UNITS_NS[found[2]]
        if word == "every":
            return Cadence.EVERY_NS, span
        if word == "bar" and span == bar_interval_ns:
            return Cadence.BAR, span
        if word == "bar":
            raise ConfigError(
                f"cadence {text!r}: the engine's bars are {bar_interval_ns // NS_PER_S} s "
                f"(engine.bar_interval_s)"
            )
    raise ConfigError(
        f"cadence {text!r}: must be quote, trade, bar:1m, every:250ms or every_n:50 in form"
    )
