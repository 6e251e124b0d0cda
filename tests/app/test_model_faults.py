"""The fault list's M rows in running sessions: what a model does wrong costs its own signals only.

One session trades with models that answer no number, no probabilities, that throw and that ask for
all memory; one has the same models as shadows beside it, one has nothing wrong. All replay.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from config.settings import ModelSettings
from engine.audit_layout import ModelStatus, Record
from engine.events import Action, HoldReason, Purpose
from engine.row_words import row_head
from engine.rows import Kind
from engine.tape import Tape
from tests.app.fault_world import (
    BARS,
    FAULTY,
    RULES,
    STRUCK_OUT,
    TICKS,
    Told,
    faulty,
    faulty_artifacts,
    session,
)
from tests.app.reload_world import repeated

ROWS = 16_000
BLANK_BARS = ModelSettings(name="Bars", model_id="BlankBars", cadence="bar:1m")
JUDGED = {HoldReason.NONE, HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD}
STRIKE = {HoldReason.MODEL_NAN}  # what a model that raised has answered is no number either


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    return faulty_artifacts(tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="module")
def runs(artifacts, tmp_path_factory):
    """Run the sessions."""
    folder, cache = tmp_path_factory.mktemp("runs"), tmp_path_factory.getbasetemp() / "tapes"
    made = {}
    for name, models in (
        ("down", (BLANK_BARS, *faulty())),
        ("shadows", (BARS, TICKS, *faulty("shadow"))),
        ("plain", (BARS, TICKS)),
    ):
        world = session(folder / name, artifacts, models, cache)
        world.feed(ROWS)
        done = world.close()
        made[name] = SimpleNamespace(world=world, done=done, told=Told(world))
    return made


def struck_at(told: Told, name: str) -> int:
    """Return the place in the audit from which on a model is not asked any more."""
    (demoted,) = [m for m in told.of(name, Record.MODEL) if m["code"] == ModelStatus.DEMOTED]
    return int(demoted["seq"])


@pytest.mark.parametrize("name", FAULTY)
def test_fault_M07_M08_M11_M12_strikes_hold_and_end_the_asking(runs, name):
    told = runs["down"].told
    at = struck_at(told, name)
    decisions = told.of(name, Record.DECISION)
    before = decisions[decisions["seq"] < at]
    strikes = before[np.isin(before["aux"] & 0xFF, list(STRIKE))]
    assert RULES.strikes <= len(strikes) <= 2 * RULES.strikes  # two instruments at one look
    assert (strikes["code"] == Action.HOLD).all()
    assert set(told.reasons(name, at)) == {STRUCK_OUT}
    (text,) = [text for text in told.said("model_demoted") if text.startswith(f"{name} ")]
    assert text == f"{name} {name}:1 is not asked any more: strikes 3"
    (said,) = [t for code, t in runs["down"].world.told if code == "model_demoted" and name in t]
    assert f'lab.py models shadow {name}:1 --why "strikes"' in said
    raised = [
        text for text in told.said("model_failed") if text.startswith(f"model {at_of(told, name)}:")
    ]
    assert bool(raised) == (name in ("Throws", "Greedy"))
    if name == "Greedy":
        # the runtime's words: its C entry, taken where a model is fast, has no arena
        words = ("memory", "alloc", "arena")
        assert any(word in text.lower() for text in raised for word in words), raised


def at_of(told: Told, name: str) -> int:
    return told.names.index(name)


def test_fault_M22_with_all_models_down_every_decision_is_a_hold_and_no_order_opens(runs):
    told = runs["down"].told
    last = max(struck_at(told, name) for name in FAULTY)
    decisions = told.records[
        (told.records["kind"] == Record.DECISION) & (told.records["seq"] > last)
    ]
    assert len(decisions) > 100
    assert (decisions["code"] == Action.HOLD).all()
    intents = told.records[(told.records["kind"] == Record.INTENT) & (told.records["seq"] > last)]
    assert not (intents["code"] == Purpose.ENTRY).any()


def test_fault_M23_faulty_shadows_are_cut_and_nothing_of_production_changes(runs):
    told, plain = runs["shadows"].told, runs["plain"].told
    waits = [one.settings.name for one in runs["shadows"].world.parts.models if one.waiting]
    assert set(waits) == set(FAULTY)  # their rows are evaluated together, one by one where it fails
    for name in FAULTY:
        assert set(told.reasons(name, struck_at(told, name))) == {STRUCK_OUT}
        assert len(told.entries(name)) == 0
    columns = ["ts", "code", "aux", "instrument", "f0", "f1", "f2", "i3"]
    for name in ("Bars", "Ticks"):
        mine, alone = (one.of(name, Record.DECISION)[columns].tolist() for one in (told, plain))
        assert len(mine) > 20
        assert mine == alone
    fills = [one.records[one.records["kind"] == Record.FILL] for one in (told, plain)]
    money = ["ts", "instrument", "model", "i1", "i2", "i3", "i4"]
    assert fills[0][money].tolist() == fills[1][money].tolist()
    assert runs["shadows"].done.fills == runs["plain"].done.fills > 0


@pytest.mark.parametrize("name", ["down", "shadows"])
@pytest.mark.parametrize(("block", "ahead"), [(1, 1), (65_536, 1024)])
def test_strikes_replay_to_the_digest_however_rows_are_grouped(runs, name, block, ahead):
    again = repeated(runs[name].world, block_rows=block, batch_rows=ahead)
    assert again.decision_digest == runs[name].done.decision_digest
    assert again.shadow_digest == runs[name].done.shadow_digest
    assert again.models == runs[name].done.models


def test_fault_M21_after_a_reconnect_a_model_holds_until_its_features_are_warm(runs, tmp_path):
    settings = runs["plain"].world.settings
    world = session(tmp_path, Path(settings.artifacts_dir), (BARS, TICKS), tmp_path / "tapes")
    world.feed(8_000)
    lost = world.tape.rows
    now = world.now_ns()
    world.tape.push(row_head(int(Kind.DISCONNECT)), 0, now, (0, 0, 0, 0, 0))
    world.feed(8_000)
    done = world.close()
    told = Told(world)
    decisions = told.of("Ticks", Record.DECISION)
    warm = np.isin(decisions["aux"] & 0xFF, list(JUDGED))
    assert warm[decisions["row"] < lost].any()
    rows = np.concatenate([s.rows for s in Tape.open(world.run_dir / "tape").segments])
    for instrument in (0, 1):
        mine = (decisions["instrument"] == instrument) & (decisions["row"] > lost)
        first = int(decisions["row"][mine & warm][0])
        cold = decisions[mine & (decisions["row"] < first)]
        assert set(cold["aux"] & 0xFF) <= {HoldReason.GAP, HoldReason.NOT_WARM}
        assert HoldReason.NOT_WARM in cold["aux"] & 0xFF
        seen = rows[lost:first]
        quotes = (seen["kind"] == Kind.QUOTE) & (seen["instrument"] == instrument)
        assert quotes.sum() >= 200  # what mid_vs_ema_200 must have seen of the new connection
        assert np.isfinite(decisions["f2"][mine & warm]).all()
    for block, ahead in ((1, 1), (65_536, 1024)):
        again = repeated(world, block_rows=block, batch_rows=ahead)
        assert again.decision_digest == done.decision_digest
