"""Counts what the models of a session do wrong, and demotes those that do it too often.

Every wrong answer is a HOLD by itself. `watch.strikes` of them among the last `watch.strike_runs`
answers (no number, no probabilities, or the runtime raised) and the model is not asked any more;
`watch.deadline_misses` that did not come in time, and it is a shadow. The kernel counts the HOLDs
of each slot; they are looked at between wakes, and what follows is a row of the tape.
"""

from collections import deque

import numpy as np

from app.demotion import Demotions
from app.parts import Parts
from app.serving import Serving
from engine.events import HoldReason, WatchCheck

WRONG = [int(HoldReason.MODEL_NAN), int(HoldReason.MODEL_FAILED)]
LATE = [int(HoldReason.MODEL_TIMED_OUT)]
HELD = [int(HoldReason.MODEL_SAYS_HOLD), int(HoldReason.BELOW_THRESHOLD), *WRONG, *LATE]
SELL, BUY = 0, 2


class Tally:
    """The latest strikes of one model for one check: at which of its answers they were.

    Args:
        bound: so many of them are too many; 0 is never.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.seen = 0
        self._at: deque[int] = deque(maxlen=max(1, bound))

    def add(self, total: int, answers: int, among: int) -> bool:
        """Take the counts so far; True when there are too many among the last `among` answers.

        >>> tally = Tally(2)
        >>> [tally.add(*counts, 100) for counts in ((1, 10), (1, 150), (2, 151), (3, 200))]
        [False, False, False, True]
        """
        new, self.seen = total - self.seen, total
        self._at.extend([answers] * min(new, self.bound))
        while self._at and self._at[0] <= answers - among:
            self._at.popleft()
        enough = 0 < self.bound <= len(self._at)
        if enough:
            self._at.clear()
        return enough


class Strikes:
    """The strikes of one session's models.

    Args:
        parts: of the session, built.
        demotions: of the session.
    """

    def __init__(self, parts: Parts, demotions: Demotions) -> None:
        self._parts = parts
        self._demotions = demotions
        self._among = parts.settings.watch.strike_runs
        self._slots = [
            [at for at, plan in enumerate(parts.plans) if plan.serving is serving]
            for serving in parts.models
        ]
        self._total = 0
        self._tallies: list[dict[WatchCheck, Tally]] = [{} for _ in parts.models]
        for serving in parts.models:
            self._forget(serving)
        parts.swaps.heard.append(self._forget)

    def _forget(self, serving: Serving) -> None:
        """Begin anew with the version that serves now."""
        rules, held = self._parts.settings.watch, self._held(serving.index)
        tallies = {
            WatchCheck.STRIKES: Tally(rules.strikes),
            WatchCheck.LATENCY: Tally(rules.deadline_misses),
        }
        tallies[WatchCheck.STRIKES].seen = int(held[WRONG].sum())
        tallies[WatchCheck.LATENCY].seen = int(held[LATE].sum())
        self._tallies[serving.index] = tallies

    def _held(self, index: int) -> np.ndarray:
        """Return a model's HOLDs by reason, int64[32]."""
        counts: np.ndarray = self._parts.state.slots["holds"][self._slots[index]].sum(axis=0)
        return counts

    def look(self) -> None:
        """Demote whoever has earned it since the last look; called between wakes."""
        self._parts.shadows.settle()
        total = int(self._parts.state.slots["holds"][:, WRONG + LATE].sum())
        if total == self._total:
            return
        self._total = total
        for serving in self._parts.models:
            self._judge(serving)

    def _judge(self, serving: Serving) -> None:
        held = self._held(serving.index)
        acted = self._parts.state.slots["counts"][self._slots[serving.index]].sum(axis=0)
        answers = int(held[HELD].sum() + acted[SELL] + acted[BUY])
        for check, columns in ((WatchCheck.STRIKES, WRONG), (WatchCheck.LATENCY, LATE)):
            tally = self._tallies[serving.index][check]
            if tally.add(int(held[columns].sum()), answers, self._among):
                what = "wrong answers" if check == WatchCheck.STRIKES else "deadlines missed"
                text = f"{tally.bound} {what} among its last {min(answers, self._among)}"
                reason = (check, float(tally.bound), text)
                self._demotions.ask(serving.index, serving.sha256, reason)
