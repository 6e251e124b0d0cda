"""The store of snapshots: the same bytes again, as-of reads, stale ones refused with the reason."""

from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from store.feature_store import (
    DAY_NS,
    Manifest,
    SnapshotRows,
    open_snapshot,
    read_manifest,
    write_file,
    write_store,
)

START = 19_000 * DAY_NS + DAY_NS // 2
NAMES = ("rsi_14", "returns_1")
BASE = Manifest(
    name="mine", spec=msgspec.Raw(b'{"features":[]}'), spec_sha256="a" * 64,
    kernel_identity="b" * 64, commit="c" * 40, cadence="bar:60s", rules_sha256="d" * 64,
    tape_sha256="e" * 64, features=NAMES,
)  # fmt: skip


def drawn(n: int = 400, seed: int = 1) -> SnapshotRows:
    draw = np.random.default_rng(seed)
    ts = START + np.sort(draw.integers(0, 2 * DAY_NS, n))
    x = draw.normal(size=(n, 2)).astype(np.float32)
    x[:20, 0] = np.nan
    x[30, 1] = np.inf
    names = np.asarray(["v:A", "v:B"] * (n // 2), object)
    order = np.lexsort((ts, names.astype(str)))
    valid = np.isfinite(x).all(axis=1)
    return SnapshotRows(names, ts - 5, ts - 3, ts, x, valid).take(order)


def same(a: SnapshotRows, b: SnapshotRows) -> bool:
    parts = [np.array_equal(x, y) for x, y in zip(a, b, strict=True) if x.dtype != np.float32]
    return all(parts) and a.x.tobytes() == b.x.tobytes()


@pytest.fixture(params=["file", "store"])
def written(request, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Return a function that writes the rows and returns where they are."""

    def write(rows: SnapshotRows, manifest: Manifest = BASE, to: str = "a") -> Path:
        if request.param == "file":
            write_file(tmp_path / to / "x.parquet", manifest, rows)
            return tmp_path / to / "x.parquet"
        return write_store(tmp_path / to, manifest, rows)[0]

    return write


def bytes_of(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def test_what_is_read_is_what_was_written(written) -> None:  # type: ignore[no-untyped-def]
    rows = drawn()
    found = open_snapshot(written(rows))
    assert same(found.rows(), rows)
    assert same(found.rows("v:B"), rows.take(rows.instrument == "v:B"))
    m = found.manifest
    assert (m.rows, m.whole, m.instruments) == (400, int(rows.valid.sum()), ("v:A", "v:B"))
    assert (m.first_ts, m.last_ts) == (rows.ts_available.min(), rows.ts_available.max())
    with pytest.raises(DataError, match="no rows of v:C; it has v:A, v:B"):
        found.rows("v:C")


def test_a_rebuilt_snapshot_is_byte_identical(written) -> None:  # type: ignore[no-untyped-def]
    first = bytes_of(written(drawn()))
    assert bytes_of(written(drawn())) == first
    assert bytes_of(written(drawn(), to="b")) == first
    assert bytes_of(written(drawn(seed=2), to="c")) != first


def test_a_store_is_parted_by_instrument_and_day(tmp_path: Path) -> None:
    folder, manifest = write_store(tmp_path, BASE, drawn())
    assert folder == tmp_path / "mine" / BASE.key
    assert len(manifest.parts) == 2 * 3
    for part in manifest.parts:
        table = pq.read_table(folder / part.path, partitioning=None)
        assert table.num_rows == part.rows
        (name,) = set(table["instrument"].to_pylist())
        (day,) = set((table["ts_available"].to_numpy() // DAY_NS).tolist())
        date = np.datetime64(day, "D")
        assert part.path == f"instrument={name.replace(':', '-')}/day={date}/rows.parquet"
    nulls = sum(pq.read_table(folder / p.path, partitioning=None)["rsi_14"].null_count
                for p in manifest.parts)  # fmt: skip
    assert nulls == 20
    assert not list(tmp_path.rglob(".*"))


STALE = {
    "spec_sha256": "stale: spec", "kernel_identity": "stale: kernel", "tape_sha256": "stale: tape",
    "cadence": "stale: cadence", "rules_sha256": "stale: rules",
}  # fmt: skip


@pytest.mark.parametrize("name", STALE)
def test_a_stale_snapshot_is_refused_with_the_reason(written, name: str) -> None:  # type: ignore[no-untyped-def]
    path = written(drawn())
    has = getattr(BASE, name)
    assert open_snapshot(path, {name: has}).manifest.name == "mine"
    with pytest.raises(DataError, match=STALE[name]):
        open_snapshot(path, {name: "f" * 64})


def test_changed_rows_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    write_file(file, BASE, drawn())
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    with pytest.raises(DataError, match="stale: rows"):
        open_snapshot(file)
    folder, manifest = write_store(tmp_path, BASE, drawn())
    part = folder / manifest.parts[1].path
    kept = part.read_bytes()
    part.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(DataError, match=r"stale: rows: .*rows.parquet was changed"):
        open_snapshot(folder)
    part.unlink()
    with pytest.raises(DataError, match="is missing"):
        open_snapshot(folder)


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.parquet"
    write_file(plain, BASE, drawn())
    pq.write_table(pq.read_table(plain).replace_schema_metadata({}), plain)
    for path in (plain, tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="no snapshot of features"):
            read_manifest(path)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "manifest.json").write_text('{"kernel_identity": "red"}')
    with pytest.raises(DataError, match="damaged manifest"):
        read_manifest(damaged)


def test_the_id_follows_what_decides_the_rows() -> None:
    for name in STALE:
        assert msgspec.structs.replace(BASE, **{name: "9" * 64}).key != BASE.key
    assert msgspec.structs.replace(BASE, commit="9" * 40).key == BASE.key


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=20).map(sorted),
    st.lists(st.integers(-5, 60), min_size=1, max_size=20),
)
def test_as_of_is_the_last_row_that_was_available(stamps: list[int], times: list[int]) -> None:
    import tempfile

    ts = np.array(stamps, np.int64)
    x = np.arange(2 * len(ts), dtype=np.float32).reshape(-1, 2)
    names = np.asarray(["v:A"] * len(ts), object)
    rows = SnapshotRows(names, ts, ts, ts, x, np.ones(len(ts), bool))
    with tempfile.TemporaryDirectory() as folder:
        write_file(Path(folder) / "x.parquet", BASE, rows)
        known, found = open_snapshot(Path(folder) / "x.parquet").as_of("v:A", np.array(times))
    for k, time in enumerate(times):
        there = [j for j, stamp in enumerate(stamps) if stamp <= time]
        assert known[k] == bool(there)
        if there:
            assert found.x[k, 0] == x[there[-1], 0]
