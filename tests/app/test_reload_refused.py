"""What a session does not go over to: the old version serves on, and a person is told why."""

import os

import pytest

from tests.app.reload_world import refused, swapped, until
from tests.app.versions import add_narrow_version, add_version, tick_mlp


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
async def test_another_kind_of_answer_needs_another_session(worlds, root):
    words = {"horizons": ("1m",), "levels": (0.1, 0.5, 0.9)}
    name = add_version(root, tick_mlp(2.0), kind="quantiles", words=words).name
    world = worlds(root, named=(name,))
    world.reloads.ask("TickMLP", name.partition(":")[2], "test")
    assert "it answers as quantiles, the version that serves as classifier3" in await refused(world)
    assert world.parts.swaps.count == 0


@pytest.mark.asyncio
async def test_fault_M19_a_session_outlives_every_shape_of_its_signal_file(worlds, root):
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
