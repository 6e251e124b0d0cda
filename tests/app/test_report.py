"""The report: self-contained, complete where there is data, plain where there is none."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from app.report import write_report
from app.report_data import MAX_FILLS, _Exposures, _Fills, gather
from engine.audit_layout import AUDIT, Record
from engine.run_files import AUDIT_RECORDS, REPORT, REPORT_PICTURE, SAMPLES, SUMMARY
from tests.synthetic_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("report"), decisions=500)
    write_report(run)
    return run


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href", "action") and v]


def test_nothing_is_fetched_and_all_charts_are_there(run):
    page = (run / REPORT).read_text()
    parser = _Links()
    parser.feed(page)
    assert all(link.startswith("#") for link in parser.links)
    assert not re.search(r"@import|url\((?!#)", page)
    assert parser.tags.count("svg") == 7  # equity, two prices, funnel, exposure, features, latency
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for words in ("Equity (USDT)", "synthetic:BTCUSDT", "model exposure", "TickMLP", "rsi_14",
                  "below threshold", "shows plumbing, not skill", "audit verify"):  # fmt: skip
        assert words in page
    assert (run / REPORT_PICTURE).read_bytes().startswith(b"\x89PNG")


def test_the_ink_follows_the_page(run):
    page = (run / REPORT).read_text()
    assert "var(--ink)" in page and "prefers-color-scheme: dark" in page
    assert "#101820" not in page.split("</style>")[1]


def test_a_run_without_fills_samples_or_summary_is_told_plainly(run, tmp_path):
    bare = shutil.copytree(run, tmp_path / "bare")
    shutil.rmtree(bare / SAMPLES)
    (bare / SUMMARY).unlink()
    (bare / AUDIT_RECORDS).write_bytes(np.fromfile(bare / AUDIT_RECORDS, AUDIT)[:4].tobytes())
    page = write_report(bare).read_text()
    for words in ("No equity was sampled", "nothing was filled", "No model ever had any exposure",
                  "No feature rows", "No latencies", "did not come to its end"):  # fmt: skip
        assert words in page


def test_foreign_text_cannot_become_markup(run, tmp_path):
    evil = shutil.copytree(run, tmp_path / "evil")
    names = (evil / "audit" / "names.json").read_text()
    script = "<script>alert(1)</script>"
    (evil / "audit" / "names.json").write_text(names.replace("synthetic:BTCUSDT", script))
    page = write_report(evil).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_report_is_written_again_over_the_first(run):
    before = (run / "report.html").read_bytes() if (run / "report.html").exists() else b""
    write_report(run)
    first = (run / "report.html").read_bytes()
    write_report(run)
    assert (run / "report.html").read_bytes() == first
    assert not before or before == first


def test_exposure_lines_keep_the_peak_of_each_step(run):
    data = gather(run)
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    records = records[records["kind"] == Record.EXPOSURE]
    assert {line.model for line in data.exposures} == set(records["model"].tolist()) != set()
    for line in data.exposures:
        mine = records[records["model"] == line.model]
        assert line.total.max() == mine["i4"].max() / 1e8
        assert line.fullest == mine["i4"].max() / mine["i5"][0]


def test_exposure_is_held_between_changes():
    lines = _Exposures(0, 600)
    records = np.zeros(2, AUDIT)
    records["ts"], records["i4"], records["i5"] = (100, 400), (5_00000000, 2_00000000), 10_00000000
    lines.update(records)
    (line,) = lines.lines()
    total = line.total
    assert total[0] == 0.0 and total[300] == 5.0 and total[-1] == 2.0
    assert set(np.unique(total)) == {0.0, 2.0, 5.0}


def test_fills_for_drawing_are_bounded():
    fills = _Fills()
    records = np.zeros(40_000, AUDIT)
    for k in range(9):
        records["ts"] = np.arange(len(records)) + k * len(records)
        fills.update(records)
    rows = fills.rows()
    assert len(rows) <= MAX_FILLS
    assert len(rows) + fills.dropped == 360_000 == sum(fills.counts.values())
    assert np.all(np.diff(rows["ts"]) > 0)
    assert rows["ts"][-1] > 350_000
