"""A full disk, at the start and in the run: one clear line, or HOLD with its reason.

The limit on the size of files takes the place of a small disk: files that are allocated ahead, as
tape and journal are, cannot be had, and what grows cannot grow on.
"""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from engine.audit_layout import AUDIT, Record
from engine.audit_verify import verify
from engine.events import HoldReason, OrderState
from engine.run_files import AUDIT_RECORDS
from engine.tape import Tape
from tests.app.feed_world import feed_world
from tests.app.live_world import ROOT, command, environment, exchange
from tests.app.test_paper import exchange_of, gone, start

MIB = 1 << 20
SEGMENT_ROWS = 8192


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def venue() -> Iterator:
    with exchange("--history-hours", "1") as running:
        yield running


@pytest.mark.parametrize(("size", "what"), [(4 * MIB, "journal"), (20 * MIB, "tape")])
def test_at_the_start_it_is_one_line(tmp_path: Path, venue, size: int, what: str) -> None:
    with files_end_at(size):
        done = subprocess.run(
            command(tmp_path, venue), cwd=ROOT, env=environment(), capture_output=True, text=True,
            timeout=90,
        )  # fmt: skip
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("run_live.py")]
    assert "cannot allocate" in line
    assert what in line
    assert "Traceback" not in done.stderr


@pytest.mark.asyncio
async def test_in_the_run_no_next_segment_holds_and_the_process_goes_on(tmp_path: Path) -> None:
    async with feed_world(tmp_path, SEGMENT_ROWS) as world:
        await world.trading()
        tape = world.session.tape
        with files_end_at(SEGMENT_ROWS * 64 // 2):
            world.ask("/flood", symbol="BTCUSDT", rate=6000, seconds=2.0)
            await world.until(lambda: tape.exhausted)
            # what room is left is for the venue's word: one of them may decide no more until later
            await world.until(lambda: world.session.parts.state.root[0]["halted"] == 1)
            orders, dropped = world.orders(), world.health.dropped_messages
            await world.until(lambda: world.health.dropped_messages > dropped + 500)
            assert world.orders() == orders
            assert (world.health.connected, world.health.connects) == (True, 1)
        await world.until(lambda: not tape.exhausted)  # there is room again
        await world.held(HoldReason.HALTED)  # and still no order, until a person has looked
        summary = await world.end()
    assert summary.exit_reason == "halted"
    run = world.session.run_dir
    assert verify(run).ok
    Tape.open(run / "tape").verify()
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    killed = records[(records["kind"] == Record.DECISION) & (records["aux"] == HoldReason.HALTED)]
    sent = records[(records["kind"] == Record.ORDER) & (records["code"] == OrderState.SENT)]
    assert sent["row"].max() < killed["row"].min()


def test_in_the_run_an_audit_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    session = start(tmp_path / "runs")
    pid = exchange_of(session)
    (audit,) = (tmp_path / "runs").glob(f"*/{AUDIT_RECORDS}")
    size = audit.stat().st_size
    resource.prlimit(session.pid, resource.RLIMIT_FSIZE, (size, size))
    out, said = session.communicate(timeout=60)
    assert session.returncode == 1, said[-2000:]
    assert out == ""
    last = said.splitlines()[-1]
    assert last.startswith("run_live.py: ")
    assert "cannot be written" in last  # the audit, or first what names the tape
    assert "Traceback" not in said
    assert gone(pid)
