"""Own state in runs: the audit proves each value, nothing but the run decides it, doubt is HOLD."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.collect import collect_rows
from app.watching import watch_run
from app.wire import plan
from config.load import check_settings
from config.problem import ConfigProblem
from config.settings import ModelSettings, Settings, StrategySettings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile
from engine.errors import ConfigError, UsageError
from engine.events import HoldReason
from engine.run_files import NAMES
from engine.tape import Tape
from strategies.ema_cross import EmaCross
from tests.app.own_reference import Reference, row_hash
from tests.app.own_world import MORE, NAMED, SIZER, Run, make_artifacts, sample_tape, sizing
from tests.app.reload_world import World, repeated

CLOSE = {"rtol": 2e-6, "atol": 1e-8}
EXACT = (
    *("signal_confidence", "signal_classifier_prob", "current_drawdown_pct", "consecutive_losses"),
    *("portfolio_heat", "position_pct", "unrealised_pnl_pct", "exposure_room"),
)
AT = {name: k for k, name in enumerate(MORE.names)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifacts(tmp_path_factory.mktemp("own") / "artifacts")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own") / "tapes"


@pytest.fixture
def settings(root: Path, tmp_path: Path) -> Settings:
    return sizing(root, tmp_path / "runs")


@pytest.fixture
def tape(settings: Settings, cache: Path) -> Tape:
    return sample_tape(cache, settings)


def records(run_dir: str | Path) -> np.ndarray:
    """Return all records of a run's audit."""
    return np.concatenate([block.copy() for block in AuditFile(Path(run_dir)).blocks()])


def test_every_value_is_what_the_audit_alone_says(tape, settings, monkeypatch):
    run = Run(tape, settings, monkeypatch)
    folder = Path(run.summary.run_dir)
    names = json.loads((folder / NAMES).read_bytes())
    reference = Reference(names, 10_000.0, settings.risk.max_model_exposure)
    audit = records(folder)
    reference.take(audit)
    assert len(run.rows) > 5000
    signals = sorted(run.rows)
    x = np.array([run.rows[signal] for signal in signals], np.float64)
    told = [reference.told[signal] for signal in signals]
    for name in EXACT:
        wanted = np.array([one[name] for one in told])
        np.testing.assert_allclose(x[:, AT[name]], wanted, **CLOSE, err_msg=name)
        assert len(np.unique(wanted)) > 3, f"{name} hardly moves: the test shows nothing"
    held, peer, edge, costs = (
        np.array([one[name] for one in told]) for name in ("held", "peer_held", "edge", "costs")
    )
    wanted = held + x[:, AT["pair_correlation_60"]] * peer
    np.testing.assert_allclose(x[:, AT["correlation_exposure"]], wanted, rtol=1e-5, atol=1e-5)
    wanted = 100 * edge * x[:, AT["atr_pct"]] - costs
    found = x[:, AT["expected_profit_after_fees"]]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert held.min() < 0 < held.max()
    by_id = {int(r["id"]): r for r in audit[audit["kind"] == Record.DECISION]}
    for signal, row in run.rows.items():  # what the model saw is what the audit's hash says
        assert row_hash(row) == by_id[signal]["i3"]
    assert all("own state" in line.evaluated for line in run.summary.models)
    assert run.parts.ahead is None
    by_name = {look.name: look.findings[0] for look in watch_run(folder)}
    assert "own state" in by_name["sizer"].text and by_name["sizer"].value is None
    assert "no training statistics" in by_name["adviser"].text


@pytest.fixture
def trading(settings: Settings) -> Settings:
    """Let the sizer trade as well, told of its own book: what it does comes back to it."""
    sizer = msgspec.structs.replace(settings.models[1], book_from=None)
    params = {**settings.strategies[0].params, "size_quote": 40.0}
    return msgspec.structs.replace(
        settings,
        models=(settings.models[0], sizer),
        strategies=(StrategySettings(name="ml_signal", params=params), settings.strategies[1]),
    )


def test_neither_blocks_nor_batches_show_in_the_digest(tape, trading, monkeypatch):
    found = []
    for block, batch in ((65_536, 1024), (1, 1), (7, 4096), (1000, 2)):
        engine = msgspec.structs.replace(trading.engine, block_rows=block, batch_rows=batch)
        run = Run(tape, msgspec.structs.replace(trading, engine=engine), monkeypatch)
        found.append(run.summary.decision_digest)
    assert len(set(found)) == 1
    books = {book.owner for book in run.summary.books if book.kind == "model"}
    assert books == {"adviser", "sizer"}


def test_how_often_a_shadow_is_told_leaves_no_trace_in_what_is_traded(tape, settings, monkeypatch):
    found = []
    for cadence in ("every:500ms", "bar:1m"):
        shadow = msgspec.structs.replace(settings.models[1], mode="shadow", cadence=cadence)
        told = msgspec.structs.replace(settings, models=(settings.models[0], shadow))
        summary = Run(tape, told, monkeypatch).summary
        assert summary.fills > 100
        found.append((summary.shadow_decisions, summary.decision_digest))
    (often, traded), (seldom, same) = found
    assert often > seldom + 10_000
    assert traded == same


def test_a_silent_or_old_signal_is_a_hold_that_names_its_feature(tape, settings, monkeypatch):
    sizer = msgspec.structs.replace(settings.models[1], signal_age_ms=1e-6)
    old = msgspec.structs.replace(settings, models=(settings.models[0], sizer))
    job = Run(tape, old, monkeypatch)
    assert not job.rows
    found = records(job.summary.run_dir)
    mine = found[(found["kind"] == Record.DECISION) & (found["model"] == 1)]
    assert set((mine["aux"] & 0xFF).tolist()) <= {HoldReason.NOT_WARM, HoldReason.FEATURE_NAN}
    assert set((mine["aux"] >> 8).tolist()) == {1 + AT["signal_confidence"]}
    from engine.audit_render import render

    render(Path(job.summary.run_dir))
    lines = (Path(job.summary.run_dir) / "audit.jsonl").read_text().splitlines()
    holds = [json.loads(line) for line in lines if '"kind":"holds"' in line]
    named = [name for line in holds for name in line.get("unknown", {})]
    assert set(named) == {"sizer: signal_confidence"}


def test_without_a_named_model_its_signal_is_absent_and_said_so(tape, settings, monkeypatch):
    alone = ModelSettings(name="sizer", model_id="Sizer", version="1", cadence="bar:1m")
    one = msgspec.structs.replace(
        settings, models=(settings.models[0], alone), strategies=settings.strategies[:1]
    )
    summary = Run(tape, one, monkeypatch).summary
    assert summary.signals.hold_reasons["FEATURE_ABSENT"] > 400
    assert any("signal_confidence needs own_signal" in note for note in summary.notes)


def test_what_cannot_be_told_is_refused_by_name(tape, settings):
    with pytest.raises(UsageError, match="'signal_confidence' is own state of a run"):
        collect_rows(tape, SIZER, "bar:1m", settings)
    for wrong, words in (("advisor", "did you mean adviser"), ("sizer", "its own signal")):
        tree = msgspec.to_builtins(settings)
        tree["models"][1]["signal_from"] = wrong
        with pytest.raises(ConfigProblem, match=words):
            check_settings(tree, "here")


def test_rules_read_their_view_and_no_own_state(tape, settings, monkeypatch):
    monkeypatch.setattr(EmaCross, "FEATURES", ("position_pct",))
    rule = msgspec.structs.replace(
        settings, models=(), strategies=(StrategySettings(name="ema_cross"),)
    )
    with pytest.raises(ConfigError, match="position_pct is own state, for models"):
        plan(rule, tape.instruments, ())


def test_a_session_and_its_replay_are_told_the_same(root, trading, cache, tmp_path):
    names = ("engine", "models", "strategies", "risk")
    changes = {name: getattr(trading, name) for name in names}
    world = World(tmp_path, root, NAMED, cache=cache, **changes)
    world.feed(90_000)
    there = world.close()
    assert there.fills > 20
    assert there.signals.buy + there.signals.sell > 1000
    sizer = records(there.run_dir)
    sizer = sizer[(sizer["kind"] == Record.DECISION) & (sizer["model"] == 1)]
    assert (sizer["aux"] == 0).sum() > 100
    for block in (65_536, 500):
        assert repeated(world, block_rows=block).decision_digest == there.decision_digest
