"""Every family's ONNX export trades in a replay, and goes over to its next version in a session."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.replay import Replay, replay
from app.sources import open_tape
from config.load import load_settings
from config.settings import ModelSettings, Settings, StrategySettings
from engine.audit_layout import AUDIT, Record
from engine.audit_reader import AuditFile, read_names
from engine.audit_verify import verify
from engine.events import HoldReason
from engine.run_files import AUDIT_RECORDS
from engine.tape import Tape
from ml import registry
from ml.importing import import_onnx
from tests.app.reload_world import repeated, swapped
from tests.app.replay_cli import SAMPLE
from tests.ml.families.catalogue import FAMILIES, other_bytes, said_of, serve

JUDGED = {HoldReason.NONE, HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD}
CLASSIFIERS = [name for name in FAMILIES if name not in ("tft", "ppo", "sac")]
OPEN = {"threshold": 0.4, "allow_short": True}
AGENT = {"min_change": 0.01, "veto_age_s": 120.0, "allow_short": True, "max_position_quote": 200.0}
LINES = (
    StrategySettings(name="ml_signal", models=tuple(CLASSIFIERS), params=OPEN),
    StrategySettings(
        name="transformer", models=("tft",), params={"allow_short": True, "min_profit_bps": 0.0}
    ),
    StrategySettings(name="hybrid_ppo", models=("ppo", "cnn"), params=AGENT),
    StrategySettings(name="hybrid_ppo", models=("sac", "cnn"), params=AGENT),
)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("families") / "artifacts"
    for name in FAMILIES:
        serve(root, name)
    return root


def models(*names: str) -> tuple[ModelSettings, ...]:
    return tuple(ModelSettings(name=name, model_id=name, cadence="bar:1m") for name in names)


def settings_of(artifacts: Path, runs: Path) -> Settings:
    found = load_settings(None, {"artifacts_dir": str(artifacts), "runs_dir": str(runs)})
    risk = msgspec.structs.replace(
        found.risk, allow_short=True, max_signal_age_ms=60_000.0, duplicate_window_ms=0.0
    )
    return msgspec.structs.replace(found, risk=risk, strategies=LINES, models=models(*FAMILIES))


@pytest.mark.slow
def test_every_family_trades_in_a_replay(artifacts, tmp_path):
    settings = settings_of(artifacts, tmp_path / "runs")
    source = open_tape([SAMPLE], assumed=settings.assumed, cache_dir=tmp_path / "tapes")
    found = replay(Replay(tape=Tape.open(source), settings=settings, report=False))
    assert {(line.status, line.placement) for line in found.models} == {("SERVING", "inline")}
    run = Path(found.run_dir)
    names = {model.index: model.name for model in read_names(run).models}
    told, traded = set(), set()
    for block in AuditFile(run).pick((Record.DECISION, Record.EXPOSURE)):
        acted = (block["kind"] == Record.DECISION) & (block["code"] != 1)
        told |= {names[int(index)] for index in block["model"][acted]}
        moved = (block["kind"] == Record.EXPOSURE) & (block["i0"] > 0)
        traded |= {names[int(index)] for index in block["model"][moved]}
    assert told == set(FAMILIES)
    assert traded == set(FAMILIES)
    assert found.fills > 0


@pytest.mark.slow
@pytest.mark.asyncio
async def test_every_family_goes_over_to_its_next_version_and_replays(worlds, tmp_path):
    root = tmp_path / "artifacts"
    for name in FAMILIES:
        serve(root, name)
    wanted = settings_of(root, tmp_path / "runs")
    world = worlds(root, models=wanted.models, strategies=LINES, risk=wanted.risk)
    world.feed(24_000)  # some twenty bars: windows of eight are whole
    for name in FAMILIES:
        import_onnx(root, other_bytes(name), said_of(name, placement="inline"))
        registry.promote(root, name, "2", why="for the test", by="tests")
        await swapped(world, f"{name}:2\n")
        world.feed(200)
    assert {line.version for line in world.parts.models} == {"2"}
    world.feed(8_000)
    done = world.close()
    assert done.reloads == len(FAMILIES)
    for line in done.models:
        assert [(one.version, one.times) for one in line.served] == [("1", 1), ("2", 1)], line.name
    records = np.fromfile(world.run_dir / AUDIT_RECORDS, AUDIT)
    for index, name in enumerate(FAMILIES):
        mine = records[records["model"] == index]
        swap = mine[mine["kind"] == Record.MODEL]["row"].max()
        told = mine[(mine["kind"] == Record.DECISION) & np.isin(mine["aux"] & 0xFF, list(JUDGED))]
        assert told["row"].min() < swap < told["row"].max(), name
    assert verify(world.run_dir).ok
    again = repeated(world)
    assert again.decision_digest == done.decision_digest
    assert again.reloads == len(FAMILIES)
