"""The threads of a session: one row for each request, threads that come and go between wakes."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.inference import Inference, cores_of
from engine.errors import ConfigError
from engine.events import AnswerStatus
from engine.kernel.layout import ROOT, SLOT
from engine.latency import Stages
from engine.rows import Kind
from tests.ml.runtime.test_model_thread import WITHIN_S, Gate

RESULT, CLOSED = AnswerStatus.RESULT, AnswerStatus.CLOSED
SUPERSEDED, TIMED_OUT = AnswerStatus.SUPERSEDED, AnswerStatus.TIMED_OUT


class Tape:
    """Keeps the rows that are pushed."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, tuple[int, ...]]] = []

    def push(self, head: int, ts_event: int, ts_recv: int, payload: tuple[int, ...]) -> None:
        self.rows.append((head, ts_event, ts_recv, payload))

    def ends(self) -> dict[int, int]:
        """Return the status of each request; each has one row."""
        found = {row[3][0]: row[3][4] for row in self.rows}
        assert len(found) == len(self.rows)
        return found


class World:
    """A session's threads over two instruments of one model, which is a gate."""

    def __init__(self, deadline_ns: int = 60_000_000_000) -> None:
        self.gate = Gate()
        self.serving = self.version(self.gate, deadline_ns)
        slots = np.zeros(2, SLOT)
        slots["hold_at"], slots["buy_at"] = 1, 2
        self.failures: list[Any] = []
        self.parts: Any = SimpleNamespace(
            models=[self.serving],
            plans=[SimpleNamespace(serving=self.serving, instrument=k) for k in (0, 1)],
            settings=SimpleNamespace(engine=SimpleNamespace(inference_cores=())),
            state=SimpleNamespace(root=np.zeros(1, ROOT), slots=slots),
            pipeline=SimpleNamespace(stages=Stages()),
            desk=SimpleNamespace(model_failed=lambda *told: self.failures.append(told)),
        )
        self.tape = Tape()
        self.inference = Inference(self.parts, self.tape, lambda: 777)  # type: ignore[arg-type]

    def version(self, gate: Gate, deadline_ns: int = 60_000_000_000) -> Any:
        return SimpleNamespace(
            index=0, settings=SimpleNamespace(name="Gated"), threaded=True, ort=gate,
            window=lambda number: None, thread=None,
            deadline_ns=deadline_ns, x=np.zeros((1, 3), np.float32),
        )  # fmt: skip

    def ask(self, slot: int, request: int, ts: int) -> None:
        """Ask as the pipeline does."""
        self.parts.state.root["now"] = ts
        self.inference.write()
        self.inference.ask(slot, request, self.serving.x)

    async def until(self, count: int) -> None:
        """Let the loop turn until so many rows are there."""
        ends = time.monotonic() + WITHIN_S
        while len(self.tape.rows) < count:
            assert time.monotonic() < ends, self.tape.rows
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_a_thread_that_answers_wakes_the_pipeline():
    world = World()
    world.inference.start()
    watch = asyncio.create_task(world.inference.watch(world.inference.write))
    world.serving.x[:] = 0.25
    world.gate.may_end.release(2)
    world.ask(1, 5, ts=40)
    await world.until(1)
    head, ts_event, ts_recv, payload = world.tape.rows[0]
    assert (head & 0xFFFF, head >> 16 & 0xFF) == (1, Kind.SIGNAL)
    assert (ts_event, ts_recv) == (40, 777)
    assert payload[0] == 5
    assert np.array(payload[1:4]).view(np.float64).tolist() == [0.5, 0.5, 0.5]
    assert payload[4] == RESULT
    watch.cancel()
    world.inference.close()
    assert list(world.parts.pipeline.stages.samples()) == ["inference_thread"]


@pytest.mark.asyncio
async def test_fault_M10_a_run_past_its_deadline_is_ended_by_the_loop():
    world = World(deadline_ns=30_000_000)
    world.inference.start()
    watch = asyncio.create_task(world.inference.watch(world.inference.write))
    world.ask(0, 1, ts=1)
    world.ask(1, 2, ts=1)
    await world.until(2)
    assert set(world.tape.ends().values()) == {TIMED_OUT}
    world.gate.may_end.release()
    world.ask(0, 3, ts=2)
    await world.until(3)
    assert world.tape.ends()[3] == RESULT
    watch.cancel()
    world.inference.close()


@pytest.mark.asyncio
async def test_fault_M18_another_version_takes_over_while_the_old_one_runs():
    world = World()
    world.inference.start()
    world.ask(0, 1, ts=1)
    assert world.gate.began.acquire(timeout=WITHIN_S)
    world.ask(0, 2, ts=2)
    world.ask(0, 3, ts=3)
    world.ask(1, 4, ts=3)
    old = world.inference.release(0)
    assert old is not None
    expected = {1: CLOSED, 2: SUPERSEDED, 3: CLOSED, 4: CLOSED}
    assert world.tape.ends() == expected, "before the next row of the tape"
    newer = Gate()
    world.serving.ort = newer
    world.inference.adopt(world.serving)
    newer.may_end.release()
    watch = asyncio.create_task(world.inference.watch(world.inference.write))
    world.ask(0, 5, ts=4)
    await world.until(5)
    assert world.tape.ends()[5] == RESULT
    assert (world.gate.runs, newer.runs) == (1, 1)
    assert await asyncio.to_thread(old.close, WITHIN_S)
    assert newer.cores == world.gate.cores
    watch.cancel()
    world.inference.close()
    assert world.inference.release(0) is not None
    assert world.inference.release(0) is None


@pytest.mark.asyncio
async def test_a_version_comes_with_the_thread_that_was_started_beside_the_loop():
    world = World()
    world.inference.start()
    newer = Gate()
    candidate = world.version(newer)
    await asyncio.to_thread(world.inference.prepare, candidate)
    prepared = candidate.thread
    assert prepared.ready_fd >= 0, "it serves already"
    old = world.inference.release(0)
    assert world.serving.thread is None, "what a rollback takes back has no thread that has ended"
    world.serving.ort, world.serving.thread = newer, prepared
    world.inference.adopt(world.serving)
    assert world.inference.threads == {0: prepared}
    newer.may_end.release()
    watch = asyncio.create_task(world.inference.watch(world.inference.write))
    world.ask(1, 7, ts=1)
    await world.until(1)
    assert world.tape.ends() == {7: RESULT}
    watch.cancel()
    assert await asyncio.to_thread(old.close, WITHIN_S)
    world.inference.close()


@pytest.mark.asyncio
async def test_closing_answers_what_is_open():
    world = World()
    world.inference.start()
    world.ask(0, 1, ts=1)
    assert world.gate.began.acquire(timeout=WITHIN_S)
    world.ask(0, 2, ts=2)
    world.inference.close()
    world.inference.write()
    assert world.tape.ends() == {1: CLOSED, 2: CLOSED}
    world.inference.close()
    assert not world.failures


def test_cores_are_those_that_are_allowed():
    (last,) = cores_of(())
    assert cores_of((last,)) == [last]
    with pytest.raises(ConfigError, match="inference_cores: 4095"):
        cores_of((4095,))
