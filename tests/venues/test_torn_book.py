"""What a gap has torn counts from anew: packets of depth from the next snapshot on, and trades."""

import pytest

from app.kernel import KernelModule, load_kernel
from engine.rows import SNAPSHOT, SNAPSHOT_START, Kind
from features.spec import FeatureSpec
from tests.venues.matching_world import START, KernelVenue

HAS = ("quotes", "quote_sizes", "trades", "trade_sides", "depth")
SNAPSHOT_FLAGS = SNAPSHOT | SNAPSHOT_START
BOOK_GAP = 1


@pytest.fixture(scope="module")
def kernel() -> KernelModule:
    """Load a kernel that other tests have compiled."""
    return load_kernel([FeatureSpec(features=(("bid_ask_spread", {}),))])


def row(kind: Kind, at: int, **more: float) -> dict:
    return {"kind": kind, "ts_recv": START + at, "ts_event": START + at, **more}


def depth(at: int, flags: int = 0) -> list[dict]:
    return [row(Kind.DEPTH, at, side=1, f0=1000.0, f1=1.0, i2=10_000, flags=flags)]


@pytest.mark.parametrize("torn", ["feed", "book"])
def test_counts_begin_anew(kernel: KernelModule, torn: str) -> None:
    venue = KernelVenue(kernel, HAS)
    m = venue.state.markets

    def counts() -> tuple[int, int]:
        return int(m["depth_count"][0]), int(m["trade_count"][0])

    venue.feed(depth(1, SNAPSHOT_FLAGS))
    venue.feed(depth(2))
    venue.feed([row(Kind.TRADE, 3, side=1, f0=1000.1, f1=1.0)])
    assert counts() == (2, 1)
    if torn == "feed":
        venue.feed([row(Kind.DISCONNECT, 4)])
    else:
        venue.feed([row(Kind.GAP, 4, i2=BOOK_GAP)])
    trades = 0 if torn == "feed" else 1
    assert counts() == (0, trades)
    venue.feed(depth(5))  # of a book that nobody knows
    assert counts() == (0, trades)
    venue.feed(depth(6, SNAPSHOT_FLAGS))
    venue.feed(depth(7))
    assert counts() == (2, trades)
