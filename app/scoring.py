"""Scores the models of a run against what the market did: from its audit and its tape alone.

A decision counts where the model was asked and answered; advice is a BUY or SELL that was not held
back. Returns are those of the price from what the model saw (the touch in its record) to the price
in force after a horizon. docs/scoreboard.md defines each figure.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from app.score_money import Money, money_of
from app.score_prices import prices_at
from engine.audit_layout import Record
from engine.audit_reader import AuditFile, read_names, reason_name
from engine.events import Action, HoldReason
from engine.money import Grid
from engine.run_files import SAMPLES, Names
from engine.tape import Tape

NS_PER_S = 1_000_000_000
HORIZONS_S = (1, 10, 60, 300)
BINS = 10  # of the calibration curve
ANSWERED = (HoldReason.NONE, HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD)
FAULTS = (
    HoldReason.MODEL_MISSING,
    HoldReason.MODEL_REFUSED,
    HoldReason.RUNTIME_MISSING,
    HoldReason.MODEL_NAN,
    HoldReason.MODEL_FAILED,
    HoldReason.MODEL_LATE,
    HoldReason.MODEL_SUPERSEDED,
    HoldReason.MODEL_TIMED_OUT,
    HoldReason.MODEL_CLOSED,
    HoldReason.MEMBERS_MISSING,
)
DECISION = np.dtype(
    [("ts", "i8"), ("row", "i8"), ("instrument", "i8"), ("action", "i8"), ("reason", "i8")]
    + [("sell", "f8"), ("hold", "f8"), ("buy", "f8"), ("mid", "f8")]
)


class AtHorizon(msgspec.Struct, kw_only=True):
    """Figures of one horizon; null where nothing can be said."""

    seconds: int
    advice: int  # BUYs and SELLs whose return is known
    hit_rate: float | None  # of those after which the price has moved: it went that way
    markout_bps: float | None  # mean return in the advised direction
    markout_se_bps: float | None  # its standard error
    ic: float | None  # rank correlation of P(buy) - P(sell) with the return, over answers
    brier: float | None  # mean of (P(up) - moved up)^2 over answers after which the price moved


class CalibrationBin(msgspec.Struct, kw_only=True):
    """One bin of P(up): how often the price went up there."""

    predicted: float
    happened: float
    count: int


class Beside(msgspec.Struct, kw_only=True):
    """A model beside its champion, on the rows at which both have answered."""

    champion: str
    rows: int
    agreement: float | None  # same action
    brier_difference: float | None  # its Brier less the champion's; below 0 is better
    brier_difference_se: float | None


class ModelScore(msgspec.Struct, kw_only=True):
    """One line of the scoreboard."""

    name: str
    id: str
    version: str
    mode: str
    decisions: int
    answered: int
    buys: int
    sells: int
    uptime: float | None  # answers among answers and the model's own faults
    faults: dict[str, int]
    horizons: list[AtHorizon]
    calibration: list[CalibrationBin]
    calibration_error: float | None
    money: Money
    pnl: float
    latency_us: dict[str, float]  # p50 and p99 of the stage that the model runs in
    beside: Beside | None = None


def decisions_of(run: Path, models: int) -> list[np.ndarray]:
    """Return DECISION[n] of each model, its shadow records included, in order."""
    parts: list[list[np.ndarray]] = [[] for _ in range(models)]
    for block in AuditFile(run).pick((Record.DECISION, Record.SHADOW)):
        made = np.zeros(len(block), DECISION)
        made["ts"], made["row"], made["instrument"] = block["ts"], block["row"], block["instrument"]
        made["action"], made["reason"] = block["code"], block["aux"] & 0xFF
        made["sell"], made["hold"], made["buy"] = block["f0"], block["f1"], block["f2"]
        made["mid"] = 0.5 * (block["f4"] + block["f5"])
        for model in range(models):
            mine = made[block["model"] == model]
            if len(mine):
                parts[model].append(mine)
    return [np.concatenate(part) if part else np.zeros(0, DECISION) for part in parts]


def score_run(
    run: Path, tape: Tape, *, horizon_s: int = 60, champion: str = ""
) -> list[ModelScore]:
    """Score every model of a run.

    Args:
        tape: what the run went over.
        horizon_s: of the calibration curve and of the comparison; one of HORIZONS_S.
        champion: name of the model that the others are compared with; empty takes the first that
            is no shadow.
    """
    assert horizon_s in HORIZONS_S
    names = read_names(run)
    decided = decisions_of(run, len(names.models))
    returns, last = _returns(tape, decided)
    money = money_of(run, [Grid(one) for one in tape.instruments], last)
    latency = _latency(run)
    scores = []
    for model in names.models:
        mine, moved = decided[model.index], returns[model.index]
        stage = {**latency.get("thread" if model.placement == "thread" else "inline", {})}
        paid = money.get(model.index, Money())
        curve, error = _calibration(mine, moved[:, HORIZONS_S.index(horizon_s)])
        answered = mine[np.isin(mine["reason"], ANSWERED)]
        faults = mine["reason"][np.isin(mine["reason"], FAULTS)]
        said = len(answered) + len(faults)
        scores.append(
            ModelScore(
                name=model.name,
                id=model.id,
                version=model.version,
                mode=model.mode,
                decisions=len(mine),
                answered=len(answered),
                buys=int(np.count_nonzero(mine["action"] == Action.BUY)),
                sells=int(np.count_nonzero(mine["action"] == Action.SELL)),
                uptime=len(answered) / said if said else None,
                faults={
                    reason_name(HoldReason, int(k)): int(n)
                    for k, n in zip(*np.unique(faults, return_counts=True), strict=True)
                },
                horizons=[_at(mine, moved[:, k], s) for k, s in enumerate(HORIZONS_S)],
                calibration=curve,
                calibration_error=error,
                money=paid,
                pnl=paid.total,
                latency_us=stage,
            )
        )
    _compare(names, scores, (decided, returns), (champion, horizon_s))
    return scores


def _returns(tape: Tape, decided: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[float]]:
    """Return float64[n, horizons] of each model, and each instrument's last price."""
    ahead = np.array(HORIZONS_S) * NS_PER_S
    wanted: dict[int, np.ndarray] = {}
    for at in range(len(tape.instruments)):
        mine = [one["ts"][one["instrument"] == at][:, None] + ahead for one in decided]
        flat = np.concatenate([part.ravel() for part in mine]) if mine else np.zeros(0, np.int64)
        wanted[at] = np.unique(flat)
    end = _end_of(tape)
    known = {at: np.append(times[times < end], end) for at, times in wanted.items()}
    prices = prices_at(tape, known)
    found = []
    for one in decided:
        moved = np.full((len(one), len(HORIZONS_S)), np.nan)
        for at, times in known.items():
            which = np.flatnonzero(one["instrument"] == at)
            for k, step in enumerate(ahead):
                then = one["ts"][which] + step
                known_at = np.minimum(np.searchsorted(times, then), len(times) - 1)
                price = np.where(then <= end, prices[at][known_at], np.nan)
                moved[which, k] = price / one["mid"][which] - 1.0
        found.append(moved)
    return found, [float(prices[at][-1]) for at in range(len(tape.instruments))]


def _end_of(tape: Tape) -> int:
    """Return the time of the last row, ns."""
    end = 0
    for segment in tape.segments:
        for _, rows in segment.strides():
            end = max(end, int(np.maximum(rows["ts_recv"], 0).max()))
            if not end:
                end = int(rows["ts_event"].max())
    return end


def up_chance(decisions: np.ndarray) -> np.ndarray:
    """Return P(up): buy over buy and sell; one half where the model gives neither a chance."""
    both = decisions["buy"] + decisions["sell"]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(both > 0, decisions["buy"] / both, 0.5)


def _known(decisions: np.ndarray, moved: np.ndarray) -> np.ndarray:
    return np.isin(decisions["reason"], ANSWERED) & np.isfinite(moved)


def _at(decisions: np.ndarray, moved: np.ndarray, seconds: int) -> AtHorizon:
    known = _known(decisions, moved)
    acted = known & (decisions["action"] != Action.HOLD)
    sides = np.where(decisions["action"][acted] == Action.BUY, 1.0, -1.0)
    earned = sides * moved[acted] * 1e4
    went = earned[earned != 0.0]
    some = known & (moved != 0.0)
    misses = up_chance(decisions[some]) - (moved[some] > 0)
    lean = decisions["buy"][known] - decisions["sell"][known]
    count = len(earned)
    return AtHorizon(
        seconds=seconds,
        advice=count,
        hit_rate=float(np.mean(went > 0)) if len(went) else None,
        markout_bps=float(earned.mean()) if count else None,
        markout_se_bps=float(earned.std(ddof=1) / np.sqrt(count)) if count > 1 else None,
        ic=rank_correlation(lean, moved[known]),
        brier=float(np.mean(misses**2)) if len(misses) else None,
    )


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return Spearman's rank correlation, ties by mean rank; None where one does not vary.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]))
    1.0
    """
    if len(x) < 3 or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return None
    a, b = _ranks(x), _ranks(y)
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank from 1; equal values share the mean of their ranks."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - 0.5 * (counts - 1))[which]


def _calibration(
    decisions: np.ndarray, moved: np.ndarray
) -> tuple[list[CalibrationBin], float | None]:
    """Return the curve of P(up) in equal bins, and the mean distance from it by count."""
    some = _known(decisions, moved) & (moved != 0.0)
    chance, up = up_chance(decisions[some]), moved[some] > 0
    if not len(chance):
        return [], None
    bins = np.minimum((chance * BINS).astype(int), BINS - 1)
    curve, total = [], 0.0
    for k in np.unique(bins):
        chosen = bins == k
        predicted, happened = float(chance[chosen].mean()), float(up[chosen].mean())
        count = int(chosen.sum())
        curve.append(CalibrationBin(predicted=predicted, happened=happened, count=count))
        total += count * abs(predicted - happened)
    return curve, total / len(chance)


def _compare(
    names: Names,
    scores: list[ModelScore],
    world: tuple[list[np.ndarray], list[np.ndarray]],
    wish: tuple[str, int],
) -> None:
    """Put each model beside the champion."""
    decided, returns = world
    champion, horizon_s = wish
    best = next(
        (
            one
            for one in names.models
            if one.name == champion or (not champion and one.mode != "shadow")
        ),
        None,
    )
    if best is None:
        return
    column = HORIZONS_S.index(horizon_s)
    for model in names.models:
        if model.index != best.index:
            mine = (decided[model.index], returns[model.index][:, column])
            theirs = (decided[best.index], returns[best.index][:, column])
            scores[model.index].beside = _beside(best.name, mine, theirs)


def _beside(
    champion: str, mine: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]
) -> Beside:
    """Compare on common rows: what makes both see the same market."""
    picked = []
    for decisions, moved in (mine, theirs):
        answered = np.isin(decisions["reason"], ANSWERED)
        key = decisions["row"][answered] * 65_536 + decisions["instrument"][answered]
        picked.append((key, decisions[answered], moved[answered]))
    (a_key, a, a_moved), (b_key, b, b_moved) = picked
    _, at, bt = np.intersect1d(a_key, b_key, return_indices=True)
    a, b, moved = a[at], b[bt], a_moved[at]
    some = np.isfinite(moved) & (moved != 0.0) & np.isfinite(b_moved[bt])
    up = moved[some] > 0
    gap = (up_chance(a[some]) - up) ** 2 - (up_chance(b[some]) - up) ** 2
    return Beside(
        champion=champion,
        rows=len(a),
        agreement=float(np.mean(a["action"] == b["action"])) if len(a) else None,
        brier_difference=float(gap.mean()) if len(gap) else None,
        brier_difference_se=float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else None,
    )


def _latency(run: Path) -> dict[str, dict[str, float]]:
    """Return p50 and p99 in us by placement: of all models there, as the run sampled them."""
    try:
        with np.load(run / SAMPLES / "latency.npz", allow_pickle=False) as file:
            kept = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError):
        return {}
    found = {}
    for placement, stage in (("inline", "inference"), ("thread", "inference_thread")):
        taken = kept.get(stage)
        if taken is not None and len(taken):
            p50, p99 = (float(value) / 1e3 for value in np.percentile(taken, (50, 99)))
            found[placement] = {"p50": round(p50, 2), "p99": round(p99, 2)}
    return found
