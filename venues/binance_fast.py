"""Hold the record of the fast parser: where it writes, what it found, which symbols it knows."""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np

SYMBOL_BYTES = 24
PUBLISHED = -1  # what `publish` says of a message that stands on the tape


class FastParser:
    """The machine-code parser and its record; where it cannot run it gives up on every message."""

    def __init__(self) -> None:
        """Compile the kernel, or take it from the cache."""
        from numba import config

        from venues import binance_parse as kernel

        self._record = np.zeros(1, kernel.STATE)
        self._state = self._record[0]
        self._words = memoryview(self._record.view(np.uint8)).cast("B")[: 7 * 8].cast("q")
        self._state["header"] = sys.getsizeof(b"") - 1
        self._state["kind"] = id(bytes)
        self.address = int(self._record.ctypes.data)
        self.buffer: memoryview | None = None
        self._room = kernel.MAX_SYMBOLS // 2
        self._kernel = kernel
        self.parse: Callable[[int, int, int, int], int] = _gives_up
        self.publish: Callable[[int, int, int, int, int], int] = _publishes_nothing
        if not config.DISABLE_JIT and sys.implementation.name == "cpython":
            (compiled,) = kernel.parse.overloads.values()
            self.parse = compiled.entry_point
            (compiled,) = kernel.publish.overloads.values()
            self.publish = partial(compiled.entry_point, self.address)

    def adopt(self, buffer: memoryview) -> None:
        """Write into this buffer from now on; it is kept alive."""
        rows = np.frombuffer(buffer, np.uint8)
        assert rows.flags.writeable
        assert len(rows) % 64 == 0
        self.buffer = buffer
        self._state["rows"] = rows.ctypes.data
        self._state["room"] = len(rows) // 64

    def learn(self, symbol: str, instrument: int, tick: float) -> None:
        """Remember a symbol that a mapping has resolved."""
        name = symbol.encode()
        if self.parse is _gives_up or self._room == 0 or not 0 < len(name) <= SYMBOL_BYTES:
            return
        words = np.frombuffer(name.ljust(SYMBOL_BYTES, b"\0"), np.uint64)
        slot = int(self._kernel.symbol_slot(*words))
        while self._state["index"][slot] != 0:
            if (self._state["names"][slot] == words).all():
                return
            slot = (slot + 1) % self._kernel.MAX_SYMBOLS
        self._state["names"][slot] = words
        self._state["tick"][slot] = tick
        self._state["index"][slot] = instrument + 1
        self._room -= 1

    def found(self) -> tuple[int, int, int, int, int]:
        """Return (0 no depth, 1 update, 2 full book; first, last and previous id; instrument)."""
        _, _, found, first_id, last_id, prev_id, instrument = self._words
        return found, first_id, last_id, prev_id, instrument

    def no_depth(self) -> None:
        """Note that the message decoded last is no depth."""
        self._words[2] = 0

    def note_depth(self, found: int, ids: tuple[int, int, int], instrument: int) -> None:
        """Note the ids of the packet decoded last."""
        for at, value in enumerate((found, *ids, instrument), start=2):
            self._words[at] = value


def _gives_up(message: int, place: int, ts_recv: int, state: int) -> int:
    """Leave every message to the slow way."""
    return 0


def _publishes_nothing(message: int, at: int, ts_recv: int, first_row: int, states: int) -> int:
    """Leave every message to the slow way."""
    return 0
