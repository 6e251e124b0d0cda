"""Sequence models in runs: each decision reads the last rows, one piece of memory, none copied."""

import gc
import json
import shutil
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import lab
from app.opening import load_version
from app.replay import Replay, replay
from app.serving import Serving
from app.slot_ports import port_of
from app.sources import open_tape
from app.swap import bind
from config.load import load_settings
from config.settings import ModelSettings, StrategySettings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile
from engine.errors import DataError
from engine.events import HoldReason
from engine.kernel.layout import WORD, Reason
from engine.row_arrays import join_rows
from engine.rows import LAST, ROW, Kind
from engine.tape import Tape, TapeWriter
from features.spec import parse_spec
from ml import registry
from ml.refusal import ModelRefused
from ml.registry import View
from tests.app.live_session import Session
from tests.app.replay_cli import ROOT, SAMPLE
from tests.app.versions import tick_spec
from tests.ml.sequence_models import model_of, register, weights

ROWS, GAP_AT, STEPS, NS = 24_000, 12_000, 16, 1_000_000_000
SHORT = HoldReason.WINDOW_SHORT
JUDGED = {HoldReason.NONE, HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD}
# Not asked here; with it, the run's kernel is the one that the first run compiles.
BARS = ModelSettings(name="Bars", model_id="SignalClassifier", cadence="bar:1m")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("windows") / "artifacts"
    shutil.copytree(ROOT / "artifacts", root, ignore=shutil.ignore_patterns("kernels"))
    spec = tick_spec()
    first = register(root, "Window", STEPS, spec, placement="inline", turned=True)
    assert first.sequence_length == STEPS
    register(root, "Slow", STEPS, spec, placement="thread", turned=True)
    register(root, "Single", 0, spec, placement="inline", turned=True)
    for model_id in ("Window", "Slow", "Single"):
        registry.promote(root, model_id, "1", why="for the tests", by="tests")
    register(root, "Window", 9, spec, placement="inline")
    return root


@pytest.fixture(scope="module")
def tape(tmp_path_factory) -> Tape:
    """Return the beginning of the sample, with a gap of one instrument in its middle."""
    folder = tmp_path_factory.mktemp("cut")
    settings = load_settings(None)
    sample = Tape.open(open_tape([SAMPLE], assumed=settings.assumed, cache_dir=folder / "tapes"))
    rows = join_rows([segment.rows for segment in sample.segments])[:ROWS]
    gap = np.zeros(1, ROW)
    gap["kind"], gap["flags"], gap["ts_recv"] = Kind.GAP, LAST, rows["ts_recv"][GAP_AT - 1]
    last = int(np.flatnonzero(rows["flags"] & LAST)[-1]) + 1
    cut = GAP_AT + int(np.flatnonzero(rows["flags"][GAP_AT - 1 :] & LAST)[0])
    writer = TapeWriter(folder / "tape", sample.instruments, segment_rows=5_000)
    writer.append(join_rows([rows[:cut], gap, rows[cut:last]]))
    writer.close()
    return Tape.open(folder / "tape")


def settings_of(artifacts: Path, runs: Path, *models: str, cadence: str = "every:5s", **engine):
    found = load_settings(None, {"runs_dir": str(runs), "artifacts_dir": str(artifacts)})
    named = tuple(ModelSettings(name=m, model_id=m, cadence=cadence) for m in models)
    rules = StrategySettings(name="ml_signal", params={"threshold": 0.35, "cooldown_s": 0.0})
    return msgspec.structs.replace(
        found,
        engine=msgspec.structs.replace(found.engine, **engine),
        risk=msgspec.structs.replace(found.risk, max_signal_age_ms=60_000.0),
        strategies=(rules,),
        models=(BARS, *named),
    )


def run(tape, artifacts, runs, *models, **engine):
    settings = settings_of(artifacts, runs, *models, **engine)
    return replay(Replay(tape=tape, settings=settings, report=False))


def decisions(summary, model: int = 1) -> np.ndarray:
    blocks = AuditFile(Path(summary.run_dir)).pick((Record.DECISION,))
    return np.concatenate([block[block["model"] == model] for block in blocks])


def chances(rows: np.ndarray) -> np.ndarray:
    return np.stack([rows[f"f{k}"] for k in range(3)], axis=1)


@pytest.fixture(scope="module")
def windowed(tape, artifacts, tmp_path_factory):
    return run(tape, artifacts, tmp_path_factory.mktemp("w"), "Window")


def test_answers_are_those_of_the_last_rows_together(windowed, tape, artifacts, tmp_path):
    """softmax(mean of x W) by a second way: from what a model of single rows said of each row."""
    assert windowed.fills > 0
    found = decisions(windowed)
    single = decisions(run(tape, artifacts, tmp_path, "Single"))
    assert len(found) == len(single) > 200
    assert (found["ts"] == single["ts"]).all()
    compared = 0
    for instrument in np.unique(single["instrument"]):
        mine, own = (rows[rows["instrument"] == instrument] for rows in (single, found))
        judged = np.isin(mine["aux"] & 0xFF, list(JUDGED))
        with np.errstate(divide="ignore"):
            scores = np.log(chances(mine))
        run_length = 0
        for at in range(len(mine)):
            run_length = run_length + 1 if judged[at] else 0
            reason, said = own["aux"][at] & 0xFF, own["aux"][at] >> 8
            if not judged[at]:
                assert reason == mine["aux"][at] & 0xFF
            elif run_length < STEPS:
                assert (reason, said) == (SHORT, STEPS - run_length)
            else:
                assert reason in JUDGED
                mean = scores[at + 1 - STEPS : at + 1].mean(axis=0)
                expected = np.exp(mean) / np.exp(mean).sum()
                np.testing.assert_allclose(chances(own)[at], expected, atol=2e-6)
                compared += 1
            if judged[at]:
                assert own["i3"][at] == mine["i3"][at]  # the hash of the newest row
    assert compared > 100


def test_a_gap_starts_the_window_anew(windowed, tape):
    at = next(
        int(seg.rows["ts_recv"][hit[0]])
        for seg in tape.segments
        if len(hit := np.flatnonzero(seg.rows["kind"] == Kind.GAP))
    )
    found = decisions(windowed)
    missing = {}
    for instrument in (0, 1):
        mine = found[(found["instrument"] == instrument) & (found["ts"] > at)]
        missing[instrument] = int(np.isin(mine["aux"] & 0xFF, [SHORT]).sum())
    assert missing[0] == STEPS - 1
    assert missing[1] == 0


def test_blocks_do_not_show_and_there_is_no_batch_ahead(windowed, tape, artifacts, tmp_path):
    for block in (1, 7, 1000):
        again = run(tape, artifacts, tmp_path / str(block), "Window", block_rows=block)
        assert again.decision_digest == windowed.decision_digest
    alone = run(tape, artifacts, tmp_path / "one", "Window", batch_rows=1)
    assert alone.decision_digest == windowed.decision_digest
    assert [("one by one" in model.note, model.status) for model in windowed.models] == [
        (False, "SERVING"), (True, "SERVING"),
    ]  # fmt: skip


def test_a_window_on_a_thread_is_that_of_the_question(windowed, tape, artifacts, tmp_path):
    """While it is being answered the ring goes on; the answer is of the rows as they were."""
    slow = run(tape, artifacts, tmp_path / "a", "Slow")
    by_row = {
        (int(d["instrument"]), int(d["i3"])): chances(d[None])[0] for d in decisions(windowed)
    }
    found = decisions(slow)
    judged = found[np.isin(found["aux"] & 0xFF, list(JUDGED))]
    assert len(judged) > 100
    for one in judged:
        key = (int(one["instrument"]), int(one["i3"]))
        assert by_row[key].tobytes() == chances(one[None])[0].tobytes()
    assert slow.models[1].requests == len(judged)
    again = run(tape, artifacts, tmp_path / "b", "Slow", block_rows=7)
    assert again.decision_digest == slow.decision_digest


class Running(Session):
    """A session with the sequence model, row by row."""

    def __init__(self, folder: Path, artifacts: Path, tape: Tape) -> None:
        wanted = settings_of(artifacts, folder / "runs", "Window")
        names = ("artifacts_dir", "strategies", "models", "risk")
        super().__init__(folder, (tape.folder,), **{n: getattr(wanted, n) for n in names})
        self.slots = [at for at, plan in enumerate(self.parts.plans) if plan.window is not None]


def test_a_session_decides_as_the_replay_does(windowed, tape, artifacts, tmp_path):
    session = Running(tmp_path, artifacts, tape)
    while session.advance(251):
        pass
    slots = session.parts.state.slots[session.slots]
    wanted = decisions(windowed)
    assert slots["holds"][:, SHORT].sum() == (wanted["aux"] & 0xFF == SHORT).sum()
    assert slots["counts"].sum() == len(wanted)
    for plan, slot in zip((session.parts.plans[at] for at in session.slots), slots, strict=True):
        at = slot["window_at"]
        window = plan.window.ring[at + 1 : at + 1 + STEPS]
        assert window.flags.c_contiguous
        assert window[-1].tobytes() == plan.window.ring[at].tobytes()
        assert len(np.unique(window[:, 0])) > 3


def test_a_decision_allocates_nothing(tape, artifacts, tmp_path):
    """Rows into the ring, the window into the model, the answer out: counted over many of them."""
    session = Running(tmp_path, artifacts, tape)
    parts, words = session.parts, session.parts.state.words
    advance, address = parts.kernel.advance, parts.state.address
    runs = [(plan.window or plan).run for plan in parts.plans]
    parts.state.slots["run"] = 0  # Python calls every one
    parts.state.slots["wants_holds"] = 0
    parts.state.slots["threshold"] = 2.0  # advice is not what is counted here
    infer, cursor, slot, audit = (
        int(Reason.INFER),
        WORD["cursor"],
        WORD["slot"],
        WORD["audit_count"],
    )

    def go(rows: int, first: int, head: int, times: list[int]) -> None:
        while words[cursor] < head:
            if advance(address, rows, first, head) & infer:
                runs[words[slot]]()
                times[0] += 1
            words[audit] = 0

    counted, grown = [0], []
    gc.collect()
    gc.disable()
    try:
        for segment in tape.segments:
            before = sys.getallocatedblocks()
            go(segment.address, segment.first_row, segment.stop_row, counted)
            grown.append(sys.getallocatedblocks() - before)
    finally:
        gc.enable()
    assert counted[0] > 200
    assert max(grown[2:]) <= 8, grown


def test_a_version_that_comes_goes_on_with_the_rows_of_the_one_before(tape, artifacts, tmp_path):
    session = Running(tmp_path, artifacts, tape)
    session.advance(ROWS // 3)
    parts = session.parts
    serving = parts.plans[session.slots[0]].serving
    candidate = Serving(serving.index, serving.settings)
    candidate.version = "2"
    load_version(candidate, artifacts, View(artifacts))
    assert candidate.windows, "bound before it comes to serve"
    before = {at: newest_rows(parts, at, 9) for at in session.slots}
    serving.exchange(candidate)
    for number, at in enumerate(session.slots):
        world = (parts.specs, parts.instruments)
        bind(parts.plans[at], at, number, [parts.state], world)
        parts.pipeline.replace(at, port_of(parts.plans[at], parts.state, at))
        assert newest_rows(parts, at, 9).tobytes() == before[at].tobytes()
        assert parts.state.slots[at]["window_run"] == 9
    short = parts.state.slots["holds"][:, SHORT].copy()
    decided = parts.state.slots["counts"].sum()
    session.advance(2000)
    assert parts.state.slots["counts"].sum() > decided
    assert (parts.state.slots["holds"][:, SHORT] == short).all()


def newest_rows(parts, at: int, count: int) -> np.ndarray:
    window, newest = parts.plans[at].window, int(parts.state.slots[at]["window_at"])
    return window.ring[: newest + 1 + len(window.ring) // 2][-count:].copy()


@pytest.mark.parametrize(("steps", "said"), [(STEPS, 12), (STEPS, 0), (0, STEPS), (STEPS, 257)])
def test_a_window_that_is_not_the_graphs_is_refused(tmp_path, steps, said):
    spec = tick_spec()
    from ml.importing import Foreign, import_onnx

    foreign = Foreign(model_id="Window", spec=spec, sequence_length=said)
    with pytest.raises((ModelRefused, msgspec.ValidationError)) as error:
        import_onnx(tmp_path / "artifacts", model_of(steps, len(spec)), foreign)
    assert "served is" in str(error.value) or "<= 256" in str(error.value)
    assert not (tmp_path / "artifacts" / "registry.json").exists()


def test_a_version_is_asked_for_windows_by_hand(artifacts, tmp_path, capsys):
    rows = np.random.default_rng(2).normal(size=(STEPS + 3, len(tick_spec()))).tolist()
    file = tmp_path / "rows.json"
    file.write_text(str(rows))
    words = ["models", "predict", "Window:1", "--artifacts", str(artifacts), "--row", str(file)]
    assert lab.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["rows"]
    answers = np.array([list(one["answers"].values()) for one in found])
    scores = np.array(rows) @ weights(len(tick_spec()))[:, ::-1]
    means = np.stack([scores[k : k + STEPS].mean(axis=0) for k in range(4)])
    expected = np.exp(means) / np.exp(means).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    file.write_text(str(rows[:3]))
    with pytest.raises(DataError, match=f"3 rows; the model reads windows of {STEPS}"):
        lab.main(words)


@pytest.mark.slow
def test_sixty_bars_of_ten_features_trade(tmp_path):
    """config/features/price_direction_10.json, 60 x 10, on bars of five seconds of the sample."""
    root = tmp_path / "artifacts"
    shutil.copytree(ROOT / "artifacts", root, ignore=shutil.ignore_patterns("kernels"))
    spec = parse_spec((ROOT / "config/features/price_direction_10.json").read_bytes())
    entry = register(root, "Direction", 60, spec, placement="inline", cadence="bar:5s")
    registry.promote(root, "Direction", "1", why="for the tests", by="tests")
    settings = load_settings(None)
    tape = Tape.open(open_tape([SAMPLE], assumed=settings.assumed, cache_dir=tmp_path / "tapes"))
    found = []
    for block in (65_536, 1000):
        settings = settings_of(root, tmp_path / str(block), "Direction", cadence="bar:5s",
                               bar_interval_s=5, block_rows=block)  # fmt: skip
        settings = msgspec.structs.replace(settings, models=settings.models[1:])
        found.append(replay(Replay(tape=tape, settings=settings, report=False)))
    assert (len(entry.input_features), entry.sequence_length) == (10, 60)
    assert found[0].decision_digest == found[1].decision_digest
    assert found[0].fills > 10
    assert found[0].signals.hold_reasons["WINDOW_SHORT"] == 59 * len(tape.instruments)
