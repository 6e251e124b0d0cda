"""Shadows leave no trace in the decision digest; A/B splits share out by seed; M23, I18."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.compare import compare
from app.model_evidence import evidence_of
from config.settings import SplitSettings
from engine.audit_layout import Record
from engine.audit_reader import decision_digest
from engine.audit_render import render
from engine.audit_verify import verify
from engine.events import Purpose
from engine.run_files import AUDIT_TEXT
from ml import registry
from ml.runtime.split import arm_of
from tests.app.fused_world import (
    BARS,
    FUSED,
    SINGLE,
    TICKS,
    records,
    run,
    settings_of,
    shadow,
)
from tests.app.versions import copy_artifacts

NS_PER_S = 1_000_000_000


SHADOWS = (
    shadow(TICKS, "TickShadow"),
    shadow(BARS, "BarShadow"),
    shadow(FUSED, "BothShadow"),
    shadow(msgspec.structs.replace(TICKS, min_confidence=0.9), "Picky"),
)


@pytest.fixture(scope="module")
def alone(cut_tape, tmp_path_factory):
    """Return the run of two models without shadows."""
    runs = tmp_path_factory.mktemp("alone")
    return run(cut_tape, settings_of(runs, (BARS, TICKS), (SINGLE,)))


@pytest.mark.parametrize("first", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_fault_M23_four_shadows_change_no_decision_order_or_digest(
    cut_tape, tmp_path, alone, first
):
    models = (*SHADOWS, BARS, TICKS) if first else (BARS, *SHADOWS, TICKS)
    done = run(cut_tape, settings_of(tmp_path, models, (SINGLE,)))
    assert alone.fills > 20
    assert done.decision_digest == alone.decision_digest
    assert decision_digest(Path(done.run_dir)) == alone.decision_digest
    assert compare(Path(done.run_dir), Path(alone.run_dir)).same
    assert (done.decisions, done.signals) == (alone.decisions, alone.signals)
    assert alone.shadow_decisions == 0
    assert alone.shadow_digest == ""
    assert done.shadow_decisions > alone.decisions
    other = run(cut_tape, settings_of(tmp_path, models, (SINGLE,)), block_rows=7, batch_rows=1)
    assert other.shadow_digest == done.shadow_digest != ""


def test_a_shadow_says_what_its_champion_says_and_no_order_names_it(cut_tape, tmp_path, alone):
    done = run(cut_tape, settings_of(tmp_path, (BARS, TICKS, *SHADOWS), (SINGLE,)))
    made, shadowed = records(done, Record.DECISION), records(done, Record.SHADOW)
    assert set(made["model"].tolist()) == {0, 1}
    assert shadowed["id"].tolist() == list(range(len(shadowed)))
    ticks, same = made[made["model"] == 1], shadowed[shadowed["model"] == 2]
    same_fields = ("ts", "row", "code", "instrument", "f0", "f1", "f2", "i3", "f4", "f5", "i6")
    names = [one.name for one in done.models]
    assert names[2] == "TickShadow"
    # its own threshold is not the strategy's: advice that the champion holds back is advice here
    for field in (name for name in same_fields if name != "code"):
        assert np.array_equal(ticks[field], same[field]), field
    orders = records(done, Record.INTENT, Record.ORDER, Record.FILL, Record.EXPOSURE)
    assert set(orders["model"].tolist()) <= {0, 1}
    found = verify(Path(done.run_dir))
    assert found.ok, found
    render(Path(done.run_dir))
    text = (Path(done.run_dir) / AUDIT_TEXT).read_text()
    assert '"kind":"shadow"' in text
    assert '"ids":{"shadow":' in text
    sha256 = next(one.sha256 for one in done.models if one.name == "TickShadow")
    seen = evidence_of([Path(done.run_dir)], sha256)
    assert seen.decisions > 2 * np.count_nonzero(np.isin(ticks["aux"] & 0xFF, (0, 1, 2)))


def test_a_broken_shadow_costs_its_own_signals_only(cut_tape, tmp_path, alone):
    missing = shadow(msgspec.structs.replace(TICKS, model_id="Nowhere"), "Gone")
    done = run(cut_tape, settings_of(tmp_path, (missing, BARS, TICKS), (SINGLE,)))
    assert done.decision_digest == alone.decision_digest
    assert any("Nowhere" in note for note in done.notes)


def arms(mode_split: str, weights=(3.0, 1.0)):
    """Return two arms of one split over the tick model, and the bar model beside them."""
    made = [
        msgspec.structs.replace(TICKS, name=name, mode="ab", split=mode_split, weight=weight)
        for name, weight in zip("AB", weights, strict=True)
    ]
    return (BARS, *made)


def entries(done):
    """Return (model, ts, instrument) of every entry."""
    intents = records(done, Record.INTENT)
    chosen = intents[intents["code"] == Purpose.ENTRY]
    return list(
        zip(
            chosen["model"].tolist(),
            chosen["ts"].tolist(),
            chosen["instrument"].tolist(),
            strict=True,
        )
    )


def test_a_split_by_time_lets_each_arm_open_in_its_slices_only(cut_tape, tmp_path):
    split = SplitSettings(by="time", slice_s=30, seed=3)
    settings = settings_of(tmp_path, arms("t"), (SINGLE,), splits={"t": split})
    done = run(cut_tape, settings)
    seen = set()
    for model, ts, _ in entries(done):
        if model in (1, 2):
            number = ts // (30 * NS_PER_S)
            assert arm_of(3, "t", str(number), (3.0, 1.0)) == model - 1
            seen.add(model)
    assert seen == {1, 2}
    again = run(cut_tape, settings, block_rows=7, batch_rows=1)
    assert again.decision_digest == done.decision_digest
    other = msgspec.structs.replace(split, seed=4)
    changed = msgspec.structs.replace(settings, splits={"t": other})
    assert entries(run(cut_tape, changed)) != entries(done)


def test_a_split_by_instrument_gives_each_instrument_to_one_arm(cut_tape, tmp_path):
    symbols = [one.symbol for one in cut_tape.instruments]
    seed = next(  # one that parts the two
        s for s in range(100) if {arm_of(s, "i", name, (1.0, 1.0)) for name in symbols} == {0, 1}
    )
    split = SplitSettings(by="instrument", seed=seed)
    models = arms("i", (1.0, 1.0))
    done = run(cut_tape, settings_of(tmp_path, models, (SINGLE,), splits={"i": split}))
    found = {(model, at) for model, _, at in entries(done) if model in (1, 2)}
    wanted = {(1 + arm_of(seed, "i", name, (1.0, 1.0)), at) for at, name in enumerate(symbols)}
    assert found == wanted


def test_a_version_of_another_artifacts_folder_serves_by_its_own_registry(
    cut_tape, tmp_path, alone
):
    root = copy_artifacts(tmp_path)
    other = msgspec.structs.replace(
        TICKS, model_id="", path=str(root / "TickMLP" / "1"), target="nothing of the kind"
    )
    beside = shadow(TICKS, "Beside")  # with it the run's kernel is that of the other tests
    refused = run(cut_tape, settings_of(tmp_path, (BARS, other, beside), (SINGLE,)))
    assert any("models.Ticks.target says" in note for note in refused.notes)
    other = msgspec.structs.replace(other, target="future_move_classification")
    settings = settings_of(tmp_path, (BARS, other), (SINGLE,))
    assert run(cut_tape, settings).decision_digest == alone.decision_digest
    registry.set_status(root, "TickMLP", "1", "candidate", why="for the test", by="tests")
    assert run(cut_tape, settings).fills == 0  # it is a candidate there
    assert run(cut_tape, settings, named=("TickMLP:1",)).fills == alone.fills
