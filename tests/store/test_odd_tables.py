"""Tables of any content become sane rows or one clear line; nothing else ever comes out."""

import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from engine.rows import Kind
from tests.store.files import START, parquet, rows_of, tape_of

MOMENT = datetime(2023, 11, 14, tzinfo=UTC)
VALUES = {
    "ints": st.integers(-(2**63), 2**63 - 1) | st.integers(1, 2_000_000_000),
    "floats": st.floats() | st.floats(0.01, 1e5),
    "texts": st.text(max_size=8)
    | st.sampled_from(["1.5", "buy", "bid", "2023-11-14", "1e400", ""]),
    "booleans": st.booleans(),
    "moments": st.just(MOMENT),
    "decimals": st.decimals(-1000, 1000, places=4),
}
FIELDS = {
    "trades": ["ts_event", "ts_recv", "price", "size", "side", "is_buyer_maker", "id", "kind"],
    "quotes": ["ts_event", "ts_recv", "bid", "ask", "bid_size", "ask_size", "update_id", "symbol"],
    "depth": ["ts_event", "ts_recv", "side", "price", "size", "flags", "seq", "first_id",
              "prev_id", "is_snapshot"],
    "bars": ["ts_event", "open", "high", "low", "close", "volume", "open_bid", "open_ask",
             "close_bid", "close_ask", "symbol"],
}  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, pa.Table]:
    kind = draw(st.sampled_from(sorted(FIELDS)))
    count = draw(st.integers(1, 6))
    columns = {}
    for name in FIELDS[kind]:
        usual = {"ts_event": st.integers(START, START + 10**9), "side": st.sampled_from([1, -1])}
        strange = VALUES[draw(st.sampled_from(sorted(VALUES)))]
        plain = usual.get(name, st.floats(1.0, 2.0))
        chosen = draw(st.sampled_from([plain, plain, strange]))
        cells = draw(st.lists(chosen | st.none(), min_size=count, max_size=count))
        try:
            columns[name] = pa.array(cells)
        except (pa.ArrowException, OverflowError):
            columns[name] = pa.array([None] * count, pa.float64())
    kept = draw(st.lists(st.sampled_from(sorted(columns)), unique=True))
    return kind, pa.table(
        {name: column for name, column in columns.items() if name not in kept[:2]}
    )


@given(drawn=tables(), as_csv=st.booleans())
@settings(max_examples=200)
def test_any_table_gives_sane_rows_or_one_line(drawn: tuple[str, pa.Table], as_csv: bool) -> None:
    kind, table = drawn
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind / f"x_AUSD_1m.{'csv' if as_csv else 'parquet'}"
        path.parent.mkdir()
        if as_csv:
            lines = [",".join(table.column_names)] + [
                ",".join("" if one is None else str(one).replace("\n", " ") for one in row.values())
                for row in table.to_pylist()
            ]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
        else:
            pq.write_table(table, path)
        try:
            tape = tape_of(Path(folder), path)
        except DataError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error) or "no data of" in str(error)
            return
        rows = rows_of(tape)
        assert len(rows)
        prices = rows["f0"][rows["kind"] != Kind.GAP]
        assert ((prices > 0) & (prices < np.inf)).all()
        assert (np.maximum(rows["ts_event"], rows["ts_recv"]) > 0).all()


@pytest.mark.parametrize(
    "change",
    [
        {"price": pa.array([Decimal("1.25"), Decimal("1.5")])},
        {"price": pa.array(["1.25", " 1.5 "])},
        {"price": pa.array([1.25, 1.5], pa.float32())},
        {"side": pa.array(["Buy", "SELL"]).dictionary_encode()},
        {"side": pa.array([1, -1], pa.int8())},
        {"ts_event": pa.array([START, START + 1000], pa.timestamp("ns"))},
        {"ts_event": pa.array([START // 1000, START // 1000 + 1], pa.timestamp("us", tz="UTC"))},
        {"ts_event": pa.array([START, START + 1000], pa.uint64())},
        {"kind": pa.array(["MARKET", "MARKET"], pa.large_string()).dictionary_encode()},
        {"trade_id": pa.array([7, 8], pa.uint64())},
        {"trade_id": pa.array(["a", "b"])},
    ],
)
def test_columns_of_other_types_are_the_same_rows(tmp_path: Path, change: dict) -> None:
    columns = {
        "ts_event": pa.array([START, START + 1000]),
        "price": pa.array([1.25, 1.5]),
        "size": pa.array([2.0, 3.0]),
        "side": pa.array([1, -1]),
    }
    usual = rows_of(tape_of(tmp_path, parquet(tmp_path / "trades" / "x_AUSD.parquet", **columns)))
    path = parquet(tmp_path / "trades" / "x_AUSD_2.parquet", **(columns | change))
    rows = rows_of(tape_of(tmp_path, path))
    for name in ("ts_event", "f0", "f1", "side", "flags", "kind"):
        assert rows[name].tolist() == usual[name].tolist(), name
