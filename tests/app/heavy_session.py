"""`run_live.py` with a loop that stands still now and then while models on threads are asked.

Run as `python -m tests.app.heavy_session` with run_live.py's words. Where the variable BLOCKS says
after which requests to Heavy the loop stands still, and for how long, the session ends by itself
when it has seen ENOUGH. A replay asks no thread, and so never stands still.
"""

import os
import signal
import sys
import time

import run_live
from app.command_line import run
from app.inference import Inference
from engine.events import AnswerStatus

BLOCKS = "TICKGATE_TEST_BLOCKS"  # such as "20:1.5,60:1.5", requests and seconds
ENOUGH = {
    "Heavy": {"RESULT": 60},
    "Stalls": {"TIMED_OUT": 3, "SUPERSEDED": 3, "RESULT": 3},
    "Fails": {"FAILED": 3, "RESULT": 3},
}


def enough(inference: Inference) -> bool:
    """Tell whether every model has ended enough requests in every way."""
    models = inference._parts.models
    return all(
        inference.threads[at].counts[AnswerStatus[end]] >= count
        for at, one in enumerate(models)
        for end, count in ENOUGH.get(one.settings.name, {}).items()
    )


def stand_still(blocks: dict[int, float]) -> None:
    """Let the loop stand still right after some requests were handed over."""
    ask, count = Inference.ask, 0

    def asked(self, slot, request, x):
        nonlocal count
        ask(self, slot, request, x)
        if self._parts.plans[slot].serving.settings.name == "Heavy":
            count += 1
            time.sleep(blocks.get(count, 0.0))
        if count > max(blocks) and enough(self):
            os.kill(os.getpid(), signal.SIGTERM)
            blocks[1 << 60] = 0.0  # once

    Inference.ask = asked


if __name__ == "__main__":
    pairs = [word.split(":") for word in os.environ.get(BLOCKS, "").split(",") if word]
    if pairs:
        stand_still({int(count): float(seconds) for count, seconds in pairs})
    sys.exit(run("run_live.py", run_live.main))
