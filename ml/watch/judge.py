"""One model under watch: its latest rows and answers, and what they say against its training."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np

from config.settings import WatchSettings
from engine.events import HoldReason, WatchCheck
from ml.watch.adwin import Adwin
from ml.watch.drift import Drift, drift_of
from ml.watch.reference import Reference, dissimilarity, inflation

JUDGED = (HoldReason.NONE, HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD)
STRIKES = (
    HoldReason.MODEL_NAN,
    HoldReason.MODEL_FAILED,
    HoldReason.MODEL_TIMED_OUT,
    HoldReason.MODEL_LATE,
)
NS_PER_DAY = 86_400 * 1_000_000_000
STRETCH, LEAST_STREAM = 250, 200  # answers of a stretch; that ADWIN sees of a window at least
CERTAIN_SD = 3.3  # standard deviations that chance does not reach
DECISION = np.dtype(
    [
        ("ts", "i8"),
        ("instrument", "i8"),
        ("mid", "f8"),
        ("p", "f8", (3,)),  # sell, hold, buy
        ("reason", "i8"),
    ]
)


class Finding(msgspec.Struct, frozen=True):
    """What one check has found.

    Attributes:
        check: its name, WatchCheck in small letters.
        value, bound: the figure and what it may be; None where it could not be judged.
        failed: whether it is above.
        text: one line.
    """

    check: str
    value: float | None
    bound: float | None
    failed: bool
    text: str


class Watched(msgspec.Struct, frozen=True):
    """What is known of a model before anything is seen of it.

    Attributes:
        name: what the run calls it.  model: ID:VERSION.  sha256: of its file.
        created_at: ISO time.
        latency_us: by the registry.
        chances: whether it says probabilities, which can be calibrated.
        reference: of its training rows; None where nobody has kept them.
        own_state: it reads the run's own state, so its rows cannot be made again from the tape.
    """

    name: str
    model: str
    sha256: str
    created_at: str
    latency_us: float
    chances: bool
    reference: Reference | None
    own_state: bool = False


class ModelWatch:
    """Keeps the latest rows and answers of one model, and judges them.

    Args:
        watched: the model.
        rules: bounds.
    """

    def __init__(self, watched: Watched, rules: WatchSettings) -> None:
        self.watched, self.rules = watched, rules
        self._x: np.ndarray = np.zeros((0, 0), np.float32)
        self._of: np.ndarray = np.zeros(0, np.int64)  # instruments of these rows
        self._decisions: np.ndarray = np.zeros(0, DECISION)
        self._asked = self._strikes = 0
        self._adwin = Adwin(rules.adwin_delta)
        self._waiting: np.ndarray = np.zeros(0)  # leanings that the window has not seen
        self._began = math.nan  # mean leaning of the first rows
        self._latency_us: float | None = None
        self.drifts: dict[str, Drift] = {}

    def add_rows(self, x: np.ndarray, instrument: np.ndarray) -> None:
        """Take whole feature rows, float32[n, F], in the order of time."""
        keep = self.rules.window_rows
        before = self._x if self._x.shape[1] == x.shape[1] else x[:0]
        self._x = np.concatenate([before, x])[-keep:]
        self._of = np.concatenate([self._of, instrument.astype(np.int64)])[-keep:]

    def add_decisions(self, decisions: np.ndarray) -> None:
        """Take DECISION[n] as they come."""
        judged = np.isin(decisions["reason"], JUDGED)
        strikes = int(np.isin(decisions["reason"], STRIKES).sum())
        self._asked += int(judged.sum()) + strikes
        self._strikes += strikes
        kept = np.concatenate([self._decisions, decisions[judged]])
        self._decisions = kept[-self.rules.window_rows :]
        self._waiting = np.concatenate([self._waiting, leanings(decisions[judged])])

    def took(self, latency_us: float) -> None:
        """Take the median time of its answers."""
        self._latency_us = latency_us

    def look(self, now_ns: int) -> list[Finding]:
        """Judge what has been seen."""
        return [
            self._features(),
            self._outputs(),
            self._dissimilar(),
            self._calibration(),
            self._strike_share(),
            self._constant(),
            self._latency(),
            self._age(now_ns),
        ]

    def _features(self) -> Finding:
        check, reference = WatchCheck.FEATURES, self.watched.reference
        if self.watched.own_state:
            return unknown(check, "it reads the run's own state, which the tape does not hold")
        if reference is None:
            return unknown(check, "its metadata holds no training statistics")
        if len(self._x) < self.rules.least_rows:
            return unknown(check, f"{len(self._x)} rows, {self.rules.least_rows} are needed")
        rules, values = self.rules, self._x.astype(np.float64)
        self.drifts = {
            name: drift_of(values[:, k], kept, reference.rows, inflation(values[:, k], self._of))
            for k, (name, kept) in enumerate(reference.features.items())
        }
        far = {n: d for n, d in self.drifts.items() if d.exceeds(rules.max_psi, rules.max_ks)}
        worst = sorted(far, key=lambda name: -far[name].psi)[:3]
        text = f"{len(far)} of {len(self.drifts)} features have drifted"
        if worst:
            text += ": " + ", ".join(f"{n} (PSI {far[n].psi:.2f})" for n in worst)
        return judged(check, len(far) / len(self.drifts), rules.max_drifted_share, text)

    def _outputs(self) -> Finding:
        check, rules = WatchCheck.OUTPUTS, self.rules
        said = leanings(self._decisions)
        if len(said) < rules.least_rows:
            return unknown(check, f"{len(said)} answers, {rules.least_rows} are needed")
        if math.isnan(self._began):
            self._began = float(self._waiting[: rules.least_rows].mean())
        every = max(1, min(math.ceil(self._local_inflation(said)), len(said) // LEAST_STREAM))
        for value in self._waiting[::every]:
            self._adwin.add(0.5 + 0.5 * float(value))
        self._waiting = self._waiting[:0]
        now = 2.0 * self._adwin.mean - 1.0
        shift = abs(now - self._began) if self._adwin.changes else 0.0
        cuts = self._adwin.changes
        text = f"mean {self._began:.3f} at first, now {now:.3f}; cuts by ADWIN: {cuts}"
        return judged(check, shift, rules.max_output_shift, text)

    def _local_inflation(self, said: np.ndarray) -> float:
        """Return how alike neighbouring answers are, within stretches: a change is no likeness."""
        stretch = np.arange(len(said)) // STRETCH
        return inflation(said, stretch * (1 << 20) + self._decisions["instrument"])

    def _dissimilar(self) -> Finding:
        check, reference = WatchCheck.DISSIMILAR, self.watched.reference
        if reference is None or len(self._x) < self.rules.least_rows:
            return unknown(check, "no training statistics, or too few rows")
        share = float((dissimilarity(self._x, reference) > reference.far).mean())
        text = f"{share:.1%} of the rows lie further out than 99 % of the training rows"
        return judged(check, share, self.rules.max_dissimilar_share, text)

    def _calibration(self) -> Finding:
        check, rules = WatchCheck.CALIBRATION, self.rules
        if not self.watched.chances:
            return unknown(check, "its output is no probability")
        confidence, hit, instrument = outcomes(self._decisions, int(rules.horizon_s * 1e9))
        if len(hit) < rules.least_rows:
            return unknown(check, f"{len(hit)} outcomes, {rules.least_rows} are needed")
        gap = abs(float(confidence.mean() - hit.mean()))
        chance = CERTAIN_SD * math.sqrt(0.25 * inflation(hit, instrument) / len(hit))
        text = (
            f"confidence {confidence.mean():.1%}, right {hit.mean():.1%} of {len(hit)} times after "
            f"{rules.horizon_s:g} s (chance explains {chance:.1%})"
        )
        return judged(check, gap, max(rules.max_calibration_gap, chance), text)

    def _strike_share(self) -> Finding:
        check, asked = WatchCheck.STRIKES, self._asked
        if asked == 0:
            return unknown(check, "it was not asked")
        text = f"{self._strikes} of {asked} answers were no number, failed or came too late"
        return judged(check, self._strikes / asked, self.rules.max_strikes_share, text)

    def _constant(self) -> Finding:
        check, least = WatchCheck.CONSTANT, self.rules.least_rows
        last = self._decisions["p"][-least:]
        if len(last) < least:
            return unknown(check, f"{len(last)} answers, {least} are needed")
        same = int((last == last[-1]).all(axis=1).sum())
        return judged(
            check, same / least, 1.0 - 0.5 / least, f"{same} of the last {least} answers are equal"
        )

    def _latency(self) -> Finding:
        check = WatchCheck.LATENCY
        took, said = self._latency_us, self.watched.latency_us
        if took is None or said <= 0:
            return unknown(check, "nobody has measured it here")
        text = f"median {took:.0f} us, the registry says {said:.0f} us"
        return judged(check, took / said, self.rules.max_latency_ratio, text)

    def _age(self, now_ns: int) -> Finding:
        check = WatchCheck.AGE
        try:
            made = datetime.fromisoformat(self.watched.created_at)
        except ValueError:
            return unknown(check, "its date cannot be read")
        made = made if made.tzinfo else made.replace(tzinfo=UTC)
        days = now_ns / NS_PER_DAY - made.timestamp() / 86_400
        if days < 0:
            return unknown(check, "it was made after these rows")
        return judged(check, days, self.rules.max_age_days, f"made {days:.0f} days before")


def judged(check: WatchCheck, value: float, bound: float, text: str) -> Finding:
    """Return a finding that fails above its bound."""
    return Finding(check.name.lower(), round(value, 6), bound, value > bound, text)


def unknown(check: WatchCheck, why: str) -> Finding:
    """Return a finding that nothing could be said for."""
    return Finding(check.name.lower(), None, None, False, why)


def leanings(decisions: np.ndarray) -> np.ndarray:
    """Return p_buy - p_sell of each decision."""
    leaning: np.ndarray = np.clip(decisions["p"][:, 2] - decisions["p"][:, 0], -1.0, 1.0)
    return leaning


def outcomes(decisions: np.ndarray, horizon_ns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hold advice against the mid price of the first decision after the horizon.

    Moves of nothing and answers without a side are left out; confidence is that of the side among
    both sides.

    Returns:
        confidence, whether it was right (0 or 1), instrument; of each outcome.
    """
    parts = list(_outcomes(decisions, horizon_ns))
    if not parts:
        return np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
    confidence, hit, instrument = (np.concatenate(column) for column in zip(*parts, strict=True))
    return confidence, hit, instrument


def _outcomes(
    decisions: np.ndarray, horizon_ns: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for instrument in np.unique(decisions["instrument"]):
        own = decisions[decisions["instrument"] == instrument]
        later = np.searchsorted(own["ts"], own["ts"] + horizon_ns)
        known = np.flatnonzero(later < len(own))
        then = own[known]
        move = own["mid"][later[known]] - then["mid"]
        sell, buy = then["p"][:, 0], then["p"][:, 2]
        side = np.sign(buy - sell)
        told = (side != 0) & (move != 0) & np.isfinite(move)
        confidence = np.maximum(buy, sell)[told] / (buy + sell)[told]
        yield confidence, (np.sign(move) == side)[told].astype(np.float64), then["instrument"][told]
