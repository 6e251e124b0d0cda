"""Wire captures: decoded, in sync over several files and connections, damage counted."""

import gzip
import json
from pathlib import Path

import app.sources  # noqa: F401  (the wire decoders)
from engine.rows import Kind
from tests.store.files import START, rows_of, tape_of

MS = 1_000_000


def update(first: int, last: int, prev: int | None = None) -> str:
    """Return a depth update."""
    chain = "" if prev is None else f'"pu":{prev},'
    return (
        f'{{"e":"depthUpdate","E":{START // MS},"s":"BTCUSDT","U":{first},"u":{last},{chain}'
        f'"b":[["100.0","1"]],"a":[["101.0","{last}"]]}}'
    )


def book(last: int) -> str:
    """Return a full book."""
    return f'{{"lastUpdateId":{last},"bids":[["100.0","3"]],"asks":[["101.0","4"]]}}'


def capture(path: Path, *messages: tuple[str, str] | str, at_ms: int = 0) -> Path:
    """Write messages (direction, text), 1 ms apart."""
    lines = []
    for k, one in enumerate(messages):
        way, raw = one if isinstance(one, tuple) else ("in", one)
        conn = "https://x/depth?symbol=BTCUSDT&limit=9" if way == "http" else "wss://x"
        stamp = START + (at_ms + k) * MS
        lines.append(json.dumps({"recv_ns": stamp, "dir": way, "conn": conn, "raw": raw}))
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


def ids(rows) -> list[tuple[str, int]]:
    """Return (kind, last id) of the packets."""
    return [(Kind(one["kind"]).name, int(one["i3"])) for one in rows if one["flags"] & 1]


def test_books_stay_in_sync_across_files_named_in_any_order(tmp_path: Path) -> None:
    first = capture(tmp_path / "binance_spot_BTCUSDT_1.jsonl.gz",
                    update(1, 5), update(6, 9), book(7), update(10, 12))  # fmt: skip
    second = capture(tmp_path / "binance_spot_BTCUSDT_2.jsonl.gz",
                     update(13, 14), update(15, 15), at_ms=50)  # fmt: skip
    tape = tape_of(tmp_path, second, first)
    assert ids(rows_of(tape)) == [("DEPTH", one) for one in (7, 9, 12, 14, 15)]
    assert sum(tape.info.dropped.values()) == 1


def test_a_book_comes_from_a_rest_answer_too(tmp_path: Path) -> None:
    path = capture(tmp_path / "binance_spot_all.jsonl.gz",
                   ("out", "subscribe"), update(1, 5), ("http", book(4)), update(6, 6))  # fmt: skip
    assert ids(rows_of(tape_of(tmp_path, path))) == [("DEPTH", one) for one in (4, 5, 6)]


def test_fault_F06_a_gap_in_a_capture_is_a_gap_row(tmp_path: Path) -> None:
    path = capture(tmp_path / "binance_usdm_BTCUSDT.jsonl.gz",
                   book(5), update(5, 8, 4), update(9, 11, 8), update(15, 16, 14),
                   update(17, 18, 16), book(16), update(19, 20, 18))  # fmt: skip
    rows = rows_of(tape_of(tmp_path, path))
    assert ids(rows) == [("DEPTH", 5), ("DEPTH", 8), ("DEPTH", 11), ("GAP", 0), ("DEPTH", 16),
                         ("DEPTH", 16), ("DEPTH", 18), ("DEPTH", 20)]  # fmt: skip


def test_bad_lines_and_messages_are_counted_and_skipped(tmp_path: Path) -> None:
    path = capture(tmp_path / "binance_spot_BTCUSDT.jsonl.gz",
                   book(4), "{", '{"result":null,"id":1}', update(5, 5).replace('"1"', '"-1"'),
                   update(5, 6))  # fmt: skip
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content + b'{"recv_ns": 1, "dir"\n'))
    tape = tape_of(tmp_path, path)
    assert ids(rows_of(tape)) == [("DEPTH", 4), ("DEPTH", 6)]
    assert tape.info.dropped == {
        "capture line that cannot be read": 1,
        "message: answer to a request": 1,
        "message: field missing, of the wrong type or out of bounds": 1,
        "message: no JSON": 1,
    }


def test_a_reconnect_inside_a_capture_forgets_the_book(tmp_path: Path) -> None:
    path = capture(tmp_path / "binance_spot_BTCUSDT.jsonl.gz",
                   ("open", ""), book(4), update(5, 5), ("open", ""), update(6, 6), book(6),
                   update(7, 7))  # fmt: skip
    rows = rows_of(tape_of(tmp_path, path))
    assert ids(rows) == [("DEPTH", 4), ("DEPTH", 5), ("GAP", 0), ("DEPTH", 6), ("DEPTH", 7)]
    assert rows[rows["kind"] == Kind.GAP]["i2"][0] == 3


def test_an_update_without_levels_counts_for_the_sequence(tmp_path: Path) -> None:
    empty = update(6, 6).replace('["100.0","1"]', "").replace('["101.0","6"]', "")
    path = capture(tmp_path / "binance_spot_BTCUSDT.jsonl.gz",
                   book(4), update(5, 5), empty, update(7, 7), empty.replace("6", "9"),
                   update(10, 10))  # fmt: skip
    rows = rows_of(tape_of(tmp_path, path))
    assert ids(rows) == [("DEPTH", 4), ("DEPTH", 5), ("DEPTH", 7), ("GAP", 0)]


def test_lines_with_impossible_stamps_and_letters_are_counted(tmp_path: Path) -> None:
    path = capture(tmp_path / "binance_spot_BTCUSDT.jsonl.gz", book(4), update(5, 5))
    lines = gzip.decompress(path.read_bytes())
    for stamp in ("-1", "1e400", "9" * 40, "true"):
        lines += f'{{"recv_ns":{stamp},"dir":"in","conn":"x","raw":"{{}}"}}\n'.encode()
    lines += b'{"recv_ns":5,"dir":"in","conn":"x","raw":"\\ud800"}\n'
    lines += b'{"recv_ns":5,"dir":"in","conn":"x","raw_b64":"***"}\n'
    path.write_bytes(gzip.compress(lines))
    tape = tape_of(tmp_path, path)
    assert ids(rows_of(tape)) == [("DEPTH", 4), ("DEPTH", 5)]
    assert sum(tape.info.dropped.values()) == 5


def test_a_rest_book_of_another_symbol_is_not_taken_for_ours(tmp_path: Path) -> None:
    path = capture(tmp_path / "binance_spot_BTCUSDT.jsonl.gz", update(1, 5), book(4), update(6, 6))
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    other = {"recv_ns": START + 9 * MS, "dir": "http", "raw": book(6).replace("100.0", "1.0"),
             "conn": "https://x/depth?symbol=ETHUSDT&limit=9"}  # fmt: skip
    path.write_bytes(gzip.compress("\n".join([*lines, json.dumps(other)]).encode()))
    tape = tape_of(tmp_path, path, symbols=("BTCUSDT",))
    assert ids(rows_of(tape)) == [("DEPTH", one) for one in (4, 5, 6)]
    assert tape.info.dropped == {"message: symbol not asked for": 1}
