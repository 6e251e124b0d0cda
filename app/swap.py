"""What happens at a swap row: a model's place in the run goes over to another version.

Live sessions and replays come through the same lines. Live, a worker has loaded the version before
the row was written (app/reload.py); a replay has loaded all that its tape names before the first
row. The version that served before is kept: live for a rollback, in a replay for later rows.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from app.opening import Pin, load_pinned
from app.serving import Serving
from app.slots import SlotPlan, model_values, own_record
from engine.audit_layout import ModelStatus
from engine.control_log import CONTROL_LOG, Swap
from engine.errors import DataError, UsageError
from engine.instruments import Instrument
from engine.kernel.state import KernelState
from engine.served import ServedVersion
from features.registry import absent_features
from features.spec import FeatureSpec
from ml.manifest import name_difference
from ml.refusal import ModelRefused

Key = tuple[int, str, str]  # index, version, sha256
ROLLBACK = "rollback"  # cause of a swap to the version that was kept, as it stood then


class Swaps:
    """The swaps of a run, those that are coming and those that were.

    Attributes:
        count: swaps so far.
        served: by model, the versions that served, in the order in which they came.
        coming: what a recorded tape will swap in.
        kept: by model's index, what served before; for a rollback.
        freed: no longer kept; to be closed beside the hot path.
        heard: called with the model after each swap.
    """

    def __init__(self, models: Sequence[Serving]) -> None:
        self.count = 0
        self.served: list[dict[tuple[str, str], ServedVersion]] = [{} for _ in models]
        for serving in models:
            if serving.ort is not None:
                self._serves(serving, 0)
        self.coming: list[Serving] = []
        self.kept: dict[int, Serving] = {}
        self.freed: list[Serving] = []
        self.heard: list[Callable[[Serving], None]] = []
        self._ready: dict[int, tuple[Swap, int, Serving]] = {}
        self._lines: Sequence[tuple[Swap, int]] = ()
        self._pins: Mapping[str, Pin] = {}
        self._pool: dict[Key, Serving] = {}

    def expect(self, reference: int, line: tuple[Swap, int], candidate: Serving) -> None:
        """Say what the swap row that is about to be written refers to."""
        self._ready[reference] = (*line, candidate)

    def forget(self, reference: int) -> Serving:
        """Take back what no row will refer to."""
        return self._ready.pop(reference)[2]

    def expect_recorded(
        self,
        lines: Sequence[tuple[Swap, int]],
        models: Sequence[Serving],
        pins: Mapping[str, Pin],
        world: tuple[Path, Sequence[FeatureSpec]],
    ) -> None:
        """Load every version that a recorded tape swaps in.

        Args:
            lines: of the tape's control log.
            models: the run's; those without a pin are another run's wish and are not swapped.
            pins: by name.
            world: the artifacts folder, and the specs of the kernel.
        Raises:
            UsageError: a version is not there any more, or is another one now.
        """
        artifacts, specs = world
        self._lines, self._pins = lines, pins
        for serving in models:
            pin, name = pins.get(serving.settings.name), serving.settings.name
            for swap, _ in lines if pin is not None else ():
                key = (serving.index, swap.version, swap.sha256)
                same = (serving.version, serving.sha256) == key[1:] and serving.ort is not None
                if swap.name != name or key in self._pool or same:
                    continue
                assert pin is not None
                wanted = msgspec.structs.replace(
                    pin,
                    version=swap.version,
                    sha256=swap.sha256,
                    trades=swap.trades,
                    status=ModelStatus.SERVING.name,
                )
                candidate = Serving(serving.index, serving.settings)
                load_pinned(candidate, artifacts, wanted)
                try:
                    check_fit(candidate, specs)
                except ModelRefused as error:
                    raise UsageError(f"run {pin.run}: {error}") from None
                self._pool[key] = candidate
                self.coming.append(candidate)

    def take(self, reference: int, serving: Serving | None, word: int) -> Swap | None:
        """Put into a model's place what a swap row refers to; None where it is not for this run.

        Raises:
            DataError: the control log's line is not the one that the row was written for.
        """
        if reference in self._ready:
            swap, line_word, candidate = self._ready.pop(reference)
            assert serving is not None and line_word == word, "a swap row of this very session"
            serving.exchange(candidate)
            self._keep(candidate)
            return swap
        if serving is None or serving.settings.name not in self._pins:
            return None
        line = self._lines[reference] if reference < len(self._lines) else None
        if line is None or (line[0].name, line[1]) != (serving.settings.name, word):
            raise DataError(f"{CONTROL_LOG}: line {reference + 1} is not that of its swap row")
        swap = line[0]
        if not self._serving(serving, swap):
            held = self._pool.pop((serving.index, swap.version, swap.sha256))
            serving.exchange(held)
            self._pool[(held.index, held.version, held.sha256)] = held
        serving.may_trade = swap.trades
        if swap.cause != ROLLBACK:  # the session had it loaded anew
            serving.struck_out = False
            if serving.status == ModelStatus.DEMOTED:
                serving.status = ModelStatus.SERVING
        return swap

    @staticmethod
    def _serving(serving: Serving, swap: Swap) -> bool:
        same = (serving.version, serving.sha256) == (swap.version, swap.sha256)
        return same and serving.ort is not None

    def _keep(self, old: Serving) -> None:
        """Keep what served until now for a rollback, in place of what was kept before."""
        before = self.kept.pop(old.index, None)
        if before is not None:
            self.freed.append(before)
        if old.ort is not None:
            self.kept[old.index] = old

    def done(self, serving: Serving, row: int) -> None:
        """Count a swap, and tell those who listen."""
        self.count += 1
        self._serves(serving, row)
        for hear in self.heard:
            hear(serving)

    def _serves(self, serving: Serving, row: int) -> None:
        served = self.served[serving.index]
        key = (serving.version, serving.sha256)
        if key in served:
            served[key].times += 1
        else:
            served[key] = ServedVersion(
                version=serving.version, sha256=serving.sha256, from_row=row
            )


def check_fit(candidate: Serving, specs: Sequence[FeatureSpec]) -> None:
    """Make sure that the running kernel computes a version's features.

    Raises:
        ModelRefused: `model.features`; it needs a new session.
    """
    loaded = candidate.loaded
    assert loaded is not None
    if loaded.spec in specs:
        return
    mine = loaded.spec.names
    closest = max(specs, key=lambda spec: len(set(spec.names) & set(mine)), default=None)
    differs = "it reads none" if closest is None else name_difference(closest.names, mine)
    text = f"{loaded.name}: it needs another kernel than the one that runs"
    raise ModelRefused(
        "model.features",
        f"{text} ({differs or 'other parameters'}); start a new session to serve it",
    )


def check_kind(candidate: Serving, serving: Serving) -> None:
    """Make sure that a version answers as the one that serves: strategies were chosen for that.

    Raises:
        ModelRefused: `model.contract`; it needs a new session.
    """
    mine, theirs = candidate.loaded, serving.loaded
    assert mine is not None
    if theirs is not None and mine.output_kind != theirs.output_kind:
        raise ModelRefused(
            "model.contract",
            f"{mine.name}: it answers as {mine.output_kind}, the version that serves as "
            f"{theirs.output_kind}; start a new session to serve it",
        )


def bind(
    plan: SlotPlan,
    at: int,
    number: int,
    states: Sequence[KernelState],
    world: tuple[Sequence[FeatureSpec], Sequence[Instrument]],
) -> None:
    """Bind a slot to the version that its model's place holds now.

    Args:
        plan: of the slot.
        at: the slot.  number: among those of its model.
        states: the one that trades, and the one that runs ahead where there is one.
        world: the kernel's specs, and the instruments.
    """
    specs, instruments = world
    serving = plan.serving
    assert serving is not None
    spec = serving.spec
    place = -1 if spec is None else list(specs).index(spec)
    values = model_values(serving)
    same = place == plan.spec
    plan.spec = place
    if not same:  # else what the data lacks for it, and its own state, stand as they did
        values["was_valid"] = 0
        one = instruments[plan.instrument]
        plan.absent = {} if spec is None else absent_features(spec, plan.has, one.bar_interval_ns)
    values |= {"spec": max(0, place), "absent": int(bool(plan.absent))}
    values |= dict.fromkeys(("said_sell", "said_hold", "said_buy"), 0)  # it has said nothing yet
    window, before = serving.window(number), plan.window
    for state in states:
        if window is None:
            values |= {"window": 0, "window_run": 0}
        own = {} if same else {"own": own_record(state, at, plan)}
        state.rebind_slot(at, values | own, serving.x, serving.y)
        if window is not None and before is not None and same:
            window.take_over(before, state, at)
        elif window is not None:
            window.bind(state, at)
    plan.window = window
