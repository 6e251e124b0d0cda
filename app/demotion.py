"""What happens at a demotion row: a model causes no new exposure from there on, as a shadow.

Live, what watches models has asked for the row (app/live_watch.py); a replay finds it on its tape.
What the model holds may still be closed. Only a person lets it trade again: by promoting a version,
which is swapped in, or by a new run.
"""

from collections.abc import Sequence

import numpy as np

from app.serving import Serving
from app.slots import SlotPlan
from engine.audit_layout import ModelStatus
from engine.audit_reader import reason_name
from engine.events import Command, WatchCheck
from engine.records import Recorder
from engine.run_files import hash_words
from risk.gate import Gate, allow

DEMOTED_EVENT, PASSED_EVENT = 12, 14
MILLION = 1_000_000
MAX_FIGURE = 1e12


def payload(check: WatchCheck, serving: Serving, figure: float) -> tuple[int, int, int, int, int]:
    """Return the slots of a demotion row as words."""
    millionths = int(min(max(figure, 0.0), MAX_FIGURE) * MILLION)
    word = hash_words(serving.sha256)[0]
    return int(Command.DEMOTE), int(check), serving.index, word, millionths


def demote(
    models: Sequence[Serving], plans: Sequence[SlotPlan], hands: tuple[Gate, Recorder], row: np.void
) -> None:
    """Carry out a demotion row; one that means another model's file is passed over, and noted.

    Args:
        models, plans: of the run.
        hands: what blocks orders, what writes the audit.
        row: the CONTROL row.
    """
    gate, recorder = hands
    check, index, figure = int(row["i1"]), int(row["i2"]), int(row["i4"]) / MILLION
    serving = models[index] if 0 <= index < len(models) else None
    if serving is None or hash_words(serving.sha256)[0] != int(row["i3"]):
        recorder.event(PASSED_EVENT, "demotion_passed", f"model {index}", (index, check))
        return
    serving.may_trade = False
    serving.status = ModelStatus.DEMOTED
    allow(gate, index, False)
    threshold = max((plan.threshold for plan in plans if plan.serving is serving), default=0.0)
    words = (index, int(serving.status), serving.sha256, threshold)
    recorder.model(*words, shadow=serving.is_shadow)
    text = f"{serving.settings.name} {serving.model_id}:{serving.version} is a shadow now"
    why = f"{reason_name(WatchCheck, check).lower()} {figure:.6g}"
    recorder.event(DEMOTED_EVENT, "model_demoted", f"{text}: {why}", (index, check))
