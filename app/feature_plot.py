"""A feature on sample data, drawn with letters or into a file: `features show NAME --plot`."""

from pathlib import Path

import numpy as np

from app.feature_data import open_named, stretches_of
from app.feature_paths import online
from engine.errors import UsageError
from features.feed_module import load_feed
from features.spec import FeatureSpec

WIDTH, HEIGHT = 66, 8
SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"


def sample_values(name: str, rows: int = 0) -> tuple[np.ndarray, np.ndarray, str]:
    """Return times (ns), values and the instrument of a feature over the sample data.

    Compiles the feature's kernel on first use (seconds).

    Raises:
        UsageError: the sample lacks its inputs.
    """
    spec = FeatureSpec(((name, {}),))
    stretch = next(stretches_of(open_named([SAMPLE]), spec, rows))
    seen = online(stretch, spec, load_feed(spec))
    there = np.isfinite(seen.x[:, 0])
    if not there.any():
        raise UsageError(f"{name} never has a value on data/sample: it lacks its inputs")
    return seen.ts[there], seen.x[there, 0].astype(float), stretch.instruments[0].name


def lines_of(values: np.ndarray, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """Draw values in order: one mark for the mean of each piece, the scale at the left.

    >>> print("\\n".join(line.rstrip() for line in lines_of(np.arange(8.0), 4, 3)))
           6.5 |   *
               | **
           0.5 |*
    """
    pieces = np.array_split(values, min(width, len(values)))
    means = np.array([piece.mean() for piece in pieces])
    low, high = float(means.min()), float(means.max())
    spread = high - low if high > low else 1.0
    rows = np.rint((means - low) / spread * (height - 1)).astype(int)
    drawn = []
    for row in range(height - 1, -1, -1):
        label = f"{high:.4g}" if row == height - 1 else f"{low:.4g}" if row == 0 else ""
        drawn.append(f"{label:>10} |" + "".join("*" if at == row else " " for at in rows))
    return drawn


def save(path: Path, name: str, ts: np.ndarray, values: np.ndarray, instrument: str) -> None:
    """Draw the values over time into a PNG or SVG file.

    Raises:
        UsageError: the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 3))
    axes.plot(ts.astype("datetime64[ns]"), values, linewidth=0.8)
    axes.set_title(f"{name} on {instrument} of data/sample")
    figure.autofmt_xdate()
    try:
        figure.savefig(path, dpi=120, bbox_inches="tight")
    except (OSError, ValueError) as error:
        raise UsageError(f"--png {path}: cannot be written ({error})") from None
    finally:
        pyplot.close(figure)
