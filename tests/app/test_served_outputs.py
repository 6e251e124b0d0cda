"""Outputs beyond probabilities: what is decided of them, heard, recorded and replayed."""

import math
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.inference import Inference
from app.replay import Replay, replay
from config.load import load_settings
from config.settings import FusionSettings, ModelSettings, StrategySettings
from engine.audit_layout import AUDIT, Record
from engine.audit_render import render
from engine.audit_verify import verify
from engine.errors import ConfigError
from engine.events import HoldReason, Purpose
from engine.json_files import read_json
from engine.rows import Kind
from engine.run_files import AUDIT_RECORDS, AUDIT_TEXT, EVENTS, NAMES, Names
from engine.tape import Tape
from ml import registry
from ml.outputs import advise
from strategies.registry import strategy
from tests.app.reload_world import World
from tests.app.test_threaded_replay import BARS, tape
from tests.app.versions import copy_artifacts
from tests.docs.test_scripts import call
from tests.ml.output_models import MADE, register

assert tape  # the cut of the sample market, shared with the other file
VALUED = [name for name in MADE if name != "Veto"]
THRESHOLD = 0.3
HEARD: list[tuple] = []


@strategy("test_listener")
class Listener:
    """Keeps what a strategy is shown, and wants nothing."""

    PARAMS: dict = {}
    threshold = THRESHOLD
    name: str

    def decide(self, view):
        """Keep the signal and the output that stand before a strategy."""
        HEARD.append((view.signal, view.output.copy(), view.form, view.taker_fee))
        return ()


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> Path:
    root = copy_artifacts(tmp_path_factory.mktemp("outputs"))
    for name in MADE:
        register(root, name)
    for name in ("Quantiles", "Action"):
        register(root, name, placement="thread", name=f"{name}Slow")
    return root


def models(*names: str, cadence: str = "every:5s") -> tuple[ModelSettings, ...]:
    return (BARS, *(ModelSettings(name=n, model_id=n, cadence=cadence) for n in names))


def settings_of(artifacts, runs, *names, lines=(), block=65_536, batch=1024):
    settings = load_settings(None, {"runs_dir": str(runs), "artifacts_dir": str(artifacts)})
    engine = msgspec.structs.replace(settings.engine, batch_rows=batch, block_rows=block)
    lines = lines or (StrategySettings(name="test_listener"),)
    return msgspec.structs.replace(
        settings, engine=engine, strategies=tuple(lines), models=models(*names)
    )


def run(tape, *words, **more):
    return replay(Replay(tape=tape, settings=settings_of(*words, **more), report=False))


def told(run_dir: Path) -> list[tuple[np.void, np.ndarray]]:
    """Pair each decision that has an output with all its columns."""
    records = np.fromfile(run_dir / AUDIT_RECORDS, AUDIT)
    decided, columns = {}, {}
    for record in records[np.isin(records["kind"], (Record.DECISION, Record.OUTPUT))]:
        ident = int(record["id"])
        if record["kind"] == Record.DECISION:
            decided[ident] = record
        else:
            assert record["aux"] == 5 * len(columns.get(ident, ()))
            columns.setdefault(ident, []).append([float(record[f"f{k}"]) for k in range(2, 7)])
            assert (record["model"], record["row"]) == (
                decided[ident]["model"], decided[ident]["row"],
            )  # fmt: skip
    return [(decided[ident], np.array(parts).ravel()) for ident, parts in columns.items()]


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def test_each_decision_is_what_its_declared_schema_makes_of_the_output(tape, artifacts, tmp_path):
    HEARD.clear()
    summary = run(tape, artifacts, tmp_path, *VALUED)
    run_dir = Path(summary.run_dir)
    names = {one.index: one.name for one in read_json(run_dir / NAMES, Names).models}
    schemas = {name: registry.View(artifacts).find(name, "1").output_schema for name in VALUED}
    records = np.fromfile(run_dir / AUDIT_RECORDS, AUDIT)
    values = {int(r["id"]): r for r in records[records["kind"] == Record.OUTPUT]}
    seen: dict[str, set] = {name: set() for name in VALUED}
    advices = {}
    for decision, columns in told(run_dir):
        name = names[int(decision["model"])]
        y = columns[: schemas[name].columns]
        assert np.isnan(columns[schemas[name].columns :]).all()
        advice = advise(schemas[name], y, THRESHOLD)
        said = (int(decision["code"]), int(decision["aux"]))
        assert said == (int(advice.action), int(advice.reason))
        assert (decision["f0"], decision["f1"], decision["f2"]) == (
            advice.p_sell, advice.p_hold, advice.p_buy,
        )  # fmt: skip
        record = values[int(decision["id"])]
        assert same(float(record["f0"]), advice.value)
        assert same(float(record["f1"]), advice.position)
        seen[name].add((advice.action.name, advice.reason.name))
        advices[int(decision["id"])] = (advice, y)
    for name, kinds in seen.items():
        assert len(kinds) >= (2 if name in ("Size", "Quantiles") else 3), (name, kinds)
    heard = [one for one in HEARD if one[2].sizes or one[2].kind in ("regressor", "quantiles")]
    assert {one[2].kind for one in heard} == {MADE[name][0] for name in VALUED}
    for signal, y, form, fee in heard:
        advice, columns = advices[signal.signal_id]
        assert signal.action != 1 or signal.close, "a HOLD is heard where it closes only"
        assert np.array_equal(y, columns.astype(np.float32))
        assert same(signal.value, advice.value) and same(signal.position, advice.position)
        assert signal.close == advice.close
        assert (form.kind, fee) == (MADE[names[signal.model]][0], pytest.approx(2e-4))
    assert any(signal.action == 1 for signal, *_ in heard)
    assert verify(run_dir).ok
    done = call("recompute_digest.py", run_dir)
    assert (done.returncode, done.stdout.strip()) == (0, summary.decision_digest)


def test_what_shadows_say_beside_leaves_no_trace_in_what_is_decided_or_heard(
    tape, artifacts, tmp_path
):
    plain, heard = settings_of(artifacts, tmp_path, "Quantiles", "Eight"), []
    fusion = FusionSettings(members=("Quantiles", "Eight", "Beside"), threshold=0.1)
    beside = ModelSettings(name="Beside", model_id="Quantiles", cadence="every:5s", mode="shadow")
    fused = ModelSettings(name="Fused", fusion=fusion, mode="shadow")
    more = msgspec.structs.replace(plain, models=(fused, beside, *plain.models))
    found = []
    for settings in (plain, more):
        HEARD.clear()
        found.append(replay(Replay(tape=tape, settings=settings, report=False)))
        heard.append([(signal, y.tolist()) for signal, y, *_ in HEARD])
    alone, done = found
    assert done.decision_digest == alone.decision_digest
    assert repr(heard[0]) == repr(heard[1])
    assert len(heard[0]) > 20
    run_dir = Path(done.run_dir)
    assert verify(run_dir).ok
    assert call("recompute_digest.py", run_dir).stdout.strip() == alone.decision_digest
    records = np.fromfile(run_dir / AUDIT_RECORDS, AUDIT)
    said = records[records["kind"] == Record.OUTPUT]
    same_model = said[said["model"] == 1]
    shadowed = records[records["kind"] == Record.SHADOW_OUTPUT]
    assert len(shadowed) == len(same_model) > 100
    for field in ("ts", "row", "aux", "code", *(f"f{k}" for k in range(7))):
        assert np.array_equal(same_model[field], shadowed[field], equal_nan=field[0] == "f"), field
    names = read_json(run_dir / NAMES, Names).models
    made = records[(records["kind"] == Record.SHADOW)]
    made = made[made["model"] == next(one.index for one in names if one.name == "Fused")]
    assert np.isin(made["aux"] & 0xFF, (HoldReason.NONE, HoldReason.MEMBERS_DISAGREE)).any()
    render(run_dir)
    text = (run_dir / AUDIT_TEXT).read_text()
    assert '"kind":"shadow_output"' in text


def test_blocks_batches_and_threads_do_not_show(tape, artifacts, tmp_path):
    names = ("Return", "Quantiles", "Eight", "QuantilesSlow", "ActionSlow")
    lines = (StrategySettings(name="test_listener"), StrategySettings(name="ml_signal"))
    first = run(tape, artifacts, tmp_path / "a", *names, lines=lines, batch=1)
    assert first.signals.buy > 10 and first.signals.sell > 10
    for batch, block in ((1024, 65_536), (64, 7), (1, 1)):
        again = run(
            tape, artifacts, tmp_path / f"{batch}-{block}", *names, lines=lines, batch=batch,
            block=block,
        )  # fmt: skip
        assert again.decision_digest == first.decision_digest, (batch, block)


class Threaded(World):
    """A session whose models on threads answer before each next burst."""

    def __init__(self, *words, **more):
        super().__init__(*words, **more)
        self.inference = Inference(self.parts, self.tape, self.now_ns)
        answers = self.parts.model_answers
        answers.asker, answers.from_tape = self.inference.ask, True
        self.parts.state.root["answers_on_tape"] = 1
        for thread in self.inference.threads.values():
            thread.start()

    def drain(self):
        """Go over what has come, then wait for the threads: how fast they are must not matter."""
        super().drain()
        for _ in range(60_000):
            self.inference.write()
            if not any(self.inference._asked_ts):
                return
            time.sleep(0.001)
        raise AssertionError("a thread does not answer")


def test_what_threads_answer_stands_on_the_tape_and_replays(artifacts, tmp_path, tmp_path_factory):
    names = ("QuantilesSlow", "ActionSlow", "Eight")
    cache = tmp_path_factory.getbasetemp() / "tapes"
    strategies = (StrategySettings(name="ml_signal", params={"threshold": 0.1}),)
    world = Threaded(
        tmp_path / "w", artifacts, cache=cache, models=models(*names, cadence="every:1s"),
        strategies=strategies,
    )  # fmt: skip
    world.feed(6_000)
    world.inference.close()
    world.inference.write()
    World.drain(world)  # what came last is applied, as at a session's end
    done = world.close()
    session = Tape.open(world.run_dir / "tape")
    kinds = np.concatenate([segment.rows["kind"] for segment in session.segments])
    assert (kinds == Kind.OUTPUT).sum() > 50
    assert done.orders > 0
    shas = tuple(serving.sha256 for serving in world.parts.models)
    again = replay(
        Replay(tape=session, settings=world.settings, run=world.run_dir, report=False,
               answered_by=shas)
    )  # fmt: skip
    assert again.decision_digest == done.decision_digest
    assert "model_differs" not in (Path(again.run_dir) / EVENTS).read_text()
    slow = [d for d, _ in told(world.run_dir) if d["model"] in (1, 2)]
    assert {int(d["aux"]) for d in slow} >= {int(HoldReason.NONE)}


def entries(run_dir: Path) -> list[tuple[np.void, np.void, np.ndarray]]:
    """Return each entry's INTENT, the DECISION behind it, and all DECISIONs before it."""
    records = np.fromfile(run_dir / AUDIT_RECORDS, AUDIT)
    decided = records[records["kind"] == Record.DECISION]
    intents = records[(records["kind"] == Record.INTENT) & (records["code"] == Purpose.ENTRY)]
    by_id = {int(one["id"]): one for one in decided}
    return [(one, by_id[int(one["i0"])], decided[decided["seq"] < one["seq"]]) for one in intents]


def lines_of(name: str, *names: str, **params) -> tuple[StrategySettings, ...]:
    return (StrategySettings(name=name, models=names, params=params),)


def test_tfa_sizes_its_entries_by_confidence(tape, artifacts, tmp_path):
    lines = lines_of("tfa", "TickMLP", threshold=0.4, size_quote=500.0, least_share=0.1)
    summary = run(tape, artifacts, tmp_path, "TickMLP", lines=lines)
    found = entries(Path(summary.run_dir))
    assert len(found) > 3 and summary.fills > 3
    sizes = {(float(d["f2"]), int(i["i2"]) * int(i["i3"] or 1)) for i, d, _ in found}
    assert len(sizes) > 3
    assert all(decision["f2"] >= 0.4 for _, decision, _ in found)


@pytest.mark.parametrize("model", ["Return", "Quantiles"])
def test_the_transformer_enters_where_it_pays(tape, artifacts, tmp_path, model):
    lines = lines_of("transformer", model, min_profit_bps=2.0, cooldown_s=5.0, size_quote=100.0)
    summary = run(tape, artifacts, tmp_path, model, lines=lines)
    records = np.fromfile(Path(summary.run_dir) / AUDIT_RECORDS, AUDIT)
    outputs = records[records["kind"] == Record.OUTPUT]
    value = dict(zip(outputs["id"].tolist(), outputs["f0"].tolist()))
    found = entries(Path(summary.run_dir))
    assert len(found) > 2 and summary.fills > 4
    for intent, decision, _ in found:
        spread = (decision["f5"] - decision["f4"]) / (0.5 * (decision["f4"] + decision["f5"]))
        worth = int(intent["i1"]) * value[int(intent["i0"])] - 2 * 2e-4 - spread
        assert worth > 2e-4 - 1e-12


def test_the_agent_grows_only_where_the_classifier_lets_it(tape, artifacts, tmp_path):
    lines = lines_of("hybrid_ppo", "Action", "Veto", max_position_quote=500.0)
    summary = run(tape, artifacts, tmp_path, "Action", "Veto", lines=lines)
    found = entries(Path(summary.run_dir))
    assert len(found) > 2 and summary.fills > 4
    for intent, decision, before in found:
        assert decision["model"] == 1
        said = before[(before["model"] == 2) & (before["instrument"] == decision["instrument"])]
        assert said[-1]["code"] != 0 and intent["i1"] == 1


@pytest.mark.parametrize(
    ("name", "models", "says"),
    [
        ("tfa", ("Action",), "strategies.tfa: Action says action, it takes classifier3 or binary"),
        ("transformer", ("Veto",), "Veto says binary, it takes regressor or quantiles"),
        ("hybrid_ppo", ("Action",), "needs a model that says classifier3 or binary"),
    ],
)
def test_a_strategy_refuses_other_outputs(tape, artifacts, tmp_path, name, models, says):
    with pytest.raises(ConfigError, match=says):
        run(tape, artifacts, tmp_path, *models, lines=lines_of(name, *models))
