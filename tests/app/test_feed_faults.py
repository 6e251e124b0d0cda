"""The fault list's F rows end to end: set at the exchange, seen in what the session decides.

One session trades through all of them; each test heals what it broke, and must see it trade again.
"""

import asyncio
import time

import pytest
import pytest_asyncio

from tests.app.feed_world import BTC, ETH, FeedWorld, age_ns, feed_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory):
    async with feed_world(tmp_path_factory.mktemp("feed")) as world:
        await world.trading()
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(running: FeedWorld):
    """Give the session trading, and see that it trades again when the fault is gone (I12)."""
    yield running
    running.heal()
    await running.trading()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_fault_F01_a_disconnect_holds_at_once(world: FeedWorld, how: str) -> None:
    world.ask("/listen", open=False)
    connects = world.health.connects
    world.ask("/connections", target="market", how=how)
    await world.quiet()
    orders = world.orders()
    await world.quiet()
    assert world.orders() == orders
    assert not world.health.connected
    world.heal()
    await world.until(lambda: world.health.connects == connects + 1)


async def test_the_status_counts_messages_and_knows_their_age(world: FeedWorld) -> None:
    messages = world.view().feed.messages
    await world.until(lambda: world.view().feed.messages > messages + 10)
    await world.until(lambda: 0 <= age_ns(world) < 500_000_000)
    ages = [line.age_s for line in world.view().markets]
    assert all(age is not None and 0.0 <= age < 5.0 for age in ages)


async def test_fault_F02_half_a_frame_reaches_no_feature(world: FeedWorld) -> None:
    world.ask("/listen", open=False)
    errors = world.health.decode_errors
    world.exchange.fault("market", "truncate", "btcusdt@bookTicker", count=1, bytes=25)
    await world.quiet()
    assert world.health.decode_errors == errors


@pytest.mark.parametrize("pongs", [True, False])
async def test_fault_F03_F04_silence_makes_data_old(world: FeedWorld, pongs: bool) -> None:
    world.exchange.fault("market", "stall", pongs=pongs)
    await world.quiet()
    orders = world.orders()
    await world.quiet()
    assert world.orders() == orders


async def test_fault_F06_a_lost_update_is_mended_by_a_snapshot(world: FeedWorld) -> None:
    one = world.health.instruments[0]
    snapshots = one.snapshots
    connects = world.health.connects
    world.exchange.fault("market", "drop", "btcusdt@depth@100ms", count=1)
    await world.until(lambda: one.snapshots > snapshots and one.book_synced)
    assert world.health.connects == connects  # the book alone begins anew


async def test_fault_F07_doubled_messages_are_counted_and_nothing_else(world: FeedWorld) -> None:
    one = world.health.instruments[0]
    doubled, gaps, connects = one.duplicates, one.gaps, world.health.connects
    world.exchange.fault("market", "duplicate", "btcusdt@*", count=20)
    await world.until(lambda: one.duplicates >= doubled + 20)
    assert (one.gaps, world.health.connects) == (gaps, connects)


async def test_fault_F09_ids_that_begin_anew_are_taken(world: FeedWorld) -> None:
    one = world.health.instruments[0]
    snapshots = one.snapshots
    connects = world.health.connects
    world.ask("/symbol", symbol=BTC, reset_ids=True)
    await world.until(lambda: one.snapshots > snapshots and one.book_synced)
    assert world.health.connects == connects


async def test_fault_F10_an_old_snapshot_is_asked_for_again(world: FeedWorld) -> None:
    world.exchange.fault("rest", "stale", "GET /api/v3/depth", count=2)
    await asyncio.sleep(0.3)  # the books of then are old now
    books = world.codes.count("feed.book")
    world.exchange.fault("market", "drop", "btcusdt@depth@100ms", count=1)
    await world.until(lambda: world.codes.count("feed.book") > books)
    attempts = [fields["attempt"] for code, fields in world.events if code == "feed.book"]
    assert attempts[-1] > 1  # the first answer was too old


async def test_fault_F11_a_crossed_book_is_never_traded_on(world: FeedWorld) -> None:
    crossed = world.dropped("dropped_crossed")
    world.ask("/symbol", symbol=BTC, cross_ms=4000)
    await world.until(lambda: world.dropped("dropped_crossed") > crossed)
    await world.quiet(BTC)
    assert world.dropped("dropped_crossed") > crossed


async def test_fault_F12_F14_what_cannot_be_is_refused_at_decode(world: FeedWorld) -> None:
    errors, connects = world.health.decode_errors, world.health.connects
    one = world.health.instruments[0]
    before = one.decode_errors + errors
    for price in ("0", "-1", "NaN", "1e400", 5):
        world.ask("/send", stream="btcusdt@trade", changes={"p": price})
    world.ask("/send", stream="btcusdt@trade", payload='{"e":"trade","s":"BTCUSDT","t":"seven"')
    await world.until(lambda: one.decode_errors + world.health.decode_errors >= before + 5)
    assert 100.0 < world.price(BTC) < 10_000_000.0
    assert world.health.connects == connects


async def test_fault_F13_a_jump_holds_until_quotes_confirm_it(world: FeedWorld) -> None:
    insane, before = world.dropped("dropped_insane"), world.price(ETH)
    world.ask("/symbol", symbol=ETH, jump_bps=5000)
    await world.until(lambda: world.dropped("dropped_insane") >= insane + 2)
    await world.until(lambda: world.price(ETH) > 1.4 * before)
    await world.trading()
    assert world.price(ETH) > 1.4 * before
    world.ask("/symbol", symbol=ETH, jump_bps=-3333)


async def test_fault_F16_a_wrong_clock_is_said_and_ages_stay_right(world: FeedWorld) -> None:
    said = world.codes.count("feed.skew")
    world.ask("/clock", offset_ms=7_200_000)
    await world.until(lambda: world.codes.count("feed.skew") > said)
    await world.trading()
    assert 0 <= age_ns(world) < 5_000_000_000  # by our clock, not by the venue's
    world.ask("/clock", offset_ms=0)


async def test_fault_F17_F18_a_slow_engine_under_a_flood_stays_on_the_newest(
    world: FeedWorld,
) -> None:
    pipeline, connects = world.session.parts.pipeline, world.health.connects
    drain, calls = pipeline.drain, []

    def slow(*words: int) -> None:
        calls.append(words)
        time.sleep(0.1)
        drain(*words)

    pipeline.drain = slow  # type: ignore[method-assign]
    try:
        world.ask("/flood", symbol=BTC, rate=3000, seconds=2.0)
        await world.until(lambda: not world.exchange.control("GET", "/flood")["running"])
    finally:
        pipeline.drain = drain  # type: ignore[method-assign]
    sent = world.exchange.control("GET", "/flood")["sent"]
    assert sent > 30 * len(calls) > 0  # many rows a call: the newest state decides
    assert world.health.connects == connects
    await world.until(lambda: 0 <= age_ns(world) < 500_000_000)


async def test_fault_F22_a_venue_that_refuses_is_tried_with_pauses(world: FeedWorld) -> None:
    failed = world.health.failed_dials
    world.exchange.fault("connect", "status", "/stream*", status=429, count=2, retry_after_s=1)
    world.ask("/connections", target="market", how="reset")
    await world.until(lambda: world.health.failed_dials == failed + 2)
    await world.until(lambda: world.health.connected)
    assert world.codes.count("feed.unreachable") >= 2
