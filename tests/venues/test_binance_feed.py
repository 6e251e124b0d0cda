"""The feed on a real socket: what the venue knows is what the tape says, whatever happens."""

import asyncio
import json

import msgspec
import numpy as np
import pytest

from engine.book_sync import GapReason
from engine.feed_health import EndReason, FeedState
from engine.rows import SNAPSHOT_START, Kind
from tests.venues.feed_harness import FAST, Session, running
from tests.venues.scripted_venue import rebuilt_book
from tests.venues.test_transport import anonymous_kib
from venues.lines import MAX_REPEATS, IntakeLimits

SHORT = msgspec.structs.replace(FAST, limits=IntakeLimits(stale_ns=300_000_000))


def book_is_true(session: Session, instrument: int = 0) -> bool:
    """Say whether the tape's book equals the venue's."""
    market = list(session.venue.markets.values())[instrument]
    return rebuilt_book(session.rows(), instrument) == (market.bids, market.asks)


def was_woken(session: Session) -> bool:
    """Say whether nothing stands on the tape that the runner was not called for."""
    return bool(session.rows()["kind"][-1] == Kind.WAKE)


async def begin(session: Session) -> None:
    """Bring the book in sync by a first update."""
    await session.settled()
    await session.venue.send(session.market().update({9991: 4}))
    await session.until(lambda: book_is_true(session) and was_woken(session))


@pytest.mark.asyncio
async def test_messages_become_rows_and_a_burst_becomes_one_wake() -> None:
    async with running() as session:
        await begin(session)
        market = session.market()
        before, wakes = session.tape.rows, session.wakes
        await session.venue.send(*[market.trade(10000 + k) for k in range(40)], market.quote())
        await session.until(lambda: len(session.rows(Kind.QUOTE)) == 1 and was_woken(session))
        trades = session.rows(Kind.TRADE)
        assert [float(row["f0"]) for row in trades] == [100.0 + k / 100 for k in range(40)]
        assert [int(row["i2"]) for row in trades] == list(range(1001, 1041))
        assert (trades["side"] == 1).all()
        assert (trades["ts_event"] // 1_000_000 == [t["time"] for t in market.trades]).all()
        assert 1 <= session.wakes - wakes < 40
        assert session.tape.rows - before == 41 + session.wakes - wakes
        kinds = session.rows()["kind"].tolist()
        assert kinds[0] == Kind.CONNECT
        assert kinds[-1] == Kind.WAKE
        assert (np.diff(session.rows()["ts_recv"]) >= 0).all()
        assert session.venue.subscribed == [
            ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"]
        ]
        health = session.feed.health
        assert health.instruments[0].state == FeedState.LIVE
        assert health.instruments[0].book_synced
        assert (health.connects, health.decode_errors, health.reconnects) == (1, 0, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["close", "cut"])
async def test_fault_F01_F02_a_lost_connection_is_opened_again_and_the_book_is_true(
    how: str,
) -> None:
    async with running() as session:
        await begin(session)
        market = session.market()
        await (session.venue.connections[0].close() if how == "close" else session.venue.cut())
        lost = await session.saw("feed.lost")
        assert lost["reason"] == ("closed" if how == "close" else "lost")
        market.update({9980: 0, 9992: 3})  # nobody hears of it
        await session.settled(2)
        await session.venue.send(market.update({9993: 2}, {10010: 0}))
        await session.until(lambda: book_is_true(session))
        row = session.rows(Kind.DISCONNECT)[0]
        assert int(row["i1"]) == (EndReason.CLOSED if how == "close" else EndReason.LOST)
        assert session.feed.health.reconnects == 1
        assert session.codes().count("feed.waits") == 1


@pytest.mark.asyncio
async def test_fault_F03_F04_silence_ends_the_connection_and_the_stream_comes_back() -> None:
    async with running(SHORT) as session:
        begun_ns = session.clock.now_ns()
        await begin(session)
        for connection in session.venue.connections:
            await connection.ping()  # frames without data are no life
        stale = await session.saw("feed.stale")
        assert stale["symbol"] == "all"
        assert (await session.saw("feed.lost"))["reason"] == "stale"
        row = session.rows(Kind.DISCONNECT)[0]
        assert row["ts_recv"] - begun_ns >= 300_000_000  # the exact bound: test_intake.py
        await session.settled(2)
        await session.venue.send(session.market().update({9993: 2}))
        await session.until(lambda: book_is_true(session))


@pytest.mark.asyncio
async def test_fault_F05_one_silent_instrument_is_gapped_alone_and_comes_back() -> None:
    async with running(SHORT, ("BTCUSDT", "ETHUSDT")) as session:
        await begin(session)
        eth, btc = session.market("ETHUSDT"), session.market()
        await session.venue.send(eth.update({9991: 4}))
        await session.until(lambda: book_is_true(session, 1))
        for _ in range(200):
            await session.venue.send(btc.trade())
            await asyncio.sleep(0.01)
            if "feed.stale" in session.codes():
                break
        assert (await session.saw("feed.stale"))["symbol"] == "ETHUSDT"
        gaps = session.rows(Kind.GAP)
        assert [(int(g["instrument"]), int(g["i2"])) for g in gaps] == [(1, GapReason.STALE)]
        states = [one.state for one in session.feed.health.instruments]
        assert states == [FeedState.LIVE, FeedState.STALE]
        await session.until(lambda: len(session.venue.subscribed) == 3)
        assert session.venue.subscribed[2][0] == "ethusdt@trade"  # asked for once more
        await session.venue.send(btc.trade(), eth.update({9992: 1}))
        await session.until(lambda: book_is_true(session, 1))
        assert book_is_true(session, 0)
        assert len(session.rows(Kind.DISCONNECT)) == 0


@pytest.mark.asyncio
async def test_fault_F06_a_lost_update_is_a_gap_and_a_snapshot_mends_it() -> None:
    async with running() as session:
        await begin(session)
        market = session.market()
        market.update({9994: 9})  # lost
        await session.venue.send(market.update({9995: 8}))
        await session.until(lambda: book_is_true(session))
        assert [int(g["i2"]) for g in session.rows(Kind.GAP)] == [GapReason.SEQUENCE]
        await session.venue.send(market.update({9995: 0}))
        await session.until(lambda: book_is_true(session))
        starts = session.rows(Kind.DEPTH)["flags"] & SNAPSHOT_START
        assert np.count_nonzero(starts) == 2


@pytest.mark.asyncio
async def test_fault_F07_repeats_are_counted_and_leave_no_row() -> None:
    async with running() as session:
        await begin(session)
        market = session.market()
        messages = [market.trade(), market.quote(), market.update({9996: 1})]
        await session.venue.send(*messages, *messages, market.trade())
        await session.until(lambda: len(session.rows(Kind.TRADE)) == 2)
        assert session.feed.health.instruments[0].duplicates == 3
        assert len(session.rows(Kind.QUOTE)) == 1
        assert len(session.rows(Kind.GAP)) == 0
        assert book_is_true(session)


@pytest.mark.asyncio
async def test_fault_F08_what_comes_late_is_never_applied_backwards() -> None:
    async with running() as session:
        await begin(session)
        market = session.market()
        first, second, third = (market.update({9990: n}) for n in (50, 60, 70))
        quotes = [market.quote(), market.quote()]
        await session.venue.send(second, first, third, *reversed(quotes))
        await session.until(lambda: book_is_true(session))
        assert [int(g["i2"]) for g in session.rows(Kind.GAP)] == [GapReason.SEQUENCE]
        assert [int(q["i4"]) for q in session.rows(Kind.QUOTE)] == [market.update_id]


@pytest.mark.asyncio
async def test_fault_F09_ids_that_begin_anew_are_followed_not_ignored_for_ever() -> None:
    async with running() as session:
        await begin(session)
        market = session.market()
        await session.venue.send(market.quote(), market.trade())
        await session.until(lambda: len(session.rows(Kind.TRADE)) == 1)
        market.update_id, market.told_id, market.trade_id = 0, 0, 0
        for _ in range(MAX_REPEATS + 2):
            await session.venue.send(market.update({9990: 5}), market.trade())
        await session.until(lambda: book_is_true(session))
        await session.venue.send(market.trade(), market.update({9989: 5}))
        await session.until(lambda: session.rows(Kind.TRADE)["i2"][-1] == market.trade_id)
        await session.until(lambda: book_is_true(session))
        reasons = [int(g["i2"]) for g in session.rows(Kind.GAP)]
        assert GapReason.LOST in reasons
        assert len(reasons) <= 2


@pytest.mark.asyncio
async def test_fault_F10_a_snapshot_older_than_the_updates_is_asked_for_again() -> None:
    replies = []

    def lagging(market):
        replies.append(market.update_id)
        if len(replies) <= 2:
            return {"lastUpdateId": 3, "bids": [["1.00", "1"]], "asks": [["2.00", "1"]]}
        return None if len(replies) == 3 else market.snapshot()

    async with running(prepare=lambda venue: setattr(venue, "depth", lagging)) as session:
        await session.settled()
        await session.venue.send(session.market().update({9991: 4}))
        await session.until(lambda: book_is_true(session))
        assert len(replies) == 4
        failed = [fields for code, fields in session.events if code == "feed.snapshot_failed"]
        assert [f["attempt"] for f in failed] == [1, 2, 3]
        assert "503" in str(failed[2]["why"])


@pytest.mark.asyncio
async def test_fault_F10_tries_for_a_snapshot_are_bounded() -> None:
    params = msgspec.structs.replace(FAST, max_snapshot_tries=2, snapshot_pause_s=30.0)
    refuse = lambda venue: setattr(venue, "depth", lambda market: None)  # noqa: E731
    async with running(params, prepare=refuse) as session:
        await session.settled()
        for _ in range(5):
            await session.venue.send(session.market().update({9991: 4}))
        await session.saw("feed.no_book")
        await session.venue.send(session.market().update({9991: 5}))
        await session.until(lambda: session.feed.health.instruments[0].messages == 6)
        assert session.venue.asked.count("/api/v3/depth") == 2
        assert not session.feed.health.instruments[0].book_synced


BAD = {
    "zero price": {"p": "0"},
    "negative": {"p": "-1.0"},
    "NaN": {"p": "NaN"},
    "infinite": {"q": "Infinity"},
    "1e308": {"p": "1e308"},
    "1e400": {"q": "1e400"},
    "boolean": {"p": True},
    "list": {"q": []},
    "missing": {"T": None},
}


@pytest.mark.asyncio
@pytest.mark.parametrize("what", BAD)
async def test_fault_F12_F14_bad_numbers_leave_no_row_and_the_stream_goes_on(what: str) -> None:
    async with running() as session:
        await begin(session)
        market = session.market()
        await session.venue.send(market.trade(**BAD[what]), market.trade())
        await session.until(lambda: len(session.rows(Kind.TRADE)) == 1)
        assert session.feed.health.decode_errors == 1
        assert session.feed.health.instruments[0].decode_errors == 1
        fields = await session.saw("feed.decode_error")
        assert fields["symbol"] == "BTCUSDT"
        assert session.rows(Kind.TRADE)["i2"][0] == market.trade_id


@pytest.mark.asyncio
async def test_fault_F14_many_unreadable_messages_hold_the_symbol_or_end_the_connection() -> None:
    async with running() as session:
        await begin(session)
        market = session.market()
        bad = [market.trade(p="x") for _ in range(10)]
        await session.venue.send(*bad)
        await session.until(lambda: len(session.rows(Kind.GAP)) == 1)
        assert session.rows(Kind.GAP)["i2"][0] == GapReason.BAD_MESSAGE
        said = [fields for code, fields in session.events if code == "feed.decode_error"]
        assert len(said) == 1  # the rest are counted, not said
        await session.venue.send(market.update({9997: 2}))
        await session.until(lambda: book_is_true(session))
        for junk in (b"{", b"[]", b'"x"', b"\x00\x01", b"{}", b'{"e":"new"}', b"null", b"1" * 5000):
            await session.venue.send(junk)
        await session.venue.send(b"[" * 100_000, b'{"result":7}')
        assert (await session.saw("feed.lost"))["reason"] == "bad_data"
        await session.settled(2)


@pytest.mark.asyncio
async def test_fault_F15_of_doubled_keys_the_last_one_counts() -> None:
    async with running() as session:
        await begin(session)
        message = session.market().trade().replace('"p":"100.00"', '"p":"1.00","p":"100.00"')
        await session.venue.send(message)
        await session.until(lambda: len(session.rows(Kind.TRADE)) == 1)
        assert session.rows(Kind.TRADE)["f0"][0] == 100.0


@pytest.mark.asyncio
async def test_fault_F16_a_venue_clock_far_off_is_said_and_ages_are_ours() -> None:
    async with running() as session:
        await begin(session)
        hour_ago = session.market().now_ms() - 3_600_000
        await session.venue.send(session.market().trade(T=hour_ago))
        fields = await session.saw("feed.skew")
        assert abs(int(fields["skew_ns"]) - 3_600_000_000_000) < 60_000_000_000
        assert (np.diff(session.rows()["ts_recv"]) >= 0).all()
        assert session.feed.health.instruments[0].state == FeedState.LIVE


@pytest.mark.asyncio
async def test_fault_F17_a_flood_is_conflated_by_wakes_and_memory_stays_flat() -> None:
    async with running(segment_rows=1 << 17) as session:
        await begin(session)
        market = session.market()
        messages = [market.quote() for _ in range(30_000)]
        before, wakes = anonymous_kib(), session.wakes
        await session.venue.send(*messages)
        await session.until(lambda: session.feed.health.rows >= 30_000 and session.wakes > wakes)
        assert len(session.rows(Kind.QUOTE)) == 30_000
        assert session.wakes - wakes < 3_000
        assert session.feed.health.dropped_messages == 0
        assert anonymous_kib() - before < 24 * 1024


@pytest.mark.asyncio
async def test_fault_F22_a_venue_that_is_away_is_tried_again_with_growing_delays() -> None:
    async with running() as session:
        await begin(session)
        there = session.feed.params
        session.feed.params = msgspec.structs.replace(there, base_ws="ws://127.0.0.1:1")
        await session.venue.cut()
        await session.saw("feed.unreachable", 4)
        assert session.feed.health.failed_dials >= 4
        waits = [fields["tries"] for code, fields in session.events if code == "feed.waits"]
        assert waits[:4] == [1, 2, 3, 4]
        session.feed.params = there
        await session.settled(2)
        await session.venue.send(session.market().update({9998: 1}))
        await session.until(lambda: book_is_true(session))


@pytest.mark.asyncio
@pytest.mark.parametrize("refusal", [None, '{"error":{"code":2,"msg":"Invalid request"},"id":1}'])
async def test_fault_F23_a_subscription_without_confirmation_is_asked_for_again(refusal) -> None:
    requests: list[dict] = []

    def confirm(request: dict) -> str | None:
        requests.append(request)
        if len(requests) == 1:
            return refusal
        return json.dumps({"result": None, "id": request["id"]})

    async with running(prepare=lambda venue: setattr(venue, "confirm", confirm)) as session:
        await session.saw("feed.unconfirmed")
        await session.saw("feed.subscribed")
        assert [r["params"] for r in requests[:1]] == [r["params"] for r in requests[1:2]]
        assert requests[0]["id"] != requests[1]["id"]


@pytest.mark.asyncio
async def test_fault_F23_an_instrument_that_is_never_confirmed_is_said_and_holds() -> None:
    mute = lambda venue: setattr(venue, "confirm", lambda request: None)  # noqa: E731
    params = msgspec.structs.replace(FAST, confirm_timeout_s=0.05)
    async with running(params, prepare=mute) as session:
        assert (await session.saw("feed.not_subscribed"))["symbols"] == "BTCUSDT"
        assert len(session.venue.subscribed) == 3
        assert len(session.rows(Kind.QUOTE)) == 0
