"""A model of another kind in a process of its own: `python -m ml.worker FDS`, run by its owner.

The owner passes three descriptors: a socket for messages, the shared memory, and the model's bytes,
which it has read and hashed. The worker ends when the socket closes, whatever the model does.
"""

import mmap
import os
import socket
import sys
import threading
import time
from typing import Any

import numpy as np

from ml.worker.kinds import Served, load
from ml.worker_frame import ANSWERS_AT, ANSWERS_BYTES, MEMORY_BYTES, Channel, Gone, view

PARENT_CHECK_S = 1.0


def main(words: list[str]) -> int:
    """Serve one model until the owner goes."""
    channel_fd, memory_fd, model_fd = (int(word) for word in words)
    channel = Channel(socket.socket(fileno=channel_fd))
    memory = mmap.mmap(memory_fd, MEMORY_BYTES)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with os.fdopen(model_fd, "rb") as file:
        file.seek(0)
        data = file.read()
    try:
        order = channel.receive()
        model = _answer(channel, lambda: load(data, order))
        if model is None:
            return 1
        channel.send({"ok": True, **model.about()})
        while True:
            message = channel.receive()
            _answer(channel, lambda m=message: _serve(channel, memory, model, m))
    except Gone:
        return 0


def _end_with(parent: int) -> None:
    """End this process when the owner's is gone, also while a model holds the main thread."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(0)


def _answer(channel: Channel, work: Any) -> Any:
    """Do the work; what it raises goes to the owner as one line."""
    try:
        return work()
    except ModuleNotFoundError as error:
        channel.send({"ok": False, "code": "model.library", "text": error.name or str(error)})
    except (KeyboardInterrupt, Gone):
        raise
    except BaseException as error:  # a model may raise anything, SystemExit too
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        channel.send({"ok": False, "code": "model.failed", "text": text})
    return None


def _serve(channel: Channel, memory: mmap.mmap, model: Served, message: dict[str, Any]) -> None:
    if message["do"] == "importance":
        channel.send({"ok": True, "importance": model.importance()})
        return
    rows = view(memory, 0, tuple(message["shape"]))
    call = model.proba if message["do"] == "proba" else model.values
    found = np.asarray(call(rows.copy()), np.float32)
    if found.ndim == 0 or found.shape[0] != len(rows) or found.size * 4 > ANSWERS_BYTES:
        raise ValueError(f"answers of shape {list(found.shape)} for {len(rows)} rows")
    found = found.reshape(len(rows), -1)
    view(memory, ANSWERS_AT, found.shape)[:] = found
    channel.send({"ok": True, "shape": list(found.shape)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
