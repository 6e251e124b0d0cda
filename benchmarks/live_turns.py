"""Floor and engine on the live path in turns, in one process; prints one JSON object.

    python -m benchmarks.live_turns --turns 10 --rate 5000

A turn is a stretch of the load at one pacing: as fast as each message is done (`--rate 0`), or at
the load's clustered arrivals brought to a mean rate. Within a turn both take the load in the same
pieces, one after the other, so that both come back to caches that others have used. What is timed
is one message from its bytes to the return of the call that has handed an order over; only messages
that end in an order count (each tenth). Answers of the exchange are booked between two messages,
outside of the timed part.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import uvloop

from benchmarks import live_session, peer_models
from benchmarks.live_session import LiveLine
from benchmarks.ticks import generate
from engine.audit_layout import AUDIT, Record
from engine.run_files import AUDIT_RECORDS

STRETCH = 10_000  # messages of a turn
PIECE = 2_500  # messages that one of the two takes before the other does
BURST = 250  # orders that are answered together where no time passes between messages
SLEEP_OVER_NS = 150_000  # a longer gap is slept, the rest of it is spun
WAKE_UP_NS = 90_000
PERCENTILES = (50.0, 99.0, 99.9)


class Pace:
    """When the messages of a load are due.

    Args:
        n: messages.
        rate: mean a second; 0 for at once.
    """

    def __init__(self, n: int, rate: float) -> None:
        self._due: list[int] = []
        if rate:
            times = generate(max(n, 200_000))["ts_ns"][:n].astype(np.int64)
            gaps = np.diff(times, prepend=times[0])
            self._due = np.cumsum(gaps * (1e9 / rate / gaps.mean())).astype(np.int64).tolist()

    def begin(self, first: int) -> Callable[[int], None]:
        """Return the function that waits until message k is due; `first` is due now."""
        due, clock, sleep = self._due, time.perf_counter_ns, time.sleep
        if not due:
            return lambda k: None
        start = clock() - due[first]

        def wait(k: int) -> None:
            left = start + due[k] - clock()
            if left > SLEEP_OVER_NS:
                sleep((left - WAKE_UP_NS) / 1e9)
            while start + due[k] > clock():
                pass

        return wait


def percentiles(taken: list[int]) -> list[float]:
    """Return p50, p99 and p99.9 in us."""
    return [float(v) / 1e3 for v in np.percentile(np.array(taken), PERCENTILES)]


def floor_turn(take: Callable[[int], bool], stretch: range, pace: Pace) -> list[int]:
    """Time the floor over a stretch of messages."""
    clock, taken = time.perf_counter_ns, []
    wait = pace.begin(stretch.start)
    for k in stretch:
        wait(k)
        started = clock()
        ordered = take(k)
        ended = clock()
        if ordered:
            taken.append(ended - started)
    return taken


async def our_turn(
    line: LiveLine, stretch: range, pace: Pace, burst: int
) -> tuple[list[int], list[int]]:
    """Time the engine over a stretch: (to the adapter, from there to the library's call), ns."""
    clock, taken, sent = time.perf_counter_ns, [], []
    take, orders, waiting = line.taker(), line.orders, 0
    wait = pace.begin(stretch.start)
    for k in stretch:
        line.at(k)
        wait(k)
        started = clock()
        take(k)
        ended = clock()
        if orders.sending > waiting:
            waiting += 1
            taken.append(ended - started)
            line.account.journal.settle()  # as the adapter does in the loop's next turn
            if waiting >= burst:
                begun = clock()
                await line.answered()
                sent.append((line.exchange.called_ns - begun) // waiting)
                waiting = 0
    await line.answered()
    return taken, sent


async def run(rate: float, turns: int, policy: str, stretch: int) -> dict[str, Any]:
    """Run both in turns; return their percentiles by turn, and what proves the work."""
    n = turns * stretch
    load = live_session.messages(n)
    model = peer_models.make_all()["mlp"].read_bytes()
    folder, remove = live_session.scratch()
    found: dict[str, Any] = {"floor": [], "ours": [], "adapter": [], "rate": rate, "policy": policy}
    from benchmarks.floor_live import LiveFloor  # it compiles

    with contextlib.ExitStack() as stack:
        stack.callback(remove)
        floor = LiveFloor(load, model, folder)
        stack.callback(floor.close)
        line = LiveLine(load, policy, folder)
        take, pace = floor.taker(), Pace(n, rate)
        gc.collect()
        gc.freeze()
        for turn in range(turns):
            one, two, sent = [], [], []
            for first in range(turn * stretch, (turn + 1) * stretch, PIECE):
                part = range(first, min(first + PIECE, (turn + 1) * stretch))
                one += floor_turn(take, part, pace)
                taken, to_library = await our_turn(line, part, pace, 1 if rate else BURST)
                two += taken
                sent += to_library
            if turn:  # the first one warms up
                found["floor"].append(percentiles(one))
                found["ours"].append(percentiles(two))
                found["adapter"].append(percentiles(sent))
        summary = await line.close()
        records = np.fromfile(f"{summary.run_dir}/{AUDIT_RECORDS}", AUDIT)
    decided = records[records["kind"] == int(Record.DECISION)]
    return {
        **found,
        "checksum": float(decided["f2"].sum()),
        "floor_checksum": floor.checksum,
        "orders": summary.orders,
        "fills": summary.fills,
        "floor_orders": len(floor.outbox),
        "blocked": summary.blocked,
        "digest": summary.decision_digest,
    }


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0: at once")
    parser.add_argument("--turns", type=int, default=11, help="the first one is not counted")
    parser.add_argument("--stretch", type=int, default=STRETCH, help="messages of a turn")
    parser.add_argument("--policy", choices=("written", "synced"), default="written")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(given.rate, given.turns, given.policy, given.stretch))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
