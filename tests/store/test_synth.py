"""The synthetic market: same parameters, same bytes; fair at P = 0; honest truth at P > 0."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.errors import UsageError
from store import synth_kernel as k
from store.synth import (
    SynthBlock,
    SynthSettings,
    TruthTables,
    check_settings,
    generate,
    write_market,
)
from store.synth_parquet import quote_columns, to_units
from store.synth_symbols import MAX_SYMBOLS, synth_symbol

ROOT = Path(__file__).resolve().parents[2]


def settings(**changes: object) -> SynthSettings:
    """Return small parameters, some of them changed."""
    values: dict = {"symbols": 1, "hours": 1.0, "seed": 5, "predictability": 0.3}
    return SynthSettings(**(values | changes))


def market(index: int = 0, block_rows: int = 1 << 17, **changes: object) -> SynthBlock:
    """Generate one instrument in memory."""
    blocks = list(generate(settings(**changes), index, block_rows))
    names = ("quotes", "trades", "seconds", "minutes")
    return SynthBlock(*(np.concatenate([getattr(b, name) for b in blocks]) for name in names))


def half_mids(block: SynthBlock, ts: np.ndarray) -> np.ndarray:
    """Return bid + ask in ticks at each time."""
    at = np.searchsorted(block.quotes["ts_event"], ts, "right") - 1
    return block.quotes["bid"][at] + block.quotes["ask"][at]


def digest(folder: Path) -> str:
    """Hash names and bytes of all files below a folder."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """Return P(a positive scores above a negative), ties counted half (Mann and Whitney)."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - 0.5 * (counts - 1))[inverse]
    n1 = int(positive.sum())
    n0 = len(score) - n1
    return float((rank[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def test_same_seed_gives_the_same_bytes_in_another_process(tmp_path):
    made = settings(symbols=3, hours=0.1)
    write_market(made, tmp_path / "here")
    code = (
        "from pathlib import Path; from store.synth import *; import sys;"
        "write_market(SynthSettings(symbols=3, hours=0.1, seed=5, predictability=0.3),"
        " Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], cwd=ROOT, check=True)
    assert digest(tmp_path / "here") == digest(tmp_path / "there")
    write_market(settings(symbols=3, hours=0.1, seed=6), tmp_path / "other")
    assert digest(tmp_path / "here") != digest(tmp_path / "other")


def test_blocks_hours_and_other_symbols_change_no_row():
    whole = market(1, symbols=2)
    for block_rows in (2, 3, 1000):
        parts = market(1, block_rows=block_rows, symbols=5)
        for name in ("quotes", "trades", "seconds", "minutes"):
            assert np.array_equal(getattr(whole, name), getattr(parts, name)), (block_rows, name)
    longer = market(1, symbols=2, hours=2.0)
    assert np.array_equal(longer.quotes[: len(whole.quotes)], whole.quotes)
    assert np.array_equal(longer.trades[: len(whole.trades)], whole.trades)


def test_compiled_and_plain_python_agree():
    """The loop without numba gives the same rows (the functions behind the dispatchers)."""
    code = (
        "import hashlib, warnings; warnings.simplefilter('ignore', RuntimeWarning);"
        "from store.synth import *;"
        "b = next(generate(SynthSettings(symbols=1, hours=0.1, seed=5, predictability=.3), 0));"
        "print(hashlib.sha256(b.quotes.tobytes() + b.trades.tobytes()).hexdigest())"
    )
    environment = {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    block = market(hours=0.1)
    expected = hashlib.sha256(block.quotes.tobytes() + block.trades.tobytes()).hexdigest()
    assert done.stdout.decode().strip() == expected


def test_a_martingale_without_predictability():
    """At P = 0 no observable foretells the mid; at P > 0 the same statistics do."""
    fair, biased = (_t_statistics(predictability=p) for p in (0.0, 0.5))
    assert max(abs(t) for t in fair.values()) < 4.0, fair
    assert min(abs(biased[name]) for name in ("imbalance", "flow")) > 10.0, biased
    assert biased["minute_flow"] > 4.0, biased


def _t_statistics(predictability: float) -> dict[str, float]:
    """Regress mid changes on what was seen before; return t of the sums of products.

    Under a martingale difference y and any x known before it, sum(x y) / sqrt(sum(x^2 y^2)) is
    asymptotically standard normal (White 1980), whatever the volatility does.
    """
    block = market(hours=300.0, predictability=predictability)
    start = block.seconds["ts"][0]
    result = {}
    seconds = np.arange(start + 60 * k.NS_PER_S, block.seconds["ts"][-1], k.NS_PER_S)
    y = (half_mids(block, seconds + k.NS_PER_S) - half_mids(block, seconds)).astype(float)
    at = np.searchsorted(block.quotes["ts_event"], seconds, "right") - 1
    bid, ask = block.quotes["bid_lots"][at], block.quotes["ask_lots"][at]
    before = (half_mids(block, seconds) - half_mids(block, seconds - k.NS_PER_S)).astype(float)
    candidates = {
        "drift": np.ones(len(y)),
        "reversal": before,
        "imbalance": (bid - ask) / (bid + ask),
        "flow": _signed_flow(block, seconds, 10 * k.NS_PER_S),
    }
    for name, x in candidates.items():
        result[name] = float((x * y).sum() / np.sqrt((x * x * y * y).sum()))
    minutes = np.arange(start + 600 * k.NS_PER_S, block.seconds["ts"][-1], k.NS_PER_MINUTE)
    y = (half_mids(block, minutes + k.NS_PER_MINUTE) - half_mids(block, minutes)).astype(float)
    x = _signed_flow(block, minutes, 600 * k.NS_PER_S)
    result["minute_flow"] = float((x * y).sum() / np.sqrt((x * x * y * y).sum()))
    return result


def _signed_flow(block: SynthBlock, ts: np.ndarray, window_ns: int) -> np.ndarray:
    """Return buyer- minus seller-initiated trades in the window that ends at each time."""
    signed = np.concatenate([[0], np.cumsum(block.trades["side"])])
    stamps = block.trades["ts_event"]
    last = np.searchsorted(stamps, ts, "right")
    return (signed[last] - signed[np.searchsorted(stamps, ts - window_ns, "right")]).astype(float)


def test_flow_predicts_more_with_more_predictability():
    """The area under the curve of book imbalance for the next second's move grows with P."""
    areas = []
    for share in (0.0, 0.25, 0.5, 1.0):
        block = market(hours=60.0, predictability=share)
        seconds = block.seconds["ts"][:-2]
        move = half_mids(block, seconds + k.NS_PER_S) - half_mids(block, seconds)
        at = np.searchsorted(block.quotes["ts_event"], seconds, "right") - 1
        score = block.quotes["bid_lots"][at] / block.quotes["ask_lots"][at]
        moved = np.abs(move) > 2
        areas.append(area_under_curve(score[moved], move[moved] > 0))
    assert abs(areas[0] - 0.5) < 0.015
    assert areas[0] + 0.02 < areas[1] < areas[2] - 0.02 < areas[3] - 0.04, areas


@pytest.mark.parametrize("index", [0, 1, 2])
def test_truth_is_calibrated(index):
    """Stated probabilities equal realised frequencies, in ten bins of each, at every horizon."""
    block = market(index, hours=400.0, predictability=0.5)
    truth = TruthTables(0.5, synth_symbol(index)).rows(block)
    end = block.quotes["ts_event"][-1]
    for horizon, tolerance in (
        (k.NS_PER_S, 0.012),
        (5 * k.NS_PER_S, 0.02),
        (900 * k.NS_PER_S, 0.09),
    ):
        rows = (truth["horizon_ns"] == horizon) & (truth["ts"] + horizon <= end)
        ts = truth["ts"][rows]
        change = 0.5 * (half_mids(block, ts + horizon) - half_mids(block, ts))
        band = truth["flat_ticks"][rows]
        happened = {
            "p_up": change > band,
            "p_down": change < -band,
            "p_flat": np.abs(change) <= band,
        }
        for name, outcome in happened.items():
            stated = truth[name][rows]
            for part in np.array_split(np.argsort(stated, kind="stable"), 10):
                gap = abs(float(stated[part].mean()) - float(outcome[part].mean()))
                assert gap < tolerance, (horizon, name, gap)
        spread = np.quantile(truth["p_up"][rows], 0.95) - np.quantile(truth["p_up"][rows], 0.05)
        assert spread > 0.2  # the latent state says something at this horizon


def test_truth_sums_to_one_and_mirrors():
    tables = TruthTables(0.7, synth_symbol(0))
    for table in (*tables.seconds.values(), tables.minutes):
        assert np.allclose(table.sum(axis=-1), 1.0, atol=1e-9)
        assert table.min() >= 0.0
    fast = tables.seconds[1]
    assert np.allclose(fast[:, 0, :2, 0], fast[:, 2, 4:, 2])
    assert np.allclose(tables.minutes[:, 0, :, 0], tables.minutes[:, 2, :, 2])


def test_stylised_facts():
    block = market(hours=24.0 * 14, predictability=0.0)
    minutes = block.minutes["ts"]
    returns = np.diff(np.log(half_mids(block, minutes)))
    size = np.abs(returns)
    for lag in (1, 5, 30):
        assert np.corrcoef(size[lag:], size[:-lag])[0, 1] > 0.04  # volatility clusters
        assert abs(np.corrcoef(returns[lag:], returns[:-lag])[0, 1]) < 0.04  # returns do not
    assert (returns**4).mean() / (returns**2).mean() ** 2 > 3.5  # heavy tails
    assert 2e-4 < returns.std() < 2e-3
    spread = block.quotes["ask"] - block.quotes["bid"]
    share = np.bincount(spread) / len(spread)
    assert 0.85 < share[1] < 0.99
    assert share[2] > 0.02
    sides = block.trades["side"].astype(float)
    assert np.corrcoef(sides[1:], sides[:-1])[0, 1] > 0.05  # order flow clusters
    gaps = np.diff(block.trades["ts_event"]) / k.NS_PER_S
    assert gaps.std() / gaps.mean() > 1.2  # and comes in bursts (1 for a Poisson stream)
    hours = block.trades["ts_event"] // (3600 * k.NS_PER_S) % 24
    count = np.bincount(hours, minlength=24)
    assert count[13:17].mean() > 1.4 * count[0:4].mean()  # intraday pattern
    sizes = np.log(block.trades["lots"])
    assert 0.5 < sizes.std() < 2.0


def test_quotes_never_cross_and_trades_hit_the_touch():
    block = market(2, hours=5.0, symbols=3)
    quotes, trades = block.quotes, block.trades
    assert (quotes["ask"] > quotes["bid"]).all()
    assert min(quotes["bid_lots"].min(), quotes["ask_lots"].min(), trades["lots"].min()) > 0
    before = np.searchsorted(quotes["ts_recv"], trades["ts_recv"], "left") - 1
    touch = np.where(trades["side"] > 0, quotes["ask"][before], quotes["bid"][before])
    shown = np.where(trades["side"] > 0, quotes["ask_lots"][before], quotes["bid_lots"][before])
    assert np.array_equal(trades["price"], touch)
    assert (trades["lots"] <= shown).all()
    assert set(np.unique(trades["side"])) == {-1, 1}


def test_times_are_ordered_with_plausible_latency():
    block = market(hours=2.0)
    for rows in (block.quotes, block.trades):
        assert (np.diff(rows["ts_recv"]) > 0).all()
        assert (np.diff(rows["ts_event"]) >= 0).all()
        late_ms = (rows["ts_recv"] - rows["ts_event"]) / 1e6
        assert late_ms.min() >= 3.0
        assert 4.0 < np.median(late_ms) < 10.0
    both = np.concatenate([block.quotes["ts_recv"], block.trades["ts_recv"]])
    assert len(np.unique(both)) == len(both)


@pytest.mark.parametrize("index", [0, 1, 2, 6, MAX_SYMBOLS - 1])
def test_prices_and_sizes_lie_on_the_exact_grid(index):
    """Each float64 equals the decimal product of its count and increment."""
    from decimal import Decimal

    symbol = synth_symbol(index)
    block = market(index, hours=0.2, symbols=index + 1)
    for counts, increment in (
        (block.quotes["bid"], symbol.tick),
        (block.trades["lots"], symbol.lot),
    ):
        exact = [float(int(n) * Decimal(increment)) for n in counts]
        assert to_units(counts, increment).tolist() == exact


def test_symbols_are_distinct_and_tradable_with_small_money():
    symbols = [synth_symbol(i) for i in range(MAX_SYMBOLS)]
    assert len({s.symbol for s in symbols}) == MAX_SYMBOLS
    for s in symbols:
        price = s.start_bid_tick * float(s.tick)
        assert 50.0 / price > 2 * float(s.lot)  # 50 in quote currency is more than two lots


def test_folder_layout(tmp_path):
    manifest = write_market(settings(symbols=2, hours=0.25), tmp_path / "out")
    folder = tmp_path / "out" / "synthetic" / "ETHUSDT"
    quotes = pq.read_table(folder / "quotes" / "000000.parquet")
    assert quotes.column_names == ["ts_event", "ts_recv", "bid", "ask", "bid_size", "ask_size"]
    trades = pq.read_table(folder / "trades" / "000000.parquet")
    assert trades.column_names == ["ts_event", "ts_recv", "price", "size", "side"]
    truth = pq.read_table(folder / "truth.parquet")
    assert truth.num_rows == 2 * 900 + 15
    assert manifest["symbols"]["ETHUSDT"]["quotes"] == quotes.num_rows
    assert json.loads((folder / "instrument.json").read_text())["tick"] == "0.01"
    for name in ("README.md", "manifest.json"):
        assert "no skill" in (tmp_path / "out" / name).read_text()


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"hours": -1.0}, "--hours"),
        ({"hours": float("nan")}, "--hours"),
        ({"hours": 1e9}, "--hours"),
        ({"predictability": 1.5}, "--predictability"),
        ({"predictability": -0.1}, "--predictability"),
        ({"predictability": float("nan")}, "--predictability"),
        ({"symbols": 0}, "--symbols"),
        ({"symbols": 65}, "--symbols"),
        ({"seed": -1}, "--seed"),
        ({"seed": 1 << 63}, "--seed"),
        ({"rows_per_s": 0.0}, "--rows-per-s"),
        ({"start_ns": 12}, "--start"),
    ],
)
def test_bad_parameters_are_refused_in_one_line(changes, option):
    with pytest.raises(UsageError) as caught:
        check_settings(settings(**changes))
    assert option in str(caught.value)
    assert "\n" not in str(caught.value)


def test_existing_folders_are_not_lost(tmp_path):
    made = settings(hours=0.1)
    out = tmp_path / "out"
    write_market(made, out)
    before = digest(out)
    with pytest.raises(UsageError, match="not empty"):
        write_market(made, out)
    write_market(made, out, overwrite=True)
    assert digest(out) == before
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="was not made by"):
        write_market(made, precious, overwrite=True)
    with pytest.raises(UsageError, match="is a file"):
        write_market(made, precious / "notes.txt")
    assert (precious / "notes.txt").read_text() == "mine"


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def stop(symbol: str, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_market(settings(), tmp_path / "out", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_committed_sample_is_what_this_generator_makes():
    """A changed generator needs a new sample: `data synth` with the settings of its manifest."""
    sample = ROOT / "data" / "sample"
    manifest = json.loads((sample / "manifest.json").read_text())
    made = SynthSettings(**manifest["settings"])
    for index, (name, counts) in enumerate(manifest["symbols"].items()):
        stored = pq.read_table(sample / "synthetic" / name / "quotes" / "000000.parquet")
        assert stored.num_rows == counts["quotes"] > 10_000
        block = next(generate(made, index))
        count = 1000  # enough to see any change; a libm that rounds otherwise may part later
        fresh = quote_columns(block.quotes[:count], synth_symbol(index))
        for column in ("bid", "ask", "bid_size", "ask_size"):
            assert stored[column].to_numpy()[:count].tolist() == fresh[column].tolist()
        assert np.abs(stored["ts_event"].to_numpy()[:count] - fresh["ts_event"]).max() <= 1000
