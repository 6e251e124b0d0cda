"""How long the stages take, sampled: kept apart from everything that is decided."""

from time import perf_counter_ns

import numpy as np

KEPT = 16_384  # samples a stage; a ring, the newest stay


class Stages:
    """Durations by stage in ns. Wall-clock figures: they are in no digest.

    Example:
        >>> stages = Stages()
        >>> stages.stop("inference", stages.start())
        >>> list(stages.samples()), len(stages.samples()["inference"])
        (['inference'], 1)
    """

    def __init__(self) -> None:
        self._rings: dict[str, np.ndarray] = {}
        self._counts: dict[str, int] = {}

    start = staticmethod(perf_counter_ns)

    def stop(self, stage: str, started: int) -> None:
        """Keep the time since `started` (what `start` gave) for a stage."""
        taken = perf_counter_ns() - started
        ring = self._rings.get(stage)
        if ring is None:
            ring = self._rings[stage] = np.zeros(KEPT, np.int64)
            self._counts[stage] = 0
        count = self._counts[stage]
        ring[count % KEPT] = taken
        self._counts[stage] = count + 1

    def samples(self) -> dict[str, np.ndarray]:
        """Return the kept samples by stage, int64[n] ns."""
        return {
            stage: ring[: min(self._counts[stage], KEPT)] for stage, ring in self._rings.items()
        }
