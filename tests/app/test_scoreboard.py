"""The scoreboard against a second computation with Polars and SciPy that shares no code with it."""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

import lab
from app.command_line import run as run_command
from app.score_prices import prices_at
from app.scoreboard_charts import COLOURS, MARKERS, MAX_MODELS
from app.scoring import HORIZONS_S, rank_correlation, score_run
from engine.audit_layout import AUDIT
from engine.run_files import AUDIT_RECORDS
from engine.tape import Tape

NS = 1_000_000_000


def frames(voted, tape: Tape) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the run's decisions and the tape's mids as data frames."""
    records = np.fromfile(Path(voted.run_dir) / AUDIT_RECORDS, AUDIT)
    records = records[np.isin(records["kind"], (3, 11))]
    names = "ts row model instrument code f0 f1 f2 f4 f5".split()
    decisions = pl.DataFrame({name: records[name] for name in names})
    decisions = decisions.with_columns(reason=pl.Series(records["aux"] & 0xFF))
    rows = np.concatenate([segment.rows for segment in tape.segments])
    ts = np.where(rows["ts_recv"] > 0, rows["ts_recv"], rows["ts_event"])
    rows, ts = rows[rows["kind"] == 1], np.maximum.accumulate(ts)[rows["kind"] == 1]
    mids = pl.DataFrame(
        {"then": ts, "instrument": rows["instrument"], "price": (rows["f0"] + rows["f1"]) / 2}
    )
    return decisions, mids.filter(pl.Series(rows["f1"] > rows["f0"]))


def with_returns(decisions: pl.DataFrame, mids: pl.DataFrame, seconds: int, end: int):
    """Join each decision with the price in force so much later."""
    later = decisions.with_columns(
        then=pl.col("ts") + seconds * NS, mid=(pl.col("f4") + pl.col("f5")) / 2
    ).sort("then")
    joined = later.join_asof(mids.sort("then"), on="then", by="instrument", check_sortedness=False)
    return joined.filter(pl.col("then") <= end).with_columns(
        moved=pl.col("price") / pl.col("mid") - 1.0
    )


def test_every_figure_equals_a_second_computation(voted, long_tape):
    scores = score_run(Path(voted.run_dir), long_tape)
    decisions, mids = frames(voted, long_tape)
    rows = long_tape.segments[-1].rows
    end = int(np.maximum(rows["ts_recv"], rows["ts_event"] * (rows["ts_recv"] == 0)).max())
    assert [score.name for score in scores] == ["Bars", "Ticks", "Both", "Challenger"]
    for index, score in enumerate(scores):
        mine = decisions.filter(pl.col("model") == index)
        assert score.decisions == len(mine)
        assert score.buys == len(mine.filter(pl.col("code") == 2))
        assert score.sells == len(mine.filter(pl.col("code") == 0))
        answered = mine.filter(pl.col("reason").is_in([0, 1, 2]))
        assert score.answered == len(answered)
        for at in score.horizons:
            known = with_returns(answered, mids, at.seconds, end)
            acted = known.filter(pl.col("code") != 1)
            earned = (acted["code"].cast(pl.Float64) - 1.0) * acted["moved"] * 1e4
            assert at.advice == len(acted)
            if len(acted) > 1:
                assert at.markout_bps == pytest.approx(earned.mean(), abs=1e-9)
                assert at.markout_se_bps == pytest.approx(stats.sem(earned.to_numpy()), abs=1e-9)
                went = earned.filter(earned != 0.0)
                assert at.hit_rate == pytest.approx((went > 0).mean())
            lean = (known["f2"] - known["f0"]).to_numpy()
            if at.ic is not None:
                wanted = stats.spearmanr(lean, known["moved"].to_numpy()).statistic
                assert at.ic == pytest.approx(wanted, abs=1e-12)
            some = known.filter(pl.col("moved") != 0.0)
            both = some["f0"] + some["f2"]
            chance = pl.Series(np.where(both > 0, some["f2"] / both, 0.5))
            up = (some["moved"] > 0).cast(pl.Float64)
            assert at.brier == pytest.approx(((chance - up) ** 2).mean())
            if at.seconds == 60:
                cut = pl.DataFrame({"p": chance, "up": up}).with_columns(
                    bin=(pl.col("p") * 10).floor().clip(0, 9)
                )
                bins = cut.group_by("bin").agg(
                    pl.col("p").mean(), pl.col("up").mean(), pl.len()
                ).sort("bin")  # fmt: skip
                found = [(one.predicted, one.happened, one.count) for one in score.calibration]
                wanted = bins.select("p", "up", "len").to_numpy()
                assert np.array(found) == pytest.approx(wanted) if found else len(bins) == 0
    assert any(at.advice > 20 for score in scores for at in score.horizons)


def test_money_is_that_of_the_books_also_where_orders_have_several_owners(voted, long_tape):
    scores = {score.name: score for score in score_run(Path(voted.run_dir), long_tape)}
    assert voted.fills > 20
    for name, score in scores.items():
        books = [book for book in voted.books if (book.owner, book.kind) == (name, "model")]
        assert score.money.realized == pytest.approx(sum(b.realized for b in books), abs=1e-6)
        assert score.money.fees == pytest.approx(sum(b.fees for b in books), abs=1e-6)
        assert score.money.unrealized == pytest.approx(sum(b.unrealized for b in books), abs=1e-4)
    assert sum(score.pnl for score in scores.values()) == pytest.approx(voted.pnl.total, abs=1e-4)
    assert scores["Both"].money.fills == scores["Challenger"].money.fills == 0


def test_a_challenger_with_the_champions_answers_differs_in_nothing(voted, long_tape):
    scores = score_run(Path(voted.run_dir), long_tape, champion="Ticks")
    beside = next(score.beside for score in scores if score.name == "Challenger")
    assert beside.champion == "Ticks"
    assert beside.rows > 100
    assert beside.brier_difference == 0.0
    assert next(score.beside for score in scores if score.name == "Ticks") is None


def test_prices_are_those_in_force_at_any_time(long_tape):
    rng = np.random.default_rng(3)
    rows = np.concatenate([segment.rows for segment in long_tape.segments])
    stamped = np.where(rows["ts_recv"] > 0, rows["ts_recv"], rows["ts_event"])
    ts = np.maximum.accumulate(stamped)
    times = np.sort(rng.integers(ts[0] - 5 * NS, ts[-1] + 5 * NS, 400))
    found = prices_at(long_tape, {0: times, 1: times})
    assert set(found) == {0, 1}
    for at, prices in found.items():
        assert np.isfinite(prices).sum() > 300
        mine = (rows["instrument"] == at) & (rows["kind"] == 1) & (rows["f1"] > rows["f0"])
        for time, price in zip(times, prices, strict=True):
            before = np.flatnonzero(mine & (ts <= time))
            if not len(before) or time > ts[-1]:
                assert np.isnan(price)
            else:
                last = rows[before[-1]]
                assert price == 0.5 * (last["f0"] + last["f1"])


def test_ranks_share_their_mean_and_what_does_not_vary_has_no_correlation():
    x, y = np.array([1.0, 1.0, 2.0, 5.0]), np.array([3.0, 1.0, 1.0, 4.0])
    assert rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None


def command(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lab.py", "models", "scoreboard", *words])
    return int(run_command("lab.py", lambda: lab.main(sys.argv[1:])))


def test_each_model_that_is_drawn_has_a_colour_and_a_mark_of_its_own():
    assert len(set(COLOURS)) == len(set(MARKERS)) == MAX_MODELS


def test_the_command_prints_80_columns_one_object_a_page_and_a_picture(
    voted, tmp_path, monkeypatch, capsys
):
    folder, png, page = voted.run_dir, tmp_path / "s.png", tmp_path / "s.html"
    assert command(monkeypatch, folder, "--png", str(png), "--html", str(page)) == 0
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines() if "written" not in line) <= 80
    for word in ("Challenger", "hit", "IC", "Brier", "P&L", "beside Bars"):
        assert word in text
    assert png.read_bytes().startswith(b"\x89PNG")
    content = page.read_text()
    assert "<svg" in content
    assert content.count("Challenger") >= 2
    for unit in (
        "P&amp;L, USDT",
        "markout, bps",
        "its stage p50, us",
        ">USDT<",
        ">share that rose<",
    ):
        assert unit in content, unit
    assert command(monkeypatch, folder, "--json", "--horizon", "10") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["models"]] == ["Bars", "Ticks", "Both", "Challenger"]
    assert [one["seconds"] for one in told["models"][0]["horizons"]] == list(HORIZONS_S)
    assert command(monkeypatch, folder, "--against", "Nobody") == 2
    assert "there are Bars, Ticks, Both, Challenger" in capsys.readouterr().err
