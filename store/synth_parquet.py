"""Writing the synthetic market of one instrument as Parquet, in the columns of the data folder."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from store.synth_symbols import SynthSymbol

ROW_GROUP = 1 << 18
TIME_COLUMNS = ("ts", "ts_event", "ts_recv")

Columns = dict[str, np.ndarray]


def to_units(counts: np.ndarray, increment: str) -> np.ndarray:
    """Turn ticks or lots into the float64 nearest to the exact decimal value.

    Args:
        counts: int64[n].
        increment: the tick or lot as a decimal, a power of ten or an integer multiple of one.
    Returns:
        float64[n]: each is what `float(str(count * Decimal(increment)))` gives, since an integer
        below 2^53 divided by an exact power of ten is rounded once.
    Example:
        >>> to_units(np.array([3, 600001]), "0.1").tolist()
        [0.3, 60000.1]
    """
    _, digits, exponent = Decimal(increment).as_tuple()
    assert isinstance(exponent, int)
    assert -22 <= exponent <= 0, increment
    whole = counts * int("".join(map(str, digits)))
    return whole / float(10**-exponent)


class ColumnFile:
    """One Parquet file written in row groups of fixed size, whatever the size of the pieces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._pieces: list[Columns] = []
        self._waiting = 0
        self.rows = 0

    def __enter__(self) -> "ColumnFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush(self._waiting)
        if self._writer is not None:
            self._writer.close()

    def add(self, columns: Columns) -> None:
        """Append rows; the arrays must all have one length."""
        count = len(next(iter(columns.values())))
        self._pieces.append(columns)
        self._waiting += count
        self.rows += count
        while self._waiting >= ROW_GROUP:
            self._flush(ROW_GROUP)

    def _flush(self, count: int) -> None:
        """Write the first `count` waiting rows as one row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        joined = {name: np.concatenate([p[name] for p in self._pieces]) for name in self._pieces[0]}
        table = pa.table({name: column[:count] for name, column in joined.items()})
        if self._writer is None:
            times = [name for name in table.column_names if name in TIME_COLUMNS]
            self._writer = pq.ParquetWriter(
                self._path,
                table.schema,
                compression="zstd",
                compression_level=9,
                use_dictionary=[name for name in table.column_names if name not in times],
                column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
                dictionary_pagesize_limit=1 << 22,
            )
        self._writer.write_table(table, row_group_size=max(1, count))
        self._pieces = [{name: column[count:] for name, column in joined.items()}]
        self._waiting -= count


def write_symbol(
    folder: Path,
    symbol: SynthSymbol,
    blocks: Iterator[Any],
    truth_rows: Callable[[Any], Columns],
    report: Callable[[int], None],
) -> dict[str, int]:
    """Write quotes, trades and truth of one instrument below its folder.

    Args:
        folder: DIR/synthetic/SYMBOL, existing.
        blocks: what store.synth.generate yields.
        truth_rows: turns a block into the columns of truth.parquet.
        report: called after each block with the time (ns) reached.
    Returns:
        Rows written: {"quotes": n, "trades": n, "truth": n}.
    """
    for kind in ("quotes", "trades"):
        (folder / kind).mkdir()
    with (
        ColumnFile(folder / "quotes" / "000000.parquet") as quotes,
        ColumnFile(folder / "trades" / "000000.parquet") as trades,
        ColumnFile(folder / "truth.parquet") as truth,
    ):
        for block in blocks:
            quotes.add(quote_columns(block.quotes, symbol))
            trades.add(trade_columns(block.trades, symbol))
            truth.add(truth_rows(block))
            if len(block.quotes):
                report(int(block.quotes["ts_event"][-1]))
        return {"quotes": quotes.rows, "trades": trades.rows, "truth": truth.rows}


def quote_columns(rows: np.ndarray, symbol: SynthSymbol) -> Columns:
    """Return the canonical quote columns of QUOTE_OUT rows."""
    return {
        "ts_event": rows["ts_event"].copy(),
        "ts_recv": rows["ts_recv"].copy(),
        "bid": to_units(rows["bid"], symbol.tick),
        "ask": to_units(rows["ask"], symbol.tick),
        "bid_size": to_units(rows["bid_lots"], symbol.lot),
        "ask_size": to_units(rows["ask_lots"], symbol.lot),
    }


def trade_columns(rows: np.ndarray, symbol: SynthSymbol) -> Columns:
    """Return the canonical trade columns of TRADE_OUT rows."""
    return {
        "ts_event": rows["ts_event"].copy(),
        "ts_recv": rows["ts_recv"].copy(),
        "price": to_units(rows["price"], symbol.tick),
        "size": to_units(rows["lots"], symbol.lot),
        "side": rows["side"].astype(np.int8),
    }
