"""Measures what one more instance of a served model takes, beside a session of its own."""

import json
import sys

import numpy as np

from benchmarks import lateness_models
from benchmarks.bars import Figure
from benchmarks.floor_inference import BoundModel
from benchmarks.peers import run_json
from benchmarks.proc_memory import rss_anon_mib
from ml.runtime.native import NativeModel

INSTANCES = 20
BAR = 0.05


def instances(_rounds: int) -> list[Figure]:
    """Open a 10 MB model many times, in a process of its own."""
    found = run_json([sys.executable, "-m", "benchmarks.measure_instances"])
    ours, own = found["ours_mib"], found["own_mib"]
    note = f"of a 10 MB model, mean of {INSTANCES}; the first one took {found['first_mib']:.1f} MiB"
    title = "one more instance of a model on a shared session, RssAnon"
    return [Figure(title, ours, own, ours / own, BAR, "MiB", f"{note}; floor: its own session")]


def main() -> int:
    """Print MiB of the first instance, of one more, and of one more with a session of its own."""
    data = lateness_models.wide(1)
    width, classes = lateness_models.TICK_FEATURES, lateness_models.CLASSES

    def arrays() -> list[np.ndarray]:
        return [np.zeros((1, width), np.float32), np.zeros((1, classes), np.float32)]

    def instance() -> NativeModel:
        x, y = arrays()
        return NativeModel(data, x=x, y=y, names=("x", "p"))

    kept: list[object] = [BoundModel(data, *arrays())]  # what is imported is not counted
    marks = [rss_anon_mib()]
    for count, make in (
        (1, instance),
        (INSTANCES, instance),
        (INSTANCES, lambda: BoundModel(data, *arrays())),
    ):
        kept += [make() for _ in range(count)]
        marks.append(rss_anon_mib())
    first, more, own = np.diff(marks)
    print(
        json.dumps({"first_mib": first, "ours_mib": more / INSTANCES, "own_mib": own / INSTANCES})
    )
    return 0


ALL = (instances,)

if __name__ == "__main__":
    sys.exit(main())
