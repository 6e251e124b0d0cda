"""Async tests on uvloop as sessions are; two versions of a model, sessions whose reloads run."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from engine.run_files import Summary
from engine.tape import Tape
from tests.app.fused_world import (
    BARS,
    ENSEMBLE,
    FUSED,
    LONG,
    SHORT,
    TICKS,
    cut,
    run,
    settings_of,
    shadow,
)
from tests.app.reload_world import World
from tests.app.versions import add_version, copy_artifacts, tick_mlp


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts with TickMLP:1 in production and TickMLP:2, its mirror, as a candidate."""
    root = copy_artifacts(tmp_path_factory.mktemp("versions"))
    add_version(root, tick_mlp())
    return root


@pytest.fixture(scope="session")
def cut_tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """Return the first rows of the sample market."""
    return cut(tmp_path_factory.mktemp("cut"), SHORT)


@pytest.fixture(scope="session")
def long_tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """Return more of them: the bar model is warm at the end."""
    return cut(tmp_path_factory.mktemp("long"), LONG)


@pytest.fixture(scope="session")
def voted(long_tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Return the run of two models, the vote of both, and a challenger in the shadow."""
    models = (BARS, TICKS, FUSED, shadow(TICKS, "Challenger"))
    return run(long_tape, settings_of(tmp_path_factory.mktemp("voted"), models, (ENSEMBLE,)))


@pytest.fixture
def root(two_versions: Path, tmp_path: Path) -> Path:
    """Return a copy of the artifacts that a test may change."""
    return Path(shutil.copytree(two_versions, tmp_path / "artifacts"))


@pytest_asyncio.fixture
async def worlds(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    """Give what starts a session whose reloads run; all end with the test."""
    tasks, made = [], []

    def start(root: Path, kind: type[World] = World, **changes) -> World:
        folder = tmp_path / f"world{len(made)}"
        world = kind(folder, root, cache=tmp_path_factory.getbasetemp() / "tapes", **changes)
        made.append(world)
        world.reloading = asyncio.create_task(world.reloads.run())
        tasks.append(world.reloading)
        return world

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for world in made:
        if world.blocks is None:
            world.tape.abandon()
