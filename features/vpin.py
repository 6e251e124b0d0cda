"""Volume-synchronised probability of informed trading, over buckets of equal volume.

Trading is cut into buckets of volume V = bucket_bars * mean volume of the last `span` bars (fixed
when a bucket opens; the volume of a bar is spread evenly over the buckets it reaches). A bucket is
full when no more than a billionth of it is missing: where volumes are small whole numbers a bar can
end exactly with a bucket, and rounding must not decide whether it did.
VPIN = sum |bought - sold| / sum V over the last `buckets` full buckets; 0 where none is full. Sides
come from the trades or from bulk-volume classification, by `mode`, as in trade_imbalance.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.bulk_volume import MODES, bulk_dtype, bulk_init, signed_volume
from features.registry import Warmup, bars, feature
from features.ring import mean_of
from features.step import NAN, Record, ratio, step, usable, usable_volume

SLACK = 1e-9  # of a bucket that may be missing when it is full; the next one starts so much short


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out the classifier, the volumes that size a bucket, and the ring of buckets."""
    buckets = int(params["buckets"])
    words = ("bars", "full", "mode", "flows", "needed")
    sums = ("bucket_bars", "size", "filled", "signed")
    return np.dtype(
        [
            ("bulk", bulk_dtype(int(params["sigma_span"]))),
            ("volumes", "f8", (int(params["span"]),)),
            ("imbalances", "f8", (buckets,)),
            ("sizes", "f8", (buckets,)),
            *((name, "i8") for name in words),
            *((name, "f8") for name in sums),
        ],
        align=True,
    )


@step
def init(
    s: Record, mode: int, buckets: int, bucket_bars: float, span: int, sigma_span: int
) -> None:
    """Start before the first bar."""
    bulk_init(s["bulk"])
    s["mode"] = mode
    s["bucket_bars"] = bucket_bars
    s["needed"] = 1 + math.ceil(buckets * bucket_bars)
    s["bars"] = 0
    s["flows"] = 0
    s["full"] = 0
    s["size"] = 0.0
    s["filled"] = 0.0
    s["signed"] = 0.0


@step
def on_bar(s: Record, m: Record) -> None:
    """Spread the bar's volume over the buckets it reaches."""
    volume = m["bar_volume"]
    signed = signed_volume(s["bulk"], m, s["mode"])
    if not usable_volume(volume):
        return
    ring = s["volumes"]
    ring[s["bars"] % ring.size] = volume
    s["bars"] += 1
    if s["bars"] < ring.size or not usable(signed):
        return
    s["flows"] += 1
    if volume > 0.0:
        fill(s, volume, ratio(signed, volume, 0.0), s["bucket_bars"] * mean_of(ring))


@step
def fill(s: Record, volume: float, share: float, next_size: float) -> None:
    """Fill buckets with a volume of which `share` (-1 to 1) is bought on balance.

    The loop ends: a bucket opened now holds at least volume * bucket_bars / span.
    """
    if s["size"] == 0.0:
        s["size"] = next_size
    rest = volume
    while rest >= s["size"] * (1.0 - SLACK) - s["filled"]:
        room = s["size"] - s["filled"]
        slot = s["full"] % s["sizes"].size
        s["imbalances"][slot] = abs(s["signed"] + share * room)
        s["sizes"][slot] = s["size"]
        s["full"] += 1
        s["size"] = next_size
        s["filled"] = 0.0
        s["signed"] = 0.0
        rest -= room
    s["filled"] += rest
    s["signed"] += share * rest


@step
def value(s: Record, m: Record) -> float:
    """Return VPIN, 0 to 1."""
    if s["flows"] < s["needed"]:
        return NAN
    imbalance = 0.0
    volume = 0.0
    for k in range(min(s["full"], s["sizes"].size)):
        imbalance += s["imbalances"][k]
        volume += s["sizes"][k]
    return ratio(imbalance, volume, 0.0)


def warmup(params: Mapping[str, int | float]) -> Warmup:
    """Return the bars needed: to size and classify the first flow, then `buckets` usual buckets."""
    first = max(params["span"], params["sigma_span"] + 1 if params["mode"] == 1 else 1)
    return bars(int(first) + math.ceil(params["buckets"] * params["bucket_bars"]))


feature(
    "vpin",
    state=state,
    defaults={"mode": "trades", "buckets": 50, "bucket_bars": 1.0, "span": 50, "sigma_span": 50},
    choices={"mode": MODES},
    bounds={
        "buckets": (1, 1000),
        "bucket_bars": (0.1, 100.0),
        "span": (1, 1000),
        "sigma_span": (2, 10_000),
    },
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=warmup,
    group="volume and flow",
    unit="probability",
    range="0 to 1",
    source="Easley, Lopez de Prado and O'Hara, Flow Toxicity and Liquidity in a High-Frequency "
    "World (2012)",
    inputs=lambda p: ("bars",) if p["mode"] == 1 else ("bars", "trades", "trade_sides"),
)
