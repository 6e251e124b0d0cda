"""A thread that notices when the event loop stands still."""

import threading
import time
from collections.abc import Callable

LOOK_S = 0.25
BLOCKED_S = 2.0


class Watchdog:
    """Calls `on_blocked` once for each time that no beat came for `blocked_s`.

    Args:
        on_blocked: given the seconds since the last beat; called in the watchdog's thread.
        blocked_s: how long is too long.
    """

    def __init__(self, on_blocked: Callable[[float], None], blocked_s: float = BLOCKED_S) -> None:
        self.blocks = 0
        self._on_blocked = on_blocked
        self._blocked_s = blocked_s
        self._last = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """Say that the loop turns."""
        self._last = time.monotonic()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        told = 0.0
        while not self._ended.wait(LOOK_S):
            last = self._last
            late = time.monotonic() - last
            if late > self._blocked_s and told != last:
                told = last
                self.blocks += 1
                self._on_blocked(late)
