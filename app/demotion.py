"""Demotions: a row of the tape from which on a model causes no new exposure, as a shadow.

Live, what watches models asks for the row (app/live_watch.py, app/strikes.py); a replay finds it on
its tape. A model that is struck out for its answers is not even asked any more. What it holds may
still be closed. Only a person lets it trade again: by promoting a version, which is swapped in, or
by a new run. The version before may take its place (app/fall_back.py).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from app.log import logger
from app.serving import Serving
from app.slots import SlotPlan
from engine.audit_layout import ModelStatus
from engine.audit_reader import reason_name
from engine.errors import RunError
from engine.events import Command, WatchCheck
from engine.hash_words import hash_words
from engine.kernel.state import KernelState
from engine.live_tape import LiveTape
from engine.records import Recorder
from engine.row_words import row_head
from engine.rows import Kind
from risk.gate import Gate, allow

DEMOTE_HEAD = row_head(int(Kind.CONTROL))
DEMOTED_EVENT, PASSED_EVENT = 12, 14
MILLION = 1_000_000
MAX_FIGURE = 1e12


def payload(check: WatchCheck, serving: Serving, figure: float) -> tuple[int, int, int, int, int]:
    """Return the slots of a demotion row as words."""
    millionths = int(min(max(figure, 0.0), MAX_FIGURE) * MILLION)
    word = hash_words(serving.sha256)[0]
    return int(Command.DEMOTE), int(check), serving.index, word, millionths


class Hands(NamedTuple):
    """What a demotion works on: what blocks orders, what writes the audit, the kernel's states."""

    gate: Gate
    recorder: Recorder
    states: Sequence[KernelState]


def strikes_out(check: int, serving: Serving) -> bool:
    """Say whether a check ends the asking: wrong answers, and in a shadow those that do not come.

    A model that trades and is late is a shadow first.
    """
    late = check == WatchCheck.LATENCY and not serving.may_trade
    return check == WatchCheck.STRIKES or late


def demote(
    models: Sequence[Serving], plans: Sequence[SlotPlan], hands: Hands, row: np.void
) -> None:
    """Carry out a demotion row; one that means another model's file is passed over, and noted.

    Args:
        models, plans: of the run.
        hands: of the run.
        row: the CONTROL row.
    """
    check, index, figure = int(row["i1"]), int(row["i2"]), int(row["i4"]) / MILLION
    serving = models[index] if 0 <= index < len(models) else None
    if serving is None or hash_words(serving.sha256)[0] != int(row["i3"]):
        hands.recorder.event(PASSED_EVENT, "demotion_passed", f"model {index}", (index, check))
        return
    mine = [at for at, plan in enumerate(plans) if plan.serving is serving]
    became = "is a shadow now"
    if strikes_out(check, serving):
        serving.struck_out, became = True, "is not asked any more"
        for state in hands.states:
            for at in mine:
                state.slots[at]["status"] = int(serving.obstacle)
                state.slots[at]["window_run"] = 0
    serving.may_trade = False
    serving.status = ModelStatus.DEMOTED
    allow(hands.gate, index, False)
    threshold = max((plans[at].threshold for at in mine), default=0.0)
    words = (index, int(serving.status), serving.sha256, threshold)
    hands.recorder.model(*words, shadow=serving.is_shadow)
    text = f"{serving.settings.name} {serving.model_id}:{serving.version} {became}"
    why = f"{reason_name(WatchCheck, check).lower()} {figure:.6g}"
    hands.recorder.event(DEMOTED_EVENT, "model_demoted", f"{text}: {why}", (index, check))


class Demotions:
    """Puts the demotions of a session onto its tape, and tells of them.

    Args:
        models: of the session.
        hands: the session's tape, its clock, and what lets the pipeline go on.
        tell: tells people, as Notifier.notify does.
        then: called with a model that traded until now; what may take its place is not said here.
    """

    def __init__(
        self,
        models: Sequence[Serving],
        hands: tuple[LiveTape, Callable[[], int], Callable[[], None]],
        tell: Callable[..., None],
        then: Callable[[int], None] = lambda index: None,
    ) -> None:
        self._models = models
        self._tape, self._now, self._wake = hands
        self._tell, self._then = tell, then
        self._log = logger("models")

    def ask(self, index: int, sha256: str, reason: tuple[WatchCheck, float, str]) -> None:
        """Put a demotion onto the tape, if that version serves and something is left to take.

        Args:
            index: of the model.
            sha256: of the version that is meant.
            reason: the check, its figure, and a line for people.
        """
        check, figure, text = reason
        serving = self._models[index]
        out = strikes_out(check, serving)
        if serving.sha256 != sha256 or serving.struck_out or not (out or serving.may_trade):
            return
        traded = serving.may_trade
        name, version = serving.settings.name, f"{serving.model_id}:{serving.version}"
        now = self._now()
        try:
            self._tape.push(DEMOTE_HEAD, now, now, payload(check, serving, figure))
        except RunError as error:
            self._log.error("demotion_not_written", model=name, cause=str(error))
            return
        self._wake()
        word = check.name.lower()
        command = f'python lab.py models shadow {version} --why "{word}"'
        self._log.error("demoted", model=name, check=word, text=text, struck_out=out)
        became = "is not asked any more" if out else "is a shadow now"
        lasts = f"{name} ({version}) {became}: {text}; to keep it so: {command}"
        self._tell("model_demoted", lasts)
        if traded:
            self._then(index)
