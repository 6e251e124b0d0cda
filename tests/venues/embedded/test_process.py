"""The exchange as a process: it ends on every way out, keeps secrets, and refuses bad usage."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.exchange import main, read_accounts
from engine.errors import RunError, UsageError
from tests.venues.embedded.clients import ALICE, Rest
from venues.embedded.launcher import ROOT, start_exchange
from venues.embedded.lifeline import watch_pipe, watch_process

QUICK = ("--history-hours", "0.1", "--symbols", "1")
TWIN = {"name": "a", "api_key": "k", "api_secret": "s", "balances": {}}


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "venues.embedded", *QUICK, *options]


def gone(pid: int, within_s: float) -> bool:
    """Say whether a process that is no child of ours ends in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if text.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_control_port_ends_it_and_wants_its_token() -> None:
    exchange = start_exchange(options=QUICK)
    try:
        exchange._token, kept = "wrong" * 4, exchange._token
        with pytest.raises(RunError, match="token"):
            exchange.control("POST", "/shutdown")
        exchange._token = kept
        with pytest.raises(RunError, match="no such request"):
            exchange.control("GET", "/nothing")
        with pytest.raises(RunError, match="knows no action 'melt'"):
            exchange.fault("rest", "melt")
        with pytest.raises(RunError, match="fragmentz"):
            exchange.control("POST", "/engine", {"fragmentz": 1})
        exchange.control("POST", "/shutdown")
        assert exchange.process.wait(5) == 0
    finally:
        exchange.stop()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_signals_and_duration_end_it(end: signal.Signals) -> None:
    options = ("--duration", "0.3") if end is signal.SIGINT else ()
    process = subprocess.Popen(command(*options), cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert line["pid"] == process.pid
        assert "control_port" not in line  # no token, no control port
        if not options:
            process.send_signal(end)
        assert process.wait(5) == 0
        assert process.stdout.read() == b""  # that one line was all
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


PARENT = """
import os, sys, time
from venues.embedded.launcher import start_exchange
if sys.argv[1] == "pid":
    import subprocess
    words = [sys.executable, "-m", "venues.embedded", "--parent-pid", str(os.getpid())]
    child = subprocess.Popen([*words, *sys.argv[2:]], stdout=subprocess.PIPE)
    child.stdout.readline()
    print(child.pid, flush=True)
else:
    print(start_exchange(options=sys.argv[2:]).process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["pipe", "pid"])
def test_it_ends_within_a_second_of_its_killed_parent(how: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, how, *QUICK], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    try:
        child = int(parent.stdout.readline())
        assert not gone(child, 0.1)
        parent.kill()
        parent.wait()
        assert gone(child, 2.0)  # a second, and some for a busy machine
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--market", "moon"), "--market moon"),
        (("--symbols", "0"), "--symbols 0"),
        (("--history-hours", "0"), "--history-hours 0"),
        (("--speed", "0"), "--speed 0"),
        (("--control-token-env", "NO_SUCH_TOKEN"), "NO_SUCH_TOKEN"),
        (("--accounts", "nowhere.json"), "nowhere.json"),
        (("--market", "tape:nowhere"), "nowhere"),
    ],
)
def test_bad_usage(options: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["exchange", *options])
    with pytest.raises(UsageError, match=words):
        main()


def test_bad_usage_is_one_line_and_exit_code_2() -> None:
    options = ("--market", "moon")
    done = subprocess.run(command(*options), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--market moon" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("--port", port), cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 1
    assert f"port {port} cannot be opened" in done.stderr


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("[]", 0o644, "chmod 600"),
        ("[", 0o600, "truncated"),
        ('[{"name":"a","api_key":"k","api_secret":"s","balances":{},"pin":1}]', 0o600, "pin"),
        (json.dumps([TWIN, TWIN]), 0o600, "the same name"),
    ],
)
def test_bad_accounts(tmp_path: Path, text: str, mode: int, words: str) -> None:
    accounts = tmp_path / "accounts.json"
    accounts.write_text(text)
    accounts.chmod(mode)
    with pytest.raises(UsageError, match=words):
        read_accounts(accounts, "")


@pytest.mark.asyncio
async def test_a_parent_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="--parent-pid 4194303"):
        watch_process(4194303, lambda: None)
    with pytest.raises(UsageError, match="--lifeline-fd 999"):
        watch_pipe(999, lambda: None)


def test_no_secret_on_command_line_in_log_or_answer_and_a_clean_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        options = (*QUICK, "--verbose")
        with start_exchange(accounts=(ALICE,), options=options, stderr=stderr) as exchange:
            rest = Rest(exchange)
            rest.signed("GET", "account")
            rest.order("BTCUSDT", "BUY", "LIMIT")
            rest.signed("GET", "account", timestamp=1)
            words = Path(f"/proc/{exchange.process.pid}/cmdline").read_bytes()
            answers = json.dumps([
                exchange.control("GET", "/state"), exchange.control("GET", "/ledger"),
            ])  # fmt: skip
            shown = repr(exchange) + repr(ALICE)
            secrets = (ALICE.api_secret, ALICE.api_key, exchange._token)
    assert exchange.process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", exchange.port), timeout=1)
    for secret in secrets:
        assert secret.encode() not in words
        assert secret.encode() not in log.read_bytes()
        assert secret not in answers
        assert secret not in shown


def test_launcher_says_why_it_failed() -> None:
    with pytest.raises(RunError, match="exit code 2"):
        start_exchange(options=("--market", "moon"), stderr=subprocess.DEVNULL)
