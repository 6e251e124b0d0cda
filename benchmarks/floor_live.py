"""Floor of the live path: bytes to a journalled order by hand, with the tools the engine is of.

One message: msgspec's typed decoder, one jitted feature step called by addresses, at each tenth
message the MLP over bound arrays, ten limits in plain Python, one order object, one record with its
CRC stored in a mapped file, one append to a queue. No tape, no wake, no audit, no books, no state
of orders, no repeats or gaps looked for: what is left is what nobody can save.
"""

import mmap
import struct
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numba import carray, njit, types

from benchmarks import floor_replay
from benchmarks.floor_decode import BookTicker, Trade, decoder
from benchmarks.floor_inference import BoundModel
from benchmarks.ticks import LISTINGS
from benchmarks.timing import entry_point
from engine.kernel.memory import pointer

RECORD = struct.Struct("<QQq8sQIIBbBBI9q")  # the account journal's record, see journal_layout.py
RECORD_BYTES = 128
RECORDS = 1 << 16
I8, F8 = types.int64, types.float64


class Order(msgspec.Struct, gc=False):
    """What the floor hands over."""

    number: int
    instrument: int
    side: int
    price: float
    qty: float
    ts: int


@njit(I8(I8, I8, I8, I8, I8, F8, F8, F8, F8))
def live_quote(states_at, instrument, ts, x_at, wanted, bid, ask, bid_size, ask_size):  # type: ignore[no-untyped-def]
    """Apply one quote; write the features where they are wanted."""
    s = carray(pointer(states_at), (floor_replay.INSTRUMENTS,), floor_replay.STATE)[instrument]
    floor_replay.quote(s, ts, bid, ask, bid_size, ask_size)
    floor_replay.forget(s, ts - floor_replay.WINDOW_NS)
    if wanted == 1:
        floor_replay.fill(s, carray(pointer(x_at), (floor_replay.INPUTS,), np.float32))
    return 0


@njit(I8(I8, I8, I8, I8, I8, F8, F8))
def live_trade(states_at, instrument, ts, x_at, wanted, size, side):  # type: ignore[no-untyped-def]
    """Apply one trade; write the features where they are wanted."""
    s = carray(pointer(states_at), (floor_replay.INSTRUMENTS,), floor_replay.STATE)[instrument]
    floor_replay.trade(s, ts, size, side)
    floor_replay.forget(s, ts - floor_replay.WINDOW_NS)
    if wanted == 1:
        floor_replay.fill(s, carray(pointer(x_at), (floor_replay.INPUTS,), np.float32))
    return 0


def within_limits(
    order: tuple[int, float, float], held: float, spent: float, counts: tuple[int, float, bool]
) -> bool:
    """Compare an order (side, price, qty) with ten limits that never bind."""
    side, price, qty = order
    sent, lost, killed = counts
    low, high = price * 0.9, price * 1.1
    if killed or qty > 1e9 or lost > 1e9 or sent > 10**9:
        return False
    after = held + side * qty
    if after > 1e9 or after < -1e9 or spent + price * qty > 1e15:
        return False
    return low <= price <= high


class LiveFloor:
    """The floor over the messages of a load.

    Args:
        messages: (frame, is a quote, ts) of each event, in order.
        model: of the MLP.
        folder: where its journal lies.
    """

    def __init__(self, messages: list[tuple[bytes, bool, int]], model: bytes, folder: Path) -> None:
        self.messages = messages
        self.states = np.zeros(floor_replay.INSTRUMENTS, floor_replay.STATE)
        self.states["variance"] = 1e-10
        self.states["tick"] = [listing.tick for listing in LISTINGS]
        self.x = np.zeros((1, floor_replay.INPUTS), np.float32)
        self.y = np.zeros((1, 1), np.float32)
        self.model = BoundModel(model, self.x, self.y)
        self.outbox: deque[Order] = deque()
        self.checksum = 0.0
        self._file = open(folder / "floor.journal", "w+b")  # noqa: SIM115
        self._file.write(bytes(RECORD_BYTES * RECORDS))  # touched: no page fault is timed
        self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), RECORD_BYTES * RECORDS)

    def close(self) -> None:
        """Let go of the journal."""
        self._map.close()
        self._file.close()

    def taker(self) -> Callable[[int], bool]:
        """Return the function that takes message k and says whether an order was handed over."""
        messages, model, outbox = self.messages, self.model.run, self.outbox
        quotes, trades = decoder(BookTicker), decoder(Trade)
        quote, trade = entry_point(live_quote), entry_point(live_trade)
        states, x = self.states.ctypes.data, self.x.ctypes.data
        answer = memoryview(self.y).cast("B").cast("f")
        index = {listing.symbol: at for at, listing in enumerate(LISTINGS)}
        store, pack = self._map, RECORD.pack
        net, bids, asks = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
        sizes = tuple(listing.order_size for listing in LISTINGS)
        check = count = 0

        def take(k: int) -> bool:
            nonlocal check, count
            frame, is_quote, ts = messages[k]
            wanted = k % floor_replay.EVERY == floor_replay.EVERY - 1
            if is_quote:
                seen = quotes(frame)
                at = index[seen.s]
                bids[at], asks[at] = seen.b, seen.a
                quote(states, at, ts, x, wanted, seen.b, seen.a, seen.B, seen.A)
            else:
                told = trades(frame)
                at = index[told.s]
                trade(states, at, ts, x, wanted, told.q, -1.0 if told.m else 1.0)
            if not wanted:
                return False
            model()
            self.checksum += answer[0]
            side = -1 if net[at] > 0.0 else 1
            price, qty = (asks if side > 0 else bids)[at], sizes[at]
            if not within_limits((side, price, qty), net[at], 0.0, (count, 0.0, False)):
                return False
            net[at] += side * qty
            order = Order(count, at, side, price, qty, ts)
            body = (count, 0, ts, b"floor000", count, 1, 1, 3, side, 0, 0)
            record = pack(*body, 0, int(qty * 1000), int(price * 100), 0, 0, 0, 0, 0, 0, 0)
            check = zlib.crc32(record, check)
            place = count % RECORDS * RECORD_BYTES
            store[place : place + RECORD_BYTES] = record
            count += 1
            outbox.append(order)
            return True

        return take
