"""Bars by the book: a second, slow making of them from trades, in decimals, for tests."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

NS = 1_000_000_000


class Print(NamedTuple):
    """One trade."""

    ts: int
    price: float
    size: float
    side: int


class Truth(NamedTuple):
    """One closed bar."""

    opens: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    buy: float
    sell: float
    filled: int


def total(prints: Sequence[Print], side: int = 0) -> float:
    """Sum sizes as decimals of at most eight places, and round once."""
    chosen = [p for p in prints if side in (0, p.side)]
    return float(sum((round(Decimal(p.size), 8) for p in chosen), Decimal(0)))


def made_of(opens: int, prints: Sequence[Print]) -> Truth:
    """Make the bar of some prints."""
    prices = [p.price for p in prints]
    sums = (total(prints), total(prints, 1), total(prints, -1))
    return Truth(opens, prices[0], max(prices), min(prices), prices[-1], *sums, 0)


def time_bars(prints: Sequence[Print], interval_ns: int, first: int, until: int) -> list[Truth]:
    """Make the bars that close before `until`; the first opens at or after `first`."""
    bars: list[Truth] = []
    opens = -(-first // interval_ns) * interval_ns
    while opens + interval_ns <= until:
        mine = [p for p in prints if opens <= p.ts < opens + interval_ns]
        if mine:
            bars.append(made_of(opens, mine))
        elif before := [p for p in prints if p.ts < opens]:
            last = before[-1].price
            bars.append(Truth(opens, last, last, last, last, 0.0, 0.0, 0.0, 1))
        opens += interval_ns
    return bars


def merged(bars: Sequence[Truth], interval_ns: int) -> list[Truth]:
    """Make longer bars of whole shorter ones, by decimals of their volumes."""
    found: dict[int, list[Truth]] = {}
    for bar in bars:
        found.setdefault(bar.opens // interval_ns * interval_ns, []).append(bar)
    out = []
    for opens, parts in found.items():
        traded = [part for part in parts if not part.filled] or parts[:1]
        sums = [float(sum((Decimal(str(p[k])) for p in parts), Decimal(0))) for k in (5, 6, 7)]
        high, low = max(p.high for p in traded), min(p.low for p in traded)
        filled = int(all(part.filled for part in parts))
        out.append(Truth(opens, traded[0].open, high, low, traded[-1].close, *sums, filled))
    return out


def count_bars(prints: Sequence[Print], kind: str, size: str) -> list[list[Print]]:
    """Cut prints where what has come since the start passes a multiple of the size."""
    groups: list[list[Print]] = []
    growing: list[Print] = []
    seen, unit = Decimal(0), Decimal(size)
    for one in prints:
        amount = {"ticks": 1.0, "volume": one.size, "dollar": one.price * one.size}[kind]
        before = seen // unit
        seen += round(Decimal(amount), 8)
        growing.append(one)
        if seen // unit > before:
            groups.append(growing)
            growing = []
    return groups
