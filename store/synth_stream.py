"""The synthetic market without an end: stop at a minute, change the rate of rows, go on.

A file of its own: the committed models know the generator's other files by their hash.
"""

from collections.abc import Iterator

import msgspec
import numpy as np

from store import synth_kernel as k
from store.synth import BLOCK_ROWS, SynthBlock, SynthSettings, new_state

_SHAPES = (k.QUOTE_OUT, k.TRADE_OUT, k.SECOND_OUT, k.MINUTE_OUT)


class SynthStream:
    """One instrument's generator, moved on piece by piece.

    The rows are those of `store.synth.generate` for the same settings, wherever it stops.
    """

    def __init__(self, settings: SynthSettings, index: int) -> None:
        """Stand before the first event of instrument `index`."""
        self._settings, self._index = settings, index
        self._state = new_state(settings, index)
        self._stopped = False  # at the end of a minute whose successor has not been drawn

    def set_rate(self, rows_per_s: float) -> None:
        """Change how many rows a second come from here on, about."""
        changed = msgspec.structs.replace(self._settings, rows_per_s=rows_per_s)
        other = new_state(changed, self._index)
        for name in ("trade_rate", "size_rate"):
            self._state[0][name] = other[0][name]

    def until(self, end_ns: int, block_rows: int = BLOCK_ROWS) -> Iterator[SynthBlock]:
        """Yield blocks up to a time, which must be a whole minute.

        Args:
            end_ns: first time that is not generated.
            block_rows: capacity of a block, at least 2.
        """
        assert end_ns % k.NS_PER_MINUTE == 0
        state = self._state
        assert end_ns > state[0]["t"]
        state[0]["end"] = end_ns
        if self._stopped:
            k.new_minute(state[0])
            self._stopped = False
        buffers = [np.empty(max(2, block_rows), dtype) for dtype in _SHAPES]
        while not self._stopped:
            with np.errstate(over="ignore"):
                self._stopped = bool(k.fill_block(state, *buffers))
            s = state[0]
            counts = (s["quotes"], s["trades"], s["seconds"], s["minutes"])
            yield SynthBlock(*(b[:n].copy() for b, n in zip(buffers, counts, strict=True)))
