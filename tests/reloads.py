"""Reloads of one session by the hundred, inline and on a thread; prints what the process holds.

`python -m tests.reloads FOLDER --count 1000` is a process of its own: of one that has tested other
things before, nobody could say what a reload leaves behind. The count goes for either kind. It
prints one JSON object: what was held after a tenth of the reloads, and after all of them.
"""

import argparse
import asyncio
import gc
import os
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from app import log
from config.load import load_settings
from config.settings import WatchSettings
from ml.runtime import shared
from ml.runtime.bound import BoundModel
from tests.app.reload_world import WITHIN_S, ThreadWorld, until
from tests.app.versions import add_version, copy_artifacts, tick_mlp
from tests.swaps import anon_mb

PAIRS = {"inline": ("2", "1"), "thread": ("3", "4")}  # 1 serves at the start
NAMED = tuple(f"TickMLP:{version}" for pair in PAIRS.values() for version in pair)
ROWS = 40  # of the market, between two reloads
LIVE = 3  # sessions: of the other model, of what serves, and of what is kept for a rollback


class Held(msgspec.Struct, frozen=True):
    """What a process holds.

    Attributes:
        anon_mb: anonymous memory.
        models: bound to arrays.  sessions: of the runtime.  threads: of the process.
        files: open ones, eventfds among them.
    """

    anon_mb: float
    models: int
    sessions: int
    threads: int
    files: int


def held() -> Held:
    """Look at this process."""
    gc.collect()
    return Held(
        anon_mb=anon_mb(),
        models=sum(isinstance(one, BoundModel) for one in gc.get_objects()),
        sessions=len(shared._open),
        threads=len(os.listdir("/proc/self/task")),
        files=len(os.listdir("/proc/self/fd")),
    )


def model_threads() -> int:
    """Count the threads that models run on."""
    return sum(one.name.startswith("model-Tick") for one in threading.enumerate())


async def settled(threads: int) -> Held:
    """Wait until the threads and sessions that went are over; return what is held then."""

    def over() -> bool:
        now = held()
        return model_threads() == threads and now.models == now.sessions == LIVE

    await until(over)
    return held()


async def many(world: ThreadWorld, kind: str, count: int) -> tuple[Held, Held]:
    """Reload so often, each time while a row may still be asked about."""
    early, threads = None, int(kind == "thread")
    for number in range(count):
        done = world.parts.swaps.count
        world.reloads.ask("TickMLP", PAIRS[kind][number % 2], "test")
        await until(lambda done=done: world.parts.swaps.count == done + 1)
        world.feed(ROWS)
        if number == max(2, count // 10):
            early = await settled(threads)
    assert early is not None, "too few reloads"
    return early, await settled(threads)


def made(folder: Path) -> ThreadWorld:
    """Return a session over the sample market with four versions of a model."""
    root = copy_artifacts(folder)
    add_version(root, tick_mlp())
    for weight in (0.5, 0.25):
        add_version(root, tick_mlp(weight), placement="thread")
    models = tuple(
        msgspec.structs.replace(one, deadline_ms=WITHIN_S * 1e3) if one.name == "TickMLP" else one
        for one in load_settings(None).models
    )
    never = WatchSettings(strikes=0, deadline_misses=0)  # a slow machine demotes nobody here
    rest = {"cache": folder / "tapes", "models": models, "watch": never}
    return ThreadWorld(folder / "world", root, NAMED, **rest)


async def counted(folder: Path, count: int) -> dict[str, Any]:
    """Reload `count` times inline and as often on a thread; return what was found."""
    world = made(folder)
    world.inference.start()
    task, found = asyncio.create_task(world.reloads.run()), {}
    try:
        for kind in PAIRS:
            found[kind] = await many(world, kind, count)
        await world.go_on(ROWS)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world.inference.close()
        world.inference.write()
        world.drain()
    done = world.close()
    (line,) = [one for one in done.models if one.name == "TickMLP"]
    return {**found, "reloads": done.reloads, "answers": line.answers}


def main() -> int:
    """Reload, and print what was held."""
    parser = argparse.ArgumentParser(prog="python -m tests.reloads", description=__doc__)
    parser.add_argument("folder", type=Path, help="for models, market and run")
    parser.add_argument("--count", type=int, default=1000, help="reloads of either kind")
    args = parser.parse_args()
    log.configure(levels={"models": "warning"})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(counted(args.folder, args.count))
    print(msgspec.json.encode(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
