"""Hot reload: a session goes over to another version between two rows, and its replay with it."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.serving import Serving
from app.story import story_object
from app.story_words import story_lines
from config.load import load_settings
from engine.audit_layout import AUDIT, Record, Verdict
from engine.audit_story import order_story
from engine.audit_verify import verify
from engine.control_log import CONTROL_LOG
from engine.errors import DataError, UsageError
from engine.events import Signal
from engine.run_files import AUDIT_RECORDS, Summary
from ml import registry
from tests.app.reload_world import WITHIN_S, HeldLoads, ThreadWorld, World, repeated, swapped, until
from tests.app.replay_cli import ROOT
from tests.app.versions import add_version, tick_mlp
from tests.reloads import PAIRS
from tests.swaps import answers, hear

GROWTH_MB = 8.0  # of a process between a tenth of its reloads and the last one


async def traded(world: World, root: Path) -> Summary:
    """Trade with 1, then 2, then 1 by rollback, then 2 once more."""
    world.feed(12_000)
    registry.promote(root, "TickMLP", "2", why="for the test", by="tests")
    await swapped(world, "")
    world.feed(12_000)
    await swapped(world, "rollback TickMLP\n")
    world.feed(12_000)
    await swapped(world, "TickMLP:2\n")
    world.feed(6_000)
    return world.close()


@pytest.mark.asyncio
async def test_a_session_with_swaps_replays_to_its_digest_however_rows_are_grouped(worlds, root):
    world = worlds(root)
    done = await traded(world, root)
    assert done.reloads == 3
    assert done.fills > 0
    (line,) = [model for model in done.models if model.name == "TickMLP"]
    assert line.version == "2"
    assert [(one.version, one.times) for one in line.served] == [("1", 2), ("2", 2)]
    assert verify(world.run_dir).ok
    for block, ahead in ((1, 1), (7, 1024), (65_536, 1024), (65_536, 1), (997, 3)):
        found = repeated(world, block_rows=block, batch_rows=ahead)
        assert found.decision_digest == done.decision_digest, (block, ahead)
        assert (found.reloads, found.fills) == (3, done.fills)
        assert found.models == done.models


@pytest.mark.asyncio
async def test_the_audit_names_the_version_that_gave_each_signal(worlds, root):
    world, heard = worlds(root), []
    world.parts.desk.bus.topic(Signal).subscribe(lambda s: hear(world.parts, heard, s))
    await traded(world, root)
    records = np.fromfile(world.run_dir / AUDIT_RECORDS, AUDIT)
    given = list(answers(root, heard, records))
    assert len({sha for sha, _ in given}) == 2
    assert all(same for _, same in given)
    swaps = records[(records["kind"] == Record.MODEL) & (records["model"] == 1)]["row"]
    found = set()
    for verdict in records[(records["kind"] == Record.VERDICT) & (records["model"] == 1)]:
        if verdict["code"] == Verdict.BLOCKED or verdict["row"] in swaps:
            continue
        told = story_object(world.run_dir, order_story(world.run_dir, int(verdict["i5"])))
        signal = told["signal"]
        expected = "12"[int((swaps < signal["row"]).sum() - 1) % 2]
        assert signal["model_version"] == expected
        assert signal["model_sha256"][:12] in " ".join(story_lines(told))
        found.add(expected)
        if len(found) == 2:
            break
    assert found == {"1", "2"}


@pytest.mark.asyncio
async def test_after_a_promotion_a_replay_takes_the_versions_of_the_run(worlds, root):
    world = worlds(root)
    world.feed(8_000)
    done = world.close()
    registry.promote(root, "TickMLP", "2", why="after the run", by="tests")
    assert repeated(world).decision_digest == done.decision_digest


@pytest.mark.asyncio
async def test_a_replay_whose_version_is_gone_says_which(worlds, root):
    world = worlds(root)
    await traded(world, root)
    (root / "TickMLP" / "2" / "model.onnx").write_bytes(tick_mlp(0.5))
    with pytest.raises(UsageError, match=r"was decided by TickMLP:2 .*model\.hash"):
        repeated(world)


@pytest.mark.asyncio
async def test_a_changed_line_of_the_side_log_is_seen(worlds, root):
    world = worlds(root)
    await traded(world, root)
    log = world.run_dir / "tape" / CONTROL_LOG
    log.write_text(log.read_text().replace("signal file", "signal fire", 1))
    with pytest.raises(DataError, match="line 1 is not that of its swap row"):
        repeated(world)


def test_a_rollback_of_the_registry_lets_the_version_before_serve_again(root):
    for version in ("2", "3"):
        if version == "3":
            add_version(root, tick_mlp(0.5))
        registry.promote(root, "TickMLP", version, why="test", by="tests")
    assert registry.rollback(root, "TickMLP", why="worse", by="tests").version == "2"
    found = {e.version: e.status for e in registry.entries(root) if e.model_id == "TickMLP"}
    assert found == {"1": "archived", "2": "production", "3": "archived"}
    with pytest.raises(registry.ModelRefused, match="has replaced no version"):
        registry.rollback(root, "SignalClassifier", why="worse", by="tests")


@pytest.mark.asyncio
async def test_threshold_limit_and_books_stay_with_the_models_place(worlds, root):
    world = worlds(root, named=("TickMLP:2",))
    world.feed(12_000)
    gate, slots = world.parts.gate.record[0], world.parts.state.slots
    kept = (
        int(gate["limit"][1]),
        int(gate["filled"][1]),
        slots["threshold"].tolist(),
        slots["model"].tolist(),
        slots["next_ts"].tolist(),
    )
    held = [world.parts.portfolio.books.peek(1, at).position_lot for at in (0, 1)]
    await swapped(world, "TickMLP:2\n")
    assert kept == (
        int(gate["limit"][1]),
        int(gate["filled"][1]),
        slots["threshold"].tolist(),
        slots["model"].tolist(),
        slots["next_ts"].tolist(),
    )
    assert held == [world.parts.portfolio.books.peek(1, at).position_lot for at in (0, 1)]


@pytest.mark.asyncio
async def test_fault_M17_wishes_that_come_while_one_is_loaded_are_one(worlds, root, monkeypatch):
    world = worlds(root, named=("TickMLP:1", "TickMLP:2"))
    held = HeldLoads(monkeypatch)
    world.reloads.ask("TickMLP", "2", "first")
    await until(lambda: len(held.began) == 1)
    for _ in range(500):
        world.reloads.ask("TickMLP", "1", "older")
        world.reloads.ask("TickMLP", "2", "newest")
    held.go.set()
    await until(lambda: world.parts.swaps.count == 1)
    await until(lambda: not world.reloads._wanted)
    assert held.began == ["2", "2"]  # one that came too late to serve, and the newest
    assert world.version() == "2"
    assert world.reloads.loads == 2


@pytest.mark.asyncio
async def test_fault_M17_the_version_that_serves_is_not_loaded_again(worlds, root):
    world = worlds(root)
    world.reloads.ask_production("test")
    await until(lambda: world.reloads.loads == 2)
    await until(lambda: not world.reloads._wanted)
    assert world.parts.swaps.count == world.reloads.refused == 0


@pytest.mark.asyncio
async def test_fault_M17_signals_by_the_thousand_are_one_reload_and_no_row_is_lost(worlds, root):
    world = worlds(root)
    registry.promote(root, "TickMLP", "2", why="for the test", by="tests")
    for _ in range(1000):
        world.signal.touch()
        world.reloads.ask_production("SIGHUP")
        world.feed(8)
    await until(lambda: world.parts.swaps.count == 1)
    await until(lambda: not world.reloads._wanted)
    assert world.reloads.loads <= 6  # of each model the one asked for, and the file's wish
    world.feed(400)
    rows, done = world.tape.rows, world.close()
    assert (done.events, done.reloads) == (rows, 1)
    assert repeated(world).decision_digest == done.decision_digest


@pytest.mark.asyncio
@pytest.mark.parametrize("placement", ["inline", "thread"])
async def test_fault_M17_a_session_that_ends_while_a_version_loads_does_not_wait_for_it(
    worlds, root, placement, monkeypatch
):
    name = add_version(root, tick_mlp(0.5), placement=placement).name
    world = worlds(root, ThreadWorld, named=(name, "TickMLP:2"))
    held, closed, close = HeldLoads(monkeypatch), [], Serving.close
    priorities = set()  # of the version's thread: it is not begun by the loader, which has another

    def noted(serving):
        had_thread = serving.thread is not None and serving.thread.ready_fd >= 0
        begun = [one for one in threading.enumerate() if one.name.startswith("model-Tick")]
        priorities.update(os.getpriority(os.PRIO_PROCESS, one.native_id) for one in begun)
        close(serving)
        closed.append((serving.version, had_thread, serving.ort))

    monkeypatch.setattr(Serving, "close", noted)
    world.reloads.ask("TickMLP", name.partition(":")[2], "test")
    await until(lambda: held.began == ["3"])
    world.reloads.ask("TickMLP", "2", "nobody comes to it")
    world.reloading.cancel()
    await asyncio.wait({world.reloading}, timeout=WITHIN_S)
    assert world.reloading.cancelled(), "it has ended while the loader is held"
    world.feed(400)
    done = world.close()
    assert not closed
    held.go.set()
    await until(lambda: bool(closed))
    assert closed == [("3", placement == "thread", None)]
    assert priorities == ({os.getpriority(os.PRIO_PROCESS, 0)} if placement == "thread" else set())
    assert not [one for one in threading.enumerate() if one.name.startswith("model-Tick")]
    assert held.began == ["3"]
    assert (done.reloads, world.version()) == (0, "1")


def reloads(folder: Path, count: int) -> dict:
    """Reload `count` times inline and as often on a thread, in a process of its own."""
    words = [sys.executable, "-m", "tests.reloads", str(folder), "--count", str(count)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["reloads"] == 2 * count
    assert found["answers"]["RESULT"] > 0
    return found


def grown_mb(found: dict) -> dict[str, float]:
    """Return what was added to memory after the first tenth of the reloads, by kind."""
    return {kind: found[kind][1]["anon_mb"] - found[kind][0]["anon_mb"] for kind in PAIRS}


def counted(found: dict, at: int) -> list[dict]:
    """Return what is counted of each kind, after a tenth of the reloads (0) or all (1)."""
    return [{k: n for k, n in found[kind][at].items() if k != "anon_mb"} for kind in PAIRS]


def test_fault_M18_memory_threads_and_files_are_flat_over_many_reloads(tmp_path):
    found = reloads(tmp_path, 30)
    assert counted(found, 0) == counted(found, 1)
    assert max(grown_mb(found).values()) < GROWTH_MB, grown_mb(found)


@pytest.mark.slow
def test_fault_M18_memory_threads_and_files_are_flat_over_a_thousand_reloads(tmp_path):
    found = reloads(tmp_path, 1000)
    print(grown_mb(found))
    assert counted(found, 0) == counted(found, 1)
    assert max(grown_mb(found).values()) < GROWTH_MB, grown_mb(found)


@pytest.mark.asyncio
async def test_what_is_compared_at_a_version_stays_there(worlds, root):
    usual = load_settings(None).models
    (ticks,) = [one for one in usual if one.name == "TickMLP"]
    beside = {"Old": "1", "Newest": "production"}
    shadows = [
        msgspec.structs.replace(ticks, name=name, version=version, mode="shadow")
        for name, version in beside.items()
    ]
    world = worlds(root, models=(*usual, *shadows))
    registry.promote(root, "TickMLP", "2", why="for the test", by="tests")
    world.signal.write_text("")
    await until(lambda: world.parts.swaps.count == 2)
    served = {serving.settings.name: serving.version for serving in world.parts.models}
    assert (served["TickMLP"], served["Newest"], served["Old"]) == ("2", "2", "1")
    assert world.reloads.loads == 3  # the bar model's too, which stands already
