"""Hot reload: a session goes over to another version between two rows, and its replay with it."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import pytest_asyncio

import app.reload
from app.replay import Replay, replay
from app.story import story_object
from app.story_words import story_lines
from config.load import load_settings
from engine.audit_layout import AUDIT, Record, Verdict
from engine.audit_story import order_story
from engine.audit_verify import verify
from engine.control_log import CONTROL_LOG
from engine.errors import DataError, UsageError
from engine.events import Signal
from engine.run_files import AUDIT_RECORDS, EVENTS, Summary
from engine.tape import Tape
from ml import registry
from tests.app.reload_world import World
from tests.app.replay_cli import ROOT
from tests.app.test_paper import ended, exchange_of
from tests.app.versions import add_narrow_version, add_version, copy_artifacts, tick_mlp
from tests.swaps import Swapping, anon_mb, answers, hear

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts with TickMLP:1 in production and TickMLP:2, its mirror, as a candidate."""
    root = copy_artifacts(tmp_path_factory.mktemp("versions"))
    add_version(root, tick_mlp())
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the artifacts that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "artifacts"))


@pytest_asyncio.fixture
async def worlds(tmp_path: Path):
    """Give what starts a session whose reloads run; all end with the test."""
    tasks, made = [], []

    def start(root: Path, **changes) -> World:
        world = World(tmp_path / f"world{len(made)}", root, **changes)
        made.append(world)
        tasks.append(asyncio.create_task(world.reloads.run()))
        return world

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for world in made:
        if world.blocks is None:
            world.tape.abandon()


async def until(test: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(WITHIN_S):
        while not test():
            await asyncio.sleep(0.005)


async def swapped(world: World, wish: str) -> None:
    """Write a wish into the signal file and wait until a swap has followed."""
    count = world.parts.swaps.count
    world.signal.write_text(wish)
    await until(lambda: world.parts.swaps.count > count)


async def refused(world: World) -> str:
    """Wait for the next refusal; return what was said."""
    count = world.reloads.refused
    await until(lambda: world.reloads.refused > count)
    return world.told[-1][1]


def repeated(world: World, **changes) -> Summary:
    """Replay a session's run folder."""
    engine = msgspec.structs.replace(world.settings.engine, **changes)
    settings = msgspec.structs.replace(world.settings, engine=engine)
    tape = Tape.open(world.run_dir / "tape")
    return replay(Replay(tape=tape, settings=settings, run=world.run_dir, report=False))


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


def flip(root: Path) -> None:
    path = root / "TickMLP" / "2" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def claim(root: Path, change: Callable[[dict], None]) -> None:
    """Change what the registry says of TickMLP:2."""
    path = root / "registry.json"
    told = json.loads(path.read_text())
    change(next(e for e in told["entries"] if (e["model_id"], e["version"]) == ("TickMLP", "2")))
    path.write_text(json.dumps(told))


def forge(root: Path, name: str, data: bytes) -> None:
    """Put other bytes into TickMLP:2 with hashes that agree."""
    (root / "TickMLP" / "2" / name).write_bytes(data)
    word = registry.sha256(data)

    def change(entry: dict) -> None:
        entry["files"][name] = word
        if name == "model.onnx":
            entry["sha256"] = word

    claim(root, change)


def rename(root: Path) -> None:
    claim(root, lambda entry: entry["input_features"].__setitem__(0, "bid_ask_spreat"))


BAD = {
    "a flipped bit": (flip, "model.hash"),
    "no file": (lambda root: (root / "TickMLP" / "2" / "model.onnx").unlink(), "model.missing"),
    "no model": (lambda root: forge(root, "model.onnx", b"\x00" * 100), "model."),
    "other answers": (lambda root: forge(root, "model.onnx", tick_mlp(0.5)), "model.golden"),
    "answers that are no numbers": (
        lambda root: forge(root, "model.onnx", tick_mlp(float("nan"))),
        "model.output",
    ),
    "a renamed feature": (rename, "model.features"),
    "other feature code": (
        lambda root: claim(root, lambda entry: entry.update(kernel_identity="0" * 64)),
        "model.kernel",
    ),
    "a torn registry": (lambda root: (root / "registry.json").write_text("{"), "registry.torn"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("what", BAD)
async def test_a_bad_candidate_is_refused_and_the_old_one_serves_on(worlds, root, what):
    spoil, code = BAD[what]
    world = worlds(root, named=("TickMLP:2",))
    world.feed(4_000)
    spoil(root)
    world.reloads.ask("TickMLP", "2", "test")
    said = await refused(world)
    assert code in said
    assert "\n" not in said
    assert world.version() == "1"
    before = int(world.parts.state.root[0]["decisions"])
    world.feed(4_000)
    assert int(world.parts.state.root[0]["decisions"]) > before
    done = world.close()
    assert done.reloads == 0
    assert "reload_refused" in (world.run_dir / EVENTS).read_text()
    assert ("model_refused", said) in world.told


@pytest.mark.asyncio
async def test_a_candidate_is_not_swapped_in_where_its_model_trades(worlds, root):
    world = worlds(root)
    world.reloads.ask("TickMLP", "2", "test")
    assert "lab.py models promote TickMLP:2" in await refused(world)
    assert world.version() == "1"


@pytest.mark.asyncio
async def test_other_features_need_another_session(worlds, root):
    name = add_narrow_version(root).name
    world = worlds(root, named=(name,))
    world.reloads.ask("TickMLP", name.partition(":")[2], "test")
    said = await refused(world)
    assert "needs another kernel" in said
    assert "extra: returns_1, rsi_14" in said
    assert world.parts.swaps.count == 0


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
async def test_wishes_that_come_while_one_is_loaded_are_one(worlds, root, monkeypatch):
    world = worlds(root, named=("TickMLP:1", "TickMLP:2"))
    go, loads, real = threading.Event(), [], app.reload.load_version

    def slow(serving, artifacts, view):
        loads.append(serving.version)
        assert go.wait(WITHIN_S)
        real(serving, artifacts, view)

    monkeypatch.setattr(app.reload, "load_version", slow)
    world.reloads.ask("TickMLP", "2", "first")
    await until(lambda: len(loads) == 1)
    for _ in range(500):
        world.reloads.ask("TickMLP", "1", "older")
        world.reloads.ask("TickMLP", "2", "newest")
    go.set()
    await until(lambda: world.parts.swaps.count == 1)
    await until(lambda: not world.reloads._wanted)
    assert loads == ["2", "2"]  # one that came too late to serve, and the newest
    assert world.version() == "2"
    assert world.reloads.loads == 2


@pytest.mark.asyncio
async def test_the_version_that_serves_is_not_loaded_again(worlds, root):
    world = worlds(root)
    world.reloads.ask_production("test")
    await until(lambda: world.reloads.loads == 2)
    await until(lambda: not world.reloads._wanted)
    assert world.parts.swaps.count == world.reloads.refused == 0


@pytest.mark.asyncio
async def test_a_session_outlives_every_shape_of_its_signal_file(worlds, root):
    world = worlds(root, named=("TickMLP:2",))
    shapes = [  # two reasons in turn: the same again is said once a minute
        os.mkfifo,
        lambda path: path.write_bytes(b"\xff" * 5000),
        os.mkdir,
        lambda path: path.write_text("TickMLP 2"),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_text("Nobody:2"),
        lambda path: (path.touch(), path.chmod(0o666)),
    ]
    for number, shape in enumerate(shapes, 1):
        shape(world.signal)
        await until(lambda number=number: world.reloads.refused == number)
        world.signal.rmdir() if shape is os.mkdir else world.signal.unlink()
        world.feed(400)
    await swapped(world, "TickMLP:2")
    assert len([code for code, _ in world.told if code == "model_refused"]) == len(shapes)


async def many(world: World, count: int) -> tuple[float, float]:
    """Reload so often; return the anonymous memory after a tenth of it, and at the end."""
    early = 0.0
    for number in range(count):
        world.reloads.ask("TickMLP", "21"[number % 2], "test")
        await until(lambda number=number: world.parts.swaps.count == number + 1)
        world.feed(80)
        if number == count // 10:
            early = anon_mb()
    return early, anon_mb()


@pytest.mark.asyncio
async def test_memory_is_flat_over_many_reloads(worlds, root):
    world = worlds(root, named=("TickMLP:1", "TickMLP:2"))
    early, late = await many(world, 60)
    assert late - early < 12.0
    assert world.close().reloads == 60


@pytest.mark.slow
@pytest.mark.asyncio
async def test_memory_is_flat_over_a_thousand_reloads(worlds, root):
    world = worlds(root, named=("TickMLP:1", "TickMLP:2"))
    early, late = await many(world, 1000)
    print(f"anonymous memory {early:.1f} MB after 100 reloads, {late:.1f} MB after 1,000")
    assert late - early < 12.0
    assert world.close().reloads == 1000


def lab(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "lab.py"), "models", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_paper_session_follows_promotion_hangup_and_file(tmp_path, root):
    runs = tmp_path / "runs"
    text = (ROOT / "config" / "default.yaml").read_text()
    config = tmp_path / "paper.yaml"
    config.write_text(f"{text}\nruns_dir: {runs}\nartifacts_dir: {root}\n")
    add_version(root, tick_mlp(0.5))
    words = ["--paper", "--json", "--no-report", "--config", str(config), "--duration", "200s"]
    session = subprocess.Popen(
        [sys.executable, str(ROOT / "run_live.py"), *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        exchange_of(session)
        lab("promote", "TickMLP:2", "--artifacts", root, "--why", "test", "--by", "tests")
        said = [line_with(session, "reload.swapped")]
        registry.promote(root, "TickMLP", "3", why="test", by="tests")
        session.send_signal(signal.SIGHUP)
        said.append(line_with(session, "reload.swapped"))
        (root / "models.signal").write_text("rollback TickMLP\n")
        said.append(line_with(session, "reload.swapped"))
        session.send_signal(signal.SIGTERM)
        code, found = ended(session)
    finally:
        session.kill()
    assert code == 0
    assert ["signal file" in said[0], "SIGHUP" in said[1], "rollback" in said[2]] == [True] * 3
    assert found["reloads"] == 3
    (line,) = [model for model in found["models"] if model["name"] == "TickMLP"]
    assert [(one["version"], one["times"]) for one in line["served"]] == [
        ("1", 1), ("2", 2), ("3", 1),
    ]  # fmt: skip
    run = Path(found["run_dir"])
    assert verify(run).ok
    settings = load_settings(config)
    for block in (1, 7, 65_536):
        engine = msgspec.structs.replace(settings.engine, block_rows=block)
        asked = msgspec.structs.replace(settings, engine=engine)
        tape = Tape.open(run / "tape")
        again = replay(Replay(tape=tape, settings=asked, run=run, report=False))
        assert again.decision_digest == found["decision_digest"]
        assert again.reloads == 3
    shutil.rmtree(root / "TickMLP" / "2")
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_live.py"), "--replay", str(run), "--config", str(config)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "was decided by TickMLP:2" in line]
    assert "Traceback" not in done.stderr


def line_with(session: subprocess.Popen, word: str) -> str:
    """Read a session's log until a line with a word comes."""
    assert session.stderr is not None
    ends = time.monotonic() + WITHIN_S
    while time.monotonic() < ends:
        line = session.stderr.readline()
        assert line, f"the session ended without {word}"
        if word in line:
            return line
    raise AssertionError(f"no {word} in time")


def test_swaps_at_full_speed_miss_no_row_and_name_each_signals_version(tmp_path):
    swapping = Swapping(tmp_path, minute_s=4.0, minutes=2, swaps=4)
    summary = swapping.run()
    assert swapping.asked == 4
    assert len(swapping.heard) > 20
    claims = swapping.claims(summary)
    assert [claim for claim, holds in claims.items() if not holds] == []
