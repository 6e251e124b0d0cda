"""Replay: the pipeline over a tape, as fast as it goes or at a multiple of market time."""

import functools
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import numpy as np

from app.asked_again import AskedAgain
from app.kernel import is_compiled, kernel_source
from app.outcome import new_run_dir
from app.parts import NewVenue, Parts
from app.recorded_models import expect_swaps, pins_of
from app.session import Asked, close_run, end_reason, name_tape, open_run
from app.wire import build, plan
from config.settings import Settings
from engine.audit import AuditWriter
from engine.bus import Bus
from engine.json_files import write_json
from engine.kernel.layout import WORD
from engine.run_files import LIVE, TAPE_REF, LiveRun, Summary, TapeRef
from engine.tape import Tape
from engine.tape_hash import tape_hash
from engine.tape_info import BLOCK_ROWS

CURSOR = WORD["cursor"]
VERSION = "0.1.0"
PACE_S = 0.02  # how often a paced replay looks at the clock
RELEASE_ROWS = 1 << 20  # pages further behind than this are let go of
Progress = Callable[[int, int, int], None]  # rows done, rows in all, kernel time


class Stop:
    """Ctrl-C: the first one ends the run cleanly, the second one at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Stop":
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Replay(msgspec.Struct, kw_only=True):
    """What a replay is asked to do.

    Attributes:
        tape: the opened tape.
        settings: the run's settings.
        named: models given on the command line, `ID:VERSION`.
        inputs: the paths as the person named them.
        command: the command line.
        speed: 0 for as fast as it goes, else a multiple of market time.
        symbols: only these; empty means all.
        say: tells a person what takes long before it begins.
        progress: called between blocks.
        subscribe: given the bus, to listen to signals and fills.
        new_venue: the venue of a live run's replay; None is paper matching.
        check: called after the last row.
        live: the live run's live.json, to be kept with this one.
        answered_by: sha256 of the models whose answers stand on the tape; with other models their
            answers come after the time that the registry says.
        run: the run folder that is replayed with its own models; None for data.
    """

    tape: Any
    settings: Settings
    named: Sequence[str] = ()
    inputs: Sequence[str] = ()
    command: Sequence[str] = ()
    speed: float = 0.0
    say: Callable[[str], None] = lambda _: None
    progress: Progress | None = None
    report: bool = True
    subscribe: Callable[[Bus], None] | None = None
    new_venue: NewVenue | None = None
    check: Callable[[], None] | None = None
    live: LiveRun | None = None
    answered_by: Sequence[str] = ()
    run: Path | None = None


def replay(job: Replay) -> Summary:
    """Run a tape through the pipeline; leaves a run folder and returns its summary.

    Raises:
        UsageError: settings and tape do not go together; nothing was written then.
        RunError: the audit could not be written.
    """
    pins = {} if job.run is None else pins_of(job.run, job.settings)
    parts = plan(job.settings, job.tape.instruments, job.named, pins)
    expect_swaps(parts, job.tape.folder, pins)
    if not is_compiled(kernel_source(parts.specs, parts.bars)):
        job.say("compiling the kernel for these features; this happens once and takes a while")
    run_id, run_dir = new_run_dir(Path(job.settings.runs_dir))
    blocks = job.tape.info.block_sha256
    hash_of = functools.lru_cache(maxsize=2)(lambda count: tape_hash(blocks[:count]))
    audit = AuditWriter(run_dir, lambda row: hash_of(row // BLOCK_ROWS))
    served = tuple(serving.sha256 for serving in parts.models)
    from_tape = bool(served) and served == tuple(job.answered_by)
    build(
        parts,
        audit,
        job.tape.info.wakes == "implied",
        new_venue=job.new_venue,
        answers_on_tape=from_tape,
    )
    if from_tape:
        _ask_again(parts, job.tape)
    asked = Asked("replay", job.settings, job.named, job.inputs, job.command)
    info = job.tape.info
    ref = TapeRef(
        path=str(job.tape.folder.resolve()), sha256=info.sha256, rows=info.rows, wakes=info.wakes
    )
    open_run(parts, run_dir, run_id, asked)
    write_json(run_dir / TAPE_REF, ref)
    if job.live is not None:
        write_json(run_dir / LIVE, job.live)
    name_tape(parts, info.sha256)
    if job.subscribe is not None:
        job.subscribe(parts.desk.bus)
    with Stop() as stop:
        wall_s = _run(parts, job, stop)
        if job.check is not None and not stop.asked:
            job.check()
        return _close(parts, job, run_dir, (wall_s, stop.asked))


def _ask_again(parts: Parts, tape: Tape) -> None:
    """Let some requests of the session be made again."""
    answers, state = parts.model_answers, parts.state
    again = AskedAgain(
        tape,
        state.slots,
        answers.predictors,
        state.outputs,
        lambda line: parts.recorder.event(11, "model_differs", line),
    )
    parts.asked_again = answers.asker = again


def _run(parts: Parts, job: Replay, stop: Stop) -> float:
    """Drain every segment, block by block; return the wall time it took."""
    tape, words = job.tape, parts.state.words
    block = parts.settings.engine.block_rows
    progress = job.progress
    started = time.perf_counter()
    shown = 0
    for segment in tape.segments:
        stop_row = segment.stop_row
        parts.window = (segment.address, segment.first_row, stop_row)
        while words[CURSOR] < stop_row and not stop.asked:
            cursor = words[CURSOR]
            limit = cursor + block
            if job.speed > 0.0:
                limit = min(limit, _paced(parts, job, segment, started))
                if limit <= cursor:
                    time.sleep(PACE_S)
                    continue
            parts.pipeline.drain(segment.address, segment.first_row, stop_row, limit)
            if progress is not None and words[CURSOR] - shown >= BLOCK_ROWS:
                shown = words[CURSOR]
                progress(shown, tape.info.rows, words[WORD["now"]])
            if words[CURSOR] % RELEASE_ROWS < block:
                tape.release(words[CURSOR])
        if stop.asked:
            break
        if parts.ahead is not None:
            parts.ahead.finish()
    wall_s = time.perf_counter() - started
    if progress is not None:
        progress(words[CURSOR], tape.info.rows, words[WORD["now"]])
    return wall_s


def _paced(parts: Parts, job: Replay, segment: Any, started: float) -> int:
    """Return the row up to which market time has come, at the asked speed."""
    rows = segment.rows
    first = job.tape.segments[0].rows[0]
    begin = int(first["ts_recv"]) or int(first["ts_event"])
    reached = begin + int((time.perf_counter() - started) * job.speed * 1e9)
    cursor = parts.state.words[CURSOR] - segment.first_row
    ahead = rows[cursor : cursor + BLOCK_ROWS]
    stamps = np.where(ahead["ts_recv"] > 0, ahead["ts_recv"], ahead["ts_event"])
    late = np.flatnonzero(np.maximum.accumulate(stamps) > reached)
    count = int(late[0]) if len(late) else len(ahead)
    return segment.first_row + cursor + count


def _close(parts: Parts, job: Replay, run_dir: Path, ended: tuple[float, bool]) -> Summary:
    """End the orders, write the rest of the audit, the summary and what a person sees."""
    wall_s, interrupted = ended
    reason = "interrupted" if interrupted else end_reason(parts)
    return close_run(parts, run_dir, ("replay", reason, wall_s), job.tape.info, job.report)
