"""Drives the fused kernel in tests: a small market, and float64 values of every feature."""

import fcntl
import re
from functools import cache
from typing import Any

import numpy as np

from engine.market import MARKET, TOP_LEVELS
from features.feed_module import KERNEL_FOLDER, entry_point
from features.fuse import INNER, bound_source, fused_source, load_fused
from features.registry import Feature, Resolved, catalogue, resolve
from features.spec import FeatureSpec

BAR, QUOTE, TRADE, DEPTH = 1, 2, 3, 4
NAMES = {"bars": BAR, "quotes": QUOTE, "trades": TRADE, "depth": DEPTH}
EVENT = np.dtype(
    [("ts", "i8"), ("kind", "i8"), ("gap", "i8")]
    + [(name, "f8") for name in "a b c d e f g peer".split()]
    + [("bids", "f8", (TOP_LEVELS,)), ("asks", "f8", (TOP_LEVELS,))],
    align=True,
)
MINUTE = 60_000_000_000
START = 1_700_000_040_000_000_000  # a whole minute

DRIVER = """
from numba import carray

from engine.kernel.memory import pointer
from engine.market import MARKET
from tests.features.harness import EVENT
from tests.features.market_step import market_step, peer_step


@njit("void(int64, int64, int64, int64, int64)", error_model="numpy", cache=CACHE)
def drive(features, market, events, count, out):
    fs = carray(pointer(features), (1,), FEATURES)[0]
    m = carray(pointer(market), (1,), MARKET)[0]
    rows = carray(pointer(out), (count, N), np.float64)
    tape = carray(pointer(events), (count,), EVENT)
    for i in range(count):
        e = tape[i]
        if i % 2 == 0 and peer_step(m, e):  # the peer's bar comes before ours, then after it
            on_peer_bar(fs, m)
        kind = market_step(m, e)
        if kind == 1:
            on_bar(fs, m)
        elif kind == 2:
            on_quote(fs, m)
        elif kind == 3:
            on_trade(fs, m)
        elif kind == 4:
            on_depth(fs, m)
        if i % 2 == 1 and peer_step(m, e):
            on_peer_bar(fs, m)
        values(fs, m, rows[i])


@njit("int64(int64, int64, int64)", error_model="numpy", cache=CACHE)
def row(features, market, out):
    fs = carray(pointer(features), (1,), FEATURES)[0]
    m = carray(pointer(market), (1,), MARKET)[0]
    return read_0(fs, m, carray(pointer(out), (N,), np.float32))


@njit("void(int64)", error_model="numpy", cache=CACHE)
def start(features):
    init(carray(pointer(features), (1,), FEATURES)[0])
"""


def values_source(source: str, n: int) -> str:
    """Write read_0 again with float64 results instead of float32 ones."""
    lines = re.findall(r"put\(out, (\d+), (.*)\)  # ", source)
    body = "\n".join(f"    out[{k}] = {value}" for k, value in lines)
    return f"N = {n}\n\n\n@njit(error_model='numpy', {INNER})\ndef values(fs, m, out):\n{body}\n\n"


class World:
    """One spec over a market of its own; state is kept between runs until `restart`."""

    def __init__(self, spec: FeatureSpec, folder: Any = KERNEL_FOLDER) -> None:
        self.spec = spec
        self.column = {name: k for k, name in enumerate(spec.names)}
        parts = bound_source("tests.features.market_step", ())
        source = values_source(fused_source([spec]), len(spec)) + f"# {hash_of(parts)}\n" + DRIVER
        self.module = load_fused([spec], folder, source)
        self.features = np.zeros(1, self.module.FEATURES)
        self.market = np.zeros(1, MARKET)
        self._drive = entry_point(self.module, "drive")
        self._start = entry_point(self.module, "start")
        self._row = entry_point(self.module, "row")
        self.restart()

    def restart(self) -> None:
        """Start anew, features and market."""
        self.market[:] = 0
        self._start(self.features.ctypes.data)

    def run(self, events: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Go on with these events; return float64[n, n_features], the values after each."""
        if out is None:
            out = np.empty((len(events), len(self.spec)))
        addresses = self.features.ctypes.data, self.market.ctypes.data, events.ctypes.data
        self._drive(*addresses, len(events), out.ctypes.data)
        return out

    def row(self) -> tuple[np.ndarray, bool]:
        """Return the row that a model would get now, and whether it is whole."""
        out = np.empty(len(self.spec), np.float32)
        args = self.features.ctypes.data, self.market.ctypes.data, out.ctypes.data
        return out, self._row(*args) == 1

    def fresh(self, events: np.ndarray) -> np.ndarray:
        """Run from the start."""
        self.restart()
        return self.run(np.ascontiguousarray(events))


def hash_of(text: str) -> str:
    """Hash a text, for naming a module by it."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def members(feature: Feature) -> list[tuple[str, dict[str, Any]]]:
    """List concrete members of a feature: its defaults, and one other word of each choice."""
    name = feature.name.format(**feature.defaults)
    found: list[tuple[str, dict[str, Any]]] = [(name, {})]
    for key, words in feature.choices.items():
        other = next(word for word in words if word != feature.defaults[key])
        found.append((name, {key: other}))
    return found


def own_features() -> list[Feature]:
    """List the features of the market in this folder.

    Those of the engine's own state live on a run and not on events: test_own_features.py has them.
    """
    return [entry for entry in folder_features() if entry.words.group != "own state"]


def folder_features() -> list[Feature]:
    """List the features of this folder, without those that benchmarks register."""
    return [entry for entry in catalogue() if entry.module.startswith("features.")]


@cache
def every_spec() -> tuple[FeatureSpec, ...]:
    """Return specs that together hold every member: one with defaults, more with the choices."""
    specs: list[list[tuple[str, dict[str, Any]]]] = [[]]
    for feature in own_features():
        for k, member in enumerate(members(feature)):
            while len(specs) <= k:
                specs.append([])
            specs[k].append(member)
    return tuple(FeatureSpec(tuple(entries)) for entries in specs)


@cache
def worlds() -> tuple[World, ...]:
    """Compile every member once, also where several processes test: the others wait for the first.

    It takes a minute of one core. Nothing calls this while tests are only collected.
    """
    KERNEL_FOLDER.mkdir(parents=True, exist_ok=True)
    with (KERNEL_FOLDER / "every_feature.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return tuple(World(spec) for spec in every_spec())


@cache
def resolved() -> tuple[tuple[int, Resolved], ...]:
    """Pair every member with the number of its world."""
    return tuple((k, entry) for k, spec in enumerate(every_spec()) for entry in resolve(spec))


def bar_events(bars: dict[str, np.ndarray], start: int = START) -> np.ndarray:
    """Make bar events, a minute apart, from open, high, low, close, volume, buy?, sell?."""
    n = len(bars["close"])
    events = np.zeros(n, EVENT)
    events["kind"] = BAR
    opened = bars.get("ts_event", start + np.arange(n) * MINUTE)
    events["ts"] = opened + MINUTE
    for slot, name in zip("abcdefg", ("open", "high", "low", "close", "volume", "buy", "sell")):
        events[slot] = bars.get(name, np.nan)
    events["peer"] = bars.get("peer", np.nan)
    return events


def quote_events(quotes: dict[str, np.ndarray]) -> np.ndarray:
    """Make quote events from ts, bid, ask, bid_size, ask_size."""
    events = np.zeros(len(quotes["bid"]), EVENT)
    events["kind"] = QUOTE
    events["ts"] = quotes["ts"]
    for slot, name in zip("abcd", ("bid", "ask", "bid_size", "ask_size")):
        events[slot] = quotes.get(name, np.nan)
    return events


def trade_events(trades: dict[str, np.ndarray]) -> np.ndarray:
    """Make trade events from ts, price, size, side."""
    events = np.zeros(len(trades["price"]), EVENT)
    events["kind"] = TRADE
    events["ts"] = trades["ts"]
    for slot, name in zip("abc", ("price", "size", "side")):
        events[slot] = trades[name]
    return events


def depth_events(draw: np.random.Generator, n: int, start: int = START) -> np.ndarray:
    """Make events of ten levels: a and b the best prices, c the step from level to level."""
    events = np.zeros(n, EVENT)
    events["a"] = 100.0 + 0.01 * np.cumsum(draw.integers(-1, 2, n))
    events["b"] = events["a"] + 0.01 * draw.integers(1, 4, n)
    events["c"] = 0.01
    events["kind"] = DEPTH
    events["ts"] = start + np.arange(n) * 50_000_000
    events["bids"] = draw.uniform(0.0, 5.0, (n, TOP_LEVELS))
    events["asks"] = draw.uniform(0.0, 5.0, (n, TOP_LEVELS))
    return events


def random_bars(draw: np.random.Generator, n: int, price: float = 100.0) -> dict[str, np.ndarray]:
    """Draw plausible bars with aggressor volumes; every tenth one does not trade."""
    close = price * np.exp(np.cumsum(draw.normal(0, 1e-3, n)))
    open_ = np.concatenate([[price], close[:-1]]) * np.exp(draw.normal(0, 2e-4, n))
    reach = np.abs(draw.normal(0, 5e-4, (2, n)))
    high = np.maximum(open_, close) * (1.0 + reach[0])
    low = np.minimum(open_, close) * (1.0 - reach[1])
    volume = np.where(draw.random(n) < 0.1, 0.0, draw.lognormal(0, 1, n))
    buy = volume * draw.random(n)
    return {"open": open_, "high": high, "low": low, "close": close, "volume": volume,
            "buy": buy, "sell": volume - buy, "peer": peer_closes(draw, close)}  # fmt: skip


def peer_closes(draw: np.random.Generator, close: np.ndarray) -> np.ndarray:
    """Draw closes of another instrument, half of whose moves are these."""
    own = np.diff(np.log(close), prepend=np.log(close[0]))
    return 50.0 * np.exp(np.cumsum(0.5 * own + draw.normal(0, 1e-3, len(close))))


def random_quotes(
    draw: np.random.Generator, n: int, mean_ns: float = 5e6, tick: float = 0.01
) -> dict[str, np.ndarray]:
    """Draw quotes on a grid with gaps, bursts at the same time, and sizes in hundredths."""
    steps = draw.exponential(mean_ns, n).astype(np.int64) * (draw.random(n) < 0.7)
    bid = 100.0 + np.cumsum(draw.integers(-1, 2, n)) * tick
    return {
        "ts": START + np.cumsum(steps),
        "bid": bid,
        "ask": bid + tick * draw.integers(1, 4, n),
        "bid_size": draw.integers(1, 500, n) / 100.0,
        "ask_size": draw.integers(1, 500, n) / 100.0,
    }


def random_trades(draw: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Draw trades of many sizes, now and then a large one."""
    return {
        "ts": START + np.cumsum(draw.exponential(3e7, n).astype(np.int64)),
        "price": 100.0 + 0.01 * np.cumsum(draw.integers(-1, 2, n)),
        "size": draw.integers(1, 99, n) / 10.0 * draw.choice([1.0, 40.0], n, p=[0.97, 0.03]),
        "side": draw.choice([-1.0, 1.0], n),
    }


def mixed_events(seed: int, n: int = 4000) -> np.ndarray:
    """Draw all kinds of events in time order."""
    draw = np.random.default_rng(seed)
    quotes = quote_events(random_quotes(draw, n, mean_ns=2e8))
    pace = draw.choice([0.01, 0.1, 40.0], n)  # busy seconds and minutes of silence
    quotes["ts"] = START + np.cumsum(np.diff(quotes["ts"], prepend=START) * pace).astype(np.int64)
    span = int(quotes["ts"][-1] - START)
    n_trades, n_bars = n // 3, max(2, span // MINUTE)
    ts = START + np.sort(draw.integers(0, span, n_trades))
    trades = trade_events({
        "ts": ts, "price": np.full(n_trades, 100.0),
        "size": draw.integers(1, 99, n_trades) / 10.0 * np.where(ts % 31 == 0, 40.0, 1.0),
        "side": draw.choice([-1.0, 1.0], n_trades),
    })  # fmt: skip
    parts = [quotes, trades, bar_events(random_bars(draw, n_bars)), depth_events(draw, n // 4)]
    events = np.concatenate(parts)
    return events[np.argsort(events["ts"], kind="stable")]
