"""`lab.py features check`: clean on the sample; every kind of fault is found and named."""

import json
from pathlib import Path

import numpy as np
import pytest

import app.feature_checks as checks
import app.feature_references as references
import lab
from app.command_line import run
from app.feature_checks import Report, check, load
from app.feature_data import held, open_named, stretches_of
from app.feature_paths import Stretch, with_reconnects
from engine.rows import Kind
from features.spec import FeatureSpec

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
SPEC = FeatureSpec((("returns_1", {}), ("rsi_14", {})))  # other tests compile it too
SHARED = ROOT / ".." / "shared" / "data"


@pytest.fixture(scope="module")
def stretch(tmp_path_factory: pytest.TempPathFactory) -> Stretch:
    tape = open_named([SAMPLE], ["BTCUSDT"], tmp_path_factory.getbasetemp() / "tapes")
    return next(stretches_of(tape, SPEC))


def checked(stretch: Stretch) -> Report:
    return check(load(SPEC), stretch, held(stretch), np.random.default_rng(1))


def test_the_sample_is_clean(stretch: Stretch) -> None:
    report = checked(stretch)
    assert report.clean
    assert set(report.findings) == set(checks.CHECKS)
    assert report.warm > 200
    assert (report.compared, report.without, report.unread) == (2, (), ())


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Return a function that lets the row by row path be spoilt by another one."""

    def plant(spoil) -> None:  # type: ignore[no-untyped-def]
        plain = checks.online

        def online(*args):  # type: ignore[no-untyped-def]
            seen = plain(*args)
            seen = seen._replace(x=seen.x.copy(), valid=seen.valid.copy())
            spoil(seen)
            return seen

        monkeypatch.setattr(checks, "online", online)

    return plant


def test_one_bit_is_a_difference_with_row_and_values(stretch: Stretch, spoilt) -> None:  # type: ignore[no-untyped-def]
    right = checks.online(stretch, SPEC, load(SPEC).feed).x[100, 1]
    wrong = np.nextafter(right, np.float32(np.inf))

    def spoil(seen) -> None:  # type: ignore[no-untyped-def]
        seen.x[100, 1] = wrong

    spoilt(spoil)
    report = checked(stretch)
    (found,) = report.findings["parity"]
    assert (found.feature, found.check) == ("rsi_14", "row by row")
    assert (found.whole, found.other) == (float(right), float(wrong))
    assert not report.findings["reference"]  # one unit in the last place


def test_a_wrong_formula_is_found_by_its_independent_version(
    stretch: Stretch, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dict(references.on_bars())
    rsi = other["rsi_{span}"]
    other["rsi_{span}"] = lambda b, p: rsi(b, p) * (1.0 + 1e-6)
    monkeypatch.setattr(references, "on_bars", lambda: other)
    (found,) = checked(stretch).findings["reference"]
    assert found.feature == "rsi_14"
    assert found.whole is not None
    assert found.other == pytest.approx(found.whole * (1.0 + 1e-6), rel=1e-7)


def test_a_feature_without_an_independent_version_is_named(
    stretch: Stretch, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {name: f for name, f in references.on_bars().items() if not name.startswith("rsi")}
    monkeypatch.setattr(references, "on_bars", lambda: other)
    report = checked(stretch)
    assert (report.without, report.compared) == (("rsi_14",), 1)


FAULTS = {
    "warm-up": (lambda seen: seen.x.__setitem__((3, 1), 50.0), "where it is not warm yet"),
    "mask": (lambda seen: seen.valid.__setitem__(2, True), "while the mask says otherwise"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_value_too_early_and_a_lying_mask_are_found(stretch: Stretch, spoilt, name: str) -> None:  # type: ignore[no-untyped-def]
    spoil, words = FAULTS[name]
    spoilt(spoil)
    report = checked(stretch)
    assert report.findings[name][0].check == words
    assert report.findings[name][0].row == (3 if name == "warm-up" else 2)


def test_silence_after_the_warm_up_is_found(stretch: Stretch, spoilt) -> None:  # type: ignore[no-untyped-def]
    spoilt(lambda seen: seen.x.__setitem__((60, 1), np.nan))
    report = checked(stretch)
    assert report.findings["warm-up"][0].check == "where it is warm by now"
    assert report.findings["mask"][0].feature == "rsi_14"


def test_a_reconnect_starts_all_anew(stretch: Stretch) -> None:
    quotes = np.flatnonzero(stretch.rows["kind"] == Kind.QUOTE)
    place = int(quotes[len(quotes) // 2])
    rows = with_reconnects(stretch.rows, [place])
    assert len(rows) == len(stretch.rows) + 2
    seen = checks.online(stretch.with_rows(rows), SPEC, load(SPEC).feed)
    late = seen.market["gap_count"] == 1
    assert late.any()
    assert np.isnan(seen.x[late][:13]).any(axis=1).all()
    assert np.isfinite(seen.x[late][16:]).all()


def test_the_command_prints_a_table_and_an_object(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    spec = tmp_path / "mine.json"
    spec.write_bytes(SPEC.to_json())
    words = [
        "features",
        "check",
        "--spec",
        str(spec),
        "--data",
        str(SAMPLE),
        "--symbols",
        "BTC/USDT",
    ]
    words += ["--cache", str(tmp_path / "tapes")]
    assert run("lab.py", lambda: lab.main(words)) == 0
    out = capsys.readouterr().out
    assert "mine" in out
    assert "2/2" in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    assert run("lab.py", lambda: lab.main([*words, "--json"])) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["clean"] is True
    (line,) = found["sets"]
    assert line["references"] == 2
    assert not any(line["differences"].values())


def test_a_difference_ends_with_one(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    other = {**references.on_bars(), "returns_{span}": lambda b, p: 2.0 * b["close"]}
    monkeypatch.setattr(references, "on_bars", lambda: other)
    spec = tmp_path / "mine.json"
    spec.write_bytes(SPEC.to_json())
    words = ["features", "check", "--spec", str(spec), "--data", str(SAMPLE)]
    words += ["--symbols", "BTCUSDT", "--cache", str(tmp_path / "tapes")]
    assert run("lab.py", lambda: lab.main(words)) == 1
    assert "returns_1: row" in capsys.readouterr().out


def test_bias_is_looked_for_in_sets_functions_and_models(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    spec = tmp_path / "mine.json"
    spec.write_bytes(SPEC.to_json())
    data = ["--data", str(SAMPLE), "--symbols", "BTCUSDT", "--cache", str(tmp_path / "tapes")]
    words = ["features", "lookahead", "--spec", str(spec), "--cuts", "3", *data]
    assert run("lab.py", lambda: lab.main(words)) == 0
    assert "mine on synthetic:BTCUSDT: no look-ahead (3 cuts, seed 1)" in capsys.readouterr().out
    cheat = tmp_path / "cheat.py"
    cheat.write_text("def high(c):\n    return {'top': c['bid'] / c['bid'].max()}\n")
    words = [
        "features",
        "lookahead",
        "--function",
        f"{cheat}:high",
        "--cuts",
        "3",
        "--rows",
        "9000",
    ]
    assert run("lab.py", lambda: lab.main([*words, *data, "--json"])) == 1
    ((found,),) = json.loads(capsys.readouterr().out)["subjects"].values()
    assert found["feature"] == "top"
    assert found["whole"] != found["other"]


def test_recursion_settles_on_the_sample(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    spec = tmp_path / "mine.json"
    spec.write_bytes(SPEC.to_json())
    words = ["features", "recursion", "--spec", str(spec), "--data", str(SAMPLE), "--places", "3"]
    words += ["--symbols", "BTCUSDT", "--cache", str(tmp_path / "tapes"), "--history", "3000"]
    assert run("lab.py", lambda: lab.main(words)) == 0
    assert "never warms" not in capsys.readouterr().out


def test_errors_are_one_line(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    data = ["--data", str(SAMPLE), "--cache", str(tmp_path / "tapes")]
    for words, hint in (
        (["check", "--data", "nowhere"], "--data nowhere: no such file"),
        (["check"], "--data"),
        (["check", "--spec", "nowhere", *data], "no such spec; known are"),
        (["check", "--all", "--spec", "tfa_55", *data], "do not go together"),
        (["lookahead", "--model", "None:1", *data], "not registered; known are"),
        (["lookahead", "--cuts", "0", *data], "must be 1 or more"),
        (["check", "--pair", "BTC", *data], "must be A:B"),
        (["build", "--spec", "tfa_55", *data], "--out FILE.parquet or --store ROOT"),
        (["drift", str(SAMPLE), str(SAMPLE)], "no snapshot of features"),
    ):
        assert run("lab.py", lambda words=words: lab.main(["features", *words])) == 2
        err = capsys.readouterr().err
        assert hint in err
        assert len(err.splitlines()) == 1


REAL = {
    "SPY": ["bars/us_SPY_1m_201103.parquet"],
    "days before the table of sessions": ["bars/us_QQQ_SPY_1d_1993_2021.parquet"],
    "bars without volume": ["bars/fxcm_USDJPY_1m_bidask_201302.parquet"],
    "two coins": [
        f"bars/binance_{coin}USDT_1m_20200521_20200620.parquet" for coin in ("BTC", "ETH")
    ],
    "EURUSD": ["quotes/oanda_EURUSD_20140501_20140515.parquet"],
    "Gemini": [f"{kind}/gemini_ETHUSD_20210701.parquet" for kind in ("trades", "quotes")],
    "BTC": [
        f"{kind}/binance_spot_BTCUSDT_202408.parquet" for kind in ("trades", "quotes", "depth")
    ],
}


@pytest.mark.slow  # compiles two kernels of every set
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", REAL)
def test_every_set_is_clean_on_real_data(name: str, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    paths = [SHARED / one for one in REAL[name]]
    if not paths[0].exists():
        pytest.skip("no data beside the repository")
    words = ["features", "check", "--all", "--data", *map(str, paths), "--json"]
    code = run("lab.py", lambda: lab.main([*words, "--cache", str(tmp_path / "tapes")]))
    found = json.loads(capsys.readouterr().out)
    assert code == 0, [one for one in found["sets"] if not one.get("clean", True)]
    assert any(one.get("references", 0) > 4 for one in found["sets"])
