"""The benchmark loads as tapes: made once under build/, then mapped like any other tape."""

import shutil
from pathlib import Path

import numpy as np

from benchmarks import l2_rows, ticks
from engine.instruments import Instrument
from engine.rows import LAST, ROW, Kind
from engine.tape import TapeWriter
from engine.tape_info import is_tape

FOLDER = Path("build") / "bench_tapes"
VENUE = "bench"
STRIDE = 1 << 20


def tick_rows(load: ticks.Ticks, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Turn events [start, stop) of a load into ROW[n], one packet each."""
    part = {name: column[start:stop] for name, column in load.items()}
    rows = np.zeros(len(part["ts_ns"]), ROW)
    rows["ts_event"] = rows["ts_recv"] = part["ts_ns"]
    rows["instrument"] = part["inst"]
    rows["flags"] = LAST
    rows["side"] = part["side"]
    trade = part["kind"] == ticks.TRADE
    rows["kind"] = np.where(trade, int(Kind.TRADE), int(Kind.QUOTE))
    rows["f0"] = np.where(trade, part["price"], part["bid"])
    rows["f1"] = np.where(trade, part["size"], part["ask"])
    numbers = np.arange(start, start + len(rows))
    quotes = ~trade
    rows["f2"][quotes] = part["bid_size"][quotes]
    rows["i2"][trade] = numbers[trade]
    rows["f3"][quotes] = part["ask_size"][quotes]
    rows["i4"][quotes] = numbers[quotes]
    return rows


def depth_rows(load: l2_rows.L2Rows) -> np.ndarray:
    """Turn level-two rows into ROW[n]; rows of one local time form a packet."""
    rows = np.zeros(len(load.kind), ROW)
    rows["ts_event"], rows["ts_recv"] = load.exch_ns, load.local_ns
    rows["side"] = load.side
    rows["flags"] = np.where(l2_rows.last_of_packet(load), LAST, 0)
    trade = load.kind == l2_rows.TRADE
    rows["kind"] = np.where(trade, int(Kind.TRADE), int(Kind.DEPTH))
    rows["f0"], rows["f1"] = load.price, load.size
    numbers = np.arange(len(rows))
    rows["i2"] = np.where(trade, numbers, load.price_tick)
    rows["i3"] = rows["i4"] = np.where(trade, 0, numbers)
    return rows


def tick_instruments() -> tuple[Instrument, ...]:
    """Return the tape's table of the tick load."""
    return tuple(
        Instrument(
            venue=VENUE,
            symbol=listing.symbol,
            base=listing.symbol.removesuffix("USDT"),
            quote="USDT",
            tick=f"{listing.tick:.2f}",
            lot="0.001",
            has=("quotes", "quote_sizes", "trades", "trade_sides"),
        )
        for listing in ticks.LISTINGS
    )


def depth_instrument() -> Instrument:
    """Return the instrument of the level-two load."""
    return Instrument(
        venue=VENUE,
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        tick=str(l2_rows.TICK),
        lot=str(l2_rows.LOT),
        has=("depth", "trades", "trade_sides"),
    )


def _write(name: str, instruments: tuple[Instrument, ...], rows: list[np.ndarray]) -> Path:
    """Write a tape aside and move it into place, unless it is there."""
    folder = FOLDER / name
    aside = FOLDER / f"{name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    writer = TapeWriter(aside, instruments)
    for part in rows:
        writer.append(part)
    writer.close(notes=("made by benchmarks/tapes.py",))
    aside.rename(folder)
    return folder


def tick_tape(n: int, seed: int = 7) -> Path:
    """Return the tape of `n` ticks, making it when it is not there."""
    name = f"ticks_{n}_{seed}"
    if is_tape(FOLDER / name):
        return FOLDER / name
    load = ticks.verified(n, seed)
    parts = [tick_rows(load, at, min(at + STRIDE, n)) for at in range(0, n, STRIDE)]
    return _write(name, tick_instruments(), parts)


def paced_tape(n: int, rate: float, seed: int = 7) -> Path:
    """Return the tape of `n` ticks whose clustered arrivals are brought to a mean rate a second."""
    name = f"paced_{n}_{rate:g}_{seed}"
    if is_tape(FOLDER / name):
        return FOLDER / name
    rows = tick_rows(ticks.verified(n, seed))
    gaps = np.diff(rows["ts_recv"], prepend=rows["ts_recv"][0])
    moved = np.cumsum(gaps * (1e9 / rate / gaps.mean())).astype(np.int64)
    rows["ts_event"] = rows["ts_recv"] = rows["ts_recv"][0] + moved
    return _write(name, tick_instruments(), [rows])


def long_tape(n: int, unit: int = 1_000_000) -> Path:
    """Return a tape of `n` ticks, a million of them repeated with their times moved on.

    For figures on memory, where the making of so many events would be what is measured.
    """
    name = f"long_{n}"
    if is_tape(FOLDER / name):
        return FOLDER / name
    rows = tick_rows(ticks.verified(unit))
    span = int(rows["ts_recv"][-1] - rows["ts_recv"][0]) + 1_000_000
    aside = FOLDER / f"{name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    writer = TapeWriter(aside, tick_instruments())
    for _ in range(n // unit):
        writer.append(rows)
        rows["ts_recv"] += span
        rows["ts_event"] += span
    writer.close(notes=("made by benchmarks/tapes.py",))
    aside.rename(FOLDER / name)
    return FOLDER / name


def depth_tape(n: int) -> Path:
    """Return the tape of `n` level-two rows without its last packet.

    The peer does not deliver its last wake-up, so neither do we.
    """
    name = f"depth_{n}"
    if is_tape(FOLDER / name):
        return FOLDER / name
    load = l2_rows.generate(n)
    ends = np.flatnonzero(l2_rows.last_of_packet(load))
    return _write(name, (depth_instrument(),), [depth_rows(load)[: ends[-2] + 1]])
