"""Start the exchange as a process of its own and hold on to it: for --paper, tests, benchmarks."""

import http.client
import json
import os
import secrets
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import msgspec

from engine.errors import RunError

if TYPE_CHECKING:  # what starts first must load little
    from venues.embedded.ledger import AccountSpec

ROOT = Path(__file__).resolve().parents[2]
START_WITHIN_S = 180.0  # a first start compiles the generator's kernels
STOP_WITHIN_S = 5.0
TOKEN_ENV, ACCOUNTS_ENV = "TICKGATE_EXCHANGE_TOKEN", "TICKGATE_EXCHANGE_ACCOUNTS"


class RunningExchange:
    """An exchange in a process of its own. It ends with `stop`, and by itself when we end."""

    def __init__(
        self, process: subprocess.Popen, line: Mapping[str, Any], token: str, lifeline: int
    ) -> None:
        self.process = process
        self.port: int = line["port"]
        self.control_port: int = line["control_port"]
        self.rest_url: str = line["rest"]
        self.streams_url: str = line["streams"]
        self.ws_api_url: str = line["ws_api"]
        self.symbols: list[str] = line["symbols"]
        self._token = token
        self._lifeline = lifeline

    def __repr__(self) -> str:
        return f"RunningExchange(port={self.port}, pid={self.process.pid})"

    def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the control port; see docs/embedded_exchange.md for the requests.

        Raises:
            RunError: the exchange is gone, or it refused.
        """
        link = http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self._token}"}
            link.request(method, path, json.dumps(body or {}), headers)
            answer = link.getresponse()
            value = json.loads(answer.read() or b"{}")
        except OSError as error:
            raise RunError(f"exchange: its control port does not answer ({error})") from None
        finally:
            link.close()
        if answer.status != 200:
            raise RunError(f"exchange: {method} {path}: {value.get('error', answer.status)}")
        return value

    def fault(self, target: str, action: str, match: str = "*", **fields: Any) -> int:
        """Set a fault. Returns its number."""
        body = {"target": target, "action": action, "match": match, **fields}
        return int(self.control("POST", "/faults", body)["id"])

    def stop(self) -> int:
        """End the exchange, politely first. Returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self._lifeline >= 0:  # only now: its end would race with the signal
            os.close(self._lifeline)
            self._lifeline = -1
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.process.wait()

    def __enter__(self) -> "RunningExchange":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class StartingExchange:
    """An exchange that was told to start; it ends with `stop`, and by itself when we end."""

    def __init__(self, process: subprocess.Popen, token: str, lifeline: int) -> None:
        self._process = process
        self._token = token
        self._lifeline = lifeline

    def ready(self) -> RunningExchange:
        """Wait until it listens; from then on it is the answer's to stop.

        Raises:
            RunError: it ended, or did not listen in time.
        """
        try:
            line = _first_line(self._process)
        except BaseException:
            self.stop()
            raise
        lifeline, self._lifeline = self._lifeline, -1
        return RunningExchange(self._process, line, self._token, lifeline)

    def stop(self) -> None:
        """End it at once, if `ready` has not handed it over."""
        if self._lifeline < 0:
            return
        self._process.kill()
        os.close(self._lifeline)
        self._lifeline = -1
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()


def begin_exchange(
    *,
    accounts: "Sequence[AccountSpec]" = (),
    options: Sequence[str] = (),
    stderr: IO[bytes] | int | None = None,
) -> StartingExchange:
    """Start `python -m venues.embedded` on free ports, and do not wait.

    Args:
        accounts: handed over in the environment, never on the command line.
        options: further words of the command line, for example ("--seed", "7").
        stderr: where its log goes; None is ours.
    """
    token = secrets.token_hex(16)
    encoded = msgspec.json.encode([msgspec.to_builtins(one) for one in accounts]).decode()
    environment = os.environ | {TOKEN_ENV: token, ACCOUNTS_ENV: encoded}
    reading, writing = os.pipe()
    command = [
        sys.executable, "-m", "venues.embedded", "--port", "0", "--control-token-env", TOKEN_ENV,
        "--accounts-env", ACCOUNTS_ENV, "--lifeline-fd", str(reading),
        "--parent-pid", str(os.getpid()), *options,
    ]  # fmt: skip
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=(reading,), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=stderr, start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    return StartingExchange(process, token, writing)


def start_exchange(
    *,
    accounts: "Sequence[AccountSpec]" = (),
    options: Sequence[str] = (),
    stderr: IO[bytes] | int | None = None,
) -> RunningExchange:
    """Start an exchange as `begin_exchange` does, and wait until it listens.

    Raises:
        RunError: it ended, or did not listen in time.
    """
    return begin_exchange(accounts=accounts, options=options, stderr=stderr).ready()


def _first_line(process: subprocess.Popen) -> Mapping[str, Any]:
    """Return the announcement.

    Raises:
        RunError: none came.
    """
    assert process.stdout is not None
    text, until = b"", time.monotonic() + START_WITHIN_S
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while not text.endswith(b"\n"):
            if not ready.select(max(0.0, until - time.monotonic())):
                raise RunError(f"exchange: it did not listen within {START_WITHIN_S:g} s")
            part = os.read(process.stdout.fileno(), 65_536)
            if not part:
                raise RunError(f"exchange: it ended at its start, exit code {process.wait()}")
            text += part
    return msgspec.json.decode(text, type=dict[str, Any])
