"""Turn columns of trades, quotes, depth and gaps into tape rows; drop and count what is insane."""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError
from engine.row_arrays import take_rows
from engine.rows import LAST, OFF_MARKET, ROW, SNAPSHOT, Kind
from store.times import to_ns

Columns = Mapping[str, pa.Array]
Encoder = Callable[[Columns, object, Counter[str]], np.ndarray]
NOT_A_PRICE = "price not positive and finite"
NOT_A_SIZE = "size negative or not finite"
ONE_SIDED = "quote with one side only"
NO_TIME = "no time"
NO_SIDE = "side not understood"


def number(columns: Columns, field: str, length: int, absent: float = np.nan) -> np.ndarray:
    """Return float64[n] of a column; NaN where it is null or no number, `absent` where it lacks."""
    column = columns.get(field)
    if column is None:
        return np.full(length, absent)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column = pc.utf8_trim_whitespace(column).cast(pa.float64())
        except pa.ArrowInvalid:
            return np.array([_float(text) for text in column.to_pylist()])
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def integer(columns: Columns, field: str, length: int, absent: int = 0) -> np.ndarray:
    """Return int64[n] of a column; `absent` where it is null, no number, or lacks."""
    column = columns.get(field)
    if column is None:
        return np.full(length, absent, dtype=np.int64)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    try:
        return pc.fill_null(column.cast(pa.int64()), absent).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return np.full(length, absent, dtype=np.int64)


def blank_rows(columns: Columns, kind: Kind, path: object) -> np.ndarray:
    """Return ROW[n <= 65,536] with kind and times set, and in `check` the place in the batch."""
    length = len(next(iter(columns.values())))
    rows = np.zeros(length, ROW)
    rows["check"] = np.arange(length)
    rows["kind"] = kind
    rows["flags"] = LAST
    if "ts_event" in columns:
        rows["ts_event"] = to_ns(event_times(columns), "ts_event", path)
    if "ts_recv" in columns:
        rows["ts_recv"] = to_ns(columns["ts_recv"], "ts_recv", path)
    return rows


def event_times(columns: Columns) -> pa.Array:
    """Return the column of event times; a date and a time of day are joined."""
    stamps = columns["ts_event"]
    clock = columns.get("clock")
    if clock is None or not pa.types.is_string(clock.type) or not pa.types.is_string(stamps.type):
        return stamps
    if pc.any(pc.match_substring(stamps, ":")).as_py():
        return stamps
    return pc.binary_join_element_wise(stamps, clock, " ")


def trade_rows(columns: Columns, path: object, dropped: Counter[str]) -> np.ndarray:
    """Encode trades, one packet each."""
    rows = blank_rows(columns, Kind.TRADE, path)
    rows["f0"] = number(columns, "price", len(rows))
    rows["f1"] = number(columns, "size", len(rows))
    rows["i2"] = integer(columns, "id", len(rows))
    rows["side"] = trade_sides(columns, len(rows))
    rows["flags"] |= np.where(off_market(columns, len(rows)), OFF_MARKET, 0).astype(np.uint16)
    return _kept(
        rows, [(NOT_A_PRICE, _price(rows["f0"])), (NOT_A_SIZE, _size(rows["f1"]))], dropped
    )


def quote_rows(columns: Columns, path: object, dropped: Counter[str]) -> np.ndarray:
    """Encode quotes; crossed ones stay (the kernel judges), absent sizes are NaN."""
    rows = blank_rows(columns, Kind.QUOTE, path)
    for slot, field in enumerate(("bid", "ask", "bid_size", "ask_size")):
        rows[f"f{slot}"] = number(columns, field, len(rows))
    rows["i4"] = integer(columns, "id", len(rows))
    one_sided = np.isnan(rows["f0"]) != np.isnan(rows["f1"])
    tests = [
        (ONE_SIDED, ~one_sided),
        (NOT_A_PRICE, _price(rows["f0"]) & _price(rows["f1"])),
        (NOT_A_SIZE, _size_or_absent(rows["f2"]) & _size_or_absent(rows["f3"])),
    ]
    return _kept(rows, tests, dropped)


def depth_rows(columns: Columns, path: object, dropped: Counter[str]) -> np.ndarray:
    """Encode depth levels. `i2` holds the previous update id until the sync, -1 for none.

    Without a column of flags the packet marks are set later, see store/depth.py.
    """
    rows = blank_rows(columns, Kind.DEPTH, path)
    length = len(rows)
    rows["side"] = _book_sides(columns["side"], path)
    rows["f0"] = number(columns, "price", length)
    rows["f1"] = number(columns, "size", length)
    rows["i2"] = integer(columns, "prev_id", length, absent=-1)
    rows["i3"] = integer(columns, "last_id", length)
    rows["i4"] = integer(columns, "first_id", length)
    if "flags" in columns:
        rows["flags"] = integer(columns, "flags", length).astype(np.uint16)
    else:
        snapshot = _booleans(columns, "snapshot", length)
        rows["flags"] = np.where(snapshot, SNAPSHOT, 0).astype(np.uint16)
    tests = [
        (NOT_A_PRICE, _price(rows["f0"])),
        (NOT_A_SIZE, _size(rows["f1"])),
        (NO_SIDE, rows["side"] != 0),
    ]
    return _kept(rows, tests, dropped)


def gap_rows(columns: Columns, path: object, dropped: Counter[str]) -> np.ndarray:
    """Encode gaps."""
    rows = blank_rows(columns, Kind.GAP, path)
    for slot, field in enumerate(("ts_from", "ts_to", "reason")):
        rows[f"i{slot}"] = integer(columns, field, len(rows))
    return _kept(rows, [], dropped)


def trade_sides(columns: Columns, length: int) -> np.ndarray:
    """Return int8[n]: +1 buyer was the aggressor, -1 seller, 0 not known."""
    if "buyer_maker" in columns:
        return np.where(_booleans(columns, "buyer_maker", length), -1, 1).astype(np.int8)
    if "side" not in columns:
        return np.zeros(length, np.int8)
    column = columns["side"]
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.sign(np.nan_to_num(number(columns, "side", length, 0.0))).astype(np.int8)
    text = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), "")))
    buy = pc.is_in(text, pa.array(["buy", "b", "bid", "1", "+1", "1.0", "buyer"]))
    sell = pc.is_in(text, pa.array(["sell", "s", "ask", "-1", "-1.0", "seller"]))
    return (_bits(buy).astype(np.int8) - _bits(sell).astype(np.int8)).astype(np.int8)


def off_market(columns: Columns, length: int) -> np.ndarray:
    """Return bool[n]: prints that are no market trade (insurance fund, block, auction)."""
    if "print" not in columns:
        return np.zeros(length, dtype=bool)
    text = pc.utf8_upper(pc.fill_null(columns["print"].cast(pa.string()), ""))
    return ~_bits(pc.is_in(text, pa.array(["", "MARKET", "NORMAL", "REGULAR"])))


def _book_sides(column: pa.Array, path: object) -> np.ndarray:
    """Return int8[n]: +1 bid, -1 ask, 0 not understood."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(column, "")))
        bid = pc.is_in(text, pa.array(["bid", "b", "buy", "1", "+1", "bids"]))
        ask = pc.is_in(text, pa.array(["ask", "a", "sell", "s", "-1", "offer", "asks"]))
        return (_bits(bid).astype(np.int8) - _bits(ask).astype(np.int8)).astype(np.int8)
    if not pa.types.is_integer(column.type):
        raise DataError(
            f"{path}: column side of type {column.type}; needed: +1 bid, -1 ask, or text"
        )
    return np.sign(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)).astype(
        np.int8
    )


def _booleans(columns: Columns, field: str, length: int) -> np.ndarray:
    """Return bool[n] of a column of booleans, numbers or text; False where it lacks."""
    if field not in columns:
        return np.zeros(length, dtype=bool)
    column = columns[field]
    if pa.types.is_boolean(column.type):
        return _bits(pc.fill_null(column, False))
    text = pc.utf8_lower(pc.fill_null(column.cast(pa.string()), ""))
    return _bits(pc.is_in(text, pa.array(["true", "1", "t", "yes", "1.0"])))


def _bits(column: pa.Array) -> np.ndarray:
    """Return bool[n]."""
    return column.to_numpy(zero_copy_only=False).astype(bool)


def _price(values: np.ndarray) -> np.ndarray:
    """Return bool[n]: positive and finite."""
    return (values > 0) & (values < np.inf)


def _size(values: np.ndarray) -> np.ndarray:
    """Return bool[n]: finite and not negative."""
    return (values >= 0) & (values < np.inf)


def _size_or_absent(values: np.ndarray) -> np.ndarray:
    """Return bool[n]: a size or NaN."""
    return _size(values) | np.isnan(values)


def _kept(
    rows: np.ndarray, tests: list[tuple[str, np.ndarray]], dropped: Counter[str]
) -> np.ndarray:
    """Return the rows that pass every test and have a time; count the others once each."""
    good = (rows["ts_event"] > 0) | (rows["ts_recv"] > 0)
    for reason, passes in [(NO_TIME, good.copy()), *tests]:
        failing = ~passes & (good | (reason == NO_TIME))
        count = int(np.count_nonzero(failing))
        if count:
            dropped[reason] += count
            good &= passes
    return rows if good.all() else take_rows(rows, good)


def _float(text: str | None) -> float:
    """Return a number or NaN."""
    try:
        return float(text) if text else np.nan
    except ValueError:
        return np.nan
