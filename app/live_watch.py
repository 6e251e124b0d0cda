"""A session's side of the watch: it starts the worker, reads its lines, and demotes by a tape row.

The worker only looks. What it asks for is done here, between two rows, so that a replay does the
same; nothing here ever lets a model trade.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from app.demotion import Demotions
from app.log import logger
from app.serving import Serving
from app.watch_worker import Line
from app.watching import Look
from config.settings import WatchSettings
from engine.events import WatchCheck

MAX_LINE = 1 << 20
# Of the environment; keys and addresses are not the worker's.
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR", "OMP_NUM_THREADS")
WHERE = {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
STARTS = 3  # of a worker that dies
ENDS_WITHIN_S = 2.0


class LiveWatch:
    """The watch over one session's models.

    Args:
        run: its folder.
        rules: when and what.
        models: of the session.
        demotions: of the session.
    """

    def __init__(
        self,
        run: Path,
        rules: WatchSettings,
        models: Sequence[Serving],
        demotions: Demotions,
    ) -> None:
        self._run, self._rules, self._models = run, rules, models
        self._demotions = demotions
        self._log = logger("watch")
        self.looks = self.starts = 0

    async def run(self) -> None:
        """Follow the worker until cancelled; one that dies is started anew, a few times."""
        while self._rules.period_s > 0 and self._models and self.starts < STARTS:
            self.starts += 1
            await self._follow()
            self._log.warning("worker_ended", starts=self.starts)
        await asyncio.Event().wait()

    async def _follow(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.watch_worker", str(self._run),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in KEPT if name in os.environ} | WHERE,
            start_new_session=True,  # a terminal's Ctrl-C is the session's to answer
            limit=MAX_LINE,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            while raw := await process.stdout.readline():
                self._hear(msgspec.json.decode(raw, type=Line))
        except (ValueError, msgspec.MsgspecError) as error:
            self._log.error("line_unreadable", cause=str(error)[:200])
        finally:
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Let the worker end, or end it."""
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            try:
                async with asyncio.timeout(ENDS_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    def _hear(self, line: Line) -> None:
        if line.look is None:
            self._log.error("worker_failed", cause=line.failed)
            return
        self.looks += 1
        failed = [one for one in line.look.findings if one.failed]
        for one in failed:
            self._log.warning(
                "drift", model=line.look.name, check=one.check, found=one.value, bound=one.bound
            )
        if line.look.demote:
            self._demote(line.look)

    def _demote(self, look: Look) -> None:
        """Ask for the demotion, if that version still trades."""
        if not self._models[look.index].may_trade:
            return
        finding = next(one for one in look.findings if one.check == look.demote)
        check = WatchCheck[look.demote.upper()]
        reason = (check, finding.value or 0.0, finding.text)
        self._demotions.ask(look.index, look.sha256, reason)
