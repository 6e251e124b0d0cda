"""One venue in the kernel and one in the reference, given the same market and the same orders."""

from decimal import Decimal
from fractions import Fraction

import numpy as np

from app.kernel import KernelModule
from engine.instruments import Instrument
from engine.kernel.layout import WORD, Reason
from engine.kernel.state import KernelRules, KernelState
from engine.rows import LAST, ROW, SNAPSHOT, SNAPSHOT_START, Kind
from tests.venues.paper_reference import MARKET, PaperReference, Resting

TICK, LOT = "0.1", "0.001"
ASSUMED_NOTIONAL = 250.0
NS = 1_000_000_000
START = 1_700_000_000 * NS


def size_of(lots: Fraction) -> float:
    """Return lots as the float64 of their decimal size in base units."""
    return float(Decimal(lots.numerator) * Decimal(LOT) / Decimal(lots.denominator))


def price_of(tick: int) -> float:
    """Return ticks as the float64 of their decimal price."""
    return float(tick * Decimal(TICK))


class KernelVenue:
    """Drives the compiled kernel row by row and collects what the venue says."""

    def __init__(self, kernel: KernelModule, has: tuple[str, ...]) -> None:
        instrument = Instrument(
            venue="test", symbol="BTCUSDT", base="BTC", quote="USDT", tick=TICK, lot=LOT, has=has
        )
        rules = KernelRules(
            implied_wakes=True, bar_interval_ns=60 * NS, bar_grace_ns=0, max_data_age_ns=1 << 60,
            max_jump=0.9, jump_confirmations=1, trigger_confirmations=1, sample_ns=1 << 60,
            assumed_notional=ASSUMED_NOTIONAL, half_spread=1e-4,
        )  # fmt: skip
        self.kernel = kernel
        self.state = KernelState([instrument], 0, kernel.features, rules)
        kernel.start(self.state.address)
        self.events: list[tuple[int, ...]] = []
        self.rows = np.zeros(4096, ROW)
        self.count = 0

    def place(self, o: Resting) -> None:
        """Send an order on its way."""
        low, high = o.collar
        at = self.kernel.place(
            self.state.address, o.order_id, 0, o.side, o.order_type, o.left, o.price, low, high,
            o.arrive_ts,
        )  # fmt: skip
        assert at >= 0

    def cancel(self, order_id: int, cancel_ts: int) -> None:
        """Ask for its removal."""
        self.kernel.cancel(self.state.address, order_id, cancel_ts)

    def feed(self, rows: list[dict]) -> None:
        """Append one packet and run up to its end."""
        for k, fields in enumerate(rows):
            row = self.rows[self.count]
            row["flags"] = LAST if k == len(rows) - 1 else 0
            for name, value in fields.items():
                row[name] = value if name != "flags" else row["flags"] | value
            self.count += 1
        address = self.rows.ctypes.data
        words = self.state.words
        while True:
            reasons = Reason(self.kernel.advance(self.state.address, address, 0, self.count))
            for event in self.state.out[: words[WORD["out_count"]]]:
                fields = ("kind", "order_id", "qty", "price_tick", "liquidity", "reason", "ts")
                self.events.append(tuple(int(event[name]) for name in fields))
            words[WORD["out_count"]] = 0
            if Reason.HEAD in reasons:
                return
            assert reasons & (Reason.VENUE | Reason.SAMPLE), reasons


class Twins:
    """The kernel and the reference, given the same market and the same orders."""

    def __init__(self, kernel: KernelModule, has: tuple[str, ...]) -> None:
        self.venue = KernelVenue(kernel, has)
        self.reference = PaperReference(
            lambda tick: Fraction(ASSUMED_NOTIONAL) / (tick * Fraction(TICK)) / Fraction(LOT),
            touch_from_depth="quotes" not in has,
        )
        self.ts = START
        self.next_id = 1

    def quote(self, dt: int, bid: int, ask: int, bid_size, ask_size) -> None:
        """Both see a quote; a size of None is a quote without."""
        self.ts += dt
        self.reference.quote(self.ts, bid, ask, bid_size, ask_size)
        sizes = [np.nan if size is None else size_of(size) for size in (bid_size, ask_size)]
        row = {"kind": Kind.QUOTE, "ts_recv": self.ts, "ts_event": self.ts, "f0": price_of(bid),
               "f1": price_of(ask), "f2": sizes[0], "f3": sizes[1]}  # fmt: skip
        self.venue.feed([row])

    def trade(self, dt: int, price: int, size: Fraction, side: int) -> None:
        """Both see a market trade."""
        self.ts += dt
        self.reference.trade(self.ts, price, size, side)
        row = {"kind": Kind.TRADE, "ts_recv": self.ts, "ts_event": self.ts, "side": side,
               "f0": price_of(price), "f1": size_of(size)}  # fmt: skip
        self.venue.feed([row])

    def depth(self, dt: int, changes, snapshot: bool = False) -> None:
        """Both see a packet of levels."""
        self.ts += dt
        self.reference.depth(self.ts, changes, snapshot)
        rows = []
        for k, (side, tick, size) in enumerate(changes):
            flags = SNAPSHOT | (SNAPSHOT_START if k == 0 else 0) if snapshot else 0
            rows.append({"kind": Kind.DEPTH, "ts_recv": self.ts, "ts_event": self.ts, "side": side,
                         "f0": price_of(tick), "f1": size_of(size), "i2": tick,
                         "flags": flags})  # fmt: skip
        self.venue.feed(rows)

    def place(self, side, order_type, qty, price, latency, collar=(1, 1 << 40)) -> int:
        """Both get the same order; returns its id."""
        fields = {
            "order_id": self.next_id, "side": side, "order_type": order_type, "left": qty,
            "price": 0 if order_type == MARKET else price, "collar": collar,
            "arrive_ts": self.ts + latency,
        }  # fmt: skip
        self.next_id += 1
        self.venue.place(Resting(**fields))
        self.reference.place(Resting(**fields))
        return fields["order_id"]

    def cancel(self, order_id: int, latency: int) -> None:
        """Both are asked to remove an order."""
        self.venue.cancel(order_id, self.ts + latency)
        self.reference.cancel(order_id, self.ts + latency)

    def agree(self) -> list[tuple[int, ...]]:
        """Assert that both said the same so far, and return it."""
        expected = [event.key() for event in self.reference.events]
        assert self.venue.events == expected
        return expected
