"""A process knows whether its terminal is still there: a hang-up then ends a session."""

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.app.replay_cli import ROOT

SCRIPT = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from app.terminal import has_terminal
before = has_terminal()
waiting = {signal.SIGHUP}
signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
print("ready", flush=True)
signal.sigwait(waiting)
with open(sys.argv[1], "w") as told:
    told.write(f"{before} {has_terminal()}")
os._exit(0)  # nothing can be flushed to a terminal that is gone
"""


def test_a_terminal_that_was_closed_is_gone(tmp_path: Path):
    ours, theirs = pty.openpty()
    told = tmp_path / "told"
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(told)],
        cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        said = b""
        while not said.endswith(b"\n"):
            said += os.read(ours, 1000)
        os.close(ours)
        assert child.wait(60) == 0
    finally:
        child.kill()
    assert told.read_text() == "True False"
