"""What a session does not go over to: the old version serves on, and a person is told why."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run_files import EVENTS
from ml import registry
from tests.app.reload_world import refused, swapped, until
from tests.app.versions import add_narrow_version, tick_mlp


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
    assert "missing: price_vs_ema_9" in said
    assert world.parts.swaps.count == 0


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
