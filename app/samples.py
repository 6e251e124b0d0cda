"""What the report draws: equity, prices and feature rows, sampled on market time."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.slots import SlotPlan
from engine.audit_layout import MINOR_DECIMALS
from engine.instruments import Instrument
from engine.kernel.layout import WORD
from engine.kernel.state import KernelState
from engine.run_files import SAMPLES

KEPT = 4096  # points a curve; when full, every second one is dropped and the step doubles
KEPT_ROWS = 4096  # feature rows
KEPT_PRICES = 8  # instruments whose prices are drawn
NOW = WORD["now"]


class Samples:
    """Bounded curves: they thin themselves out, so that a run of any length fits."""

    def __init__(self, instruments: Sequence[Instrument], plans: Sequence[SlotPlan]) -> None:
        self.instruments = tuple(instruments)[:KEPT_PRICES]
        self._points: list[tuple[int, float, float, tuple[float, ...]]] = []
        self._step = 1
        self._seen = 0
        self._drawn = next((at for at, p in enumerate(plans) if p.spec >= 0 and p.serving), -1)
        spec = plans[self._drawn].serving.spec if self._drawn >= 0 else None  # type: ignore[union-attr]
        self.names = () if spec is None else spec.names
        self._rows: list[np.ndarray] = []

    def take(self, state: KernelState, gate: np.ndarray) -> None:
        """Keep one point."""
        self._seen += 1
        if self._seen % self._step:
            return
        mids = tuple(state.markets["mid"][: len(self.instruments)].tolist())
        unit = 10.0**MINOR_DECIMALS
        equity = float(gate[0]["equity"]) / unit
        if math.isnan(equity):
            return  # something held has no price yet: nothing to draw
        self._points.append((state.words[NOW], equity, float(gate[0]["drawdown"]), mids))
        if len(self._points) >= KEPT:
            self._points = self._points[::2]
            self._step *= 2
        if self._drawn >= 0 and len(self._rows) < KEPT_ROWS:
            row = state.slot_input(self._drawn)[0]
            if state.slots[self._drawn]["was_valid"] and len(row) == len(self.names):
                self._rows.append(row.copy())

    def write(self, run_dir: Path, latency: dict[str, np.ndarray]) -> None:
        """Write samples/*.npz into the run's folder."""
        folder = run_dir / SAMPLES
        folder.mkdir(exist_ok=True)
        ts = np.array([point[0] for point in self._points], np.int64)
        np.savez_compressed(
            folder / "equity.npz",
            ts=ts,
            equity=np.array([point[1] for point in self._points]),
            drawdown=np.array([point[2] for point in self._points]),
        )
        prices: dict[str, np.ndarray] = {}
        for at in range(len(self.instruments)):
            prices[f"ts_{at}"] = ts
            prices[f"mid_{at}"] = np.array([point[3][at] for point in self._points])
        np.savez_compressed(folder / "prices.npz", **prices)  # type: ignore[arg-type]
        if self._rows:
            np.savez_compressed(
                folder / "features.npz", names=np.array(self.names), rows=np.array(self._rows)
            )
        np.savez_compressed(folder / "latency.npz", **latency)  # type: ignore[arg-type]
