"""Hot reload in sessions over real wires, as a person asks for it, and at full speed."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from app.reload import PRODUCTION, Reloads
from app.replay import Replay, replay
from app.signal_file import send
from config.load import load_settings
from engine.audit_verify import verify
from engine.run_files import Summary
from engine.tape import Tape
from ml import registry
from tests.app.reload_world import HeldLoads, until
from tests.app.replay_cli import ROOT
from tests.app.test_paper import ended, exchange_of
from tests.app.versions import add_version, tick_mlp
from tests.swaps import Swapping

WITHIN_S = 60.0


def lab(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "lab.py"), "models", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_paper_session_follows_promotion_hangup_and_file(tmp_path, root):
    runs = tmp_path / "runs"
    text = (ROOT / "config" / "default.yaml").read_text()
    config = tmp_path / "paper.yaml"
    config.write_text(f"{text}\nruns_dir: {runs}\nartifacts_dir: {root}\n")
    add_version(root, tick_mlp(0.5))
    words = ["--paper", "--json", "--no-report", "--config", str(config), "--duration", "200s"]
    session = subprocess.Popen(
        [sys.executable, str(ROOT / "run_live.py"), *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        exchange_of(session)
        words = (
            "--waive",
            "metric",
            "--waive",
            "calibration_error",
            "--why",
            "test",
            "--by",
            "tests",
        )
        lab("promote", "TickMLP:2", "--artifacts", root, *words)
        said = [line_with(session, "reload.swapped")]
        registry.promote(root, "TickMLP", "3", why="test", by="tests")
        session.send_signal(signal.SIGHUP)
        said.append(line_with(session, "reload.swapped"))
        (root / "models.signal").write_text("rollback TickMLP\n")
        said.append(line_with(session, "reload.swapped"))
        session.send_signal(signal.SIGTERM)
        code, found = ended(session)
    finally:
        session.kill()
    assert code == 0
    assert ["signal file" in said[0], "SIGHUP" in said[1], "rollback" in said[2]] == [True] * 3
    assert found["reloads"] == 3
    (line,) = [model for model in found["models"] if model["name"] == "TickMLP"]
    assert [(one["version"], one["times"]) for one in line["served"]] == [
        ("1", 1), ("2", 2), ("3", 1),
    ]  # fmt: skip
    run = Path(found["run_dir"])
    assert verify(run).ok
    settings = load_settings(config)
    for block in (1, 7, 65_536):
        engine = msgspec.structs.replace(settings.engine, block_rows=block)
        asked = msgspec.structs.replace(settings, engine=engine)
        tape = Tape.open(run / "tape")
        again = replay(Replay(tape=tape, settings=asked, run=run, report=False))
        assert again.decision_digest == found["decision_digest"]
        assert again.reloads == 3
    shutil.rmtree(root / "TickMLP" / "2")
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_live.py"), "--replay", str(run), "--config", str(config)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "was decided by TickMLP:2" in line]
    assert "Traceback" not in done.stderr


def line_with(session: subprocess.Popen, word: str) -> str:
    """Read a session's log until a line with a word comes."""
    assert session.stderr is not None
    ends = time.monotonic() + WITHIN_S
    while time.monotonic() < ends:
        line = session.stderr.readline()
        assert line, f"the session ended without {word}"
        if word in line:
            return line
    raise AssertionError(f"no {word} in time")


class Flooded(Swapping):
    """After its minutes, a session gets signals by the thousand while a version loads.

    It ends while another one loads.

    Args:
        folder: for artifacts and runs.
        held: holds loads where it is told to.
    """

    def __init__(self, folder: Path, held: HeldLoads) -> None:
        super().__init__(folder, minute_s=3.0, minutes=2, swaps=6)
        self.held = held
        self.failure: Exception | None = None
        self.rows = self.signals = 0  # that came while the first version was held

    async def _run(self) -> Summary:
        try:
            summary = await super()._run()
            assert not self.held.go.is_set(), "it has ended while the loader is held"
            return summary
        finally:
            self.held.go.set()

    async def _drive(self) -> None:
        try:
            await self._go_through()
            await self._flood()
            await self._same()
            self._hold()
            send(self.signal, "TickMLP:1\n")
            await until(lambda: self.held.began == ["1"])
        except (AssertionError, TimeoutError) as error:
            self.failure = error
        finally:
            self.session.stop.set()

    def _hold(self) -> None:
        self.held.began.clear()
        self.held.go.clear()

    async def _flood(self) -> None:
        """Send a thousand signals while the first version loads."""
        reloads, models = self.session.reloads, self.session.parts.models
        ticks = next(one for one in models if one.settings.name == "TickMLP")
        await asyncio.to_thread(
            registry.promote, self.root, "TickMLP", "2", why="for the test", by="tests"
        )
        self._hold()
        hang_up()
        await until(lambda: self.held.began == ["2"])
        loads, rows, heard = reloads.loads, self.session.tape.rows, len(self.heard)
        signals = [hang_up] * 8
        signals += [lambda: send(self.signal), lambda: send(self.signal, "TickMLP:1\n")]
        for number in range(1000):
            signals[number % 10]()
            await asyncio.sleep(0)
            assert len(reloads._wanted) <= len(models)
        send(self.signal)  # no look can bring another wish from here on
        await until(lambda: self._wanted(reloads, ticks.index) == PRODUCTION)
        await until(lambda: len(self.heard) > heard + 20)
        self.rows, self.signals = self.session.tape.rows - rows, len(self.heard) - heard
        assert ticks.version == "1", "it serves meanwhile"
        self.held.go.set()
        await until(lambda: ticks.version == "2" and not reloads._wanted)
        assert self.held.began == ["2", "2"], "what nobody wants any more, and the newest wish"
        assert reloads.loads - loads <= 4  # of each model the newest, and what came meanwhile
        self.asked += 1
        heard = len(self.heard)
        await until(lambda: len(self.heard) > heard + 20)

    async def _same(self) -> None:
        """Send a thousand signals for what serves."""
        reloads = self.session.reloads
        loads = reloads.loads
        for _ in range(1000):
            hang_up()
            await asyncio.sleep(0)
        await until(lambda: reloads.loads > loads and not reloads._wanted)
        assert self.held.began == ["2", "2"], "it is not loaded again"

    @staticmethod
    def _wanted(reloads: Reloads, model: int) -> str:
        want = reloads._wanted.get(model)
        return "" if want is None else want.version


def hang_up() -> None:
    """Send this process a SIGHUP, which a session answers."""
    os.kill(os.getpid(), signal.SIGHUP)


def test_fault_M17_swaps_at_full_speed_and_signals_by_the_thousand_miss_no_row(
    tmp_path, monkeypatch
):
    held = HeldLoads(monkeypatch)
    held.go.set()
    flooded = Flooded(tmp_path, held)
    summary = flooded.run()
    if flooded.failure is not None:
        raise flooded.failure
    assert flooded.asked == 7
    assert flooded.rows > flooded.signals > 20
    claims = flooded.claims(summary)
    assert [claim for claim, holds in claims.items() if not holds] == []
