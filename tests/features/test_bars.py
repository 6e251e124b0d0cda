"""Several bars from one pass: each as in a run of its own, and as the shorter ones together."""

from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.kernel.state import KernelState
from engine.rows import LAST, ROW, ROW_BYTES, Kind
from features.batch import DEMO, bar_rows, batch_features, merge_rows, trade_rows
from features.calculator import FeatureCalculator
from features.feature_bars import bars_of
from features.feed_module import feed_state, load_feed
from features.registry import absent_features, required_inputs, resolve_one, warmup_of
from features.spec import FeatureSpec, parse_spec
from tests.features.bar_truth import NS, Print, Truth, count_bars, made_of, merged, time_bars
from tests.features.test_calculator import BARS, SPEC  # one kernel for both files

SAMPLE = Path(__file__).resolve().parents[2] / "data/sample/synthetic/BTCUSDT/trades/000000.parquet"
START = 1_700_006_400 * NS  # a whole hour
MINUTE = 60 * NS
TRADED = Instrument(
    venue="test", symbol="AUSD", base="A", quote="USD", tick="0.01", lot="0.00000001",
    has=("trades", "trade_sides"), bar_interval_ns=MINUTE,
)  # fmt: skip
CLOSED = ("bar_open", "bar_high", "bar_low", "bar_close", "bar_volume")
SIDES = ("bar_buy_volume", "bar_sell_volume", "bar_filled")


@pytest.fixture(scope="module")
def feed() -> ModuleType:
    return load_feed(SPEC)


def drawn(seed: int, n: int, mean_s: float = 7.0, pause: float = 40.0) -> list[Print]:
    """Draw trades from the start of an hour on, pauses of up to half an hour among them."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(mean_s, n) * np.where(rng.random(n) < 0.02, pause, 1.0)
    ts = START + np.cumsum((np.minimum(gaps, 1800.0) * NS).astype(np.int64))
    price = np.round(100.0 + np.cumsum(rng.normal(0, 0.03, n)), 2)
    size = np.round(rng.lognormal(-2, 2, n), 8) + 1e-8
    side = rng.choice([-1, 1], n)
    return [Print(int(t), float(p), float(s), int(x)) for t, p, s, x in zip(ts, price, size, side)]


def rows_of(prints: list[Print]) -> np.ndarray:
    columns = dict(zip(("ts_event", "price", "size", "side"), zip(*prints), strict=True))
    return trade_rows(columns)


class Watched:
    """A feed applied row by row; the bars that close are written down."""

    def __init__(self, feed: ModuleType, interval_s: int = 60, instrument=TRADED) -> None:
        self.feed = feed
        self.state: KernelState = feed_state(feed, instrument, interval_s)
        self.base: list[Truth] = []
        self.further: dict[str, list[Truth]] = {bar: [] for bar in feed.BARS}

    def go(self, rows: np.ndarray) -> "Watched":
        state, feed = self.state, self.feed
        market, places = state.markets[0], state.bars
        counts = [0] * (1 + len(feed.BARS))
        for k in range(len(rows)):
            feed.on_row(state.address, rows.ctypes.data + ROW_BYTES * k, 0)
            for at in range(len(counts)):
                record = market if at == 0 else places[at]["shown"]
                if record["bar_count"] != counts[at]:
                    assert record["bar_count"] == counts[at] + 1, "rows are dense enough here"
                    counts[at] += 1
                    into = self.base if at == 0 else self.further[feed.BARS[at - 1]]
                    into.append(
                        Truth(int(record["bar_ts"]), *(record[x].item() for x in CLOSED + SIDES))
                    )
        return self


def ticking(prints: list[Print], step_s: int = 20) -> np.ndarray:
    """Return rows of the prints, and between them rows that only let time pass."""
    wakes = np.zeros((prints[-1].ts - START) // (step_s * NS) + 1, ROW)
    wakes["kind"], wakes["flags"] = Kind.WAKE, LAST
    wakes["ts_recv"] = wakes["ts_event"] = START + np.arange(len(wakes)) * step_s * NS
    return merge_rows(rows_of(prints), wakes)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mean_s=st.sampled_from([0.5, 7.0, 40.0]))
def test_longer_bars_are_those_of_a_run_of_their_own_and_of_the_shorter_ones(
    feed: ModuleType, seed: int, mean_s: float
) -> None:
    """Bit for bit: prices, volumes, sides, whatever stood between them."""
    prints = drawn(seed, 600, mean_s)
    rows = ticking(prints)
    seen = Watched(feed).go(rows)
    until = int(rows["ts_recv"][-1])
    for bar, interval_s in (("5m", 300), ("15m", 900)):
        direct = Watched(feed, interval_s).go(rows)
        found = seen.further[bar]
        assert found == direct.base == direct.further[bar]
        assert found == time_bars(prints, interval_s * NS, START, until)
        whole = merged(seen.base, interval_s * NS)
        assert found == whole[: len(found)]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_bars_by_count_end_where_the_sum_passes_a_multiple(feed: ModuleType, seed: int) -> None:
    prints = drawn(seed, 400)
    seen = Watched(feed).go(ticking(prints))
    for bar in BARS[2:]:
        groups = count_bars(prints, *bar.split(":"))
        assert seen.further[bar] == [made_of(group[0].ts, group) for group in groups]
    ends_of_ten = [b.close for b in seen.further["ticks:10"]]
    assert ends_of_ten == [b.close for b in seen.further["ticks:5"][1::2]]


def test_features_on_a_longer_bar_are_those_of_a_run_with_such_bars(feed: ModuleType) -> None:
    prints = drawn(5, 3000)
    rows = ticking(prints)
    mixed = batch_features(SPEC, rows, instrument=TRADED, after="bar:5m")
    direct = batch_features(SPEC, rows, instrument=TRADED, bar_interval_s=300)
    assert len(mixed.x) == len(direct.x) > 50
    column = SPEC.names.index("returns_1@5m")
    for same in ("returns_1", "returns_1@5m"):
        assert mixed.x[:, column].tobytes() == direct.x[:, SPEC.names.index(same)].tobytes()
    hour = SPEC.names.index("hour_sin@15m")
    assert np.isnan(mixed.x[0, hour])
    assert len(np.unique(mixed.x[30:, hour])) < len(mixed.x[30:]) / 2  # it stands still in between


def test_row_by_row_equals_batch(feed: ModuleType) -> None:
    rows = ticking(drawn(6, 1500, 8.0))
    rows["flags"][300], rows["kind"][300], rows["i2"][300] = LAST, Kind.GAP, 0
    block = batch_features(SPEC, rows, instrument=TRADED, after="packet")
    one, x = FeatureCalculator(SPEC, TRADED), np.zeros(len(SPEC), np.float32)
    for k in range(len(rows)):
        one.on_tick(rows[k])
        one.fill_feature_vector(x)
        assert x.tobytes() == block.x[k].tobytes(), k
    for column, name in enumerate(SPEC.names):
        if name.startswith("returns_1@"):
            assert np.isnan(block.x[301, column]), name  # a gap starts them anew
            assert np.isfinite(block.x[-1, column]), name


def test_bars_of_minutes_give_the_same_hours_as_trades(feed: ModuleType) -> None:
    prints = drawn(7, 2000, 3.0, pause=1.0)
    minutes = [b for b in Watched(feed).go(ticking(prints)).base if not b.filled]
    columns = dict(zip(("ts_event", *(n[4:] for n in CLOSED)), zip(*(b[:6] for b in minutes))))
    given_bars = msgspec.structs.replace(DEMO, has=("bars",))
    of_rows = Watched(feed, instrument=given_bars).go(bar_rows(columns))
    of_trades = Watched(feed).go(ticking(prints))
    for bar in ("5m", "15m"):
        rows, trades = of_rows.further[bar], of_trades.further[bar]
        trades = [one for one in trades if not one.filled]  # an interval without rows is none
        assert len(trades) >= 1
        assert [r[:6] for r in rows][: len(trades)] == [t[:6] for t in trades]
        assert all(np.isnan(r.buy) and np.isnan(r.sell) for r in rows)
    assert not any(of_rows.further[bar] for bar in BARS[2:])  # nothing to count


def test_a_bar_of_rows_that_begins_in_its_middle_is_not_seen(feed: ModuleType) -> None:
    """At the start of the data; after a pause in it, as at a session's open, it is."""
    minutes = [*range(3, 10), *range(15, 20), *range(90, 120)]
    flat = np.full(len(minutes), 100.0)
    rows = bar_rows({
        "ts_event": START + np.array(minutes) * MINUTE, "open": flat, "high": flat + 1,
        "low": flat, "close": flat, "volume": np.ones(len(minutes)),
    })  # fmt: skip
    seen = Watched(feed, instrument=msgspec.structs.replace(DEMO, has=("bars",))).go(rows)
    opens = [(bar.opens - START) // MINUTE for bar in seen.further["5m"]]
    assert opens == [5, 15, 90, 95, 100, 105, 110, 115]
    assert [(b.opens - START) // MINUTE for b in seen.further["15m"]] == [15, 90, 105]
    assert [b.volume for b in seen.further["15m"]] == [5.0, 15.0, 15.0]


def test_a_late_trade_is_judged_by_each_bars_own_time(feed: ModuleType) -> None:
    """The minute has closed without it; the five minutes had not."""
    prints = [Print(START + k * MINUTE + NS, 100.0 + k, 1.0, 1) for k in range(12)]
    late = rows_of([Print(START + MINUTE + 2 * NS, 150.0, 0.5, 1)])
    late["ts_recv"] = START + 3 * MINUTE + 5 * NS
    seen = Watched(feed).go(merge_rows(rows_of(prints), late))
    assert seen.state.root["late_trades"][0] == 1
    assert [b.volume for b in seen.base[:5]] == [1.0] * 5
    assert (seen.further["5m"][0].volume, seen.further["5m"][0].high) == (5.5, 150.0)
    assert seen.state.bars["late"][1:].tolist() == [0] * len(BARS)
    assert seen.further["ticks:5"][0].high == 150.0  # counted in the order of the tape


def test_a_gap_tears_every_bar_that_grows(feed: ModuleType) -> None:
    prints = [Print(START + k * 20 * NS + NS, 100.0 + k, 1.0, 1) for k in range(60)]
    rows = rows_of(prints)
    gap = rows[20:21]
    gap["kind"], gap["i2"], gap["f0"] = Kind.GAP, 0, 0.0
    seen = Watched(feed).go(rows)
    opens = [(bar.opens - START) // MINUTE for bar in seen.further["5m"]]
    assert opens == [0, 10]  # that of minute 5 is torn
    assert [b.open for b in seen.further["ticks:5"]][3:6] == [115.0, 121.0, 126.0]


def test_quiet_intervals_are_flat_until_the_market_counts_as_closed(feed: ModuleType) -> None:
    """As for base bars: 120 flat ones, then nothing; the next print's bar is whole again."""
    first = [Print(START + k * 30 * NS, 100.0, 1.0, 1) for k in range(240)]
    after = START + 30 * 3600 * NS
    then = [Print(after + k * 30 * NS, 101.0, 1.0, 1) for k in range(240)]
    wakes = np.zeros(30 * 60, ROW)
    wakes["kind"], wakes["flags"] = Kind.WAKE, LAST
    wakes["ts_recv"] = wakes["ts_event"] = START + np.arange(30 * 60) * MINUTE
    seen = Watched(feed).go(merge_rows(rows_of([*first, *then]), wakes))
    fives = seen.further["5m"]
    assert sum(bar.filled for bar in fives) == 120
    assert [b.opens for b in fives if not b.filled][24] == after
    assert sum(bar.filled for bar in seen.further["15m"]) == 28 * 4


def test_the_sample_in_one_pass_is_the_sample_in_several(feed: ModuleType) -> None:
    trades = pl.read_parquet(SAMPLE)
    rows = trade_rows({name: trades[name].to_numpy() for name in trade_columns(trades)})
    minutes, fives = (
        batch_features(SPEC, rows, instrument=TRADED, after="bar:5m", bar_interval_s=interval_s)
        for interval_s in (60, 300)
    )
    assert len(minutes.x) == len(fives.x) > 10
    first, last = SPEC.names.index("returns_1"), SPEC.names.index("returns_1@5m")
    assert minutes.x[:, last:].tobytes() == fives.x[:, last:].tobytes()
    assert fives.x[:, first].tobytes() == fives.x[:, last].tobytes()


def trade_columns(frame: pl.DataFrame) -> list[str]:
    return [name for name in ("ts_event", "price", "size", "side") if name in frame.columns]


def test_a_spec_names_bars_and_is_told_what_is_wrong_with_them() -> None:
    found = resolve_one("rsi_14", {"bar": "1h"})
    assert (found.name, found.bar, found.inputs) == ("rsi_14@1h", "1h", ("bars",))
    assert warmup_of(FeatureSpec((("rsi_14", {"bar": "1h"}),))) == {"bars of 1h": 15}
    assert resolve_one("rsi_14", {"bar": "ticks:50"}).inputs == ("trades",)
    twice = '{"name": "rsi_14"}, {"name": "rsi_14", "params": {"bar": "5m"}}'
    text = f'{{"version": 1, "features": [{twice}]}}'
    assert parse_spec(text).names == ("rsi_14", "rsi_14@5m")
    assert bars_of([parse_spec(text), SPEC]) == BARS
    for name, bar, words in (
        ("rsi_14", "5 min", "must be 5m"),
        ("rsi_14", "300s", "is written 5m"),
        ("rsi_14", "7m", "must divide a day"),
        ("rsi_14", "2d", "must divide a day"),
        ("rsi_14", "ticks:0", "above 0"),
        ("rsi_14", "ticks:2.5", "whole numbers"),
        ("microprice", "5m", "is not computed on bars"),
        ("pair_beta_20", "ticks:5", "paired by time"),
    ):
        with pytest.raises(ConfigError, match=words):
            resolve_one(name, {"bar": bar})
    with pytest.raises(ConfigError, match="'rsi_14@5m' stands in the list twice"):
        parse_spec(text.replace('"rsi_14"}, {', '"rsi_14", "params": {"bar": "5m"}}, {'))
    with pytest.raises(ConfigError, match="17 bars beside"):
        bars_of([SPEC], [f"ticks:{n}" for n in range(100, 111)])


def test_what_the_data_cannot_give_is_absent() -> None:
    wanted = FeatureSpec(tuple(("returns_1", {"bar": bar}) for bar in ("30s", "5m", "volume:5")))
    assert absent_features(wanted, {"bars"}, MINUTE) == {
        "returns_1@30s": ("bars of 30s",), "returns_1@volume:5": ("trades",),
    }  # fmt: skip
    assert absent_features(wanted, {"trades"}, MINUTE) == {}
    assert list(absent_features(wanted, {"quotes"})) == ["returns_1@volume:5"]
    assert required_inputs(wanted) == {"bars", "trades"}
