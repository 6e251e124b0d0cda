"""The end of a run as a table of 80 columns, and as exactly one JSON object."""

import json

import pytest

from app.summary import show, summary_rows
from engine.run_files import ModelLine, ProfitLoss, Signals, Summary


@pytest.fixture
def summary():
    return Summary(
        run_id="r1",
        run_dir="runs/r1",
        mode="replay",
        exit_reason="done",
        instruments=tuple(f"synthetic:COIN{k}USDT" for k in range(9)),
        events=1_234_567,
        kernel_calls=20,
        wall_s=0.5,
        events_per_s=2_469_134.0,
        market_span_s=7500.0,
        decisions=1000,
        signals=Signals(buy=10, sell=5, hold=985, hold_reasons={"NOT_WARM": 900, "GAP": 85}),
        intents=15,
        approved=9,
        reduced=1,
        blocked={"MODEL_EXPOSURE": 4, "DRAWDOWN": 2},
        orders=10,
        fills=12,
        fees={"USDT": 0.25},
        pnl=ProfitLoss(realized=-1.5, unrealized=0.25, total=-1.25),
        reporting_currency="USDT",
        equity=9998.75,
        max_drawdown=0.0123,
        exposure_max={"TickMLP": 250.0},
        limits={"max_model_exposure": 500, "model_exposure": {"TickMLP": 1000.0}},
        models=(ModelLine(id="TickMLP", version="1.0.0", sha256="ab" * 32, status="MISSING",
                          note="not in artifacts; `make demo-models` builds it"),),
        decision_digest="cd" * 32,
        audit_head="ef" * 32,
        audit_records=4321,
        notes=("synthetic market: shows plumbing, not skill",),
        assumed={"bar_spread_bps": 1.0},
        report="runs/r1/report.html",
    )  # fmt: skip


def test_the_table_fits_80_columns_and_says_what_matters(summary, capsys):
    show(summary)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.replace("│", " ").split())
    for words in (
        "1,234,567 events over 2 h 5 min",
        "and 5 more",
        "10 buy, 5 sell, 985 hold (900 not warm, 85 gap)",
        "15 intents: 9 approved, 1 reduced, 5 blocked (4 model exposure, 2 drawdown)",
        "-1.25 USDT (realized -1.50, unrealized 0.25)",
        "9,998.75 USDT, max drawdown 1.23%",
        "TickMLP at most 250.00 of 1,000.00 (25.0%)",
        "missing",
        "make demo-models",
        "shows plumbing, not skill",
        "bar spread bps 1.0",
        "runs/r1/report.html",
    ):
        assert words in flat


def test_the_object_is_one_line_of_strict_json(summary, capsys):
    show(summary, as_json=True)
    out = capsys.readouterr()
    assert out.err == ""
    assert len(out.out.splitlines()) == 1
    told = json.loads(out.out)
    assert told["pnl"] == {"realized": -1.5, "unrealized": 0.25, "total": -1.25}
    assert told["signals"]["hold_reasons"] == {"NOT_WARM": 900, "GAP": 85}
    assert told["models"][0]["status"] == "MISSING"
    wanted = {
        "run_id",
        "run_dir",
        "mode",
        "exit_reason",
        "instruments",
        "events",
        "kernel_calls",
        "wall_s",
        "events_per_s",
        "market_span_s",
        "decisions",
        "signals",
        "intents",
        "approved",
        "reduced",
        "blocked",
        "orders",
        "fills",
        "rejects",
        "fees",
        "pnl",
        "reporting_currency",
        "equity",
        "max_drawdown",
        "exposure_max",
        "limits",
        "models",
        "reloads",
        "decision_digest",
        "audit_head",
        "audit_records",
        "latency_us",
    }
    assert not wanted - set(told)


def test_what_is_not_known_is_said_not_zero(summary, capsys):
    import msgspec

    unknown = msgspec.structs.replace(summary, pnl=ProfitLoss(), equity=float("nan"), fees={})
    words = {label: text for label, text, _ in summary_rows(unknown)}
    assert "no total" in words["P&L"]
    assert words["fees"] == "none"
    show(unknown, as_json=True)
    assert json.loads(capsys.readouterr().out)["equity"] is None
