"""The text of an audit: strict JSON, linked from signal to fill, the same in blocks of any size."""

import json

import numpy as np
import pytest

from engine.audit_layout import AUDIT, NO_INDEX, Record
from engine.audit_reader import AuditFile, read_names
from engine.audit_render import Renderer, render
from engine.events import Action, HoldReason
from engine.json_files import read_lines
from engine.run_files import AUDIT_RECORDS, AUDIT_TEXT, EVENTS, EventLine
from tests.synthetic_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("render"), decisions=700)


def lines_of(run):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in (run / AUDIT_TEXT).open()]


def test_each_record_is_told_once_and_in_order(run):
    lines = lines_of(run)
    covered = []
    for line in lines:
        covered += range(line["seq"], line.get("to_seq", line["seq"]) + 1)
    assert covered == list(range(AuditFile(run).records))
    assert all(list(line)[:3] == ["seq", "ts", "kind"] for line in lines)


def test_holds_are_counted_with_their_reasons(run):
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    holds = records[(records["kind"] == Record.DECISION) & (records["code"] == Action.HOLD)]
    told = [line for line in lines_of(run) if line["kind"] == "holds"]
    assert sum(line["count"] for line in told) == len(holds)
    assert all(sum(line["reasons"].values()) == line["count"] for line in told)
    not_warm = sum(line["reasons"].get("NOT_WARM", 0) for line in told)
    assert not_warm == np.count_nonzero(holds["aux"] == HoldReason.NOT_WARM) > 0


def test_a_fill_leads_back_to_its_signal(run):
    lines = lines_of(run)
    by = {kind: {} for kind in ("decision", "intent", "verdict", "order", "fill")}
    key = {
        "decision": "signal",
        "intent": "intent",
        "verdict": "intent",
        "order": "order",
        "fill": "fill",
    }
    for line in lines:
        if line["kind"] in by:
            by[line["kind"]][line["ids"][key[line["kind"]]]] = line
    assert len(by["fill"]) > 20
    for fill in by["fill"].values():
        ids = fill["ids"]
        order, intent = by["order"][ids["order"]], by["intent"][ids["intent"]]
        assert (
            order["ids"]["intent"] == ids["intent"] == by["verdict"][ids["intent"]]["ids"]["intent"]
        )
        assert intent["ids"]["signal"] == ids["signal"] == order["ids"]["signal"]
        signal = by["decision"][ids["signal"]]
        assert signal["action"].lower() == intent["side"] == fill["side"]
        assert signal["instrument"] == fill["instrument"]


def test_prices_and_money_are_in_units(run):
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    record = records[records["kind"] == Record.FILL][0]
    line = next(line for line in lines_of(run) if line["kind"] == "fill")
    assert line["price"] == round(int(record["i3"]) * 0.01, 2)
    assert line["fee"] == int(record["i4"]) / 1e8
    lot = 1e-5 if record["instrument"] == 0 else 1e-4
    assert line["qty"] == pytest.approx(int(record["i2"]) * lot, abs=1e-12)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_blocks_do_not_matter(run, size):
    renderer = Renderer(read_names(run), read_lines(run / EVENTS, EventLine))
    text = b"".join(renderer.lines(block) for block in AuditFile(run).blocks(size=size))
    assert text + renderer.close().encode() == (run / AUDIT_TEXT).read_bytes()


def test_what_is_not_a_number_is_null_and_unknown_codes_stay_numbers(run):
    records = np.zeros(2, AUDIT)
    records["instrument"] = records["model"] = NO_INDEX
    records["kind"], records["seq"] = Record.DECISION, (0, 1)
    records["code"] = (Action.BUY, 77)
    records["f0"], records["f4"] = np.nan, np.inf
    text = Renderer(read_names(run), iter(())).lines(records).decode()
    first, second = (json.loads(line) for line in text.splitlines())
    assert first["p_sell"] is None and first["bid"] is None
    assert second["action"] == "77"


def test_rendering_again_gives_the_same_text_and_progress(run):
    before = (run / AUDIT_TEXT).read_bytes()
    seen = []
    assert render(run, lambda done, total: seen.append((done, total))) == run / AUDIT_TEXT
    assert (run / AUDIT_TEXT).read_bytes() == before
    assert seen[-1] == (AuditFile(run).records,) * 2
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []
