"""What can be wrong when a live session starts: one clear line each, the right exit code, no trade.

And nothing that was planted as a secret is in any of those lines.
"""

import contextlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import run_live
import tests.app.lively  # noqa: F401  (it registers the strategy of the config)
from app.command_line import run
from app.live_permission import KEY_ENV, SECRET_ENV
from engine.run_files import LIVE
from tests.app.live_world import KEY, SECRET, command, exchange
from venues.embedded.launcher import RunningExchange


@pytest.fixture(scope="module")
def venue() -> Iterator[RunningExchange]:
    with exchange("--history-hours", "1") as running:
        yield running


def started(
    folder: Path, venue: RunningExchange, *words: str, key: str = KEY, secret: str = SECRET
) -> tuple[int, str]:
    """Start a session in this process; return its exit code and what it said."""
    argv = ["run_live.py", *command(folder, venue, "--duration", "1s", *words)[3:]]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setenv(KEY_ENV, key)
        patch.setenv(SECRET_ENV, secret)
        patch.setattr("sys.argv", argv)
        code = run("run_live.py", run_live.main)
    return code, said.getvalue()


def one_line(said: str) -> str:
    """Return the one line of the command; nothing planted is anywhere in what was said."""
    assert "canary" not in said
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("run_live.py: ")]
    return line


def test_an_exchange_that_cannot_be_reached(tmp_path, venue):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    code, said = started(tmp_path, venue, "--base-url", f"http://127.0.0.1:{closed}")
    assert code == 1
    assert "embedded cannot be used" in one_line(said)


def test_a_symbol_that_is_not_there(tmp_path, venue):
    code, said = started(tmp_path, venue, "--symbols", "NOPE/USDT")
    assert code == 2
    assert "NOPE" in one_line(said)


@pytest.mark.parametrize(
    ("keys", "venue_code"),
    [({"key": "live-key-canary-wrong"}, "-2015"), ({"secret": "live-secret-canary-x"}, "-1022")],
)
def test_a_key_or_signature_that_is_refused(tmp_path, venue, keys, venue_code):
    code, said = started(tmp_path, venue, **keys)
    assert code == 1
    assert f"refuses our key, signature or permission (code {venue_code})" in one_line(said)
    assert not list(tmp_path.glob(f"runs/*/{LIVE}"))


@pytest.mark.parametrize("offset_ms", [600_000, -600_000])
def test_a_clock_that_is_off_is_asked_for_and_trading_goes_on(tmp_path, venue, offset_ms):
    venue.control("POST", "/clock", {"offset_ms": offset_ms})
    try:
        code, said = started(tmp_path, venue)
    finally:
        venue.control("POST", "/clock", {"offset_ms": 0})
    assert code == 0, said[-2000:]
    assert "Traceback" not in said
