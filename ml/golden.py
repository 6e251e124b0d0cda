"""Golden rows: inputs beside a model with the answers of its source, run again at every load."""

import io
import zipfile
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ml.refusal import ModelRefused

TOLERANCE = 1e-5  # of probabilities; of values, as a part of the largest golden one of the column
NOISE = 1e-6  # what float32 sums may leave where values are small
NOISE_PART = 1e-3  # of the largest value: the most that counts as noise
MIN_ROWS = 16
MAX_ROWS = 16_384
MAX_UNPACKED_BYTES = 64 << 20
MEMBERS = ("x", "y")  # and, where a tape slice lies beside the model, TAPE_MEMBERS
TAPE_MEMBERS = ("tape_rows", "tape_x", "tape_at")


@dataclass(frozen=True)
class Golden:
    """Golden rows, and optionally a tape slice with the features expected from it.

    Attributes:
        x: float32[n, F] inputs, or windows float32[n, steps, F]; NaN, zeros and
            rows beside thresholds included.
        y: float32[n, C] answers of the source model (not of the ONNX file).
        tape_rows: uint8[m, 64] rows of a tape, or empty.
        tape_at: int64[k] row indices after which features were read.
        tape_x: float32[k, F] features expected there.
    """

    x: np.ndarray
    y: np.ndarray
    tape_rows: np.ndarray
    tape_at: np.ndarray
    tape_x: np.ndarray


def pack(golden: Golden) -> bytes:
    """Write golden rows as an .npz; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    arrays = {"x": golden.x, "y": golden.y}
    if len(golden.tape_rows):
        arrays |= {name: getattr(golden, name) for name in TAPE_MEMBERS}
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(data: bytes, shown: str = "golden.npz", *, tape: bool = True) -> Golden:
    """Read an .npz of golden rows; nothing in it is unpickled, sizes are bounded before reading.

    Args:
        data: the file.
        shown: what to call it.
        tape: read the tape slice too; else it is left empty.
    Raises:
        ModelRefused: `model.metadata`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(info.file_size for info in archive.infolist())
            names = {info.filename.removesuffix(".npy") for info in archive.infolist()}
            known = {frozenset(MEMBERS), frozenset(MEMBERS + TAPE_MEMBERS)}
            if size > MAX_UNPACKED_BYTES or frozenset(names) not in known:
                text = f"{shown}: too large, or other arrays than x and y"
                raise ModelRefused("model.metadata", text)
            arrays = {name: _array(archive, name) for name in names if tape or name in MEMBERS}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, KeyError, RuntimeError) as error:
        raise ModelRefused("model.metadata", f"{shown}: {str(error)[:200]}") from None
    empty: dict[str, np.ndarray] = {
        "tape_rows": np.zeros((0, 64), np.uint8),
        "tape_at": np.zeros(0, np.int64),
        "tape_x": np.zeros((0, arrays["x"].shape[-1]), np.float32),
    }
    golden = Golden(**{**empty, **arrays})
    _check_arrays(golden, shown)
    return golden


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        return np.ascontiguousarray(np.lib.format.read_array(file, allow_pickle=False))


def _check_arrays(golden: Golden, shown: str) -> None:
    """Refuse arrays of another type or shape."""
    x, y = golden.x, golden.y
    fits = (
        x.dtype == np.float32
        and y.dtype == np.float32
        and x.ndim in (2, 3)
        and y.ndim == 2
        and len(x) == len(y)
        and MIN_ROWS <= len(x) <= MAX_ROWS
        and golden.tape_rows.dtype == np.uint8
        and golden.tape_rows.shape[1:] == (64,)
        and golden.tape_at.dtype == np.int64
        and golden.tape_x.dtype == np.float32
        and golden.tape_x.shape == (len(golden.tape_at), x.shape[-1])
    )
    if not fits:
        text = f"{shown}: x {x.dtype}{list(x.shape)} and y {y.dtype}{list(y.shape)} do not fit"
        raise ModelRefused("model.metadata", text)


def tolerances(values: np.ndarray) -> np.ndarray:
    """Return how far each column's answers may be from golden values, by the largest of them.

    A fixed 1e-5 would say nothing of a model that answers with returns of 1e-4, and would refuse
    float32's own rounding of prices. So it is 1e-5 of the column's largest value; where that is
    less than the rounding of sums of order one, a thousandth of it, at most 1e-6.

    Args:
        values: float[n, C], finite, n > 0.
    Example:
        >>> tolerances(np.array([[1e-4, 0.02, 1.0, -60_000.0]]))
        array([1.e-07, 1.e-06, 1.e-05, 6.e-01])
    """
    scale = np.abs(values).max(axis=0)
    scale = np.where(scale > 0, scale, scale.max())  # a column of zeros: that of the others
    return np.maximum(TOLERANCE * scale, np.minimum(NOISE, NOISE_PART * scale))


def compare(expected: np.ndarray, found: np.ndarray, *, probabilities: bool = True) -> str:
    """Say how answers differ from golden ones; empty when they agree.

    Probabilities agree within TOLERANCE; the best class is the same unless the two best lie within
    TOLERANCE. Other values agree within `tolerances`. Where the source answered NaN the runtime
    must not answer a number.

    Args:
        expected: float32[n, C] of the source model.
        found: float32[n, C] of this runtime.
        probabilities: they are some; else values of any size.
    Example:
        >>> a = np.array([[0.25, 0.25, 0.5]], np.float32)
        >>> compare(a, a), compare(a, a[:, ::-1])
        ('', 'row 0: 0.5 instead of 0.25 (tolerance 1e-05)')
        >>> returns = np.array([[1e-4], [-2e-5]], np.float32)
        >>> compare(returns, returns * 1.1, probabilities=False)
        'row 0: 0.00011 instead of 0.0001 (tolerance 1e-07)'
    """
    blind = ~np.isfinite(expected).all(axis=1)
    answered = np.isfinite(found).all(axis=1)
    if (blind & answered).any():
        row = int(np.argmax(blind & answered))
        return f"row {row}: a number where the source gives none"
    if (~blind & ~answered).any():
        row = int(np.argmax(~blind & ~answered))
        return f"row {row}: no number where the source gives one"
    want, have = expected[~blind].astype(np.float64), found[~blind].astype(np.float64)
    if not len(want):
        return ""
    rows = np.flatnonzero(~blind)
    within = np.full(want.shape[1], TOLERANCE) if probabilities else tolerances(want)
    beyond = np.abs(want - have) - within
    if beyond.max() > 0:
        k, column = np.unravel_index(int(beyond.argmax()), beyond.shape)
        text = f"{have[k, column]:.7g} instead of {want[k, column]:.7g}"
        return f"row {rows[k]}: {text} (tolerance {within[column]:g})"
    if probabilities and want.shape[1] > 1:
        top = np.sort(want, axis=1)
        clear = top[:, -1] - top[:, -2] > TOLERANCE
        other = clear & (want.argmax(axis=1) != have.argmax(axis=1))
        if other.any():
            return f"row {rows[int(np.argmax(other))]}: another class is best"
    return ""


def check_probabilities(answers: np.ndarray) -> str:
    """Say which finite answers are no probabilities; empty when all are.

    Args:
        answers: float32[n, C].
    """
    good = answers[np.isfinite(answers).all(axis=1)]
    if not len(good):
        return "no golden row has a finite answer"
    if (good < 0).any() or (good > 1).any():
        return f"answers between {good.min():.6g} and {good.max():.6g}, not 0 and 1"
    if good.shape[1] > 1:
        worst = float(np.abs(good.astype(np.float64).sum(axis=1) - 1).max())
        if worst > 1e-4:
            return f"the probabilities of a row sum to 1 +- {worst:.6g}"
    if len(good) > 1 and (good == good[0]).all():
        return "every golden row gets the same answer"
    return ""


class Runner(Protocol):
    """What answers golden rows: a session, or a model in a worker."""

    def run_rows(self, rows: np.ndarray) -> np.ndarray:
        """Answer float32[n, F] with float32[n, C]."""
        ...


def check_rows(golden: Golden, model: Runner, shown: str, *, probabilities: bool = True) -> None:
    """Run golden rows through a model and refuse other answers than the source's.

    Args:
        golden: rows and answers.
        model: what answers them.
        shown: what to call the model.
        probabilities: the answers must be some; else they must be numbers, and not all the same.
    Raises:
        ModelRefused: `model.golden` or `model.output`.
    """
    found = model.run_rows(golden.x)
    problem = check_probabilities(found) if probabilities else check_values(found)
    if problem:
        raise ModelRefused("model.output", f"{shown}: {problem}")
    if problem := compare(golden.y, found, probabilities=probabilities):
        raise ModelRefused("model.golden", f"{shown}: golden {problem}")


def check_values(answers: np.ndarray) -> str:
    """Say what is wrong with answers that are no probabilities; empty when nothing is."""
    good = answers[np.isfinite(answers).all(axis=1)]
    if not len(good):
        return "no golden row has a finite answer"
    if len(good) > 1 and (good == good[0]).all():
        return "every golden row gets the same answer"
    return ""
