"""Several live runs on one account: latches that stay, balances that changed, what is refused."""

import json
import signal
import subprocess
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import lab
from app.live_permission import KEY_ENV, SECRET_ENV
from app.live_record import account_folder
from engine.account import Account
from engine.account_lock import AccountLock
from engine.account_marks import count, counted
from engine.account_state import LOSSES, WHOSE
from engine.audit_layout import AUDIT, Record
from engine.errors import DataError
from engine.events import OrderState
from engine.journal_layout import Kind as JournalKind
from engine.journal_layout import Latch, Name
from engine.journal_reader import fold
from engine.money import MINOR_PER_UNIT
from engine.rows import Kind
from engine.run_files import AUDIT_RECORDS
from tests.app.live_world import (
    HOOK_ENV,
    KEY,
    ROOT,
    SECRET,
    command,
    environment,
    exchange,
    kinds_of,
    same_ledger,
    session,
    summary_of,
)
from tests.app.webhook import told, webhook


@pytest.fixture(scope="module")
def hook():
    """Return what the sessions of this file tell people."""
    with webhook() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOOK_ENV, receiver.url())
        yield receiver


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
    until = time.monotonic() + 240
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


def test_fault_V18_a_balance_that_changed_outside_halts_the_next_run(world):
    folder, venue = world
    account = account_folder(folder / "runs", "embedded-main")
    if not orders_in(account):
        ended(session(command(folder, venue, "--duration", "3s")), 0)
    venue.control("POST", "/deposit", {"account": "main", "asset": "USDT", "amount": "1"})
    done = ended(session(command(folder, venue, "--duration", "2s")), 3)
    assert summary_of(done)["orders"] == 0
    assert Latch.ACCOUNT in fold(account).latches


def test_fault_V18_an_operator_who_has_looked_lets_the_account_trade_again(world):
    """The difference is declared, and a drawdown cleared, whose peak no price could reach."""
    folder, venue = world
    runs = folder / "runs"
    account = account_folder(runs, "embedded-main")
    if not orders_in(account) or Latch.ACCOUNT not in fold(account).latches:
        test_fault_V18_a_balance_that_changed_outside_halts_the_next_run(world)
    far_below_its_peak(account)
    why = ("--why", "the deposit is ours", "--runs", str(runs))
    parts = venue.control("GET", "/ledger")["accounts"]["main"]["balances"]["USDT"]
    there = Decimal(parts["free"]) + Decimal(parts["locked"])
    assert there == fold(account).expected("USDT") + 1
    assert lab.main(["account", "declare", "USDT", str(there), *why]) == 0
    assert lab.main(["account", "clear", "all", *why]) == 0
    done = ended(session(command(folder, venue, "--duration", "3s")), 0)
    assert summary_of(done)["orders"] > 0
    same_ledger(folder, venue)


def far_below_its_peak(account: Path) -> None:
    """Let the account's journal say that a drawdown has latched."""
    opened = Account(account, lambda event: None, time.time_ns)
    day, began = (counted(opened, LOSSES, WHOSE) or (1, 0))[:2]
    count(opened, LOSSES, WHOSE, (day, began, 10**9 * MINOR_PER_UNIT))
    ref = opened.name(Name.TEXT, "the largest drawdown was reached")
    opened.put(JournalKind.LATCH, code=Latch.DRAWDOWN, ref=ref, numbers=(1, *(0,) * 8))
    opened.journal.close()


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
