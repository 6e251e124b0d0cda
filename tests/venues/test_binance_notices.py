"""What a stream brings beside market data, and what the runner throws."""

import asyncio

import msgspec
import pytest

from engine.rows import HISTORY, Kind
from tests.venues.feed_harness import FAST, running
from tests.venues.test_binance_feed import begin


@pytest.mark.asyncio
async def test_an_announced_end_is_followed_at_once() -> None:
    async with running() as session:
        await begin(session)
        await session.venue.send('{"e":"serverShutdown","E":1700000000000}')
        assert (await session.saw("feed.lost"))["reason"] == "shutdown"
        await session.settled(2)


@pytest.mark.asyncio
async def test_a_halt_of_the_venue_is_a_row_and_so_is_its_end() -> None:
    params = msgspec.structs.replace(FAST, status_poll_s=0.02)
    async with running(params) as session:
        await begin(session)
        for status, halted in (("HALT", 1), ("TRADING", 0)):
            session.venue.status = status
            await session.saw("feed.status", 1 + (status == "TRADING"))
            row = session.rows(Kind.STATUS)[-1]
            assert (int(row["i0"]), int(row["instrument"])) == (halted, 0)
        assert len(session.rows(Kind.STATUS)) == 2


@pytest.mark.asyncio
async def test_what_wake_raises_ends_the_feed() -> None:
    async with running() as session:
        await begin(session)

        def broken() -> None:
            raise ValueError("a broken runner")

        session.feed._wake = broken
        session.fails = True
        await session.venue.send(session.market().trade())
        await asyncio.wait([session.task], timeout=5)
        failure = session.task.exception()
        assert isinstance(failure, ExceptionGroup)
        assert failure.subgroup(ValueError) is not None


@pytest.mark.asyncio
async def test_closed_candles_are_bars_where_the_bars_are_the_venues() -> None:
    async with running(has=("bars",)) as session:
        await session.settled()
        assert session.venue.subscribed == [["btcusdt@kline_1m"]]
        candle = {"t": 1700000040000, "T": 1700000099999, "s": "BTCUSDT", "i": "1m", "o": "1.0",
                  "c": "2.0", "h": "2.5", "l": "0.5", "v": "7", "x": False}  # fmt: skip
        for closed in (False, True):
            data = {"e": "kline", "E": 1, "s": "BTCUSDT", "k": candle | {"x": closed}}
            await session.venue.send(session.market().wrapped("kline_1m", data))
        await session.until(lambda: len(session.rows(Kind.BAR)) == 1)
        bar = session.rows(Kind.BAR)[0]
        assert [float(bar[f"f{k}"]) for k in range(5)] == [1.0, 2.5, 0.5, 2.0, 7.0]
        assert int(bar["ts_event"]) == 1_700_000_040_000_000_000
        assert bar["flags"] & HISTORY == 0
