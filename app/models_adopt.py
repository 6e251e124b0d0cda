"""`lab.py models adopt`: is a model's feature matrix what our kernel computes? Then register it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from app.matrix import Matrix, read_matrix
from engine.errors import DataError, UsageError
from engine.instruments import split_symbol
from engine.rows import NS_PER_S
from features.registry import absent_features, required_inputs
from features.spec import FeatureSpec
from ml.adoption import Finding, Pairing, compare, pair
from ml.column_names import map_columns, nearest_features
from ml.foreign_folder import ForeignFolder, read_folder
from ml.refusal import ModelRefused

GOLDEN = 256


@dataclass(frozen=True)
class Report:
    """What adopting found.

    Attributes:
        findings: one for each compared column, in the model's order.
        unknown: columns that no feature stands for, each with what helps.
        absent: features whose input the data lacks, with what is missing.
        stamp: how the matrix's times were read: open or close of a bar, or tick.
        rows: matrix rows that have a kernel row.
        of: all matrix rows.
        spec: the features in the model's order; None while a column is unknown.
        ts: int64[of] ns, the times of the compared rows.
    """

    findings: list[Finding]
    unknown: dict[str, str]
    absent: dict[str, tuple[str, ...]]
    stamp: str
    rows: int
    of: int
    spec: FeatureSpec | None
    ts: np.ndarray

    @property
    def ok(self) -> bool:
        """Whether every column is what the kernel computes."""
        return not self.unknown and not self.absent and all(f.agrees for f in self.findings)


def main(args: argparse.Namespace) -> tuple[Report, Any]:
    """Compare, and register what agrees.

    Returns:
        The report, and the registered entry or None.
    Raises:
        ModelRefused, UsageError, DataError: a file cannot be used at all.
    """
    if not args.model.exists():
        raise UsageError(f"{args.model}: no such file or folder")
    folder = read_folder(args.model)
    model_id = args.id or folder.model_id or args.model.resolve().stem
    matrix = read_matrix(args.matrix, args.time)
    answers = _answer_columns(args.answers, matrix)
    names = _model_columns(folder, matrix, answers)
    report = examine(args, matrix, names)
    if not report.ok or args.check_only:
        return report, None
    assert report.spec is not None
    return report, _register(args, folder, model_id, matrix, report.spec)


def _answer_columns(text: str, matrix: Matrix) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in matrix.columns:
            raise UsageError(f"--answers {name}: no such column in the matrix")
    return names


def _model_columns(folder: ForeignFolder, matrix: Matrix, answers: Sequence[str]) -> list[str]:
    """Return the matrix's columns in the order of the model's input.

    Raises:
        ModelRefused: `model.features`; the model names others, or reads another count.
    """
    own = [name for name in matrix.columns if name not in answers]
    names = list(folder.feature_names)
    if names:
        missing = [name for name in names if name not in matrix.columns]
        if missing:
            text = f"the matrix lacks {', '.join(missing[:5])}, which the model reads"
            raise ModelRefused("model.features", f"{text}; it has {', '.join(own[:8])}")
        return names
    width = folder.scan.inputs[0].shape[-1]
    if width is not None and width != len(own):
        text = f"the model reads {width} columns and does not name them, the matrix has {len(own)}"
        raise ModelRefused("model.features", f"{text}; put feature_names into metadata.json")
    return own


def _given(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    for column, equals, feature in pairs:
        if not column or not equals or not feature:
            raise UsageError(f"--map {text}: write COLUMN=FEATURE,...")
    return {column: feature for column, _, feature in pairs}


def examine(args: argparse.Namespace, matrix: Matrix, names: Sequence[str]) -> Report:
    """Compare the matrix with what the kernel computes from the data."""
    from app.features import read_spec

    given_spec = read_spec(args.spec) if args.spec else None
    targets = given_spec.names if given_spec else ()
    mapping = map_columns(names, _given(args.map), targets)
    unknown = {name: _what_helps(name) for name, feature in mapping.items() if not feature}
    known = {name: feature for name, feature in mapping.items() if feature}
    taken: dict[str, str] = {}
    for name, feature in known.items():
        if feature in taken:
            text = f"columns {taken[feature]} and {name} both mean {feature}"
            raise ModelRefused("model.features", f"{text}; say which with --map")
        taken[feature] = name
    if not known:
        return Report([], unknown, {}, "", 0, len(matrix.ts), None, matrix.ts)
    params = dict(given_spec.features) if given_spec else {}
    spec = FeatureSpec(tuple((feature, params.get(feature, {})) for feature in known.values()))
    absent, found, stamp, matrix = _compare(args, matrix, known, spec)
    joined = int((found[1] >= 0).sum())
    whole = None if unknown else spec
    count = len(matrix.ts)
    return Report(found[0], unknown, absent, stamp, joined, count, whole, matrix.ts)


def _what_helps(name: str) -> str:
    near = nearest_features(name)
    hint = f"if it is one of {', '.join(near)}: --map {name}={near[0]}; else " if near else ""
    return f"no feature has this name; {hint}write features/{name.lower()}.py (CONTRIBUTING.md)"


def _compare(
    args: argparse.Namespace, matrix: Matrix, known: dict[str, str], spec: FeatureSpec
) -> tuple[dict[str, tuple[str, ...]], tuple[list[Finding], np.ndarray], str, Matrix]:
    """Run the kernel over the data of the matrix's instrument and compare column by column."""
    rows, instrument, settings = tape_rows(args, matrix)
    matrix = _of_symbol(matrix, instrument.symbol)
    absent = absent_features(spec, instrument.has)
    nothing: tuple[list[Finding], np.ndarray] = ([], np.full(len(matrix.ts), -1))
    if absent:
        return absent, nothing, "", matrix
    from features.batch import batch_features

    bars = args.cadence.startswith("bar") and "bars" in required_inputs(spec)
    interval_s = settings.engine.bar_interval_s
    block = batch_features(
        spec,
        rows,
        instrument=instrument,
        after="bar" if bars else "packet",
        bar_interval_s=interval_s,
        bar_grace_ms=settings.engine.bar_grace_ms,
    )
    if not len(block.ts):
        raise DataError("the data gives no feature row at all")
    closes = bar_closes(block.ts, interval_s * NS_PER_S) if bars else block.ts
    stamps = {"open": closes - interval_s * NS_PER_S, "close": closes} if bars else {"tick": closes}
    if bars and args.stamp != "auto":
        stamps = {args.stamp: stamps[args.stamp]}
    best: tuple[int, str, list[Finding], np.ndarray] | None = None
    for stamp, times in stamps.items():
        at = pair(matrix.ts, times, exact=bars)
        found = compare(matrix.columns, known, Pairing(block.x, spec.names, at))
        agree = sum(finding.agrees for finding in found)
        if best is None or agree > best[0]:
            best = (agree, stamp, found, at)
    assert best is not None
    return {}, (best[2], best[3]), best[1], matrix


def bar_closes(ts: np.ndarray, interval_ns: int) -> np.ndarray:
    """Return the close time of the bar of each feature row.

    A bar closes at the first row after its end, so several may close at one time: they follow one
    another without a gap.
    """
    closes = ts // interval_ns * interval_ns
    for k in range(len(closes) - 2, -1, -1):
        closes[k] = min(closes[k], closes[k + 1] - interval_ns)
    return closes


def tape_rows(args: argparse.Namespace, matrix: Matrix) -> tuple[np.ndarray, Any, Any]:
    """Return the tape rows of the matrix's instrument, the instrument, and the settings.

    Raises:
        UsageError: the data holds several instruments and nothing says which one.
        DataError: it cannot be read, or does not hold the one that was named.
    """
    from app.sources import open_tape
    from config.load import load_settings
    from engine.rows import ROW, ROW_BYTES
    from engine.tape import Tape

    for path in args.data:
        if not path.exists():
            raise UsageError(f"--data {path}: no such file or folder")
    settings = load_settings(None)
    wanted = [one for one in args.symbols.split(",") if one]
    if not wanted and matrix.symbols is not None:
        wanted = sorted({str(one) for one in matrix.symbols})
    if len(wanted) > 1:
        raise UsageError(f"the matrix holds {', '.join(wanted[:4])}; choose one with --symbols")
    tape = Tape.open(
        open_tape(list(args.data), assumed=settings.assumed, cache_dir=args.cache, symbols=wanted)
    )
    known = [instrument.symbol for instrument in tape.instruments]
    chosen = split_symbol(wanted[0])[0] if wanted else known[0]
    if not wanted and len(known) > 1:
        text = f"the data holds {', '.join(known[:4])}"
        raise UsageError(f"{text}; say which one the matrix is of: --symbols {known[0]}")
    if chosen not in known:
        raise DataError(f"{args.data[0]}: no {chosen} there; it holds {', '.join(known)}")
    index = known.index(chosen)
    parts = [np.zeros((0, ROW_BYTES), np.uint8)]
    for segment in tape.segments:
        rows = segment.rows
        mine = np.ascontiguousarray(rows).view(np.uint8).reshape(-1, ROW_BYTES)
        parts.append(mine[rows["instrument"] == index])
    joined = np.concatenate(parts).view(ROW).reshape(-1)
    joined["instrument"] = 0
    return joined, tape.instruments[index], settings


def _of_symbol(matrix: Matrix, symbol: str) -> Matrix:
    if matrix.symbols is None:
        return matrix
    mine = np.array([split_symbol(str(one))[0] == symbol for one in matrix.symbols])
    if not mine.any():
        raise DataError(f"no row of the matrix is of {symbol}")
    return matrix.only(mine)


def _register(
    args: argparse.Namespace,
    folder: ForeignFolder,
    model_id: str,
    matrix: Matrix,
    spec: FeatureSpec,
) -> Any:
    """Register the model as a candidate, with rows of the matrix as golden rows."""
    from ml.importing import Foreign, import_onnx
    from ml.watch.reference import KEY, reference_of

    if folder.spec_sha256 and folder.spec_sha256 != spec.sha256:
        text = f"model.meta.json names feature spec {folder.spec_sha256[:12]}, the matrix gives"
        raise ModelRefused("model.features", f"{text} {spec.sha256[:12]} (--spec FILE)")
    names = _model_columns(folder, matrix, _answer_columns(args.answers, matrix))
    rows = np.stack([matrix.columns[name] for name in names], axis=1).astype(np.float32)
    steps = folder.steps
    whole = _whole(rows, steps)
    if len(whole) < 16:
        raise DataError(f"only {len(whole)} rows of the matrix are whole; 16 are the least")
    chosen = whole[np.unique(np.linspace(0, len(whole) - 1, GOLDEN).astype(int))]
    said = [matrix.columns[name][chosen] for name in args.answers.split(",") if name]
    answers = np.stack(said, axis=1).astype(np.float32) if said else None
    foreign = Foreign(
        model_id=model_id,
        version=folder.version if folder.version != "production" else "",
        spec=spec,
        kind=folder.kind,
        classes=folder.classes,
        normalisation=folder.normalisation,
        sequence_length=steps,
        cadence=args.cadence,
        note="Made elsewhere; every column of its feature matrix was compared with the kernel's.",
        rows=np.stack([rows[k + 1 - steps : k + 1] for k in chosen]) if steps else rows[chosen],
        answers=answers,
        min_confidence=min(1.0, max(0.0, folder.thresholds.get("min_confidence", 0.0))),
        meta={
            "thresholds": folder.thresholds,
            "adopted": {"matrix": args.matrix.name, "rows": len(matrix.ts)},
            KEY: msgspec.to_builtins(
                reference_of(rows[whole], spec.names, np.zeros(len(whole), np.int64))
            ),
        },
    )
    return import_onnx(args.artifacts, folder.model_bytes, foreign)


def _whole(rows: np.ndarray, steps: int) -> np.ndarray:
    """Return the numbers of the rows that are whole, with the steps - 1 before them."""
    good = np.isfinite(rows).all(axis=1)
    if steps <= 1:
        return np.flatnonzero(good)
    if len(rows) < steps:
        raise DataError(f"the matrix has {len(rows)} rows, a window of the model {steps}")
    return steps - 1 + np.flatnonzero(np.lib.stride_tricks.sliding_window_view(good, steps).all(1))


def as_json(report: Report, entry: Any) -> dict[str, Any]:
    """Return what `--json` prints."""
    rows = []
    for finding in report.findings:
        values = {k: _finite(v) for k, v in vars(finding).items()}
        at = None if finding.first_row < 0 else int(report.ts[finding.first_row])
        rows.append(values | {"agrees": finding.agrees, "first_ts": at})
    return {
        "ok": report.ok,
        "columns": rows,
        "unknown": report.unknown,
        "absent": {name: list(missing) for name, missing in report.absent.items()},
        "stamp": report.stamp,
        "rows": report.rows,
        "of": report.of,
        "model": None if entry is None else msgspec.to_builtins(entry),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def show(report: Report, entry: Any) -> None:
    """Print the comparison, 80 columns wide, and what it means."""
    from app.models import console, table
    from ml.publish import utc_text

    out = console()
    if report.findings:
        grid = table("column", "feature", "largest", "first row", "shift", "verdict")
        for f in report.findings:
            first = "-" if f.first_row < 0 else str(f.first_row)
            shift = "-" if f.agrees else f"{f.shift:+d}" if f.shift else "0"
            grid.add_row(f.column, f.feature, f"{f.largest:.3g}", first, shift, f.cause)
        out.print(grid)
        print(f"{report.rows} of {report.of} rows have a kernel row (times read as {report.stamp})")
    for f in report.findings:
        if not f.agrees:
            where = ""
            if f.first_row >= 0:
                when = utc_text(int(report.ts[f.first_row]))
                where = f" (row {f.first_row}, {when}: {f.theirs:.7g}, kernel {f.ours:.7g})"
            out.print(f"{f.column} {f.text}{where}", soft_wrap=False)
    for name, text in report.unknown.items():
        out.print(f"{name}: {text}")
    for name, missing in report.absent.items():
        text = f"the data has no {', '.join(missing)}; add it, or choose parameters with --spec"
        out.print(f"{name}: {text}")
    if entry is not None:
        print(f"{entry.name} is a candidate now; next: python lab.py models gates {entry.name}")
    elif report.ok:
        print("every column agrees; nothing was registered (--check-only)")
    else:
        print("not registered: the model would see other numbers here than where it was trained")
    sys.stdout.flush()
