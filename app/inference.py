"""The threads of a session's heavy models: who is asked, which rows answer, and how it all ends.

Rows are written between wakes only, by the session: `write` puts what has ended onto the tape, and
the next WAKE lets the pipeline settle it. So each request ends in exactly one SIGNAL row, and the
session's tape replays to its decisions.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence

import numpy as np

from app.log import logger
from app.parts import Parts
from app.serving import Serving
from engine.errors import ConfigError
from engine.events import AnswerStatus
from engine.live_tape import LiveTape
from engine.model_answers import (
    is_valued,
    output_head,
    output_payloads,
    probabilities,
    signal_head,
    signal_payload,
)
from ml.runtime.model_thread import Answer, ModelThread

NO_CHANCES = (0.0, 0.0, 0.0)
STAGE = "inference_thread"  # from the question to the row that answers it


def cores_of(wanted: Sequence[int]) -> list[int]:
    """Return the cores that threads take in turn: those of the settings, else the last allowed.

    Raises:
        ConfigError: a core that this process may not use.
    """
    allowed = sorted(os.sched_getaffinity(0))
    for core in wanted:
        if core not in allowed:
            raise ConfigError(
                f"engine.inference_cores: {core} is not allowed here; there are "
                f"{', '.join(map(str, allowed))}"
            )
    return list(wanted) or allowed[-1:]


class Inference:
    """The threads of one session; none where every model is fast.

    Args:
        parts: planned; `asked` is given to app/wire.py `build`.
        tape: of the session.
        now: stamps rows, ns.
    """

    def __init__(self, parts: Parts, tape: LiveTape, now: Callable[[], int]) -> None:
        self._parts = parts
        self._tape = tape
        self._now = now
        self._log = logger("inference")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._watched: dict[ModelThread, asyncio.TimerHandle] = {}  # when to look at each
        self._of_slot: list[tuple[ModelThread, int] | None] = [None] * len(parts.plans)
        self._asked_ts: list[dict[int, int]] = [{} for _ in parts.plans]
        self.threads: dict[int, ModelThread] = {}  # by model index
        self._slots: dict[int, list[int]] = {}  # of the model's places
        self._cores = cores_of(parts.settings.engine.inference_cores)
        self._core_of: dict[int, int] = {}  # by model index; a later version takes the same
        for serving in parts.models:
            if serving.threaded and serving.ort is not None:
                self._add(serving)

    def _add(self, serving: Serving) -> None:
        """Give a model's places to its thread, made here where it is not there yet."""
        slots = self._slots_of(serving.index)
        thread = serving.thread or self._made(serving, len(slots))
        serving.thread = self.threads[serving.index] = thread
        self._slots[serving.index] = slots
        for place, at in enumerate(slots):
            self._of_slot[at] = (thread, place)

    def _slots_of(self, index: int) -> list[int]:
        serving = self._parts.models[index]
        return [at for at, plan in enumerate(self._parts.plans) if plan.serving is serving]

    def _made(self, serving: Serving, places: int) -> ModelThread:
        """Make a version's thread, with a place for each of its model's slots."""
        turn = self._cores[len(self._core_of) % len(self._cores)]
        core = self._core_of.setdefault(serving.index, turn)
        windows = [serving.window(number) for number in range(places)]
        return ModelThread(
            f"model-{serving.settings.name}"[:15],
            serving.ort,
            [serving.x if window is None else window.whole for window in windows],
            deadline_ns=serving.deadline_ns,
            cores=(core,),
        )

    def prepare(self, candidate: Serving) -> None:
        """Start the thread of a version that will be adopted; called beside the loop.

        The loop would wait for the new thread to run, in the middle of the market. Who does not
        adopt the version closes it, and so its thread.
        """
        if candidate.threaded and candidate.ort is not None:
            thread = self._made(candidate, len(self._slots_of(candidate.index)))
            thread.start()
            candidate.thread = thread

    def start(self) -> None:
        """Let the threads serve."""
        self._loop = asyncio.get_running_loop()
        for thread in self.threads.values():
            self._begin(thread)

    def _begin(self, thread: ModelThread) -> None:
        assert self._loop is not None
        if thread.ready_fd < 0:
            thread.start()
        self._loop.add_reader(thread.ready_fd, self._heard, thread)

    def _heard(self, thread: ModelThread) -> None:
        thread.heard()
        self._news.set()

    async def watch(self, wake: Callable[[], None]) -> None:
        """Wake the pipeline whenever a thread has answered, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            wake()

    def ask(self, slot: int, request: int, x: np.ndarray) -> None:
        """Give a request to the slot's thread, which reads `x` itself; called by the pipeline."""
        found = self._of_slot[slot]
        assert found is not None, "a slot without a thread"
        thread, place = found
        self._asked_ts[slot][request] = int(self._parts.state.root[0]["now"])
        thread.ask(place, request)
        if thread not in self._watched and self._loop is not None:
            self._look_in(thread, thread.deadline_ns)

    def _look_in(self, thread: ModelThread, left_ns: int) -> None:
        assert self._loop is not None
        self._watched[thread] = self._loop.call_later(left_ns / 1e9, self._look, thread)

    def _look(self, thread: ModelThread) -> None:
        """End what is overdue; come back while the thread has work."""
        left = thread.end_overdue()
        if left:
            self._look_in(thread, left)
        else:
            del self._watched[thread]

    def write(self) -> None:
        """Put a row onto the tape for each request that has ended; called between wakes."""
        for index, thread in self.threads.items():
            for answer in thread.take():
                self._row(index, answer)

    def _row(self, index: int, answer: Answer) -> None:
        parts, status = self._parts, answer.status
        at = self._slots[index][answer.place]
        asked_ts = self._asked_ts[at].pop(answer.request)
        chances, instrument = NO_CHANCES, parts.plans[at].instrument
        if status == AnswerStatus.RESULT:
            slot = parts.state.slots[at]
            if is_valued(slot):
                self._columns(instrument, asked_ts, answer)
            else:
                chances = probabilities(slot, answer.y)
            parts.pipeline.stages.stop(STAGE, answer.asked_ns)
        elif status == AnswerStatus.FAILED:
            parts.desk.model_failed(index, RuntimeError(answer.error))
        elif status == AnswerStatus.TIMED_OUT:
            name = parts.models[index].settings.name
            ms = round((time.perf_counter_ns() - answer.asked_ns) / 1e6, 1)
            self._log.warning("timed_out", model=name, request=answer.request, after_ms=ms)
        head = signal_head(instrument)
        payload = signal_payload(answer.request, chances, int(status))
        self._tape.push(head, asked_ts, self._now(), payload)

    def _columns(self, instrument: int, asked_ts: int, answer: Answer) -> None:
        """Put the columns of an answer that is more than probabilities onto the tape."""
        for payload in output_payloads(answer.request, answer.y):
            self._tape.push(output_head(instrument), asked_ts, self._now(), payload)

    def release(self, index: int) -> ModelThread | None:
        """Take a model's thread away, its requests ended by rows; called between wakes.

        Returns:
            the thread, None where it has none; it ends soon, `close` it outside of the loop.
        """
        thread = self.threads.get(index)
        if thread is None:
            return None
        thread.stop()
        self.write()
        del self.threads[index]
        if thread in self._watched:  # else it, and its session, would stay until the deadline
            self._watched.pop(thread).cancel()
        self._parts.models[index].thread = None  # a rollback makes another
        for at in self._slots.pop(index):
            self._of_slot[at] = None
        if self._loop is not None and thread.ready_fd >= 0:
            self._loop.remove_reader(thread.ready_fd)
        return thread

    def adopt(self, serving: Serving) -> None:
        """Give a model that serves from now on its thread, if it wants one."""
        assert serving.index not in self.threads, "release the one before"
        if serving.threaded and serving.ort is not None:
            self._add(serving)
            if self._loop is not None:
                self._begin(self.threads[serving.index])

    def close(self) -> None:
        """End the threads, within the longest deadline; what was open is closed by a row each."""
        for thread in self.threads.values():
            thread.stop()
        longest = max((thread.deadline_ns for thread in self.threads.values()), default=0)
        until = time.monotonic() + longest / 1e9
        for thread in self.threads.values():
            if self._loop is not None and thread.ready_fd >= 0:
                self._loop.remove_reader(thread.ready_fd)
            if not thread.close(max(0.0, until - time.monotonic())):
                self._log.error(
                    "left_behind", thread=thread.name, remedy="it ends with the process"
                )
