"""Read Parquet, CSV(.gz) and JSON candle files in bounded batches of named columns."""

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from engine.errors import DataError
from store.columns import headerless, is_data

BATCH_ROWS = 65_536
CSV_BLOCK_BYTES = 4 << 20
MAX_JSON_BYTES = 256 << 20  # JSON candles are read whole
TABLE_SUFFIXES = (".parquet", ".csv", ".csv.gz", ".json", ".json.gz")


class Table:
    """A file of columns. `batches` may be called again and again."""

    def __init__(self, path: Path) -> None:
        """Open a file and read its column names.

        Raises:
            DataError: missing, unreadable, empty, or without columns.
        """
        self.path = path
        self.share = 0.0  # of the file that the reading in progress has passed, 0 to 1
        name = path.name.lower()
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        if name.endswith(".parquet"):
            self._kind = "parquet"
            self.names = _parquet_names(path)
        elif name.endswith((".csv", ".csv.gz")):
            self._kind = "csv"
            self.names, self._skip, self._delimiter = _csv_names(path)
        elif name.endswith((".json", ".json.gz")):
            self._kind = "json"
            self.names = ["open_time", "open", "high", "low", "close", "volume"]
        else:
            allowed = ", ".join(TABLE_SUFFIXES)
            raise DataError(
                f"{path}: not a file that can be read; known endings: {allowed}, .jsonl.gz"
            )

    def batches(self, columns: dict[str, str]) -> Iterator[dict[str, pa.Array]]:
        """Yield {field: array} of at most 65,536 rows.

        Args:
            columns: field -> column of the file.
        Raises:
            DataError: the file is damaged.
        """
        reader = {"parquet": self._parquet, "csv": self._csv, "json": self._json}[self._kind]
        wanted = list(dict.fromkeys(columns.values()))
        try:
            for batch in reader(wanted):
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    part = batch.slice(start, BATCH_ROWS)
                    yield {field: part.column(name) for field, name in columns.items()}
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{self.path}: cannot be read ({reason})") from None

    def _parquet(self, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield record batches of a Parquet file."""
        # pre_buffer keeps every row group that was read until the file is closed.
        with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20) as file:
            done, total = 0, max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False):
                done += batch.num_rows
                self.share = done / total
                yield batch

    def _csv(self, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield record batches of a CSV file, all columns as text or float64."""
        types = {name: pa.string() for name in wanted}
        options: dict[str, Any] = {
            "read_options": pacsv.ReadOptions(
                column_names=self.names,
                skip_rows=self._skip,
                block_size=CSV_BLOCK_BYTES,
                use_threads=False,
            ),
            "parse_options": pacsv.ParseOptions(delimiter=self._delimiter),
            "convert_options": pacsv.ConvertOptions(
                column_types=types, include_columns=wanted, strings_can_be_null=True
            ),
        }
        packed = self.path.name.lower().endswith(".gz")
        with pa.OSFile(str(self.path)) as file:
            stream = pa.CompressedInputStream(file, "gzip") if packed else file
            with pacsv.open_csv(stream, **options) as reader:
                for batch in reader:
                    self.share = min(file.tell() / max(file.size(), 1), 1.0)
                    yield batch

    def _json(self, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield one record batch of a JSON list of candles [time, o, h, l, c, v]."""
        with _opened(self.path) as file:
            text = file.read(MAX_JSON_BYTES + 1)
        if len(text) > MAX_JSON_BYTES:
            raise ValueError(f"more than {MAX_JSON_BYTES >> 20} MB of JSON")
        candles = json.loads(text)
        if not isinstance(candles, list) or not all(
            isinstance(one, list) and len(one) >= 6 for one in candles
        ):
            raise ValueError("not a list of candles [time, open, high, low, close, volume]")
        columns = {name: [one[k] for one in candles] for k, name in enumerate(self.names)}
        yield pa.RecordBatch.from_pydict({name: columns[name] for name in wanted})


def _opened(path: Path) -> Any:
    """Open a plain or gzipped file for reading bytes."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _parquet_names(path: Path) -> list[str]:
    """Return the column names of a Parquet file."""
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].removesuffix(".")
        raise DataError(f"{path}: not a Parquet file ({reason})") from None


def _csv_names(path: Path) -> tuple[list[str], int, str]:
    """Return (column names, lines to skip, delimiter) of a CSV file."""
    try:
        with _opened(path) as file:
            lines = [file.readline(1 << 16) for _ in range(8)]
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    try:
        texts = [line.decode("utf-8-sig") for line in lines]
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None
    skipped = 0
    while skipped < len(texts) and (not texts[skipped].strip() or _is_remark(texts[skipped])):
        skipped += 1
    if skipped == len(texts):
        raise DataError(f"{path}: the file is empty")
    first = texts[skipped].rstrip("\r\n")
    delimiter = max(",;\t|", key=first.count)
    cells = next(csv.reader([first], delimiter=delimiter))
    if not is_data(cells):
        return _distinct(cells), skipped + 1, delimiter
    names = headerless(cells)
    if names is None:
        raise DataError(
            f"{path}: no header line, and {len(cells)} columns are no layout that is known: "
            f"{first[:80]}"
        )
    return names, skipped, delimiter


def _is_remark(line: str) -> bool:
    """Say whether a line before the header is none of the table: a remark or a link."""
    return line.startswith(("#", "http://", "https://"))


def _distinct(cells: Sequence[str]) -> list[str]:
    """Give doubled or empty column names names of their own."""
    names: list[str] = []
    for k, cell in enumerate(cells):
        name = cell.strip() or f"column_{k + 1}"
        names.append(name if name not in names else f"{name}_{k + 1}")
    return names
