"""An audit verifies as written; any change to it is found, and named."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.audit_layout import AUDIT, AUDIT_BYTES, CHAIN_RECORDS, DIGEST_FROM, Record
from engine.audit_streams import Streams, link_rest
from engine.audit_verify import verify
from engine.errors import DataError
from engine.rows import ROW, row_checks
from engine.run_files import (
    AUDIT_RECORDS,
    AUDIT_TEXT,
    CHAIN,
    EVENTS,
    FIRST_CHAIN,
    SUMMARY,
    TAPE_REF,
)
from engine.tape import Tape
from engine.tape_info import HEADER_BYTES
from engine.tape_writer import TapeWriter
from tests.synthetic_records import INSTRUMENTS
from tests.synthetic_run import make_run

DECISIONS = 900


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("clean"), decisions=DECISIONS)


@pytest.fixture
def run(clean, tmp_path):
    """Copy a clean run for a test to spoil; its tape stays where it is."""
    return shutil.copytree(clean, tmp_path / "run")


def spoil(path, offset, flip):
    content = bytearray(path.read_bytes())
    content[offset] ^= flip
    path.write_bytes(content)


def rechain(run, records):
    """Write records and a chain that fits them: an editor who knows the layout."""
    (run / AUDIT_RECORDS).write_bytes(records.tobytes())
    template, chain = json.loads((run / CHAIN).read_text().splitlines()[0]), FIRST_CHAIN
    lines, streams = [], Streams()
    for k, first in enumerate(range(0, len(records), CHAIN_RECORDS)):
        part = records[first : first + CHAIN_RECORDS]
        streams.update(part)
        chain = streams.chain(chain, b"".join(link_rest(part)))
        link = {"block": k, "first_seq": first, "records": len(part), "chain": chain.hex()}
        lines.append(json.dumps(template | link | {"tape_row": int(part["row"].max()) + 1}))
    (run / CHAIN).write_text("\n".join(lines) + "\n")


def records_of(run):
    return np.fromfile(run / AUDIT_RECORDS, dtype=AUDIT)


def test_a_clean_run_verifies(run):
    result = verify(run)
    assert result.ok, result
    assert result.cut == []
    assert result.records == result.sealed == len(records_of(run))
    assert result.links == -(-result.records // CHAIN_RECORDS) > 1
    assert result.decision_digest == json.loads((run / SUMMARY).read_text())["decision_digest"]
    assert sum(result.kinds.values()) == result.records
    assert max(result.exposure_share.values()) <= 1.0
    assert "rows" in result.tape


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_record_is_found_near_its_place(clean, tmp_path_factory, place, bit):
    run = shutil.copytree(clean, tmp_path_factory.mktemp("flip") / "run")
    offset = int(place * (run / AUDIT_RECORDS).stat().st_size)
    spoil(run / AUDIT_RECORDS, offset, 1 << bit)
    result = verify(run, check_tape=False)
    assert not result.ok
    bad, seq = result.first_bad, offset // AUDIT_BYTES
    assert bad.file == AUDIT_RECORDS
    assert bad.seq // CHAIN_RECORDS == seq // CHAIN_RECORDS  # the very link it is in
    assert bad.offset == bad.seq * AUDIT_BYTES
    if offset % AUDIT_BYTES < DIGEST_FROM:  # the only bytes that are in no hash
        assert bad.seq == seq
        assert "its sequence number is" in bad.what
    else:
        assert "chain differs" in bad.what


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_record_file_cut_anywhere_is_said(clean, tmp_path_factory, place):
    run = shutil.copytree(clean, tmp_path_factory.mktemp("cut") / "run")
    path = run / AUDIT_RECORDS
    size = int(place * path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(size)
    result = verify(run, check_tape=False)
    assert result.cut or "sealed" in result.first_bad.what or "seal" in result.first_bad.what
    only_torn = path.stat().st_size // AUDIT_BYTES == len(records_of_clean(clean)) - 1
    assert result.ok == (only_torn and size % AUDIT_BYTES > 0)


def records_of_clean(clean):
    return records_of(clean)


def test_a_torn_last_record_is_cut_and_said(run):
    with (run / AUDIT_RECORDS).open("r+b") as file:
        file.truncate(file.seek(0, 2) - 40)
    result = verify(run)
    assert result.ok
    assert "torn" in result.cut[0]


def test_removed_records_that_were_sealed_are_a_finding(run):
    with (run / AUDIT_RECORDS).open("r+b") as file:
        file.truncate(file.seek(0, 2) - 2 * AUDIT_BYTES)
    result = verify(run)
    assert not result.ok
    assert "2 sealed records are gone" in result.first_bad.what


def test_a_killed_run_verifies_up_to_its_end(tmp_path):
    run = make_run(tmp_path, decisions=DECISIONS, closed=False)
    with (run / AUDIT_RECORDS).open("r+b") as file:
        file.truncate(file.seek(0, 2) - 17)
    result = verify(run)
    assert result.ok, result.first_bad
    assert any("torn" in text for text in result.cut)
    assert any("not under the chain" in text for text in result.cut)
    assert result.sealed == result.links * CHAIN_RECORDS < result.records


def test_a_torn_last_link_is_cut_and_said(run):
    with (run / CHAIN).open("r+b") as file:
        file.truncate(file.seek(0, 2) - 30)
    result = verify(run)
    assert result.ok, result.first_bad
    assert any("chain link" in text for text in result.cut)


def test_a_link_in_the_middle_is_named(run):
    lines = (run / CHAIN).read_text().splitlines(keepends=True)
    (run / CHAIN).write_text(lines[0] + "garbage\n" + "".join(lines[2:]))
    result = verify(run)
    assert not result.ok
    assert (result.first_bad.file, result.first_bad.offset) == (CHAIN, len(lines[0]))
    assert "line 2" in result.first_bad.what


def test_a_removed_summary_is_noted(run):
    (run / SUMMARY).unlink()
    result = verify(run)
    assert result.ok
    assert "summary.json" in result.warnings[0]


def test_a_record_taken_out_with_a_new_chain_breaks_the_sequence(run):
    records = np.delete(records_of(run), 700)
    rechain(run, records)
    result = verify(run)
    assert not result.ok
    assert result.first_bad.seq == 700
    assert "sequence" in result.first_bad.what


def change(records, which, nth, fields):
    at = int(np.flatnonzero(records["kind"] == which)[nth])
    for name, value in fields.items():
        records[at][name] = value
    return at


FORGERIES = {
    "verdict lots": (Record.VERDICT, {"i1": 999_999}, "approved were 999999"),
    "order state": (Record.ORDER, {"code": 0}, "begins as INTENT"),
    "fill of nobody": (Record.FILL, {"i0": 777_777}, "not known"),
    "fill size": (Record.FILL, {"i2": 10**9}, "lots of order"),
    "fill id": (Record.FILL, {"id": 5}, "fill"),
    "intent side": (Record.INTENT, {"i1": 0}, "side 0"),
    "signal id": (Record.DECISION, {"id": 9}, "signal"),
    "no such signal": (Record.INTENT, {"i0": 10**6}, "not made yet"),
    "kind": (Record.DECISION, {"kind": 77}, "kind 77"),
    "time": (Record.VERDICT, {"ts": 5}, "ts 5 runs back"),
    "tape row": (Record.VERDICT, {"row": 1}, "row 1 runs back"),
    "instrument": (Record.INTENT, {"instrument": 9}, "instrument 9 is not in names.json"),
    "exposure": (Record.EXPOSURE, {"i4": 5}, "parts do not make 5"),
    "model file": (Record.MODEL, {"i2": 5}, "sha256 is not that of names.json"),
    "inputs": (Record.RUN, {"i0": 5}, "inputs' sha256"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_record_with_a_new_chain_is_named(run, name):
    kind, fields, words = FORGERIES[name]
    records = records_of(run)
    at = change(records, kind, 1 if kind == Record.FILL else 0, fields)
    rechain(run, records)
    result = verify(run)
    assert not result.ok
    assert words in result.first_bad.what
    assert result.first_bad.seq == at


def test_a_missing_order_and_a_missing_verdict_are_found(run):
    records = records_of(run)
    order = int(records["id"][records["kind"] == Record.ORDER][0])
    keep = ~((records["kind"] == Record.ORDER) & (records["id"] == order))
    keep &= ~((records["kind"] == Record.FILL) & (records["i0"] == order))
    left = records[keep]
    left["seq"] = np.arange(len(left))
    fills = left["kind"] == Record.FILL
    left["id"][fills] = np.arange(fills.sum())
    rechain(run, left)
    assert f"order {order} has no ORDER record" in verify(run).first_bad.what
    verdicts = np.flatnonzero(left["kind"] == Record.VERDICT)
    left = np.delete(left, verdicts[-1:])
    left["seq"] = np.arange(len(left))
    rechain(run, left)
    assert (
        "has no verdict" in verify(run).first_bad.what
        or "never approved" in verify(run).first_bad.what
    )


def test_changed_words_of_an_event_are_found(run):
    text = (run / EVENTS).read_text().replace("replay begins", "replay began")
    (run / EVENTS).write_text(text)
    result = verify(run)
    assert not result.ok
    assert result.first_bad.file == EVENTS


def test_an_edited_line_of_the_text_is_named(run):
    lines = (run / AUDIT_TEXT).read_text().splitlines(keepends=True)
    at = next(k for k, line in enumerate(lines) if '"FILLED"' in line)
    seq = json.loads(lines[at])["seq"]
    lines[at] = lines[at].replace('"FILLED"', '"CANCELED"')
    (run / AUDIT_TEXT).write_text("".join(lines))
    result = verify(run)
    assert not result.ok
    assert (result.first_bad.file, result.first_bad.seq) == (AUDIT_TEXT, seq)
    assert f"line {at + 1:,}" in result.first_bad.what
    assert result.first_bad.offset == sum(map(len, lines[:at]))
    assert verify(run, check_text=False).ok


@pytest.mark.parametrize("keep", [0, -1, 37])
def test_lines_taken_from_the_end_of_the_text_are_missed(run, keep):
    lines = (run / AUDIT_TEXT).read_text().splitlines(keepends=True)
    (run / AUDIT_TEXT).write_text("".join(lines[:keep]))
    result = verify(run)
    assert not result.ok
    assert f"line {len(lines[:keep]) + 1:,}: the text ends here" in result.first_bad.what


def test_a_line_added_to_the_text_is_found(run):
    with (run / AUDIT_TEXT).open("a") as file:
        file.write("{}\n")
    assert "behind the last record" in verify(run).first_bad.what


def test_a_flipped_price_is_pinned_to_its_record_by_the_text(run):
    at = int(np.flatnonzero(records_of(run)["kind"] == Record.FILL)[20])
    spoil(run / AUDIT_RECORDS, at * AUDIT_BYTES + 40 + 3 * 8, 1)
    result = verify(run)
    assert result.first_bad.seq == at
    assert AUDIT_TEXT in result.first_bad.what
    (run / AUDIT_TEXT).unlink()
    result = verify(run)
    assert result.first_bad.seq <= at <= result.first_bad.last_seq


def test_a_changed_summary_is_found(run):
    summary = json.loads((run / SUMMARY).read_text())
    (run / SUMMARY).write_text(json.dumps(summary | {"decision_digest": "00" * 32}))
    result = verify(run)
    assert not result.ok
    assert "decision_digest" in result.first_bad.what


def test_an_edited_tape_is_named_even_with_new_row_checks(tmp_path):
    run = make_run(tmp_path, decisions=200)
    segment = tmp_path / "tape" / "000000.tape"
    content = bytearray(segment.read_bytes())
    at = HEADER_BYTES + 57 * ROW.itemsize
    rows = np.frombuffer(bytes(content[at : at + ROW.itemsize]), dtype=ROW).copy()
    rows["f0"] += 0.01
    rows["check"] = row_checks(rows, 57)
    content[at : at + ROW.itemsize] = rows.tobytes()
    segment.chmod(0o600)
    segment.write_bytes(content)
    result = verify(run)
    assert not result.ok
    assert result.first_bad.file == "tape"
    assert verify(run, check_tape=False).ok


def test_a_tape_made_anew_under_the_run_is_found_by_the_chain_alone(tmp_path):
    run = make_run(tmp_path, decisions=200)
    tape = tmp_path / "tape"
    rows = Tape.open(tape).segments[0].rows.copy()
    shutil.rmtree(tape)
    rows["f0"][57] -= 0.01
    writer = TapeWriter(tape, INSTRUMENTS)
    writer.append(rows)
    info = writer.close()
    ref = json.loads((run / TAPE_REF).read_text())
    (run / TAPE_REF).write_text(json.dumps(ref | {"sha256": info.sha256}))
    result = verify(run)
    assert not result.ok
    assert "the run read tape" in result.first_bad.what


def test_another_tape_and_no_tape_are_said(tmp_path):
    run = make_run(tmp_path / "one", decisions=200)
    other = make_run(tmp_path / "two", decisions=100)
    result = verify(run, tape_dir=other.parents[1] / "tape")
    assert not result.ok
    assert "not the tape of this run" in result.first_bad.what
    shutil.rmtree(tmp_path / "one" / "tape")
    result = verify(run)
    assert not result.ok
    assert "--tape" in result.first_bad.what
    assert verify(run, check_tape=False).ok


def test_no_run_is_a_usage_error(tmp_path):
    with pytest.raises(DataError, match="not there"):
        verify(tmp_path)


@pytest.mark.parametrize("size", [0, 1, AUDIT_BYTES, 3 * AUDIT_BYTES + 5])
def test_a_run_killed_at_its_very_beginning_verifies(run, size):
    for name in (SUMMARY, AUDIT_TEXT):
        (run / name).unlink()
    (run / CHAIN).write_bytes(b"")
    (run / AUDIT_RECORDS).write_bytes((run / AUDIT_RECORDS).read_bytes()[:size])
    result = verify(run)
    assert result.ok, result.first_bad
    assert result.records == size // AUDIT_BYTES
    assert result.sealed == 0
