"""What a run has of one model: its session, its arrays, how it stands."""

from pathlib import Path
from typing import Any

import numpy as np

from app.waiting import WaitingRows
from app.windows import SlotWindow
from config.settings import ModelSettings
from engine.audit_layout import ModelStatus
from engine.events import HoldReason
from engine.kernel.output_layout import FORM
from features.spec import FeatureSpec
from ml.artifact import LoadedModel
from ml.runtime.model_thread import ModelThread
from ml.runtime.native import NativeModel
from ml.runtime.session import OrtModel

GOLDEN_BATCH_ROWS = 512


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
        waiting: of a shadow of single rows, those that wait to be evaluated together; None where
            batches are not what single rows are.
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
        self.ort: Any = None  # a BoundModel
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
        self.native: NativeModel | None = None  # `ort`, where the kernel calls it itself
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
        ort, self.thread = self.ort, None
        self.windows, self.waiting = [], None
        self.native = self.ort = self.loaded = None
        if ort is not None:
            ort.close()
