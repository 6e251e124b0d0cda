"""Features of one instrument, row by row, for notebooks and scripts: the engine's own kernel."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.instruments import Instrument
from engine.rows import ROW_BYTES
from features.batch import DEMO
from features.feed_module import KERNEL_FOLDER, entry_point, feed_state, load_feed
from features.registry import required_inputs
from features.spec import FeatureSpec


class FeatureCalculator:
    """Feeds tape rows of one instrument to the fused kernel and hands out feature rows.

    Bars are made from the rows as the engine makes them. The first use of a spec compiles its
    kernel (seconds); it is then kept in artifacts/kernels.

    Example:
        >>> from features.batch import bar_rows
        >>> minutes = np.arange(20) * 60_000_000_000
        >>> flat = np.full(20, 100.0)
        >>> rows = bar_rows({"ts_event": minutes, "open": flat, "high": flat + 1.0,
        ...                  "low": flat, "close": flat + np.arange(20) % 2, "volume": flat})
        >>> f = FeatureCalculator(FeatureSpec((("returns_1", {}), ("stoch_k", {"span": 3}))))
        >>> x = np.zeros(2, np.float32)
        >>> seen = []
        >>> for row in rows[:4]:
        ...     f.on_tick(row)
        ...     warm = f.fill_feature_vector(x)
        ...     seen.append((warm, [round(float(v), 4) for v in x]))
        >>> seen[2:]
        [(True, [-0.0099, 0.0]), (True, [0.01, 100.0])]
    """

    def __init__(
        self,
        spec: FeatureSpec,
        instrument: Instrument | None = None,
        *,
        bar_interval_s: int = 60,
        bar_grace_ms: int = 0,
        peer: Instrument | None = None,
        folder: Path | None = KERNEL_FOLDER,
    ) -> None:
        """Compile or load the kernel and start with nothing seen.

        Args:
            spec: which features, in which order.
            instrument: tick, lot and what its rows hold; by default one that has just the inputs
                that the spec needs.
            bar_interval_s, bar_grace_ms: of the bars, as in the engine's settings.
            peer: the instrument that it is paired with; rows of it say 1 in `instrument`.
            folder: where the compiled kernel is kept, None for nowhere.
        Raises:
            ConfigError: the spec does not resolve.
            UsageError: an unknown bar interval.
        """
        self.spec = spec
        self._module = load_feed(spec, folder)
        chosen = instrument if instrument is not None else _plain_instrument(spec, bar_interval_s)
        self._state = feed_state(self._module, chosen, bar_interval_s, bar_grace_ms, peer)
        self._buffer: np.ndarray | None = None
        self._buffer_address = 0
        self.on_address = partial(entry_point(self._module, "on_row"), self._state.address)
        self._fill = partial(entry_point(self._module, "fill"), self._state.address)

    def on_tick(self, row: Any) -> None:
        """Apply one row.

        Args:
            row: one element of a ROW array, a ROW[1], or the integer address of a row that lives
                (the fast form: `address = rows.ctypes.data`, row k stands at address + 64 * k).
        """
        if type(row) is not int:
            assert row.nbytes == ROW_BYTES
            row = row.__array_interface__["data"][0]
        self.on_address(row, 0)

    def fill_feature_vector(self, buffer: np.ndarray) -> bool:
        """Write the features, in the spec's order, into the caller's buffer.

        Args:
            buffer: float32[n_features], contiguous; kept until another one is given.
        Returns:
            True when every feature is warm and finite; NaN stands where one is not.
        """
        if buffer is not self._buffer:
            assert buffer.dtype == np.float32
            assert buffer.shape == (len(self.spec),)
            assert buffer.flags.c_contiguous
            self._buffer = buffer
            self._buffer_address = int(buffer.ctypes.data)
        return self._fill(self._buffer_address) == 1

    def reset(self) -> None:
        """Forget what the features have seen; the market stays."""
        self._module.restart(self._state.address)

    @property
    def market(self) -> np.void:
        """The MARKET record, as features read it; a view."""
        return self._state.markets[0]


def _plain_instrument(spec: FeatureSpec, bar_interval_s: int) -> Instrument:
    needed = required_inputs(spec)
    has = tuple(sorted(needed)) if needed != {"bars"} else ("bars",)
    if "bars" in has and len(has) > 1:
        has = tuple(name for name in has if name != "bars")
    return msgspec.structs.replace(
        DEMO, has=has, bar_interval_ns=bar_interval_s * 1_000_000_000 if "bars" in has else 0
    )
