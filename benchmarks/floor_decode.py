"""Floor of decoding: msgspec's typed decoder over the same messages, nothing written anywhere."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from benchmarks.ticks import LISTINGS, QUOTE, Ticks


class BookTicker(msgspec.Struct, gc=False):
    """Binance spot bookTicker; the decoder turns the texts of the numbers into floats."""

    u: int
    s: str
    b: float
    B: float
    a: float
    A: float


class Trade(msgspec.Struct, gc=False):
    """Binance spot trade, the fields that a row needs."""

    s: str
    t: int
    p: float
    q: float
    T: int
    m: bool


class Depth(msgspec.Struct, gc=False):
    """Binance spot depthUpdate: ids and levels of price and size."""

    E: int
    s: str
    U: int
    u: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]


def decoder(kind: type) -> Callable[[bytes], Any]:
    """Return the decode function of a typed, lax JSON decoder."""
    return msgspec.json.Decoder(kind, strict=False).decode


def depth_messages(count: int, levels: int = 20) -> list[bytes]:
    """Write depth updates of `levels` levels a side, all different, seeded."""
    chance = np.random.default_rng(7)
    found = []
    for k in range(count):
        mid = 6_000_000 + int(chance.integers(-500, 500))
        sizes = chance.lognormal(0.0, 1.0, (2, levels))
        sides = [
            ",".join(
                f'["{(mid + sign * (level + 1)) / 100:.8f}","{sizes[at, level]:.8f}"]'
                for level in range(levels)
            )
            for at, sign in enumerate((-1, 1))
        ]
        found.append(
            f'{{"e":"depthUpdate","E":{1_735_689_600_000 + k},"s":"BTCUSDT","U":{2 * k},'
            f'"u":{2 * k + 1},"b":[{sides[0]}],"a":[{sides[1]}]}}'.encode()
        )
    return found


def messages(ticks: Ticks, count: int) -> tuple[list[bytes], list[bytes]]:
    """Write the first events of a load as the venue's frames: (bookTicker, trade)."""
    quotes: list[bytes] = []
    trades: list[bytes] = []
    for k in range(count):
        symbol = LISTINGS[int(ticks["inst"][k])].symbol
        if ticks["kind"][k] == QUOTE:
            quotes.append(
                f'{{"u":{400900217 + k},"s":"{symbol}","b":"{ticks["bid"][k]:.8f}",'
                f'"B":"{ticks["bid_size"][k]:.8f}","a":"{ticks["ask"][k]:.8f}",'
                f'"A":"{ticks["ask_size"][k]:.8f}"}}'.encode()
            )
        else:
            stamp = int(ticks["ts_ns"][k]) // 1_000_000
            maker = "true" if ticks["side"][k] < 0 else "false"
            trades.append(
                f'{{"e":"trade","E":{stamp},"s":"{symbol}","t":{k},"p":"{ticks["price"][k]:.8f}",'
                f'"q":"{ticks["size"][k]:.8f}","T":{stamp},"m":{maker},"M":true}}'.encode()
            )
    return quotes, trades
