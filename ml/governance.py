"""Promotion gates: what a version has to show before it serves, measured and recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from config.governance import Gates
from ml import golden as golden_rows
from ml.artifact import LoadedModel
from ml.loading import model_of
from ml.manifest import PROBABILITIES, Entry, GateResult
from ml.model_interface import NO_TRUST, Trust
from ml.refusal import ModelRefused

__all__ = ["GATES", "Evidence", "Gates", "Judgement", "check_gates", "judge"]

GATES = (
    "golden_rows",
    "metric",
    "calibration_error",
    "latency",
    "shadow_days",
    "shadow_decisions",
    "shadow_strikes",
    "no_look_ahead",
)
CUTS = 3  # places at which the golden tape slice is cut
Judgement = GateResult


@dataclass(frozen=True)
class Evidence:
    """What shadow runs of these very bytes have shown.

    Attributes:
        days: days of market time covered.
        decisions: signals given.
        strikes: of them late, failed or not finite.
        runs: names of the runs.
    """

    days: float = 0.0
    decisions: int = 0
    strikes: int = 0
    runs: tuple[str, ...] = ()


def judge(
    loaded: LoadedModel,
    champion: Entry | None,
    gates: Gates,
    evidence: Evidence | None = None,
    *,
    trust: Trust = NO_TRUST,
) -> list[GateResult]:
    """Measure every gate.

    Args:
        loaded: the version.
        champion: what serves in its place, None when nothing does.
        gates: the rules.
        evidence: of shadow runs; None is none.
        trust: what may run code, for kinds that do.
    """
    shadow = evidence or Evidence()
    entry = loaded.entry
    return [
        _golden(loaded, trust),
        _metric(entry, champion, gates),
        _number(
            "calibration_error",
            entry.metrics.get("test_calibration_error"),
            gates.max_calibration_error,
        ),
        _latency(entry, gates),
        _at_least("shadow_days", shadow.days, gates.min_shadow_days),
        _at_least("shadow_decisions", shadow.decisions, gates.min_shadow_decisions),
        _number("shadow_strikes", shadow.strikes, gates.max_shadow_strikes),
        _look_ahead(loaded, gates.no_look_ahead),
    ]


def check_gates(
    found: Sequence[GateResult], waive: Sequence[str], shown: str
) -> tuple[GateResult, ...]:
    """Return what is recorded, or refuse.

    Args:
        found: from judge.
        waive: gates that need not hold.
        shown: what to call the version.
    Raises:
        ModelRefused: `model.gate`, naming those that do not hold, or an unknown one.
    """
    for name in waive:
        if name not in GATES:
            text = f"no gate {name!r}; there are {', '.join(GATES)}"
            raise ModelRefused("model.gate", text)
    result = tuple(msgspec.structs.replace(g, waived=not g.held and g.gate in waive) for g in found)
    missed = [g for g in result if not g.held and not g.waived]
    if missed:
        words = "; ".join(f"{g.gate} is {g.found}, wanted {g.wanted}" for g in missed)
        flags = " ".join(f"--waive {g.gate}" for g in missed)
        text = f"{shown} is not promoted: {words}; to go on without: {flags} --why ..."
        raise ModelRefused("model.gate", text)
    return result


def _golden(loaded: LoadedModel, trust: Trust) -> GateResult:
    try:
        runner = loaded.open() if loaded.entry.kind == "onnx" else model_of(loaded, trust)
        wired = loaded.output_kind in PROBABILITIES
        golden_rows.check_rows(loaded.golden, runner, loaded.name, probabilities=wired)
        found, held = f"{len(loaded.golden.x)} rows agree", True
    except ModelRefused as error:
        found, held = str(error)[:300], False
    wanted = f"within {golden_rows.TOLERANCE:g}"
    if loaded.output_kind not in PROBABILITIES:
        wanted += " of the largest value"
    return GateResult(gate="golden_rows", held=held, found=found, wanted=wanted)


def _metric(entry: Entry, champion: Entry | None, gates: Gates) -> GateResult:
    name, own = gates.metric, entry.metrics.get(gates.metric)
    lower = gates.metric_better == "lower"
    if champion is None:
        found = f"{name} {_text(own)}, nothing serves"
        return GateResult(gate="metric", held=True, found=found, wanted="no worse than what serves")
    theirs = champion.metrics.get(name)
    sign = "at most" if lower else "at least"
    wanted = f"{sign} {_text(theirs)} of {champion.name}"
    if gates.max_metric_worse:
        wanted += f", {gates.max_metric_worse:g} worse allowed"
    held = False
    if own is not None and theirs is not None:
        worse = own - theirs if lower else theirs - own
        held = worse <= gates.max_metric_worse
    return GateResult(gate="metric", held=held, found=f"{name} {_text(own)}", wanted=wanted)


def _latency(entry: Entry, gates: Gates) -> GateResult:
    limits = {"inline": gates.max_latency_inline_us, "thread": gates.max_latency_thread_us}
    limit = limits[entry.placement]
    return GateResult(
        gate="latency",
        held=entry.latency_us <= limit,
        found=f"{entry.latency_us:g} us {entry.placement}",
        wanted=f"at most {limit:g} us",
    )


def _number(gate: str, found: float | None, limit: float) -> GateResult:
    held = found is not None and found <= limit
    return GateResult(gate=gate, held=held, found=_text(found), wanted=f"at most {limit:g}")


def _at_least(gate: str, found: float, least: float) -> GateResult:
    return GateResult(
        gate=gate, held=found >= least, found=f"{found:g}", wanted=f"at least {least:g}"
    )


def _text(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"


def _look_ahead(loaded: LoadedModel, wanted: bool) -> GateResult:
    if not wanted:
        return GateResult(gate="no_look_ahead", held=True, found="not looked at", wanted="nothing")
    found = look_ahead(loaded)
    held = found == ""
    said = f"{CUTS} cuts of the golden tape slice change nothing" if held else found
    return GateResult(gate="no_look_ahead", held=held, found=said, wanted="no change before a cut")


def look_ahead(loaded: LoadedModel, slice_features: Callable[..., Any] | None = None) -> str:
    """Cut the golden tape slice and say which feature changes before the cut; empty for none.

    Args:
        loaded: the version.
        slice_features: what makes feature rows of tape rows; None takes the features' own kernel.
    """
    from engine.rows import ROW
    from ml import golden_tape

    rows = np.ascontiguousarray(loaded.golden.tape_rows).view(ROW).reshape(-1)
    if not len(rows):
        return "not measured: no golden tape slice lies beside it"
    make = slice_features or golden_tape.slice_features
    whole = make(loaded.spec, rows)
    rng = np.random.default_rng(42)
    for cut in sorted(rng.integers(len(rows) // 4, len(rows), CUTS)):
        part = make(loaded.spec, rows[:cut])
        count = int((part.row < cut).sum())
        same = part.x[:count].view(np.uint32) == whole.x[:count].view(np.uint32)
        same |= np.isnan(part.x[:count]) & np.isnan(whole.x[:count])
        if not same.all():
            at, column = np.argwhere(~same)[0]
            name = loaded.spec.names[column]
            return f"{name} at row {part.row[at]} changes when rows from {cut} on are cut off"
    return ""
