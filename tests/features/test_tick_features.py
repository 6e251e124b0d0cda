"""Every feature on ticks against an independent vectorised version, on drawn and on real quotes."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from references.levels import ON_LEVELS, Book
from references.ticks import ON_TICKS as REFERENCES
from references.ticks import Columns, held
from tests.features.harness import (
    EVENT,
    QUOTE,
    TRADE,
    depth_events,
    members,
    own_features,
    quote_events,
    random_quotes,
    trade_events,
    worlds,
)

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
SECOND = 1_000_000_000
ON_TICKS = [f for f in own_features() if "bars" not in f.inputs({**f.defaults, "mode": 0})]


def columns(events: np.ndarray) -> Columns:
    """Spread events into columns: the touch in force at each, the trades, the cells' clock."""
    quote, trade = events["kind"] == QUOTE, events["kind"] == TRADE
    found: Columns = {"ts": events["ts"], "quote": quote, "trade": trade}
    for slot, name in zip("abcd", ("bid", "ask", "bid_size", "ask_size")):
        found[name] = held(events[slot], quote)
    found["mid"] = (found["bid"] + found["ask"]) / 2.0
    found["price"], found["size"], found["side"] = (events[slot] for slot in "abc")
    return found


def book(events: np.ndarray) -> Book:
    """Lay out the levels that have sizes, best first."""
    steps = np.arange(10) * events["c"][:, None]
    bids, bid_sizes = compact(events["a"][:, None] - steps, events["bids"])
    asks, ask_sizes = compact(events["b"][:, None] + steps, events["asks"])
    sides = {"bids": bids, "bid_sizes": bid_sizes, "asks": asks, "ask_sizes": ask_sizes}
    return Book(events["ts"], sides)


def compact(prices: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the levels that have sizes to the front."""
    order = np.argsort(sizes <= 0.0, axis=1, kind="stable")
    sizes = np.take_along_axis(sizes, order, axis=1)
    return np.where(sizes > 0.0, np.take_along_axis(prices, order, axis=1), np.nan), sizes


def compare(events: np.ndarray, has: set[str]) -> set[str]:
    """Hold every feature that has its inputs against its reference; return who was compared."""
    compared = set()
    c = columns(events)
    world = worlds()[0]
    found = world.fresh(events)
    for feature in ON_TICKS:
        if feature.name not in REFERENCES or not set(feature.inputs(feature.defaults)) <= has:
            continue
        name = members(feature)[0][0]
        wanted = REFERENCES[feature.name](c, feature.defaults)
        got = found[:, world.column[name]]
        assert np.array_equal(np.isnan(got), np.isnan(wanted)), name
        scale = np.nanmax(np.abs(wanted))
        assert scale > 0.0 or (name == "time_since_quote" and "trades" not in has), name
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10 * scale, err_msg=name)
        compared.add(feature.name)
    return compared


def drawn(seed: int, mean_ns: float) -> np.ndarray:
    draw = np.random.default_rng(seed)
    quotes = quote_events(random_quotes(draw, 20_000, mean_ns))
    n = 5000
    ts = np.sort(draw.integers(quotes["ts"][0], quotes["ts"][-1], n))
    trades = trade_events({
        "ts": ts, "price": np.full(n, 100.0),
        "size": draw.integers(1, 99, n) / 10.0 * draw.choice([1.0, 40.0], n, p=[0.97, 0.03]),
        "side": draw.choice([-1.0, 1.0], n),
    })  # fmt: skip
    events = np.concatenate([quotes, trades])
    return events[np.argsort(events["ts"], kind="stable")]


ALL = {"quotes", "quote_sizes", "trades", "trade_sides"}


@pytest.mark.parametrize("mean_ns", [1e6, 5e6, 2e9])  # far more and far fewer quotes than cells
def test_equals_the_reference_on_drawn_ticks(mean_ns: float) -> None:
    assert compare(drawn(int(mean_ns), mean_ns), ALL) == set(REFERENCES)


@pytest.mark.parametrize(
    ("quotes", "trades"),
    [
        ("binance_spot_BTCUSDT_202408.parquet", "binance_spot_BTCUSDT_202408.parquet"),
        ("gemini_ETHUSD_20210701.parquet", "gemini_ETHUSD_20210701.parquet"),
        ("oanda_EURUSD_20140501_20140515.parquet", None),
    ],
)
def test_equals_the_reference_on_real_ticks(quotes: str, trades: str | None) -> None:
    path = DATA / "quotes" / quotes
    if not path.exists():
        pytest.skip(f"no {quotes} beside the repository")
    table = pq.read_table(path).slice(0, 60_000)
    clock = "recv_ns" if "recv_ns" in table.column_names else "event_ns"
    rename = {"bid": "bid_px", "ask": "ask_px", "bid_size": "bid_sz", "ask_size": "ask_sz"}
    parts = {a: table[b].to_numpy() for a, b in rename.items() if b in table.column_names}
    events = quote_events({"ts": table[clock].to_numpy(), **parts})
    has = {"quotes", "quote_sizes"} & {"quotes", *(["quote_sizes"] * ("bid_size" in parts))}
    if trades is not None:
        sold = pq.read_table(DATA / "trades" / trades).slice(0, 20_000)
        names = ("price", "size", "side")
        more = trade_events(
            {"ts": sold[clock].to_numpy(), **{k: sold[k].to_numpy() for k in names}}
        )
        more = more[(more["ts"] >= events["ts"][0]) & (more["ts"] <= events["ts"][-1])]
        events = np.concatenate([events, more])
        has = ALL
    compared = compare(events[np.argsort(events["ts"], kind="stable")], has)
    assert compared
    assert compared == set(REFERENCES) if has == ALL else compared < set(REFERENCES)


@pytest.mark.parametrize("thin", [False, True])
def test_levels_of_the_book(thin: bool) -> None:
    events = depth_events(np.random.default_rng(4), 500)
    if thin:  # single levels come and go, a side is never empty
        for side in ("bids", "asks"):
            events[side][:, 1:] *= np.random.default_rng(5).random((500, 9)) < 0.7
    world = worlds()[0]
    found = world.fresh(events)
    for name, reference in ON_LEVELS.items():
        feature = next(f for f in ON_TICKS if f.name == name)
        got = found[:, world.column[members(feature)[0][0]]]
        wanted = reference(book(events), feature.defaults)
        assert np.array_equal(np.isnan(got), np.isnan(wanted)), name
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10, err_msg=name)


def test_a_book_without_one_side_has_no_cost_and_no_slope() -> None:
    events = depth_events(np.random.default_rng(6), 100)
    events["asks"][50:60] = 0.0
    world = worlds()[0]
    found = world.fresh(events)
    for name in ("buy_cost_10000", "sell_cost_10000", "depth_slope_10"):
        x = found[:, world.column[name]]
        assert np.isnan(x[50:60]).all()
        assert np.isfinite(np.delete(x, np.arange(50, 60))).all()
    assert (found[50:60, world.column["book_imbalance_5"]] == 1.0).all()


def test_a_torn_book_says_nothing() -> None:
    world = worlds()[0]
    world.fresh(depth_events(np.random.default_rng(7), 200))
    names = [members(f)[0][0] for f in ON_TICKS if f.name in ON_LEVELS]
    at = [world.column[name] for name in names]
    assert np.isfinite(world.row()[0][at]).all()
    world.market["depth_count"] = 0
    assert np.isnan(world.row()[0][at]).all()


def test_every_feature_on_ticks_has_a_reference() -> None:
    on_levels = {f.name for f in ON_TICKS if "levels" in f.inputs(f.defaults)}
    assert {f.name for f in ON_TICKS} == {*REFERENCES, *on_levels}
    assert on_levels == set(ON_LEVELS)


def test_sizes_that_are_missing_make_size_features_nan_and_no_others() -> None:
    quotes = random_quotes(np.random.default_rng(5), 3000, mean_ns=2e7)
    del quotes["bid_size"], quotes["ask_size"]
    world = worlds()[0]
    last = world.fresh(quote_events(quotes))[-1]
    for feature in ON_TICKS:
        needs = set(feature.inputs(feature.defaults))
        if needs <= {"quotes", "quote_sizes"}:
            value = last[world.column[members(feature)[0][0]]]
            assert np.isnan(value) == ("quote_sizes" in needs), feature.name


def test_a_gap_restarts_the_windows() -> None:
    events = drawn(6, 5e6)
    events["gap"][10_000] = 1
    world = worlds()[0]
    found = world.fresh(events)
    for name in ("mid_price_velocity_1s", "order_flow_imbalance_1s", "trade_flow_imbalance_1s"):
        x = found[:, world.column[name]]
        inside = events["ts"] - events["ts"][10_000]
        assert np.isnan(x[(inside >= 0) & (inside < SECOND) & (np.arange(len(x)) >= 10_000)]).all()
        assert np.isfinite(x[inside > SECOND]).all()
        assert np.isfinite(x[9_999])


def test_two_quotes_by_hand() -> None:
    """A bid that rises from 10 x 3 to 11 x 5 while the ask stays brings 5 bought."""
    events = np.zeros(3, EVENT)
    events["kind"], events["ts"] = QUOTE, [SECOND, SECOND + SECOND // 2, 2 * SECOND]
    events["a"], events["b"] = [10.0, 11.0, 11.0], [12.0, 12.0, 12.0]
    events["c"], events["d"] = [3.0, 5.0, 5.0], [4.0, 4.0, 6.0]
    world = worlds()[0]
    last = world.fresh(events)[-1]
    assert last[world.column["order_flow_imbalance_1s"]] == pytest.approx((5 - 2) / (5 + 2))
    assert last[world.column["mid_price_velocity_1s"]] == pytest.approx(1e4 * (11.5 / 11.0 - 1.0))
    assert last[world.column["book_imbalance"]] == pytest.approx((5 - 6) / 11)
    assert last[world.column["microprice"]] == pytest.approx(1e4 * (0.5 * (5 - 6) / 11) / 11.5)
