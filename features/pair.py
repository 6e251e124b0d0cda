"""Two instruments side by side: the state of the features on an instrument and its peer.

The setting `engine.pairs` names the peer. Bars of both with the same open time make a pair, in
whichever order they come: the last span + 1 bars of each wait for the other's, as when history
comes instrument by instrument. A bar that one of them lacks makes no pair. A gap of the peer's feed
starts anew. Returns are logarithmic, from pair to pair.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.log_price import log_ratio
from features.registry import Warmup, bars
from features.ring import mean_of
from features.step import NAN, Record, flushed, ratio, step, usable, usable_prices

NEVER = -(1 << 62)
WORDS = ("own_before", "peer_before", "zscore")
SUMS = ("own_variance", "peer_variance", "covariance", "own_total", "peer_total")


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out rings of both returns and of the logarithm of the price ratio, and their moments."""
    span = int(params["span"])
    rings: list[Any] = [(name, "f8", (span,)) for name in ("own", "peer", "spreads")]
    rings += [(name, "f8", (span + 1,)) for name in ("own_close", "peer_close")]
    rings += [(name, "i8", (span + 1,)) for name in ("own_ts", "peer_ts")]
    times = [(name, "i8") for name in ("count", "gaps", "paired_ts")]
    return np.dtype([*rings, *times, *((name, "f8") for name in WORDS + SUMS)], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start before the first pair."""
    s["gaps"] = 0
    for k in range(s["own_ts"].size):
        s["own_ts"][k] = NEVER
    pair_restart(s)


@step
def pair_restart(s: Record) -> None:
    """Forget all pairs, and the peer's bars."""
    for k in range(s["peer_ts"].size):
        s["peer_ts"][k] = NEVER
    s["count"] = 0
    s["paired_ts"] = NEVER
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
        at = (m["bar_ts"] // m["bar_interval_ns"]) % s["own_ts"].size
        s["own_ts"][at] = m["bar_ts"]
        s["own_close"][at] = m["bar_close"]
        pair_up(s, at)


@step
def on_peer_bar(s: Record, m: Record) -> None:
    """Note the peer's close; pair it when the own one is there."""
    if m["peer_gap_count"] != s["gaps"]:
        s["gaps"] = m["peer_gap_count"]
        pair_restart(s)
    if usable(m["peer_bar_close"]):
        at = (m["peer_bar_ts"] // m["peer_bar_interval_ns"]) % s["peer_ts"].size
        s["peer_ts"][at] = m["peer_bar_ts"]
        s["peer_close"][at] = m["peer_bar_close"]
        pair_up(s, at)


@step
def pair_up(s: Record, at: int) -> None:
    """Take the returns since the pair before into the rings, when both bars are there."""
    ts = s["own_ts"][at]
    if ts != s["peer_ts"][at] or ts <= s["paired_ts"]:
        return
    own = s["own_close"][at]
    peer = s["peer_close"][at]
    if s["paired_ts"] != NEVER:
        k = s["count"] % s["own"].size
        s["own"][k] = log_ratio(own, s["own_before"])
        s["peer"][k] = log_ratio(peer, s["peer_before"])
        s["spreads"][k] = log_ratio(own, peer)
        s["count"] += 1
        if s["count"] >= s["own"].size:
            pair_moments(s, s["spreads"][k])
    s["paired_ts"] = ts
    s["own_before"] = own
    s["peer_before"] = peer


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
