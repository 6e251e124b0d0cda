"""Gather what a run's report draws, in bounded memory: from the audit and the samples beside it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from engine.audit_layout import Record
from engine.audit_reader import AuditFile, Funnel, read_names
from engine.json_files import read_json
from engine.run_files import SAMPLES, SUMMARY, Names, Summary

MAX_FILLS = 100_000  # fills kept for drawing; beyond it every second one is dropped
TIME_BINS = 600  # steps of a drawn line
MINOR = 1e8
Samples = dict[str, np.ndarray]


class ExposureLine(msgspec.Struct, kw_only=True):
    """Exposure of one model over time: the highest value of each step."""

    model: int
    limit: float
    ts: np.ndarray  # i8[n]
    total: np.ndarray  # f8[n]
    fullest: float


class ReportData(msgspec.Struct, kw_only=True):
    """Everything that is drawn. Absent samples are empty dicts."""

    run_dir: Path
    names: Names
    summary: Summary | None
    funnel: Funnel
    fills: np.ndarray  # ts, instrument, side, price_tick, purpose
    dropped_fills: int
    fills_by_instrument: dict[int, int]
    exposures: list[ExposureLine]
    equity: Samples
    prices: Samples
    features: Samples
    latency: Samples
    ts_from: int
    ts_to: int


_FILL = np.dtype(
    [("ts", "i8"), ("instrument", "u2"), ("side", "i1"), ("price_tick", "i8"), ("purpose", "u1")]
)


def gather(run_dir: Path) -> ReportData:
    """Read a run folder once, from the first record to the last.

    Raises:
        DataError: the folder has no audit.
    """
    names, audit = read_names(run_dir), AuditFile(run_dir)
    summary = None
    if (run_dir / SUMMARY).exists():
        summary = read_json(run_dir / SUMMARY, Summary)
    ts_from, ts_to = _span(audit, summary)
    funnel, fills = Funnel(), _Fills()
    exposures = _Exposures(ts_from, ts_to)
    for block in audit.blocks():
        funnel.update(block)
        fills.update(block[block["kind"] == Record.FILL])
        exposures.update(block[block["kind"] == Record.EXPOSURE])
    return ReportData(
        run_dir=run_dir,
        names=names,
        summary=summary,
        funnel=funnel,
        fills=fills.rows(),
        dropped_fills=fills.dropped,
        fills_by_instrument=dict(sorted(fills.counts.items(), key=lambda item: -item[1])),
        exposures=exposures.lines(),
        equity=_samples(run_dir, "equity"),
        prices=_samples(run_dir, "prices"),
        features=_samples(run_dir, "features"),
        latency=_samples(run_dir, "latency"),
        ts_from=ts_from,
        ts_to=ts_to,
    )


def _span(audit: AuditFile, summary: Summary | None) -> tuple[int, int]:
    """Return first and last time in ns, at least 1 ns apart."""
    if summary and summary.market_to > summary.market_from > 0:
        return summary.market_from, summary.market_to
    first, last = 0, 1
    for block in audit.blocks():
        known = block["ts"][block["ts"] > 0]
        if len(known):
            first = first or int(known[0])
            last = int(known[-1])
    return first, max(last, first + 1)


def _samples(run_dir: Path, name: str) -> Samples:
    """Read one .npz; a missing or torn one is empty, and the report says so."""
    path = run_dir / SAMPLES / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError):
        return {}


class _Fills:
    """Fills for drawing; thinned by halves when there are too many."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._kept = 0
        self._stride = 1
        self._seen = 0
        self.dropped = 0
        self.counts: dict[int, int] = {}

    def update(self, records: np.ndarray) -> None:
        """Take the next FILL records."""
        for instrument, count in zip(*np.unique(records["instrument"], return_counts=True)):
            self.counts[int(instrument)] = self.counts.get(int(instrument), 0) + int(count)
        offset = -self._seen % self._stride
        self._seen += len(records)
        chosen = records[offset :: self._stride]
        part = np.zeros(len(chosen), dtype=_FILL)
        part["ts"], part["instrument"] = chosen["ts"], chosen["instrument"]
        part["side"], part["price_tick"] = chosen["i1"], chosen["i3"]
        part["purpose"] = chosen["i6"]
        self._parts.append(part)
        self._kept += len(part)
        if self._kept > MAX_FILLS:
            rows = np.concatenate(self._parts)[::2]
            self._parts, self._kept, self._stride = [rows], len(rows), self._stride * 2
        self.dropped = self._seen - self._kept

    def rows(self) -> np.ndarray:
        """Return what is kept, in order."""
        return np.concatenate(self._parts) if self._parts else np.zeros(0, dtype=_FILL)


class _Exposures:
    """The highest exposure of each model in each step of time, and the last one in it."""

    def __init__(self, ts_from: int, ts_to: int) -> None:
        self._from, self._span = ts_from, max(1, ts_to - ts_from)
        self._peaks: dict[int, np.ndarray] = {}
        self._ends: dict[int, np.ndarray] = {}
        self._limits: dict[int, int] = {}

    def update(self, records: np.ndarray) -> None:
        """Take the next EXPOSURE records."""
        if not len(records):
            return
        step = (records["ts"] - self._from).astype(np.float64) / self._span * (TIME_BINS - 1)
        bins = np.clip(step, 0, TIME_BINS - 1).astype(np.int64)
        for model in np.unique(records["model"]).tolist():
            mine = records["model"] == model
            peaks = self._peaks.setdefault(model, np.full(TIME_BINS, -1, dtype=np.int64))
            ends = self._ends.setdefault(model, np.full(TIME_BINS, -1, dtype=np.int64))
            np.maximum.at(peaks, bins[mine], records["i4"][mine])
            ends[bins[mine]] = records["i4"][mine]
            self._limits[model] = int(records["i5"][mine][-1])

    def lines(self) -> list[ExposureLine]:
        """Return one line a model: a step without a change keeps the value before it."""
        edges = self._from + np.arange(TIME_BINS) * self._span // max(1, TIME_BINS - 1)
        return [
            ExposureLine(
                model=model,
                limit=self._limits[model] / MINOR,
                ts=edges,
                total=_held(peaks, self._ends[model]) / MINOR,
                fullest=float(peaks.max()) / max(1, self._limits[model]),
            )
            for model, peaks in sorted(self._peaks.items())
        ]


def _held(peaks: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Fill steps without a change with the end of the last that had one; 0 before the first."""
    last = np.maximum.accumulate(np.where(ends >= 0, np.arange(len(ends)), -1))
    before = np.concatenate(([-1], last[:-1]))
    carried = np.where(before >= 0, ends[before], 0)
    return np.where(peaks >= 0, np.maximum(peaks, carried), carried)


def feature_sets(features: Samples) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (feature name, float32[n] finite values) of all sampled feature rows."""
    for key in sorted(features):
        if not key.startswith("names"):
            continue
        rows = features.get("rows" + key.removeprefix("names"))
        if rows is None or rows.ndim != 2:
            continue
        for k, name in enumerate(features[key].tolist()[: rows.shape[1]]):
            column = rows[:, k]
            yield str(name), column[np.isfinite(column)]
