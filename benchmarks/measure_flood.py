"""Measures a flood of quotes over a real websocket into a paper session: 50,000 a second for 30 s.

The sender is the embedded exchange, a process of its own, which reports what it truly sent and in
which time. The session reads as any session does: what waits in the socket becomes one wake, and
what it cannot read waits at the sender. Before it, in the same run, a loop on the same transport
that receives and forgets says what the websocket package takes at most.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from app.paper_exchange import OPTIONS
from benchmarks.bars import Figure
from engine.errors import RunError
from venues.embedded.launcher import RunningExchange, start_exchange

RATE, SECONDS = 50_000.0, 30.0
BARE_RATE, BARE_SECONDS = 500_000.0, 5.0
SETTLE_S, AFTER_S = 3.0, 3.0  # quiet time before and after
LISTEN_S, END_S, LOOK_S = 180.0, 60.0, 0.02
WARM_S = 2.0  # of the flood, before memory is looked at
SYMBOL = "BTCUSDT"
SLACK_MIB, RECOVERY_S, ROWS_A_WAKE, TAKEN = 8.0, 1.0, 10.0, 0.999
BUSY = 0.2  # of the flood's rate: below it the flood is over


class Flooded(NamedTuple):
    """What one flood was and did.

    Attributes:
        sent: what the sender says: messages, seconds, rate.
        began, ended: monotonic s, by the sender's report.
        found: what the process under it printed.
    """

    sent: dict[str, Any]
    began: float
    ended: float
    found: dict[str, Any]

    @property
    def samples(self) -> np.ndarray:
        """Return float64[n, 4]: monotonic s, messages, wakes, MiB."""
        return np.array(self.found["samples"], np.float64)

    def within(self, start: float, stop: float) -> np.ndarray:
        """Return the samples of a span of time."""
        lines = self.samples
        return lines[(lines[:, 0] >= start) & (lines[:, 0] <= stop)]

    @property
    def recovery_s(self) -> float:
        """Return how long after the sender's end messages still came at the flood's pace."""
        lines = self.samples
        rates = np.diff(lines[:, 1]) / np.diff(lines[:, 0])
        busy = np.flatnonzero(rates > BUSY * float(self.sent["rate"]))
        return float(max(0.0, lines[busy[-1] + 1, 0] - self.ended)) if len(busy) else 0.0

    @property
    def grown_mib(self) -> float:
        """Return how much anonymous memory grew from its second second to its end."""
        lines = self.within(self.began + min(WARM_S, float(self.sent["seconds"]) / 2), self.ended)
        return float(lines[-1, 3] - lines[0, 3])

    @property
    def messages_a_wake(self) -> float:
        """Return how many messages a wake stands for while it lasts."""
        lines = self.within(self.began, self.ended)
        return float((lines[-1, 1] - lines[0, 1]) / max(1.0, lines[-1, 2] - lines[0, 2]))

    @property
    def taken_a_second(self) -> float:
        """Return the rate at which messages were taken while it lasted."""
        lines = self.within(self.began, self.ended)
        return float((lines[-1, 1] - lines[0, 1]) / (lines[-1, 0] - lines[0, 0]))


def flooded(exchange: RunningExchange, words: list[str], rate: float, seconds: float) -> Flooded:
    """Start a process that listens, flood it, end it.

    Args:
        exchange: the sender.
        words: of benchmarks.flood_session.
        rate: messages a second; seconds: for how long.
    Raises:
        RunError: it did not listen, or it failed.
    """
    command = [sys.executable, "-m", "benchmarks.flood_session", "--base-url", exchange.rest_url]
    child = subprocess.Popen(
        [*command, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        if not child.stdout.readline():
            said = child.communicate(timeout=END_S)[1].decode().strip().splitlines()
            raise RunError(f"flood: the session did not start: {said[-1] if said else 'silent'}")
        time.sleep(SETTLE_S)
        began = time.monotonic()
        body = {"symbol": SYMBOL, "rate": rate, "seconds": seconds}
        exchange.control("POST", "/flood", body)
        ended = until(lambda: not exchange.control("GET", "/flood")["running"], seconds)
        time.sleep(AFTER_S)
        out, said = child.communicate(timeout=END_S)
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    if child.returncode:
        raise RunError(f"flood: the session failed: {said.decode().strip()[-300:]}")
    sent = exchange.control("GET", "/flood")
    return Flooded(sent, began, ended, json.loads(out.splitlines()[-1]))


def until(done: Callable[[], bool], about_s: float) -> float:
    """Wait until something is so, looking seldom at first; return the time, monotonic s."""
    time.sleep(max(0.0, about_s - 0.5))
    limit = time.monotonic() + END_S
    while not done():
        if time.monotonic() > limit:
            raise RunError("flood: it does not end")
        time.sleep(LOOK_S)
    return time.monotonic()


def run(rate: float, seconds: float, bare_s: float) -> tuple[Flooded, Flooded]:
    """Run the floor and then the session; return both."""
    runs_dir = tempfile.mkdtemp(prefix="tickgate-flood-")
    try:
        with start_exchange(options=OPTIONS, stderr=subprocess.DEVNULL) as exchange:
            floor = flooded(exchange, ["--bare"], BARE_RATE, bare_s)
            ours = flooded(exchange, ["--runs-dir", runs_dir], rate, seconds)
    finally:
        shutil.rmtree(runs_dir, ignore_errors=True)
    return floor, ours


def flood(_rounds: int) -> list[Figure]:
    """Flood a session once, for half a minute; it is one long case and takes no turns."""
    floor, ours = run(RATE, SECONDS, BARE_SECONDS)
    sent, found = ours.sent, ours.found
    taken = ours.taken_a_second
    share = min(1.0, found["quotes"] / sent["sent"])
    bare = floor.taken_a_second
    what = (
        f"sender: {sent['sent']:,} messages in {sent['seconds']:.1f} s, {sent['rate']:,.0f} a "
        f"second, held back {sent['held_back']} times; a loop that only receives takes {bare:,.0f} "
        f"a second; {found['decisions']:,} decisions, {found['dropped']} dropped, "
        f"{found['connects']} connection"
    )
    return [
        Figure(
            "flood: messages a second taken", taken, bare, share, TAKEN, "", what, at_least=True
        ),
        Figure(
            "flood: messages a wake",
            ours.messages_a_wake,
            0.0,
            ours.messages_a_wake,
            ROWS_A_WAKE,
            "",
            "ratio: itself; a wake decides once on the newest state",
            at_least=True,
        ),
        Figure(
            "flood: RssAnon, its end less its second second",
            ours.grown_mib,
            0.0,
            ours.grown_mib,
            SLACK_MIB,
            "MiB",
            f"{found['rows']:,} rows on the tape",
        ),
        Figure("flood: recovery", ours.recovery_s, 0.0, ours.recovery_s, RECOVERY_S, "s"),
    ]


ALL = (flood,)
