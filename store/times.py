"""Bring any usual way of writing a time to int64 nanoseconds since the epoch, UTC."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError

# A number below the first bound counts seconds, below the second milliseconds, and so on: the
# bounds lie 30 years from 1970 in the next finer unit and beyond the year 5000 in the coarser one.
_UNITS = ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000), (np.inf, 1))
_PATTERNS = (
    "%Y.%m.%d %H:%M", "%Y.%m.%d %H:%M:%S", "%Y%m%d %H%M%S", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M",
    "%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
)  # fmt: skip
MAX_NS = 4_102_444_800_000_000_000  # the year 2100


def to_ns(column: pa.Array, name: str, path: object) -> np.ndarray:
    """Return int64[n] nanoseconds; 0 where the file has no time.

    Numbers are seconds, milliseconds, microseconds or nanoseconds by their size (a name ending in
    `_ns` says it); text is a number, ISO 8601 (UTC unless it has an offset), or a usual date.

    Raises:
        DataError: the column holds no times.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        stamps = column.cast(pa.timestamp("ns", tz=getattr(kind, "tz", None)))
        ns = _filled(stamps.cast(pa.int64()))
    elif pa.types.is_integer(kind):
        ns = _scaled(_filled(column.cast(pa.int64())), name)
    elif pa.types.is_floating(kind):
        ns = _scaled_floats(column.to_numpy(zero_copy_only=False))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        ns = _from_text(column.cast(pa.string()), name, path)
    else:
        raise DataError(f"{path}: column {name} of type {kind} holds no times")
    if len(ns) and (ns.min() < 0 or ns.max() > MAX_NS):
        raise DataError(f"{path}: column {name} has times outside the years 1970 to 2100")
    return ns


def _filled(column: pa.Array) -> np.ndarray:
    """Return int64[n] with 0 for null."""
    if column.null_count:
        column = pc.fill_null(column, 0)
    return column.to_numpy(zero_copy_only=False).astype(np.int64)


def _factor(largest: float) -> int:
    """Return the nanoseconds of one unit for numbers of this size."""
    return next(factor for bound, factor in _UNITS if largest < bound)


def _scaled(numbers: np.ndarray, name: str) -> np.ndarray:
    """Scale integers to nanoseconds, by the size of the largest."""
    if len(numbers) == 0 or name.lower().endswith("_ns"):
        return numbers
    largest = int(np.abs(numbers).max())
    if 19_000_000 < largest < 21_000_000:  # 20190131 is a date
        return _dates(numbers)
    return numbers * _factor(largest)


def _dates(numbers: np.ndarray) -> np.ndarray:
    """Turn yyyymmdd into nanoseconds."""
    years, rest = np.divmod(numbers, 10_000)
    months, days = np.divmod(rest, 100)
    stamps = (
        (years - 1970).astype("datetime64[Y]").astype("datetime64[M]")
        + (months - 1).astype("timedelta64[M]")
    ).astype("datetime64[D]") + (days - 1).astype("timedelta64[D]")
    return stamps.astype("datetime64[ns]").astype(np.int64)


def _scaled_floats(numbers: np.ndarray) -> np.ndarray:
    """Scale floats to nanoseconds; float64 seconds are good to a microsecond, no further."""
    numbers = np.clip(np.nan_to_num(numbers, nan=0.0), -1.0, 9e18)
    if len(numbers) == 0:
        return numbers.astype(np.int64)
    factor = _factor(float(np.abs(numbers).max()))
    if factor == 1:
        return numbers.astype(np.int64)
    return np.rint(numbers * (factor // 1000)).astype(np.int64) * 1000


def _from_text(column: pa.Array, name: str, path: object) -> np.ndarray:
    """Read times from text."""
    column = pc.utf8_trim_whitespace(column)
    filled = pc.fill_null(column, "")
    sample = next((text.as_py() for text in filled[:1000] if text.as_py()), "")
    if sample.replace(".", "", 1).isdigit() and sample.count(".") <= 1 and len(sample) > 8:
        return _from_digits(filled, name, path)
    for reader in (_iso, _with_zone, _by_pattern):
        stamps = reader(filled)
        if stamps is not None:
            return _filled(stamps.cast(pa.int64()))
    if sample.isdigit():
        return _from_digits(filled, name, path)
    raise DataError(f"{path}: column {name} holds no times that are understood, such as {sample!r}")


def _from_digits(column: pa.Array, name: str, path: object) -> np.ndarray:
    """Read plain numbers, with or without a fraction, exactly."""
    blank = pc.equal(column, "")
    column = pc.if_else(blank, "0", column)
    try:
        largest = float(pc.max(column.cast(pa.float64())).as_py())
        factor = 1 if name.lower().endswith("_ns") else _factor(largest)
        if not pc.any(pc.match_substring(column, ".")).as_py():
            return _scaled(_filled(column.cast(pa.int64())), name)
        unit = pa.scalar(Decimal(factor), pa.decimal128(10, 0))
        scaled = pc.multiply(column.cast(pa.decimal128(22, 9)), unit)
        return _filled(pc.floor(scaled).cast(pa.int64()))
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path}: column {name} holds something else than times ({reason})"
        ) from None


def _iso(column: pa.Array) -> pa.Array | None:
    """Read ISO 8601 without a zone, else None."""
    try:
        return pc.if_else(pc.equal(column, ""), None, column).cast(pa.timestamp("ns"))
    except pa.ArrowInvalid:
        return None


def _with_zone(column: pa.Array) -> pa.Array | None:
    """Read ISO 8601 with an offset or Z, else None."""
    try:
        text = pc.replace_substring_regex(column, r" (UTC|GMT)$", "Z")
        return pc.if_else(pc.equal(text, ""), None, text).cast(pa.timestamp("ns", tz="UTC"))
    except pa.ArrowInvalid:
        return None


def _by_pattern(column: pa.Array) -> pa.Array | None:
    """Read by the first usual pattern that fits every line, else None."""
    for pattern in _PATTERNS:
        try:
            seconds = pc.strptime(column, format=pattern, unit="s", error_is_null=False)
        except pa.ArrowInvalid:
            continue
        return seconds.cast(pa.timestamp("ns"))
    return None
