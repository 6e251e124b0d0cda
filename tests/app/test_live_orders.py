"""`--live` on an embedded exchange: ledgers agree, runs replay, nothing is lost by kill -9."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.live_permission import KEY_ENV, SECRET_ENV
from app.live_record import account_folder
from engine.account_lock import AccountLock
from engine.audit_layout import AUDIT, Record
from engine.audit_verify import verify
from engine.client_ids import client_id
from engine.errors import DataError
from engine.events import OrderState, RejectReason
from engine.journal_layout import Latch
from engine.journal_reader import fold
from engine.json_files import read_json
from engine.orders import FINAL
from engine.rows import Kind
from engine.run_files import AUDIT_RECORDS, LIVE, LiveRun
from engine.tape import Tape
from tests.app.live_world import (
    HOOK_ENV,
    KEY,
    ROOT,
    SECRET,
    account_orders,
    command,
    environment,
    exchange,
    kinds_of,
    replayed,
    same_ledger,
    session,
    summary_of,
    tape_kinds,
    traded_until,
)
from tests.app.webhook import Receiver, webhook

ORDER = "POST /api/v3/order"
DUPLICATE = '{"code":-2010,"msg":"Duplicate order sent."}'
FAULTS: dict[str, dict[str, Any]] = {  # of answers to orders, by how often
    "V01": {"action": "hang", "phase": "after", "every": 9},
    "V02": {"action": "reset", "phase": "after", "every": 7},
    "V02, cut": {"action": "truncate", "phase": "after", "every": 11},
    "V03": {"action": "status", "phase": "after", "every": 13, "status": 502},
    "V03, page": {"action": "status", "phase": "after", "every": 12, "status": 200,
                  "body": "<html>busy</html>"},
    "V05": {"action": "status", "phase": "after", "every": 10, "status": 400, "body": DUPLICATE},
    "V10": {"action": "delay", "phase": "after", "every": 6, "delay_ms": 300},
    # the order never was: no report of it can come before the doubt
    "never was": {"action": "reset", "phase": "before", "every": 8},
}  # fmt: skip
STALL_AT = 15  # the decision at which the engine is slow, for a market order
REFUSED_FROM = 12  # orders after which new connections are refused for a while


def faults(venue) -> dict[str, int]:
    """Let orders get lost in every way, fill in fragments, and doubled or missing events."""
    numbers = {
        name: venue.fault("rest", match=ORDER, skip=3 + at, **fault)
        for at, (name, fault) in enumerate(FAULTS.items())
    }
    venue.fault("user", "reset", "executionReport:*", skip=9, count=1)  # the stream itself is lost
    venue.fault("user", "drop", "executionReport:*", skip=5, every=2)
    numbers["V11"] = venue.fault("user", "duplicate", "executionReport:*", skip=2, every=5)
    engine = {"fragments": 3, "hide_ms": 400, "late_fill_lots": 50, "late_fill_count": 2}
    venue.control("POST", "/engine", engine)
    return numbers


def states(folder: Path) -> dict[str, int]:
    """Count an account's orders by state."""
    found: dict[str, int] = {}
    for order in account_orders(folder):
        name = OrderState(order.state).name
        found[name] = found.get(name, 0) + 1
    return found


def last_states(run: Path) -> dict[int, int]:
    """Return the last state of each order in a run's audit."""
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    orders = records[records["kind"] == Record.ORDER]
    return dict(zip(orders["id"].tolist(), orders["code"].tolist()))


class Course:
    """What a session goes through: connections refused for a while, then until it has had enough.

    Attributes:
        seen: how often each fault has struck.
    """

    def __init__(self, folder: Path, venue, numbers: dict[str, int]) -> None:
        self.seen: dict[str, int] = {}
        self._folder, self._venue, self._numbers = folder, venue, numbers
        self._cut = 0  # the fault that ends kept connections

    def enough(self, ledger: dict) -> bool:
        """Whether every fault has had its turns: orders sent, some cancelled, some filled."""
        orders, venue = ledger["orders"], self._venue
        if len(orders) >= REFUSED_FROM and not self._cut:
            venue.control("POST", "/listen", {"open": False})
            self._cut = venue.fault("rest", "reset", "*", phase="before")
        if self._cut > 0:
            reasons = {one.reason for one in account_orders(self._folder)}
            if RejectReason.NOT_REACHED not in reasons:
                return False
            venue.control("DELETE", f"/faults/{self._cut}")
            venue.control("POST", "/listen", {"open": True})
            self._cut = -1
        hits = {one["id"]: one["hits"] for one in venue.control("GET", "/faults")}
        self.seen = {name: hits[number] for name, number in self._numbers.items()}
        canceled = sum(order["status"] == "CANCELED" for order in orders)
        counts = len(orders) >= 36 and canceled >= 4 and len(ledger["fills"]) >= 12
        return counts and self._cut < 0 and all(self.seen.values())


@pytest.fixture(scope="module")
def hook():
    """Return what the sessions of this file tell people."""
    with webhook() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOOK_ENV, receiver.url())
        yield receiver


def told(hook: Receiver, run: str) -> list[str]:
    """Return the codes of what a run has told."""
    mine = [one for one in hook.got if f"run {run}" in one["message"]]
    return [one["title"].removeprefix("Tickgate: ") for one in mine]


@pytest.fixture(scope="module")
def traded(tmp_path_factory, hook):
    """Return (folder, summary, text of all that was said, fills) of a session with every fault."""
    folder = tmp_path_factory.mktemp("live")
    with exchange(fee_asset="BNB") as venue:
        course = Course(folder, venue, faults(venue))
        words = command(folder, venue, "--duration", "200s", stall_at=STALL_AT)
        done = traded_until(words, venue, course.enough)
        assert done.returncode == 0, done.stderr[-3000:]
        assert all(course.seen.values()), course.seen
        fills = same_ledger(folder, venue)
        yield folder, summary_of(done), done.stdout + done.stderr, fills


def test_the_session_traded_and_every_order_has_one_final_state(traded):
    folder, summary, _, fills = traded
    run = Path(summary["run_dir"])
    kinds, found = tape_kinds(run), states(folder)
    assert summary["fills"] == fills > 5
    assert set(found) <= {state.name for state in FINAL}, found
    assert found["FILLED"] > 0
    assert found["CANCELED"] > 0
    assert kinds[Kind.ACK] > 10
    assert kinds[Kind.FILL] == fills
    assert kinds[Kind.OPENING] == 3
    ends = last_states(run)
    assert len(ends) == summary["orders"]
    assert {OrderState(code) for code in ends.values()} <= FINAL
    assert summary["fees"].keys() == {"BNB"}


def test_fault_V01_an_order_without_an_answer_is_unknown_until_it_is_proven(traded):
    _, summary, _, _ = traded
    run = Path(summary["run_dir"])
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    doubted = records[(records["kind"] == Record.ORDER) & (records["code"] == OrderState.UNKNOWN)]
    assert len(doubted) == tape_kinds(run)[Kind.UNKNOWN] > 0
    ends = last_states(run)
    assert {OrderState(ends[number]) for number in doubted["id"].tolist()} <= FINAL


def test_people_are_told_of_orders_whose_fate_nobody_knows(traded, hook):
    codes = told(hook, traded[1]["run_id"])
    assert codes.count("order_unknown") >= states(traded[0]).get("UNKNOWN", 0)
    assert "order_unknown" in codes
    assert codes[-1] == "stop"


def test_fault_V02_V03_V05_V06_V09_V10_V11_lose_and_double_no_order_and_no_fill(traded):
    folder, _, _, fills = traded  # `traded` has seen each of them strike, and one ledger
    orders = account_orders(folder)
    assert {OrderState(one.state) for one in orders} <= FINAL
    assert len(fold(folder / "runs" / "accounts" / "embedded-main").fills) == fills
    assert fills > sum(one.filled_lot > 0 for one in orders)  # in pieces
    assert not [one for one in orders if "uplicate" in one.code]  # "it is there": no rejection


def test_fault_V04_only_an_order_that_did_not_leave_is_not_sent(traded):
    folder, _, _, _ = traded
    refused = [one for one in account_orders(folder) if one.reason == RejectReason.NOT_REACHED]
    assert refused
    assert {OrderState(one.state) for one in refused} == {OrderState.REJECTED}
    assert not any(one.filled_lot or one.venue_id for one in refused)


def test_fault_V12_a_fill_after_its_cancel_is_booked(traded):
    _, summary, _, _ = traded
    canceled, late = set(), 0
    for segment in Tape.open(Path(summary["run_dir"]) / "tape", repair=False).segments:
        for row in segment.rows[segment.rows["kind"] >= Kind.ACK]:
            if row["kind"] == Kind.CANCELED:
                canceled.add(int(row["i0"]))
            late += row["kind"] == Kind.FILL and int(row["i0"]) in canceled
    assert late == 2


def test_an_order_that_is_late_is_never_sent(traded):
    _, summary, _, _ = traded
    run = Path(summary["run_dir"])
    rows = np.concatenate([s.rows for s in Tape.open(run / "tape", repair=False).segments])
    late = rows[(rows["kind"] == Kind.NOT_SENT) & (rows["i1"] == RejectReason.ENGINE_LATE)]
    assert len(late) > 0
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    moves = records[(records["kind"] == Record.ORDER) & np.isin(records["id"], late["i0"])]
    assert set(moves["i5"][moves["code"] == OrderState.REJECTED]) == {RejectReason.ENGINE_LATE}
    live = read_json(run / LIVE, LiveRun)
    journal = fold(Path(live.account)).orders
    assert not {client_id(live.tag, int(one)) for one in late["i0"]} & set(journal)


def test_fault_V20_a_stream_lost_in_mid_session_is_made_up_for(traded):
    _, summary, said, fills = traded
    assert said.count("trouble=orders.stream_lost") > 0
    assert "healed trouble=orders.stream_lost" in said
    assert summary["fills"] == fills


@pytest.mark.parametrize("block", [None, 1, 7])
def test_a_live_run_replays_to_its_digest(traded, block):
    _, summary, _, _ = traded
    done = replayed(summary["run_dir"], *(() if block is None else ("--block-rows", block)))
    assert done.returncode == 0, done.stderr
    assert summary_of(done)["decision_digest"] == summary["decision_digest"]


def test_the_audit_of_a_live_run_verifies(traded):
    _, summary, _, _ = traded
    assert verify(Path(summary["run_dir"])).ok


def test_a_submit_that_the_journal_does_not_have_ends_the_replay(traded, tmp_path):
    _, summary, _, _ = traded
    run = Path(summary["run_dir"])
    copy = tmp_path / "runs" / run.name
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    config["settings"]["risk"]["max_order_notional"] = 390
    (copy / "config.json").write_text(json.dumps(config))
    done = replayed(copy)
    assert done.returncode == 1
    assert "the replay differs: order 0 has size" in done.stderr
    assert len([line for line in done.stderr.splitlines() if "differs" in line]) == 1


def test_secrets_that_were_planted_are_nowhere(traded):
    folder, _, said, _ = traded
    for canary in (KEY, SECRET, "signature="):
        assert canary not in said
        for path in folder.rglob("*"):
            if path.is_file():
                assert canary.encode() not in path.read_bytes(), path


def ended(done: subprocess.CompletedProcess, code: int) -> subprocess.CompletedProcess:
    """Check how a command ended."""
    assert done.returncode == code, done.stderr[-3000:]
    return done


def orders_in(account: Path) -> int:
    """Count the orders in an account's journal, which may not be there yet."""
    try:
        return len(fold(account).orders)
    except DataError:
        return 0


def until_order(process: subprocess.Popen, account: Path, before: int) -> None:
    """Wait until a session has sent an order."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None and orders_in(account) <= before:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def world(tmp_path_factory, hook):
    """Return (folder, exchange) that several tests go on with: one account, many runs."""
    with exchange("--history-hours", "1") as venue:
        yield tmp_path_factory.mktemp("runs"), venue


def test_the_kill_switch_stays_latched_until_an_operator_clears_it(world, hook):
    folder, venue = world
    account = account_folder(folder / "runs", "embedded-main")
    words, before = command(folder, venue, "--duration", "4s"), orders_in(account)
    with subprocess.Popen(
        words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        until_order(process, account, before)
        process.send_signal(signal.SIGUSR1)
        out, said = process.communicate(timeout=60)
    assert process.returncode == 3, said[-2000:]
    run = Path(json.loads(out)["run_dir"])
    kill_row = int(np.flatnonzero(kinds_of(run) == Kind.CONTROL)[-1])
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    after = records[(records["row"] > kill_row) & (records["kind"] == Record.ORDER)]
    assert OrderState.SENT not in after["code"]
    state = fold(account)
    assert Latch.KILL in state.latches
    assert told(hook, run.name) == ["start", "kill", "stop"]
    assert not state.live, "the kill switch cancels what is open"
    plain = [word for word in command(folder, venue, "--duration", "2s") if word != "--json"]
    status = [line for line in ended(session(plain), 3).stderr.splitlines() if "status " in line]
    assert "stopped=KILL_SWITCH" in status[-1]
    assert " orders=0 open=0 " in status[-1]
    words = command(folder, venue, "--duration", "3s", "--clear-latches", "looked at it")
    assert summary_of(ended(session(words), 0))["orders"] > 0
    same_ledger(folder, venue)


def test_a_balance_that_changed_outside_halts_the_next_run(world):
    folder, venue = world
    account = account_folder(folder / "runs", "embedded-main")
    if not orders_in(account):
        ended(session(command(folder, venue, "--duration", "3s")), 0)
    venue.control("POST", "/deposit", {"account": "main", "asset": "USDT", "amount": "1"})
    done = ended(session(command(folder, venue, "--duration", "2s")), 3)
    assert summary_of(done)["orders"] == 0
    assert Latch.ACCOUNT in fold(account).latches


REFUSALS = [
    (["--confirm-live", "main"], {}, "--base-url is missing"),
    (["--confirm-live", "main", "--base-url", "http://example.com"], {}, "example.com is refused"),
    (["--confirm-live", "main", "--venue", "binance"], {}, "api.binance.com is refused"),
    (["--base-url", "http://127.0.0.1:1"], {}, "confirm with --confirm-live main"),
    (["--base-url", "http://127.0.0.1:1", "--confirm-live", "other"], {}, "confirm with"),
    (["--base-url", "http://127.0.0.1:1", "--confirm-live", "main"], {KEY_ENV: ""}, "holds no key"),
    (
        ["--base-url", "http://127.0.0.1:1", "--confirm-live", "main", "--model", "TickMLP:1.0.0"],
        {},
        "--model is for paper",
    ),
    (["--base-url", "ftp://127.0.0.1:1", "--confirm-live", "main"], {}, "must begin with http"),
]


@pytest.mark.parametrize(("words", "changes", "line"), REFUSALS)
def test_refusals_are_one_line_and_code_2(tmp_path, words, changes, line):
    import run_live
    from app.command_line import run

    config = tmp_path / "live.yaml"
    config.write_text((ROOT / "config" / "default.yaml").read_text())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {KEY_ENV: KEY, SECRET_ENV: SECRET, **changes}.items():
            patch.setenv(name, value)
        patch.setattr("sys.argv", ["run_live.py", "--live", "--config", str(config), *words])
        code, said = heard(lambda: run("run_live.py", run_live.main))
    assert code == 2
    assert line in said
    assert said.count("\n") == 1


def heard(call) -> tuple[int, str]:
    """Return what a call returns and what it wrote to stderr."""
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stderr(text):
        return call(), text.getvalue()


def test_no_limits_no_live(tmp_path):
    import run_live
    from app.command_line import run

    words = ["run_live.py", "--live", "--base-url", "http://127.0.0.1:1", "--confirm-live", "main"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", words)
        code, said = heard(lambda: run("run_live.py", run_live.main))
    assert code == 2
    assert "name no risk limits" in said


def test_an_account_in_use_is_refused(world):
    folder, venue = world
    words = command(folder, venue, "--duration", "3s")
    account = account_folder(folder / "runs", "embedded-main")
    lock = AccountLock(account)
    try:
        done = session(words)
    finally:
        lock.release()
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
