"""Warm-up: candles and trades come first on the tape, each once, and join without a hole."""

import os
from typing import Any

import msgspec
import numpy as np
import pytest

from engine import tape_open
from engine.book_sync import GapReason
from engine.errors import UsageError
from engine.feed_health import FeedState
from engine.rows import GROWING, HISTORY, Kind, bar_flags
from tests.engine.test_live_tape import full
from tests.venues.feed_harness import FAST, HAS, START, WITH_HISTORY, Session, running
from tests.venues.scripted_venue import MINUTE_MS, Market, ScriptedVenue, scripted_venue
from tests.venues.test_binance_feed import book_is_true
from venues.binance_spot.history import HistoryNeed
from venues.binance_spot.rest import RestError, SpotRest

NOW_MS = START // 1_000_000
MINUTE = NOW_MS // MINUTE_MS * MINUTE_MS  # open of the minute in progress
NS = 1_000_000


def past_trade(number: int, stamp_ms: int) -> dict[str, Any]:
    return {"id": number, "price": "100.00", "qty": "0.007", "quoteQty": "1", "time": stamp_ms,
            "isBuyerMaker": number % 2 == 0, "isBestMatch": True}  # fmt: skip


def with_past(venue: ScriptedVenue, minutes: int = 10, trades: int = 6) -> None:
    """Give every market candles up to the growing one, and trades of the last two minutes."""
    for market in venue.markets.values():
        market.candles = [
            market.candle(MINUTE - k * MINUTE_MS, f"{100 - k % 50}.00")
            for k in range(minutes, -1, -1)
        ]
        market.trades = [past_trade(995 + k, MINUTE - 4000 + k * 2000) for k in range(trades)]
        market.trade_id = 994 + trades


async def warm(session: Session) -> None:
    await session.saw("feed.history")
    await session.until(lambda: session.feed.health.instruments[0].state == FeedState.LIVE)


def trade_ids(session: Session) -> list[int]:
    return session.rows(Kind.TRADE)["i2"].tolist()


@pytest.mark.asyncio
async def test_history_stands_before_the_stream_and_each_trade_once() -> None:
    sent: list[int] = []

    async def meanwhile(market: Market) -> list[dict[str, Any]]:
        """Let trades come by the stream that the answer holds too, and some that it does not."""
        both = [market.trade() for _ in range(3)]
        answer = list(market.trades)
        await session.venue.send(*both, market.trade(), market.update({9991: 4}))
        await session.until(lambda: session.feed.health.instruments[0].messages == 5)
        sent.append(market.trade_id)
        assert len(session.rows(Kind.TRADE)) == 0
        return answer

    def prepare(venue: ScriptedVenue) -> None:
        with_past(venue)
        venue.trades = meanwhile

    async with running(WITH_HISTORY, prepare=prepare) as session:
        await warm(session)
        await session.venue.send(session.market().trade())
        await session.until(lambda: trade_ids(session)[-1:] == [sent[0] + 1])
        assert trade_ids(session) == list(
            range(997, sent[0] + 2)
        )  # 995 and 996 are of the bar before
        assert book_is_true(session)
        rows = session.rows()
        past = rows[(rows["flags"] & HISTORY) != 0]
        assert past["kind"].tolist() == [Kind.BAR] * 4 + [Kind.TRADE] * 7
        bars = past[:4]
        assert (bars["flags"] & 0xFF00 == bar_flags(60_000_000_000)).all()
        assert [bool(flag & GROWING) for flag in bars["flags"]] == [False] * 3 + [True]
        opens = [(MINUTE - k * MINUTE_MS) * NS for k in (3, 2, 1, 0)]
        assert bars["ts_event"].tolist() == opens
        assert bars["f3"].tolist() == [97.0, 98.0, 99.0, 99.0]
        assert bars["f4"].tolist() == [3.0, 3.0, 3.0, 0.0]
        assert (np.diff(past["ts_recv"]) >= 0).all()
        first_live = np.flatnonzero((rows["kind"] == Kind.TRADE) & (rows["flags"] & HISTORY == 0))[
            0
        ]
        assert np.flatnonzero(rows["flags"] & HISTORY)[-1] < first_live
        assert past["side"][4:].tolist() == [1, -1, 1, -1, 1, 1, 1]
        assert (await session.saw("feed.history"))["whole"] is True


@pytest.mark.asyncio
async def test_trades_that_do_not_reach_the_stream_yet_are_asked_for_again() -> None:
    asked = []

    async def lagging(market: Market) -> list[dict[str, Any]]:
        if not asked:
            await session.venue.send(market.trade(), market.trade())
            await session.until(lambda: session.feed.health.instruments[0].messages == 2)
        asked.append(market.trade_id)
        return market.trades[: -3 if len(asked) == 1 else None]

    def prepare(venue: ScriptedVenue) -> None:
        with_past(venue)
        venue.trades = lagging

    async with running(WITH_HISTORY, prepare=prepare) as session:
        await warm(session)
        assert len(asked) == 2
        assert trade_ids(session) == list(range(997, session.market().trade_id + 1))
        assert (await session.saw("feed.history"))["whole"] is True


@pytest.mark.asyncio
async def test_where_trades_never_reach_the_stream_the_bar_is_not_promised_whole() -> None:
    async def lagging(market: Market) -> list[dict[str, Any]]:
        if len(market.trades) == 6:
            await session.venue.send(market.trade(), market.trade())
            await session.until(lambda: session.feed.health.instruments[0].messages == 2)
        return market.trades[:-3]

    def prepare(venue: ScriptedVenue) -> None:
        with_past(venue)
        venue.trades = lagging

    async with running(WITH_HISTORY, prepare=prepare) as session:
        await warm(session)
        assert (await session.saw("feed.history"))["whole"] is False
        assert not (session.rows(Kind.BAR)["flags"] & GROWING).any()
        assert len(session.rows(Kind.BAR)) == 3


@pytest.mark.asyncio
async def test_busy_minutes_are_fetched_in_pages_and_windows_of_trades_go_further_back() -> None:
    params = msgspec.structs.replace(
        FAST, history=HistoryNeed(bars=1500, trades_ns=100_000_000_000)
    )

    def prepare(venue: ScriptedVenue) -> None:
        with_past(venue, minutes=1600)
        market = venue.markets["BTCUSDT"]
        first = MINUTE - 120_000
        market.trades = [past_trade(k, first + k * 20) for k in range(6500)]
        market.trade_id = 6499

    async with running(params, prepare=prepare) as session:
        await warm(session)
        bars = session.rows(Kind.BAR)
        assert len(bars) == 1501
        assert (np.diff(bars["ts_event"]) == MINUTE_MS * NS).all()
        ids = trade_ids(session)
        assert ids == list(range(ids[0], 6500))
        assert 6500 - len(ids) == pytest.approx((120 + 20 - 100) * 50, abs=100)
        assert session.venue.asked.count("/api/v3/klines") == 2


@pytest.mark.asyncio
async def test_fault_F16_trades_of_a_clock_that_was_set_back_are_no_history() -> None:
    def prepare(venue: ScriptedVenue) -> None:
        with_past(venue)
        for market in venue.markets.values():
            for trade in market.trades[-2:]:
                trade["time"] += 120 * MINUTE_MS

    async with running(WITH_HISTORY, prepare=prepare) as session:
        await warm(session)
        past = [number for number in trade_ids(session) if number <= 1000]
        assert past == [997, 998]  # of the bar in progress, without the two from the future
        assert int(session.rows()["ts_recv"].max()) <= session.clock.now_ns()


@pytest.mark.asyncio
async def test_without_history_the_rows_that_waited_are_let_go() -> None:
    async def away(market: Market) -> None:
        await session.venue.send(market.trade())
        await session.until(lambda: session.feed.health.instruments[0].messages == 1)

    def prepare(venue: ScriptedVenue) -> None:
        with_past(venue)
        venue.trades = away

    async with running(WITH_HISTORY, prepare=prepare) as session:
        fields = await session.saw("feed.history_failed")
        assert "503" in str(fields["why"])
        await session.until(lambda: trade_ids(session) == [1001])
        assert not (session.rows()["flags"] & HISTORY).any()


@pytest.mark.asyncio
async def test_after_a_lost_connection_and_after_a_gap_the_history_comes_again() -> None:
    async with running(WITH_HISTORY, prepare=with_past) as session:
        await warm(session)
        await session.venue.cut()
        session.market().trade()  # nobody hears of it but the history
        await session.saw("feed.history", 2)
        rows = session.rows()
        cut = np.flatnonzero(rows["kind"] == Kind.DISCONNECT)[0]
        again = rows[cut:][rows[cut:]["flags"] & HISTORY != 0]
        assert again["kind"].tolist() == [Kind.BAR] * 4 + [Kind.TRADE] * 5
        await session.venue.send(*[session.market().trade(p="x") for _ in range(10)])
        await session.saw("feed.history", 3)
        assert session.rows(Kind.GAP)["i2"].tolist() == [GapReason.BAD_MESSAGE]
        await session.venue.send(session.market().trade())
        await session.until(lambda: trade_ids(session)[-1] == session.market().trade_id)


@pytest.mark.asyncio
async def test_a_full_disk_drops_data_and_room_brings_a_gap_and_then_the_truth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(segment_rows=512) as session:
        await session.settled()
        await session.until(lambda: session.tape._next is not None)
        with monkeypatch.context() as patch:
            patch.setattr(tape_open.os, "posix_fallocate", full)
            market = session.market()
            while not session.exhausted:
                await session.venue.send(*[market.trade() for _ in range(20)])
                await session.until(
                    lambda: (
                        session.feed.health.instruments[0].messages
                        + session.feed.health.dropped_messages
                        >= market.trade_id - 1000
                    )
                )
            await session.venue.send(market.update({9991: 4}), market.trade())
            await session.until(lambda: session.feed.health.dropped_messages >= 2)
            assert "no space left" in session.exhausted[0]
        assert os.posix_fallocate is tape_open.os.posix_fallocate
        await session.until(lambda: len(session.rows(Kind.GAP)) > 0)
        assert GapReason.LOST in session.rows(Kind.GAP)["i2"]
        await session.venue.send(market.update({9992: 4}), market.trade())
        await session.until(lambda: book_is_true(session))


@pytest.mark.asyncio
async def test_the_venue_names_the_grid_and_refuses_wrong_symbols() -> None:
    markets = {"BTCUSDT": Market("BTCUSDT", lambda: NOW_MS)}
    async with scripted_venue(markets) as venue, SpotRest(lambda: 1, venue.rest_url) as rest:
        table = await rest.instruments(["BTCUSDT"], HAS, 60_000_000_000)
        found = table[0]
        assert (found.tick, found.lot, found.min_notional) == ("0.01", "0.001", "5")
        assert (found.base, found.quote, found.has) == ("BTC", "USDT", HAS)
        assert await rest.statuses(["BTCUSDT"]) == {"BTCUSDT": "TRADING"}
        with pytest.raises(UsageError, match="does not have all of BTCUSDT, NOSUCH"):
            await rest.instruments(["BTCUSDT", "NOSUCH"], HAS, 60_000_000_000)
        assert await rest.server_time_ns() == NOW_MS * NS
        nobody = SpotRest(lambda: 1, "http://127.0.0.1:1")
        with pytest.raises(RestError, match=r"127\.0\.0\.1:1"):
            await nobody.get("/api/v3/time")
        await nobody.close()


@pytest.mark.asyncio
async def test_fault_F22_a_venue_that_wants_rest_is_not_asked() -> None:
    from aiohttp import web

    asked, clock = [], [0]

    async def limited(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response(
            {"code": -1003, "msg": "Too much"}, status=429, headers={"Retry-After": "9"}
        )

    app = web.Application()
    app.router.add_get("/{any:.*}", limited)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with SpotRest(lambda: clock[0], f"http://127.0.0.1:{port}") as rest:
        for elapsed_s in (0, 3, 8):
            clock[0] = elapsed_s * 1_000_000_000
            with pytest.raises(RestError) as caught:
                await rest.get("/api/v3/time")
            assert caught.value.retry_after_s == 9 - elapsed_s
        assert len(asked) == 1
        clock[0] = 9_000_000_001
        with pytest.raises(RestError, match="-1003"):
            await rest.get("/api/v3/time")
        assert len(asked) == 2
    await runner.cleanup()
