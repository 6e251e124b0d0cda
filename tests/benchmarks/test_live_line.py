"""The benchmark's live session is a real one: same work as its floor, money to the last unit."""

import asyncio
from pathlib import Path

import pytest
import uvloop

import app.wire
from benchmarks import live_session, peer_models
from benchmarks.live_session import LiveLine
from benchmarks.live_turns import Pace, floor_turn, our_turn
from engine.kernel.decide import FIRST
from engine.run_files import Summary

MESSAGES = 1500


async def session(folder: Path, strategy: str, burst: int) -> Summary:
    """Run the line over some messages, `burst` orders between two answers."""
    load = live_session.messages(MESSAGES)
    line = LiveLine(load, "written", folder, strategy)
    taken, _ = await our_turn(line, range(MESSAGES), Pace(MESSAGES, 0.0), burst)
    assert len(taken) == MESSAGES // 10
    return await line.close()


def run(folder: Path, strategy: str, burst: int) -> Summary:
    folder.mkdir()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(session(folder, strategy, burst))


async def calls_of(folder: Path) -> int:
    """Return the kernel's calls over some messages whose orders nobody answers."""
    line = LiveLine(live_session.messages(MESSAGES), "written", folder, "bench_buy")
    take, pipeline = line.taker(), line.session.parts.pipeline
    began = pipeline.kernel_calls
    for k in range(MESSAGES):
        line.at(k)
        take(k)
    calls = pipeline.kernel_calls - began
    assert line.orders.sending == MESSAGES // 10
    await line.answered()
    await line.close()
    return calls


def test_a_wake_is_one_call_of_the_kernel_also_where_it_ends_in_an_order(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        calls = runner.run(calls_of(tmp_path))
    assert calls == MESSAGES + FIRST  # Python calls the model itself, and times it, at first


@pytest.mark.slow
def test_floor_and_session_do_the_same_work(tmp_path: Path) -> None:
    from benchmarks.floor_live import LiveFloor  # it compiles

    summary = run(tmp_path / "ours", "bench_buy", 20)
    model = peer_models.make_all()["mlp"].read_bytes()
    floor = LiveFloor(live_session.messages(MESSAGES), model, tmp_path)
    floor_turn(floor.taker(), range(MESSAGES), Pace(MESSAGES, 0.0))
    floor.close()
    assert summary.orders == summary.fills == len(floor.outbox) == MESSAGES // 10
    assert summary.blocked == {}


@pytest.mark.parametrize("burst", [1, 7])
def test_live_orders_in_the_kernel_and_in_python_are_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, burst: int
) -> None:
    found = []
    for in_kernel in (True, False):
        monkeypatch.setattr(app.wire, "ORDERS_IN_KERNEL", in_kernel)
        found.append(
            run(tmp_path / str(in_kernel), "bench_force" if burst == 1 else "bench_buy", burst)
        )
    kernel, python = found
    assert kernel.decision_digest == python.decision_digest
    assert kernel.orders == kernel.fills == MESSAGES // 10
    assert kernel.equity == python.equity
