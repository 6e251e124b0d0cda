"""`make kills`: kill -9 of a trading live session, again and again, on one account at one exchange.

Each round starts a session, waits for a moment that is worth it and ends it in mid-word. What then
stands in journal, tape and audit is held against the exchange's own records, and so is what the
next session makes of it. Prints how many orders were in flight and partly filled at the kills;
ends with 0 when nothing was lost, doubled or forgotten.
"""

import argparse
import contextlib
import http.client
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from app.live_record import account_folder
from engine.account_state import LOSSES, AccountOrder, AccountState
from engine.audit_verify import verify
from engine.events import Command, OrderType
from engine.journal_layout import RECORD_BYTES, Latch, record_check, stored_check, unpack
from engine.orders import FINAL
from engine.rows import Kind
from engine.run_files import EVENTS
from engine.tape import Tape
from engine.venue_answers import POSITION
from tests.app.live_world import (
    KEY,
    ROOT,
    SECRET,
    command,
    environment,
    exchange,
    replayed,
    run_dirs,
    same_ledger,
    session,
    summary_of,
)
from venues.embedded.launcher import RunningExchange

WITHIN_S = 90.0  # a session's first order, on a slow machine
IN_FLIGHT_SHARE, PARTLY_SHARE = 0.4, 0.2
AIMS = ("answer", "part", "request", "part", "any")  # what a round waits for, in turn
LATE_MS = 250  # how long an order's request or answer is on its way
REPLAY_EACH = 10  # of the runs that were cut off


class Moment(NamedTuple):
    """How things stood at a kill."""

    aim: str
    open_orders: int
    in_flight: int  # orders that were sent and had no answer in the journal
    partly: int  # orders that were open and filled in part, at the exchange or in the journal
    untold: int  # orders of which the exchange had filled more than the journal knew


class JournalTail:
    """What an account's journal adds up to, also while it is written. One segment is enough here.

    Args:
        account: the account's folder; it need not be there yet.
    """

    def __init__(self, account: Path) -> None:
        self._path = account / "journal" / "000000.journal"
        self._records, self._check = 0, 0
        self.state = AccountState()

    def look(self) -> AccountState:
        """Fold what has come; a record that is not whole yet waits."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(RECORD_BYTES * (self._records + 1))
                while len(raw := file.read(RECORD_BYTES)) == RECORD_BYTES:
                    if not any(raw) or record_check(raw, self._check) != stored_check(raw):
                        break
                    self._check = stored_check(raw)
                    self._records += 1
                    self.state.apply(unpack(raw))
        return self.state


class Kills:
    """Rounds of kills on one account.

    Args:
        folder: config and runs.
        venue: the exchange, with an account `main`.
        seed: of the moments.
    """

    def __init__(self, folder: Path, venue: RunningExchange, seed: int = 3) -> None:
        self.folder, self.venue = folder, venue
        self.moments: list[Moment] = []
        self._chance = random.Random(seed)
        self._account = account_folder(folder / "runs", "embedded-main")
        self._words = folder / "session.err"  # what the newest session said
        self.tail = JournalTail(self._account)
        self.late_fills = 0  # of orders of earlier sessions, while a later one traded
        self.losses_kept = 0  # sessions that opened with the losses of those before them
        self._kept: tuple[int, ...] = ()  # losses in the journal when the last session was killed
        self._must_open_with: tuple[int, tuple[int, ...]] = (0, ())

    def run(self, rounds: int) -> None:
        """Kill `rounds` sessions, each at a moment of its kind."""
        self.venue.fault("user", "drop", "executionReport:*", every=4)
        self.venue.fault("user", "duplicate", "executionReport:*", skip=1, every=5)
        for number in range(rounds):
            aim = AIMS[number % len(AIMS)]
            late = [
                self.venue.fault(
                    "rest", "delay", "POST /api/v3/order", delay_ms=LATE_MS,
                    phase="before" if aim == "request" else "after",
                ),
                self.venue.fault("user", "delay", "executionReport:*", delay_ms=LATE_MS),
            ]  # fmt: skip
            self.venue.control("POST", "/engine", {"late_fill_lots": 5, "late_fill_count": 1})
            self._round(aim)
            for fault in late:
                self.venue.control("DELETE", f"/faults/{fault}")
            self._whole(run_dirs(self.folder)[-1], number % REPLAY_EACH == 0)
        self.venue.control("DELETE", "/faults")

    def latched(self) -> None:
        """Latch the kill switch of a trading session and kill it; the next one must not trade."""
        with self._session() as process:
            self._first_order(process)
            process.send_signal(signal.SIGUSR1)
            self._until(process, lambda: Latch.KILL in self.tail.look().latches)
            self._kill(process)
        done = session(command(self.folder, self.venue, "--duration", "1s"), WITHIN_S)
        assert done.returncode == 3, done.stderr[-2000:]
        assert summary_of(done)["orders"] == 0

    def end(self, *words: str) -> dict[str, Any]:
        """Run a session to its own end and compare both ledgers; return its summary."""
        line = command(self.folder, self.venue, "--duration", "2s", *words)
        done = session(line, WITHIN_S)
        assert done.returncode == 0, done.stderr[-2000:]
        state = self.tail.look()
        assert all(order.state in FINAL for order in state.orders.values())
        assert same_ledger(self.folder, self.venue) > 0
        summary = summary_of(done)
        held = sum(book["position"] for book in summary["books"] if book["kind"] == "model")
        (market,) = state.markets.values()
        assert round(held / float(market.instrument.lot)) == state.positions[market.ref]
        again = replayed(Path(summary["run_dir"]))
        assert summary_of(again)["decision_digest"] == summary["decision_digest"]
        return summary

    def _round(self, aim: str) -> None:
        with self._session() as process:
            tag = self._first_order(process)
            self._until(process, lambda: self._agrees(tag))
            self._settle(tag)
            if aim == "part":
                self._until(process, self._fill_a_part)
            elif aim != "any":
                self._until(process, lambda: any(map(in_flight, self._live())))
            time.sleep(self._chance.random() * (1.5 if aim == "any" else 0.2))
            self._kill(process)
        self.moments.append(self._moment(aim))

    @contextlib.contextmanager
    def _session(self) -> Iterator[subprocess.Popen]:
        with self._words.open("wb") as words:
            process = subprocess.Popen(
                command(self.folder, self.venue), cwd=ROOT, env=environment(),
                stdout=subprocess.DEVNULL, stderr=words,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _first_order(self, process: subprocess.Popen) -> str:
        """Wait until a session has sent an order; return the run's tag."""
        before = set(self.tail.look().tags)
        tags: list[str] = []

        def sent() -> bool:
            state = self.tail.look()
            tags[:] = [tag for tag in state.tags if tag not in before]
            return any(order.sent for order in state.orders.values() if order.tag in tags)

        self._until(process, sent)
        return tags[0]

    def _until(self, process: subprocess.Popen, holds: Any) -> None:
        until = time.monotonic() + WITHIN_S
        while not holds():
            assert process.poll() is None, self._ended(process)
            assert time.monotonic() < until, "the moment to kill at did not come"
            time.sleep(0.01)

    def _ended(self, process: subprocess.Popen) -> str:
        words = self._words.read_text(errors="replace")[-4000:]
        return f"the session ended by itself ({process.returncode}):\n{words}"

    def _kill(self, process: subprocess.Popen) -> None:
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert KEY.encode() not in words
        assert SECRET.encode() not in words
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kept = [v for (code, _), v in self.tail.look().counters.items() if code == LOSSES]
        self._kept = kept[0] if kept else ()

    def _live(self) -> list[AccountOrder]:
        return list(self.tail.look().live.values())

    def _theirs(self) -> dict[str, Any]:
        found: dict[str, Any] = self.venue.control("GET", "/ledger")["accounts"]["main"]
        return found

    def _fill_a_part(self) -> bool:
        """Let the exchange's house fill half of a resting order; say whether there was one."""
        resting = [o for o in self._live() if o.venue_id and o.order_type == OrderType.POST_ONLY]
        if not resting:
            return False
        order = max(resting, key=lambda one: one.wire_tick)
        instrument = self.tail.state.markets[order.ref].instrument
        price = Decimal(instrument.tick) * order.wire_tick
        link = http.client.HTTPConnection("127.0.0.1", self.venue.port, timeout=10)
        link.request("GET", f"/api/v3/depth?symbol={instrument.symbol}&limit=1000")
        bids = json.loads(link.getresponse().read())["bids"]
        link.close()
        ahead = sum(Decimal(size) for level, size in bids if Decimal(level) >= price)
        lots = int(ahead / Decimal(instrument.lot)) - order.qty_lot // 2
        body = {"symbol": instrument.symbol, "side": "SELL", "price": str(price), "lots": lots}
        if lots < 1:
            return False
        self.venue.control("POST", "/trade", body)
        return any(one["status"] == "PARTIALLY_FILLED" for one in self._theirs()["orders"])

    def _moment(self, aim: str) -> Moment:
        """Say how things stood: the journal as it was left, the exchange as it is."""
        state, theirs = self.tail.look(), self._theirs()
        half = {o["clientOrderId"] for o in theirs["orders"] if o["status"] == "PARTIALLY_FILLED"}
        half |= {c for c, o in state.live.items() if 0 < o.filled_lot < o.qty_lot}
        filled = self._filled(theirs)
        untold = [c for c, order in state.orders.items() if filled.get(c, 0) > order.filled_lot]
        flying = sum(map(in_flight, state.live.values()))
        return Moment(aim, len(state.live), flying, len(half), len(untold))

    def _filled(self, theirs: dict[str, Any]) -> dict[str, int]:
        lots = {m.instrument.symbol: Decimal(m.instrument.lot) for m in self._markets()}
        return {
            order["clientOrderId"]: int(Decimal(order["executedQty"]) / lots[order["symbol"]])
            for order in theirs["orders"]
        }

    def _markets(self) -> list[Any]:
        return list(self.tail.state.markets.values())

    def _agrees(self, tag: str) -> bool:
        """Say whether all that earlier sessions' orders filled is told; some of it comes late."""
        state, filled = self.tail.look(), self._filled(self._theirs())
        earlier = [order for order in state.orders.values() if order.tag != tag]
        return all(order.filled_lot == filled.get(order.client_id, 0) for order in earlier)

    def _settle(self, tag: str) -> None:
        """Check what a session that trades has made of all that earlier ones left.

        The exchange's records are asked for after the journal's: earlier orders are over by then.
        """
        state = self.tail.look()
        ours = {c: o for c, o in state.orders.items() if o.tag != tag}
        theirs = self._theirs()
        filled = {c: n for c, n in self._filled(theirs).items() if not c.startswith(tag)}
        for client, order in ours.items():
            assert order.over, f"{client} is open while a later session trades"
            assert order.filled_lot == filled.pop(client, 0), f"{client} differs"
        assert not filled, "the exchange knows orders that the journal does not"
        ids = {order["orderId"] for order in theirs["orders"]
               if not order["clientOrderId"].startswith(tag)}  # fmt: skip
        known = [str(fill["id"]) for fill in theirs["fills"] if fill["orderId"] in ids]
        assert len(known) == len(set(known))
        assert {trade for _, trade in state.fills} >= set(known), "a fill is lost"
        held = sum(order.side * order.filled_lot for order in ours.values())
        self._must_open_with = held, self._kept

    def _opening(self, tape: Tape) -> None:
        """Check the state that a session opened with: position and losses as they were left."""
        position_lot, kept = self._must_open_with
        rows = np.concatenate([segment.rows for segment in tape.segments])
        opening = rows[(rows["kind"] == Kind.OPENING) & (rows["i0"] == POSITION)]
        assert int((opening["side"] * opening["i1"]).sum()) == position_lot
        if kept and kept[0] == time.time() // 86_400:
            commands = rows[(rows["kind"] == Kind.CONTROL) & (rows["i0"] == Command.DAY_LOSS)]
            assert len(commands) == 1, "the day's losses are forgotten"
            assert (int(commands["i1"][0]), int(commands["i2"][0])) == kept[:2]
            self.losses_kept += 1

    def _whole(self, run: Path, replay: bool) -> None:
        """Check that a run which was cut off verifies up to there, and that its tape replays."""
        tape = Tape.open(run / "tape", repair=True)
        self.late_fills += (run / EVENTS).read_text().count("orders.earlier_fill")
        self._opening(tape)
        found = verify(run)
        assert found.ok, found.first_bad
        if replay:
            done = replayed(run)
            assert done.returncode == 0, done.stderr[-2000:]


def in_flight(order: AccountOrder) -> bool:
    """Return True for an order that was sent and has no answer."""
    return order.sent and not order.venue_id and not order.over


def counts(moments: list[Moment]) -> dict[str, int]:
    """Return how many kills met what."""
    return {
        "kills": len(moments),
        "with an order open": sum(one.open_orders > 0 for one in moments),
        "with one in flight": sum(one.in_flight > 0 for one in moments),
        "with one partly filled": sum(one.partly > 0 for one in moments),
        "with a fill not told": sum(one.untold > 0 for one in moments),
    }


def enough(moments: list[Moment]) -> bool:
    """Say whether the moments were those that were to be met."""
    found = counts(moments)
    return found["with one in flight"] >= IN_FLIGHT_SHARE * len(moments) and found[
        "with one partly filled"
    ] >= PARTLY_SHARE * len(moments)


def main() -> int:
    """Run the rounds and print what was met."""
    parser = argparse.ArgumentParser(prog="make kills", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="sessions that are killed")
    parser.add_argument("--seed", type=int, default=3, help="of the moments")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tickgate-kills-"))
    started = time.monotonic()
    with exchange("--history-hours", "1", fee_asset="BNB") as venue:
        kills = Kills(folder, venue, args.seed)
        try:
            kills.run(args.rounds)
            kills.latched()
            kills.end("--clear-latches", "seen")
            claim = ""
        except AssertionError as error:
            traceback.print_exc()
            claim = str(error) or "see above"
        state = kills.tail.look()
    for name, value in counts(kills.moments).items():
        print(f"{name:<24}{value}")
    print(f"{'late fills of earlier':<24}{kills.late_fills}")
    print(f"{'losses carried on':<24}{kills.losses_kept}")
    print(f"{'orders, fills':<24}{len(state.orders)}, {len(state.fills)}")
    print(f"{'seconds':<24}{time.monotonic() - started:.0f}")
    met = enough(kills.moments)
    print(f"{'ok  ' if not claim else 'FAIL'} nothing is lost, doubled or forgotten {claim}")
    print(f"{'ok  ' if met else 'FAIL'} 40 % of the kills met an order in flight, 20 % a part")
    print(f"the runs lie in {folder}")
    return 0 if met and not claim else 1


if __name__ == "__main__":
    sys.exit(main())
