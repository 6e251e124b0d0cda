"""The fault list's F rows end to end: set at the exchange, seen in what the session decides.

One session trades through all of them; each test heals what it broke, and must see it trade again.
The last one holds the whole run against the promise: no order was made on old data, and the tape
replays to its digest.
"""

import asyncio
import json
import time

import numpy as np
import pytest
import pytest_asyncio

from benchmarks.proc_memory import rss_anon_mib
from engine.audit_layout import AUDIT, Record
from engine.events import HoldReason
from engine.feed_health import EndReason, FeedState
from engine.run_files import AUDIT_RECORDS
from tests.app.feed_world import (
    BTC,
    ETH,
    MAX_DATA_AGE_MS,
    FeedWorld,
    age_ns,
    entries,
    feed_world,
    traded,
)
from tests.app.live_world import replayed, summary_of

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


async def test_fault_F05_one_silent_symbol_holds_alone(world: FeedWorld) -> None:
    connects = world.health.connects
    world.exchange.fault("market", "drop", "btcusdt@*")
    one = world.health.instruments[0]
    silent = False
    while not silent:  # what was on its way may still come where the machine is slow
        await world.until(lambda: age_ns(world) > MAX_DATA_AGE_MS * 1_000_000)
        reasons, others, messages = world.reasons(BTC), world.decided(ETH), one.messages
        await world.until(lambda: one.state is FeedState.STALE)
        await world.until(lambda seen=others: world.decided(ETH) > seen + 3)
        silent = one.messages == messages
    fresh = world.reasons(BTC) - reasons
    fresh[[HoldReason.GAP, HoldReason.STALE_DATA]] = 0
    assert not fresh.any()
    assert [one.state for one in world.health.instruments] == [FeedState.STALE, FeedState.LIVE]
    assert world.health.connects == connects


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


async def test_fault_F08_an_update_that_comes_late_is_never_applied_backwards(
    world: FeedWorld,
) -> None:
    one = world.health.instruments[0]
    snapshots, connects = one.snapshots, world.health.connects
    world.exchange.fault("market", "delay", "btcusdt@depth@100ms", count=1, delay_ms=350)
    await world.until(lambda: one.snapshots > snapshots and one.book_synced)
    assert world.health.connects == connects


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


async def test_fault_F15_of_doubled_keys_the_last_one_counts(world: FeedWorld) -> None:
    price = f"{world.price(BTC) * 1.0005:.1f}0"
    refused = world.ask("/send", stream="btcusdt@trade", changes={"p": "-1"})["sent"]
    number = json.loads(refused)["t"]
    doubled = refused.replace('"p":"-1"', f'"p":"1.00","p":"{price}"')
    doubled = doubled.replace(f'"t":{number}', f'"t":{number + 5}')  # beyond what came meanwhile
    world.ask("/send", stream="btcusdt@trade", payload=doubled)
    await world.until(lambda: traded(world, BTC, float(price)))
    assert not traded(world, BTC, 1.0)  # the first one of the two counts nowhere


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


@pytest.mark.parametrize(
    ("kinds", "end"),
    [
        (("big", "bomb", "huge_header", "endless"), EndReason.TOO_BIG),
        (("bad_opcode", "rsv_bits", "masked", "bad_utf8"), EndReason.PROTOCOL),
    ],
    ids=["F19_F20", "F21"],
)
async def test_fault_F19_F20_F21_what_breaks_the_protocol_is_a_new_connection(
    world: FeedWorld, kinds: tuple[str, ...], end: EndReason
) -> None:
    sizes = {"big": 10 << 20, "bomb": 64 << 20}
    for kind in kinds:
        connects, errors = world.health.connects, world.health.decode_errors
        before_mb = rss_anon_mib()
        world.ask("/bytes", kind=kind, size=sizes.get(kind, 0))
        await world.until(lambda: world.health.connects > connects)  # noqa: B023
        lost = [fields["reason"] for code, fields in world.events if code == "feed.lost"]
        assert lost[-1] == end.name.lower(), kind
        assert world.health.decode_errors == errors
        assert rss_anon_mib() - before_mb < 32.0, kind


async def test_fault_F23_what_is_not_confirmed_is_asked_for_again(world: FeedWorld) -> None:
    world.exchange.fault("market", "unconfirmed", "SUBSCRIBE", count=1)
    unconfirmed, done = world.codes.count("feed.unconfirmed"), world.codes.count("feed.subscribed")
    world.ask("/connections", target="market", how="reset")
    await world.until(lambda: world.codes.count("feed.unconfirmed") > unconfirmed)
    await world.until(lambda: world.codes.count("feed.subscribed") >= done + 2)
    instruments = world.health.instruments
    await world.until(lambda: all(one.state == FeedState.LIVE for one in instruments))
    assert world.health.connected


async def test_fault_F24_a_halted_symbol_holds_alone_and_its_entries_are_cancelled(
    world: FeedWorld,
) -> None:
    connects = world.health.connects
    update = world.ask("/symbol", symbol=BTC, status="HALT")["update_id"]
    await world.until(lambda: world.health.instruments[0].halted)
    await world.until(lambda: not entries(world, BTC))
    orders, others = world.orders(), world.decided(ETH)
    for step in range(1, 6):  # a quote that still comes is not decided on
        world.ask("/send", stream="btcusdt@bookTicker", changes={"u": update + step})
    await world.held(HoldReason.VENUE_HALTED, BTC)
    await world.until(lambda: world.decided(ETH) > others + 3)
    assert world.orders() > orders
    assert entries(world, BTC) == []
    world.ask("/symbol", symbol=BTC, status="TRADING")
    await world.until(lambda: not world.health.instruments[0].halted)
    assert world.health.connects == connects


async def test_no_order_was_made_on_old_data_and_the_tape_replays(running: FeedWorld) -> None:
    summary = await running.end()
    assert summary.exit_reason == "done"
    run = running.session.run_dir
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    intents = records[records["kind"] == Record.INTENT]
    decisions = records[records["kind"] == Record.DECISION]
    causes = decisions[np.isin(decisions["id"], intents["i0"])]
    assert len(causes) > 10
    assert causes["i6"].max() <= MAX_DATA_AGE_MS * 1_000_000
    again = summary_of(await asyncio.to_thread(replayed, run))
    assert again["decision_digest"] == summary.decision_digest
    assert again["fills"] == summary.fills > 0
