"""Fused models in a run: the vote against a second reading, owners, books, sessions."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from config.settings import FusionSettings, ModelSettings, StrategySettings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile, read_names
from engine.audit_render import Renderer
from engine.audit_verify import verify
from engine.errors import ConfigError, UsageError
from engine.events import Action, HoldReason
from engine.json_files import read_lines
from engine.records import OWNERS_EVENT
from engine.run_files import EVENTS, EventLine
from ml.safe_files import sha256
from tests.app.fused_world import (
    BARS,
    ENSEMBLE,
    FUSED,
    SINGLE,
    TICKS,
    VOTE,
    decisions,
    records,
    run,
    settings_of,
)
from tests.app.reload_world import World, repeated
from tests.app.replay_cli import ROOT

SPOKEN = {HoldReason.NONE, HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD}
LASTS_NS = {0: 120_000_000_000, 1: 2_000_000_000}  # two bars; two seconds of 250 ms
WEIGHT = {0: 2.0, 1: 1.0}
CHANCES = ("sell", "hold", "buy")


def fuse_again(known: dict, now: int) -> tuple[int, int, float, float]:
    """Vote over the members' last records, by the words of docs/ensemble.md."""
    there = [
        (WEIGHT[model], record)
        for model, record in sorted(known.items())
        if record.reason in SPOKEN and now - record.ts <= LASTS_NS[model]
    ]
    if not there:
        return Action.HOLD, HoldReason.MEMBERS_MISSING, 0.0, 0.0
    total = sum(weight for weight, _ in there)
    score = {
        action: sum(w * getattr(r, side) for w, r in there if r.code == action) / total
        for action, side in ((Action.SELL, "sell"), (Action.BUY, "buy"))
    }
    sell, buy = score[Action.SELL], score[Action.BUY]
    if sell == buy:
        opposed = sell > 0.0
        reason = HoldReason.MEMBERS_DISAGREE if opposed else HoldReason.MODEL_SAYS_HOLD
        return Action.HOLD, reason, sell, buy
    best = Action.BUY if buy > sell else Action.SELL
    if score[best] < VOTE.threshold:
        return Action.HOLD, HoldReason.BELOW_THRESHOLD, sell, buy
    return best, HoldReason.NONE, sell, buy


def test_every_fused_decision_follows_from_its_members_records(voted):
    known: dict[int, dict] = {}
    judged: dict[tuple[int, int], int] = {}
    for record in decisions(voted):
        at = known.setdefault(record.instrument, {})
        if record.model < 2:
            at[record.model] = record
            continue
        if record.reason in (HoldReason.GAP, HoldReason.STALE_DATA, HoldReason.NOT_WARM):
            continue
        action, reason, sell, buy = fuse_again(at, record.ts)
        assert (record.code, record.reason) == (action, reason)
        assert abs(record.sell - sell) < 1e-6
        assert abs(record.buy - buy) < 1e-6
        assert record.row_hash != 0
        judged[(int(action), int(reason))] = judged.get((int(action), int(reason)), 0) + 1
    reasons = {reason for _, reason in judged}
    assert {HoldReason.NONE, HoldReason.BELOW_THRESHOLD, HoldReason.MEMBERS_MISSING} <= reasons
    assert {action for action, _ in judged} == set(Action)


def test_members_that_decide_at_one_wake_make_one_fused_decision(voted):
    made = records(voted, Record.DECISION)
    fused = made[made["model"] == 2]
    keys = set(zip(fused["ts"].tolist(), fused["row"].tolist(), fused["instrument"].tolist()))
    assert len(keys) == len(fused)
    members = made[made["model"] < 2]
    wakes = set(
        zip(members["ts"].tolist(), members["row"].tolist(), members["instrument"].tolist())
    )
    assert keys == wakes
    bars = members[members["model"] == 0]
    both = set(zip(bars["ts"].tolist(), bars["row"].tolist(), bars["instrument"].tolist()))
    ticks = members[members["model"] == 1]
    shared = both & set(
        zip(ticks["ts"].tolist(), ticks["row"].tolist(), ticks["instrument"].tolist())
    )
    assert shared  # both have decided at some wake


def test_orders_belong_to_who_advised_and_the_books_add_up(voted):
    folder = Path(voted.run_dir)
    assert voted.fills > 20
    named = {
        int(record["i0"]): record
        for record in records(voted, Record.EVENT)
        if record["code"] == OWNERS_EVENT
    }
    texts = [
        line.text
        for _, _, line in read_lines(folder / EVENTS, EventLine)
        if line is not None and line.code == OWNERS_EVENT
    ]
    assert len(texts) == len(named) > 0
    assert all(text.startswith("0:") and " 1:" in text for text in texts)
    signals = {int(r["id"]): int(r["model"]) for r in records(voted, Record.DECISION)}
    intents = records(voted, Record.INTENT)
    assert {signals[int(i)] for i in intents["i0"]} == {2}  # a member never trades alone
    several = intents[intents["model"] == 0xFFFF]
    assert set(several["id"].tolist()) == set(named)
    by = {kind: [b for b in voted.books if b.kind == kind] for kind in ("model", "strategy")}
    for field in ("position", "realized", "fees"):
        of_models = sum(getattr(book, field) for book in by["model"])
        assert of_models == pytest.approx(sum(getattr(b, field) for b in by["strategy"]), abs=1e-6)
    assert {book.owner for book in by["model"]} == {"Bars", "Ticks"}
    assert verify(folder).ok


@pytest.mark.parametrize(
    ("block", "batch"), [(7, 1), pytest.param(1000, 1024, marks=pytest.mark.slow)]
)
def test_blocks_and_batches_leave_the_digest_as_it_is(long_tape, tmp_path, voted, block, batch):
    settings = settings_of(tmp_path, (BARS, TICKS, FUSED), (ENSEMBLE,))
    again = run(long_tape, settings, block_rows=block, batch_rows=batch)
    assert again.decision_digest == voted.decision_digest


def test_a_session_with_fused_model_shadow_and_split_replays_to_its_digest(tmp_path):
    shadow = msgspec.structs.replace(TICKS, name="Shadow", mode="shadow")
    both = msgspec.structs.replace(FUSED, name="Seen", mode="shadow")
    world = World(
        tmp_path,
        ROOT / "artifacts",
        cache=tmp_path / "tapes",
        models=(both, shadow, BARS, TICKS, FUSED),
        strategies=(ENSEMBLE,),
    )
    world.feed(12_000)
    kept = world.close()
    assert kept.fills > 0
    assert kept.shadow_decisions > 0
    for block in (7, 65_536):
        again = repeated(world, block_rows=block)
        assert again.decision_digest == kept.decision_digest
        assert again.shadow_digest == kept.shadow_digest


def stacker(path: Path, fused_columns: int = 6) -> str:
    """Write a stacking model: softmax of a linear map that leans on the second member."""
    weight = np.zeros((fused_columns, 3), np.float32)
    weight[:3] = np.eye(3)
    weight[3:6] = 3.0 * np.eye(3)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Softmax", ["m"], ["probabilities"], axis=1),
        ],
        "stacker",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, fused_columns])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.ravel().tolist())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return sha256(data)


@pytest.fixture(scope="module")
def stacked(tmp_path_factory):
    """Return artifacts with a stacking model, and the fused model that uses it."""
    root = tmp_path_factory.mktemp("stack") / "artifacts"
    shutil.copytree(ROOT / "artifacts", root, ignore=shutil.ignore_patterns("kernels"))
    found = stacker(root / "stackers" / "both.onnx")
    fusion = FusionSettings(
        rule="stacking", members=("Bars", "Ticks"), threshold=0.45,
        stacker="stackers/both.onnx", stacker_sha256=found,
    )  # fmt: skip
    return root, ModelSettings(name="Both", fusion=fusion)


def test_a_stacking_model_reads_the_members_probabilities(long_tape, tmp_path, stacked):
    root, model = stacked
    done = run(long_tape, settings_of(tmp_path, (BARS, TICKS, model), (ENSEMBLE,), root))
    known: dict[int, dict] = {}
    found, lean = [], []
    for record in decisions(done):
        at = known.setdefault(record.instrument, {})
        if record.model < 2:
            at[record.model] = record
        elif record.sell + record.hold + record.buy > 0.0:
            found.append((record.sell, record.hold, record.buy))
            bars, ticks = at[0], at[1]
            lean.append([getattr(bars, s) + 3.0 * getattr(ticks, s) for s in CHANCES])
    wanted = np.exp(lean) / np.exp(lean).sum(axis=1, keepdims=True)
    assert np.abs(np.array(found) - wanted).max() < 1e-5
    compared = len(found)
    assert compared > 50


def test_a_changed_or_missing_stacking_model_holds_and_the_run_goes_on(cut_tape, tmp_path, stacked):
    root, model = stacked
    whole = (root / "stackers" / "both.onnx").read_bytes()
    fusion = model.fusion
    for name, data, words in (
        ("flipped.onnx", whole[:-1] + bytes([whole[-1] ^ 1]), "has sha256"),
        ("missing.onnx", None, "missing.onnx"),
    ):
        if data is not None:
            (root / "stackers" / name).write_bytes(data)
        other = msgspec.structs.replace(
            model, fusion=msgspec.structs.replace(fusion, stacker=f"stackers/{name}")
        )
        done = run(cut_tape, settings_of(tmp_path, (BARS, TICKS, other), (ENSEMBLE,), root))
        assert any(words in note for note in done.notes)
        assert done.fills == 0
        assert done.signals.buy + done.signals.sell > 0  # the members' own


def test_the_replay_of_a_run_refuses_a_fused_model_that_is_another_now(cut_tape, tmp_path, stacked):
    from app.replay import Replay, replay

    root, model = stacked
    settings = settings_of(tmp_path, (BARS, TICKS, model), (ENSEMBLE,), root)
    done = run(cut_tape, settings)
    heavier = msgspec.structs.replace(BARS, weight=3.0)
    other = msgspec.structs.replace(settings, models=(heavier, TICKS, model))
    job = Replay(tape=cut_tape, settings=other, report=False, run=Path(done.run_dir))
    with pytest.raises(UsageError, match="Both was fused otherwise then"):
        replay(job)


def test_strategies_hear_what_they_can_trade_and_members_only_when_named(cut_tape, tmp_path):
    named = StrategySettings(name="ml_signal", models=("Both",))
    with pytest.raises(ConfigError, match="strategy ensemble hears it"):
        run(cut_tape, settings_of(tmp_path, (BARS, TICKS, FUSED), (named,)))
    single = StrategySettings(name="ensemble", models=("Bars",))
    with pytest.raises(ConfigError, match="Bars is no fused one"):
        run(cut_tape, settings_of(tmp_path, (BARS, TICKS, FUSED), (single,)))
    assert run(cut_tape, settings_of(tmp_path, (BARS, TICKS, FUSED), (SINGLE,))).intents == 0
    alone = msgspec.structs.replace(SINGLE, models=("Ticks",))
    assert run(cut_tape, settings_of(tmp_path, (BARS, TICKS, FUSED), (alone,))).intents > 0


def test_the_audits_text_is_the_same_in_blocks_of_any_size(voted):
    """Orders of one owner and of several stand beside each other there."""
    run_dir, texts = Path(voted.run_dir), []
    for size in (61, 8_192):
        renderer = Renderer(read_names(run_dir), read_lines(run_dir / EVENTS, EventLine))
        lines = [renderer.lines(block) for block in AuditFile(run_dir).blocks(size=size)]
        texts.append(b"".join(lines) + renderer.close().encode())
    assert texts[0] == texts[1]
    orders = [line for line in texts[0].splitlines() if b'"kind":"order"' in line]
    assert len({b'"model":' in line for line in orders}) == 2
