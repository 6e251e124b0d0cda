"""Hot reload: other versions of the running models, loaded beside the session and swapped by a row.

A wish comes from the signal file, from SIGHUP, from a rollback or from a demotion. One worker
thread loads and checks one version at a time, as at a start: registry, hashes, scan, contract,
feature code, session, golden rows. Wishes that come meanwhile wait, the newest for each model. What
passes is swapped in by a CONTROL row (app/swap.py); what does not costs an event, the old one
serves on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.fall_back import FallBacks
from app.inference import Inference
from app.loader import PRODUCTION, Loader, Want, unwanted
from app.log import logger
from app.parts import Parts
from app.serving import Serving
from app.signal_file import DEFAULT_NAME, SignalFile, SignalRefused
from app.swap import FALL_BACK, ROLLBACK
from engine.clock import SystemClock
from engine.control_log import ControlLog, Swap
from engine.errors import RunError
from engine.events import Command
from engine.live_tape import LiveTape
from engine.row_words import row_head
from engine.rows import Kind
from ml.runtime.model_thread import ModelThread
from ml.runtime.switching import short_turns

LOOK_S = 0.5  # between two looks at the signal file
SAY_AGAIN_S = 60.0  # between two refusals of it for the same reason
SAY_AFTER_S = 0.01  # a swap: the rows that wait go first
END_S = 1.0  # beyond its deadline, for the thread of a version that goes
SWAP_HEAD = row_head(int(Kind.CONTROL))
REFUSED_EVENT = 8  # event code of the audit


def _follows(serving: Serving) -> bool:
    """Tell whether a model goes where its id goes; what is compared at a version stays there."""
    settings = serving.settings
    compared = settings.mode != PRODUCTION and settings.version != PRODUCTION
    return bool(settings.model_id) and not compared


class Reloads:
    """The reloads of one session; everything but the loading happens on its event loop.

    Args:
        parts: the session's, built.
        tape: takes the swap rows.
        clock: stamps them.
        named: `ID:VERSION` of the command line; these may trade whatever their status.
        drain: lets the pipeline go over what has come, the swap row with it.
        threads: of the models on threads; None where no model may have one.

    Attributes:
        loads: versions that were loaded, or tried.  refused: those that did not pass.
        tell: called with a code and a text for a person who is not watching.
    """

    def __init__(
        self,
        parts: Parts,
        tape: LiveTape,
        clock: SystemClock,
        named: Sequence[str],
        *,
        drain: Callable[[], None],
        tell: Callable[..., None] = lambda code, text: None,
        threads: Inference | None = None,
    ) -> None:
        self.loads = self.refused = 0
        self.tell = tell
        self.log = logger("models")
        self._parts = parts
        self._tape = tape
        self._clock = clock
        self._drain = drain
        self._threads = threads
        artifacts = Path(parts.settings.artifacts_dir)
        path = parts.settings.reload.signal_file
        self._file = SignalFile(Path(path) if path else artifacts / DEFAULT_NAME)
        self._control = ControlLog(tape.folder)
        self._wanted: dict[int, Want] = {}
        self._fall_backs = FallBacks(parts)
        name = self._file.path.name
        self._loader = Loader(parts, frozenset(named), self._fall_backs, threads, name)
        self._news = asyncio.Event()
        self._last_refusal = ("", 0.0)

    def ask_production(self, cause: str) -> None:
        """Let every running model go to the registry's production version, if it differs."""
        for serving in self._parts.models:
            if _follows(serving):
                self._ask(Want(serving.index, PRODUCTION, cause))

    def ask(self, model_id: str, version: str, cause: str) -> None:
        """Let the models of an id go to a version; an empty one takes them back."""
        known = [s for s in self._parts.models if s.settings.model_id == model_id]
        mine = [s for s in known if _follows(s)]
        for serving in mine:
            self._ask(Want(serving.index, version, cause))
        if not known:
            self._refuse(f"{model_id}: no model of this session has that id")
        elif not mine:
            self._refuse(f"{model_id}: compared at the versions that the settings name")

    def fall_back(self, index: int) -> None:
        """Let a model that was demoted go to the version before, where the settings ask for it."""
        if self._fall_backs.demoted(index):
            self._news.set()

    def _ask(self, want: Want) -> None:
        self._wanted[want.model] = want
        self._news.set()

    async def run(self) -> None:
        """Look at the signal file and carry out what is wanted, until cancelled."""
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._watch(), name="signal file")
                both.create_task(self._work(), name="reloads")
        finally:
            self._loader.close()
            self._control.close()

    async def _watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Look at the signal file once."""
        try:
            wishes = self._file.look()
        except SignalRefused as error:
            reason, at = self._last_refusal
            if str(error) != reason or time.monotonic() - at >= SAY_AGAIN_S:
                self._last_refusal = (str(error), time.monotonic())
                self._refuse(f"signal file {self._file.path.name}: {error}")
            return
        if wishes == ():
            self.ask_production("signal file")
        for wish in wishes or ():
            self.ask(wish.model_id, wish.version, "signal file")

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._fall_backs.due or self._wanted:
                await self._next()
                while self._parts.swaps.freed:
                    self._loader.submit(self._parts.swaps.freed.pop().close)

    async def _next(self) -> None:
        """Carry out a fall-back that is due, else the oldest wish."""
        if (kept := self._fall_backs.take()) is not None:
            await self._go_over(kept, FALL_BACK)
        elif self._wanted:
            want = self._wanted.pop(next(iter(self._wanted)))
            await (self._load if want.version else self._roll_back)(want)

    async def _load(self, want: Want) -> None:
        """Have one version loaded, and swap it in."""
        serving, began = self._parts.models[want.model], time.perf_counter()
        now = (serving.version, serving.sha256 if serving.ort is not None else "")
        self.loads += 1
        work = self._loader.load(want, now)
        try:
            with short_turns():
                found = await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            work.add_done_callback(unwanted)
            raise
        if isinstance(found, str):
            self._refuse(f"{serving.settings.name}: {found}")
        elif found is None:
            self.log.info("reload.same", model=serving.settings.name, version=now[0])
        elif want.model in self._wanted:
            self._loader.submit(found.close)  # something newer is wanted already
        else:
            self._fall_backs.named(found)
            took_ms = round((time.perf_counter() - began) * 1e3, 1)
            await self._go_over(found, want.cause, took_ms)

    async def _roll_back(self, want: Want) -> None:
        kept = self._parts.swaps.kept.pop(want.model, None)  # after the swap it is the other one
        if kept is None:
            name = self._parts.models[want.model].settings.name
            self._refuse(f"{name}: no version before is kept")
            return
        await self._go_over(kept, ROLLBACK)

    async def _go_over(self, candidate: Serving, cause: str, took_ms: float = 0.0) -> None:
        """Swap a version in; what need not stand between two rows is done beside the loop.

        Args:
            candidate: the version.
            cause: who asked.
            took_ms: for how long it was loaded.
        """
        serving = self._parts.models[candidate.index]
        swap = Swap(
            name=serving.settings.name,
            model_id=serving.settings.model_id,
            version=candidate.version,
            sha256=candidate.sha256,
            trades=candidate.may_trade,
            cause=cause,
        )
        written = self._loader.submit(self._control.append, swap)
        try:
            line = await asyncio.wrap_future(written)
        except OSError as error:
            self._loader.submit(candidate.close)
            self._refuse(f"{swap.name}: the control log takes no line ({error.strerror or error})")
            return
        except asyncio.CancelledError:
            written.add_done_callback(lambda _: candidate.close())
            raise
        old = f"{swap.model_id}:{serving.version}"
        thread = None if self._threads is None else self._threads.release(serving.index)
        if not self._swap(candidate, swap, line, thread):
            return
        try:
            await asyncio.sleep(SAY_AFTER_S)  # rows go first
        finally:
            self._say(swap, old, took_ms)
        if thread is not None:
            await self._end(thread, candidate.index)

    async def _end(self, thread: ModelThread, model: int) -> None:
        """Wait, beside the loop, for the thread of the version that went."""
        closed = self._loader.submit(thread.close, _within_s(thread))
        if not await asyncio.wrap_future(closed):
            self._parts.swaps.kept.pop(model, None)  # still in use: neither served again nor freed
            self.log.error("left_behind", thread=thread.name, remedy="it ends with the process")

    def _swap(
        self,
        candidate: Serving,
        swap: Swap,
        line: tuple[int, int],
        thread: ModelThread | None,
    ) -> bool:
        """Write the swap row and let the pipeline come to it; False where the tape takes no row.

        Args:
            candidate: the version.
            swap: what the control log says of it.  line: number and word of its line.
            thread: of the version that goes.
        Raises:
            RunError: the tape takes no row, and the model that served has no thread any more.
        """
        serving, (reference, word) = self._parts.models[candidate.index], line
        self._parts.swaps.expect(reference, (swap, word), candidate)
        now = self._clock.now_ns()
        payload = (int(Command.SWAP), reference, candidate.index, word, 0)
        try:
            self._tape.push(SWAP_HEAD, now, now, payload)
        except RunError as error:
            self._parts.swaps.forget(reference).close()
            self._refuse(f"{swap.name}: {error}")
            if thread is not None and not thread.close(_within_s(thread)):
                raise  # nobody answers for this model any more
            self._adopt(serving)
            return False
        self._drain()
        self._adopt(serving)
        return True

    def _say(self, swap: Swap, old: str, took_ms: float) -> None:
        """Log a swap, and tell whoever is not watching."""
        new = f"{swap.model_id}:{swap.version}"
        fields: dict[str, Any] = {"old": old, "new": new}
        self.log.info(
            "reload.swapped", model=swap.name, cause=swap.cause, took_ms=took_ms, **fields
        )
        self.tell("model_swapped", f"{swap.name} goes over to {new}", **fields)

    def _adopt(self, serving: Serving) -> None:
        if self._threads is not None:
            self._threads.adopt(serving)

    def _refuse(self, text: str) -> None:
        """Say that a wish is not carried out; what served serves on."""
        self.refused += 1
        self.log.error("reload.refused", cause=text, remedy="the old version serves on")
        self.tell("model_refused", f"a reload was refused: {text}")
        self._parts.recorder.event(REFUSED_EVENT, "reload_refused", text[:300])


def _within_s(thread: ModelThread) -> float:
    return thread.deadline_ns / 1e9 + END_S
