"""Two instruments side by side: the state of the features on an instrument and its peer.

The setting `engine.pairs` names the peer. Bars of both with the same open time make a pair, in
whichever order they come; a bar that one of them lacks makes none. A gap of the peer's feed starts
anew. Returns are logarithmic, from pair to pair.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.log_price import log_ratio
from features.registry import Warmup, bars
from features.ring import mean_of
from features.step import NAN, Record, flushed, ratio, step, usable, usable_prices

WORDS = ("own_close", "peer_close", "own_before", "peer_before", "zscore")
SUMS = ("own_variance", "peer_variance", "covariance", "own_total", "peer_total")


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out rings of both returns and of the logarithm of the price ratio, and their moments."""
    span = int(params["span"])
    rings = [(name, "f8", (span,)) for name in ("own", "peer", "spreads")]
    times = [(name, "i8") for name in ("count", "own_ts", "peer_ts", "gaps", "paired")]
    return np.dtype([*rings, *times, *((name, "f8") for name in WORDS + SUMS)], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start before the first pair."""
    s["own_ts"] = -1
    s["peer_ts"] = -2
    s["gaps"] = 0
    pair_restart(s)


@step
def pair_restart(s: Record) -> None:
    """Forget all pairs."""
    s["count"] = 0
    s["paired"] = 0
    s["own_before"] = NAN
    s["peer_before"] = NAN
    s["zscore"] = NAN
    s["own_variance"] = NAN
    s["peer_variance"] = NAN
    s["covariance"] = NAN
    s["own_total"] = NAN
    s["peer_total"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Note the own close; pair it when the peer's is there."""
    if usable_prices(m):
        s["own_ts"] = m["bar_ts"]
        s["own_close"] = m["bar_close"]
        if s["own_ts"] == s["peer_ts"]:
            pair_up(s, m)


@step
def on_peer_bar(s: Record, m: Record) -> None:
    """Note the peer's close; pair it when the own one is there."""
    if m["peer_gap_count"] != s["gaps"]:
        s["gaps"] = m["peer_gap_count"]
        pair_restart(s)
    if usable(m["peer_bar_close"]):
        s["peer_ts"] = m["peer_bar_ts"]
        s["peer_close"] = m["peer_bar_close"]
        if s["own_ts"] == s["peer_ts"]:
            pair_up(s, m)


@step
def pair_up(s: Record, m: Record) -> None:
    """Take the returns since the pair before into the rings."""
    if s["paired"] == 1:
        at = s["count"] % s["own"].size
        s["own"][at] = log_ratio(s["own_close"], s["own_before"])
        s["peer"][at] = log_ratio(s["peer_close"], s["peer_before"])
        s["spreads"][at] = log_ratio(s["own_close"], s["peer_close"])
        s["count"] += 1
        if s["count"] >= s["own"].size:
            pair_moments(s, s["spreads"][at])
    s["paired"] = 1
    s["own_before"] = s["own_close"]
    s["peer_before"] = s["peer_close"]


@step
def pair_moments(s: Record, spread: float) -> None:
    """Sum up the rings, in two passes."""
    size = s["own"].size
    own_mean = mean_of(s["own"])
    peer_mean = mean_of(s["peer"])
    middle = mean_of(s["spreads"])
    own = 0.0
    peer = 0.0
    both = 0.0
    squares = 0.0
    for k in range(size):
        x = s["own"][k] - own_mean
        y = s["peer"][k] - peer_mean
        z = s["spreads"][k] - middle
        own += x * x
        peer += y * y
        both += x * y
        squares += z * z
    s["own_variance"] = flushed(own / size)
    s["peer_variance"] = flushed(peer / size)
    s["covariance"] = flushed(both / size)
    s["own_total"] = flushed(own_mean * size)
    s["peer_total"] = flushed(peer_mean * size)
    s["zscore"] = flushed(ratio(spread - middle, math.sqrt(flushed(squares / size)), 0.0))


def warmup(params: Mapping[str, int | float]) -> Warmup:
    """Return the bars needed, the peer's being there too."""
    return bars(int(params["span"]) + 1)
