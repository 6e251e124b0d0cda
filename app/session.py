"""What every run begins and ends with: opening records, the last of the audit, the summary."""

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from app.outcome import Timing, summarise, write_opening
from app.parts import Parts
from config.settings import Settings
from engine.audit_layout import AUDIT_LAYOUT_VERSION
from engine.hash_words import hash_words
from engine.run_files import TAPE_EVENT, RunConfigFile, Summary
from engine.tape_info import TapeInfo

VERSION = "0.1.0"


class Asked(msgspec.Struct, frozen=True):
    """What a person asked for.

    Attributes:
        mode: replay, paper, live.
        settings: the run's settings.
        named: models given on the command line, `ID:VERSION`.
        inputs: the paths as the person named them, or the venue.
        command: the command line.
    """

    mode: str
    settings: Settings
    named: Sequence[str] = ()
    inputs: Sequence[str] = ()
    command: Sequence[str] = ()


def open_run(parts: Parts, run_dir: Path, run_id: str, asked: Asked) -> None:
    """Write config.json and names.json, and the records that an audit opens with."""
    inputs = _inputs_sha256(parts)
    config = RunConfigFile(
        run_id=run_id,
        mode=asked.mode,
        settings=msgspec.to_builtins(asked.settings),
        version=VERSION,
        started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=tuple(asked.command),
        inputs_sha256=inputs,
        inputs=tuple(asked.inputs),
        model_overrides=tuple(asked.named),
        answers_on_tape=parts.model_answers.from_tape,
    )
    write_opening(parts, run_dir, config)
    parts.recorder.run(AUDIT_LAYOUT_VERSION, inputs)
    for serving in parts.models:
        threshold = max(
            (plan.threshold for plan in parts.plans if plan.serving is serving), default=0.0
        )
        words = (serving.index, int(serving.status), serving.sha256, threshold)
        parts.recorder.model(*words, shadow=serving.is_shadow)
        if serving.note:
            parts.recorder.event(1, "model_refused", serving.note, (serving.index,))


def name_tape(parts: Parts, sha256: str) -> None:
    """Bind the audit to the content of its tape."""
    parts.recorder.event(3, TAPE_EVENT, sha256, hash_words(sha256)[:3])


def _inputs_sha256(parts: Parts) -> str:
    """Hash what a run's decisions are made on beside rows and models: the instruments' grids."""
    grids = [(i.name, i.tick, i.lot, i.min_notional) for i in parts.instruments]
    return hashlib.sha256(msgspec.json.encode(grids)).hexdigest()


def end_reason(parts: Parts) -> str:
    """Return how a run ends that came to its end: done, or halted by risk."""
    gate = parts.gate.record[0]
    return "halted" if bool(gate["killed"]) or bool(gate["drawdown_latched"]) else "done"


def close_run(
    parts: Parts, run_dir: Path, ended: tuple[str, str, float], info: TapeInfo, report: bool
) -> Summary:
    """End the orders, write the rest of the audit, the summary and what a person sees.

    Args:
        ended: mode, reason and wall seconds.
        info: of the tape that was run over.
        report: also write audit.jsonl and report.html.
    """
    mode, reason, wall_s = ended
    parts.recorder.event(2, "run_end", reason)
    parts.pipeline.finish()
    digest = parts.audit.close()
    timing = Timing(
        mode,
        reason,
        wall_s,
        digest,
        parts.audit.chain.hex(),
        parts.audit.records,
        parts.audit.shadow_digest(),
    )
    parts.samples.write(run_dir, parts.pipeline.stages.samples())
    summary = summarise(parts, run_dir, timing, info)
    if report:
        from app.report import write_report
        from engine.audit_render import render

        render(run_dir)
        write_report(run_dir)
    return summary
