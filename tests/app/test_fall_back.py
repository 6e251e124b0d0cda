"""A demoted model gives way to the version before where settings say so, and the run replays."""

import numpy as np
import pytest

from app.demotion import Demotions
from app.swap import FALL_BACK
from config.settings import WatchSettings
from engine.audit_layout import AUDIT, ModelStatus, Record, Verdict
from engine.events import WatchCheck
from engine.run_files import AUDIT_RECORDS, EVENTS, Summary
from ml import registry
from tests.app.reload_world import HeldLoads, World, refused, repeated, swapped, until
from tests.app.versions import add_version, tick_mlp

TICKS = 1  # place of TickMLP among the models
NAMED = ("TickMLP:1", "TickMLP:2", "TickMLP:3")
GIVES_WAY = WatchSettings(on_demotion="previous")
REASON = (WatchCheck.FEATURES, 0.75, "features have drifted")


def demote(world: World) -> None:
    """Demote the version of TickMLP that serves, as a watch does."""
    world.demotions.ask(TICKS, world.parts.models[TICKS].sha256, REASON)
    assert world.parts.models[TICKS].status == ModelStatus.DEMOTED


async def gave_way(world: World) -> None:
    """Demote what serves, and wait until the version before does."""
    count = world.swaps_told()
    demote(world)
    await until(lambda: world.swaps_told() == count + 1)


def same_again(world: World, done: Summary) -> None:
    """See that replays come to the same decisions and swaps."""
    for block, ahead in ((1, 1), (65_536, 1024)):
        again = repeated(world, block_rows=block, batch_rows=ahead)
        assert again.decision_digest == done.decision_digest
        assert again.reloads == done.reloads
        assert again.models == done.models


def approved(records: np.ndarray, first_row: int) -> int:
    """Count the orders of TickMLP that the gate let out from a row on."""
    verdicts = records[(records["kind"] == Record.VERDICT) & (records["model"] == TICKS)]
    passed = verdicts["code"] != Verdict.BLOCKED
    return int((passed & (verdicts["row"] >= first_row)).sum())


@pytest.mark.asyncio
async def test_the_version_before_trades_on_and_its_own_demotion_leaves_nobody(worlds, root):
    world = worlds(root, named=NAMED, watch=GIVES_WAY)
    serving = world.parts.models[TICKS]
    world.feed(12_000)
    await swapped(world, "TickMLP:2\n")
    world.feed(12_000)
    await gave_way(world)
    back_at = world.tape.rows
    assert (serving.version, serving.may_trade) == ("1", True)
    assert serving.status == ModelStatus.SERVING
    assert ("model_swapped", "TickMLP goes over to TickMLP:1") in world.told
    world.feed(12_000)
    demote(world)
    end_at = world.tape.rows
    world.feed(4_000)
    assert not world.reloads._fall_backs.due
    await swapped(world, "rollback TickMLP\n")  # by hand it may be had: as it stood, demoted
    assert (serving.version, serving.may_trade) == ("2", False)
    world.feed(4_000)
    done = world.close()
    assert done.reloads == 3
    records = np.fromfile(world.run_dir / AUDIT_RECORDS, AUDIT)
    assert approved(records, back_at) > approved(records, end_at)
    events = (world.run_dir / EVENTS).read_text()
    assert f"TickMLP:1 {serving_sha(root, '1')} {FALL_BACK}" in events
    same_again(world, done)


def serving_sha(root, version: str) -> str:
    """Return the sha256 of a version of TickMLP."""
    return registry.View(root).find("TickMLP", version).sha256


@pytest.mark.asyncio
async def test_what_gave_way_comes_back_by_its_name_and_not_with_a_wish_for_production(
    worlds, root
):
    world = worlds(root, watch=GIVES_WAY)
    serving = world.parts.models[TICKS]
    registry.promote(root, "TickMLP", "2", why="for the test", by="tests")
    await swapped(world, "")
    world.feed(4_000)
    await gave_way(world)
    world.feed(4_000)
    world.reloads.ask_production("SIGHUP")
    assert "TickMLP:2 was demoted here: name it in models.signal" in await refused(world)
    assert (serving.version, serving.may_trade) == ("1", True)
    await swapped(world, "TickMLP:2\n")
    assert (serving.version, serving.may_trade) == ("2", True)
    world.feed(4_000)
    await gave_way(world)
    world.feed(4_000)
    registry.set_status(root, "TickMLP", "2", "shadow", why="drifts", by="tests")
    registry.promote(root, "TickMLP", "2", why="the market is as it was", by="tests")
    world.reloads.ask_production("SIGHUP")
    await until(lambda: serving.version == "2")
    assert serving.may_trade
    world.feed(4_000)
    done = world.close()
    assert done.reloads == 5
    same_again(world, done)


@pytest.mark.asyncio
async def test_a_version_that_was_on_its_way_serves_and_is_not_left_again(
    worlds, root, monkeypatch
):
    add_version(root, tick_mlp(0.5))
    world = worlds(root, named=NAMED, watch=GIVES_WAY)
    await swapped(world, "TickMLP:2\n")
    world.feed(4_000)
    held = HeldLoads(monkeypatch)
    world.reloads.ask("TickMLP", "3", "a person's wish")
    await until(lambda: held.began == ["3"])
    demote(world)
    assert world.reloads._fall_backs.due == [TICKS]
    held.go.set()
    await until(lambda: world.parts.swaps.count == 2 and not world.reloads._fall_backs.due)
    world.feed(4_000)
    assert (world.version(), world.close().reloads) == ("3", 2)


@pytest.mark.asyncio
@pytest.mark.parametrize(("rules", "swaps"), [(GIVES_WAY, 0), (WatchSettings(), 1)])
async def test_nothing_takes_the_place_where_nothing_is_kept_or_wanted(worlds, root, rules, swaps):
    world = worlds(root, named=NAMED, watch=rules)
    for _ in range(swaps):
        await swapped(world, "TickMLP:2\n")
    world.feed(4_000)
    demote(world)
    assert not world.reloads._fall_backs.due
    world.feed(4_000)
    serving = world.parts.models[TICKS]
    assert (serving.status, serving.may_trade) == (ModelStatus.DEMOTED, False)
    assert world.close().reloads == swaps


@pytest.mark.asyncio
async def test_a_shadow_that_is_struck_out_gives_way_to_nobody(worlds, root):
    world = worlds(root, named=NAMED, watch=GIVES_WAY)
    asked: list[int] = []
    hands = (world.tape, world.now_ns, world.wake)
    demotions = Demotions(world.parts.models, hands, lambda *told: None, asked.append)
    sha256 = world.parts.models[TICKS].sha256
    demotions.ask(TICKS, sha256, REASON)
    demotions.ask(TICKS, sha256, (WatchCheck.STRIKES, 3.0, "three wrong answers"))
    assert world.parts.models[TICKS].struck_out
    assert asked == [TICKS]
