"""Floor of decoding: msgspec's typed decoder over the same messages, nothing written anywhere."""

from collections.abc import Callable
from typing import Any

import msgspec

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


def decoder(kind: type) -> Callable[[bytes], Any]:
    """Return the decode function of a typed, lax JSON decoder."""
    return msgspec.json.Decoder(kind, strict=False).decode


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
