"""Models on threads over market data: the kernel keeps their time, at any block size the same.

What must come out is written a second time: the same network served in the hot path says when it
is asked and what it answers; a few lines of Python let one server answer that, newest first to go.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from app.replay import Replay, replay
from app.sources import open_tape
from config.load import load_settings
from config.settings import ModelSettings, StrategySettings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile
from engine.events import HoldReason
from engine.row_arrays import join_rows
from engine.tape import Tape, TapeWriter
from ml import registry
from ml.manifest import to_json
from tests.app.replay_cli import ROOT, SAMPLE
from tests.app.versions import tick_spec
from tests.ml.heavy_models import failing, register, wide

ROWS = 14_000
EVERY_NS = 5_000_000_000
LATE_NS = 30_000_000_000
CADENCE = f"every:{EVERY_NS // 10**9}s"
# Not asked here; with it, the run's kernel is the one that the first run compiles.
BARS = ModelSettings(name="Bars", model_id="SignalClassifier", cadence="bar:1m")
JUDGED = {HoldReason.NONE, HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("heavy") / "artifacts"
    shutil.copytree(ROOT / "artifacts", root, ignore=shutil.ignore_patterns("kernels"))
    spec = tick_spec()
    data = wide(len(spec))
    assert register(root, "Heavy", data, spec).placement == "thread"
    register(root, "Plain", data, spec, placement="inline")
    column = spec.names.index("mid_price_velocity_1s")
    register(root, "Fails", failing(len(spec), column), spec, placement="thread")
    for model_id in ("Heavy", "Plain", "Fails"):
        registry.promote(root, model_id, "1", why="for the tests", by="tests")
    return root


@pytest.fixture(scope="module")
def tape(tmp_path_factory) -> Tape:
    folder = tmp_path_factory.mktemp("cut")
    settings = load_settings(None)
    sample = Tape.open(open_tape([SAMPLE], assumed=settings.assumed, cache_dir=folder / "tapes"))
    rows = join_rows([segment.rows for segment in sample.segments])[:ROWS]
    last = int(np.flatnonzero(rows["flags"] & 1)[-1]) + 1
    writer = TapeWriter(folder / "tape", sample.instruments, segment_rows=5_000)
    writer.append(rows[:last])
    writer.close()
    return Tape.open(folder / "tape")


def takes(artifacts: Path, model_id: str, latency_ns: int) -> None:
    """Let the registry say how long a model takes."""
    path = artifacts / "registry.json"
    kept = registry.View(artifacts).registry
    entries = tuple(
        msgspec.structs.replace(one, latency_us=latency_ns / 1000)
        if one.model_id == model_id
        else one
        for one in kept.entries
    )
    path.write_bytes(to_json(msgspec.structs.replace(kept, entries=entries)))


def run(tape, artifacts, runs, *models, block=65_536, batch=1024):
    """Replay with some of the models; return the summary."""
    settings = load_settings(None, {"runs_dir": str(runs), "artifacts_dir": str(artifacts)})
    risk = msgspec.structs.replace(settings.risk, max_signal_age_ms=LATE_NS / 1e6)
    settings = msgspec.structs.replace(
        settings,
        engine=msgspec.structs.replace(settings.engine, batch_rows=batch, block_rows=block),
        risk=risk,
        strategies=(
            StrategySettings(name="ml_signal", params={"threshold": 0.4, "cooldown_s": 0.0}),
        ),
        models=(
            BARS,
            *(
                ModelSettings(name=name, model_id=name, cadence=CADENCE, deadline_ms=60_000)
                for name in models
            ),
        ),
    )  # fmt: skip
    return replay(Replay(tape=tape, settings=settings, report=False))


class Decision(NamedTuple):
    """One decision of the audit."""

    ts: int
    instrument: int
    reason: int
    chances: tuple[float, ...]
    row_hash: int


def decisions(summary) -> list[Decision]:
    found = []
    for block in AuditFile(Path(summary.run_dir)).pick((Record.DECISION,)):
        for one in block[block["model"] == 1]:  # the first that was named
            chances = tuple(float(one[f"f{k}"]) for k in range(3))
            head = (int(one["ts"]), int(one["instrument"]), int(one["aux"]) & 0xFF)
            found.append(Decision(*head, chances, int(one["i3"])))
    return found


def served(asked: list[Decision], latency_ns: int, end_ts: int) -> list[tuple]:
    """Let one server answer questions, the newest of each instrument only; (ts, what, question)."""
    waits: dict[int, Decision] = {}  # by instrument, in the order in which they began to wait
    busy: tuple[int, Decision] | None = None
    found = []

    def until(ts: int) -> None:
        nonlocal busy
        while busy is not None and busy[0] <= ts:
            done, question = busy
            found.append((done, "result", question))
            busy = None
            if waits:
                first = min(waits.values(), key=lambda d: (d.ts, asked.index(d)))
                busy = (done + latency_ns, waits.pop(first.instrument))

    for question in asked:
        until(question.ts)
        if (old := waits.pop(question.instrument, None)) is not None:
            found.append((question.ts, "superseded", old))
        if busy is None:
            busy = (question.ts + latency_ns, question)
        else:
            waits[question.instrument] = question
    until(end_ts)
    return found


@pytest.mark.parametrize("latency_ns", [1_500_000_000, 3_700_000_000, 12_300_000_001])
def test_answers_come_when_one_server_would_give_them(tape, artifacts, tmp_path, latency_ns):
    takes(artifacts, "Heavy", latency_ns)
    plain = run(tape, artifacts, tmp_path / "plain", "Plain")
    heavy = run(tape, artifacts, tmp_path / "heavy", "Heavy")
    asked = [one for one in decisions(plain) if one.reason in JUDGED]
    assert len(asked) > 100
    expected = served(asked, latency_ns, heavy.market_to)
    found = decisions(heavy)
    superseded = [one for one in found if one.reason == HoldReason.MODEL_SUPERSEDED]
    told = [(ts, q.row_hash) for ts, what, q in expected if what == "superseded"]
    assert sorted((one.ts, one.row_hash) for one in superseded) == sorted(told)
    assert bool(told) == (latency_ns > EVERY_NS // 2)
    results = [(ts, q.row_hash, q.chances) for ts, what, q in expected if what == "result"]
    judged = [(one.ts, one.row_hash, one.chances) for one in found if one.reason in JUDGED]
    assert sorted(judged) == sorted(results)
    _, line = heavy.models
    assert line.placement == "thread"
    assert line.requests == len(asked)
    assert line.answers == {"RESULT": len(results)} | ({"SUPERSEDED": len(told)} if told else {})


def test_blocks_and_batches_do_not_show(tape, artifacts, tmp_path):
    takes(artifacts, "Heavy", 7_000_000_000)
    takes(artifacts, "Fails", 40_000_000)
    first = run(tape, artifacts, tmp_path / "a", "Plain", "Heavy", "Fails", batch=1)
    assert first.orders > 10
    assert first.signals.hold_reasons["MODEL_SUPERSEDED"] > 10
    assert first.signals.hold_reasons["MODEL_FAILED"] > 10
    for batch, block in ((1024, 65_536), (64, 7), (1, 1), (1, 777)):
        again = run(
            tape, artifacts, tmp_path / f"b{batch}-{block}", "Plain", "Heavy", "Fails",
            batch=batch, block=block,
        )  # fmt: skip
        assert again.decision_digest == first.decision_digest, (batch, block)
        assert again.models == first.models


def test_fault_M10_what_takes_longer_than_its_deadline_never_answers(tape, artifacts, tmp_path):
    takes(artifacts, "Heavy", 61_000_000_000)
    found = run(tape, artifacts, tmp_path, "Heavy")
    assert set(found.models[1].answers) == {"TIMED_OUT", "SUPERSEDED"}
    assert found.signals.hold_reasons["MODEL_TIMED_OUT"] > 0
    assert found.orders == 0


def test_fault_M24_an_answer_older_than_signals_may_be_is_a_hold(tape, artifacts, tmp_path):
    takes(artifacts, "Heavy", LATE_NS + 1)
    found = run(tape, artifacts, tmp_path, "Heavy")
    assert found.signals.hold_reasons["MODEL_LATE"] == found.models[1].answers["RESULT"] > 0
    assert found.signals.buy == found.signals.sell == found.orders == 0
