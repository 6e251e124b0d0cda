"""From the socket to the kernel: its book is the venue's, and a replay of the tape ends alike."""

from pathlib import Path

import numpy as np
import pytest

from app.kernel import KernelModule, load_kernel
from engine.kernel.layout import WORD, Reason
from engine.kernel.state import KernelState
from engine.rows import Kind
from engine.tape import Tape
from tests.engine.test_history_rows import SPECS, Run
from tests.venues.feed_harness import WITH_HISTORY, Session, instrument, running
from tests.venues.test_binance_history import MINUTE, NS, warm, with_past

CURSOR = WORD["cursor"]
COMPARED = ("bid", "ask", "quote_ts", "trade_price", "trade_count", "bar_ts", "bar_close",
            "bar_count", "depth_count", "best_bid_tick", "best_ask_tick", "gap_count", "stale",
            "ts")  # fmt: skip


@pytest.fixture(scope="module")
def kernel() -> KernelModule:
    return load_kernel(SPECS)  # as there: one kernel serves both


def new_state(kernel: KernelModule) -> KernelState:
    """Return the state of one instrument with everything the feed brings, without slots."""
    rules = Run(kernel).rules
    state = KernelState([instrument("BTCUSDT")], 0, kernel.features, rules)
    kernel.start(state.address)
    return state


def drain(kernel: KernelModule, state: KernelState, window: tuple[int, int, int]) -> None:
    """Advance to the end of a window."""
    address, first_row, stop = window
    while Reason.HEAD not in Reason(kernel.advance(state.address, address, first_row, stop)):
        state.words[WORD["out_count"]] = 0


def book(state: KernelState) -> tuple[dict[int, int], dict[int, int]]:
    """Return the kernel's book in ticks and lots."""
    bid_sizes, ask_sizes, _, _, bid_ticks, ask_ticks = state.books
    found = []
    for sizes, ticks in ((bid_sizes, bid_ticks), (ask_sizes, ask_ticks)):
        at = np.flatnonzero(sizes > 0)
        found.append({int(ticks[k]): round(float(sizes[k]) * 1000) for k in at})
    return found[0], found[1]


@pytest.mark.asyncio
async def test_the_kernels_book_is_the_venues_and_a_replay_ends_in_the_same_state(
    kernel: KernelModule, tmp_path: Path
) -> None:
    state = new_state(kernel)

    def drive(session: Session) -> None:
        """Do what a runner does at each wake."""
        plain = session.wake

        def wake() -> None:
            plain()
            for window in session.tape.windows(state.words[CURSOR]):
                drain(kernel, state, window)

        session.feed._wake = wake

    async with running(
        WITH_HISTORY, prepare=with_past, segment_rows=256, folder=tmp_path
    ) as session:
        drive(session)
        market = session.market()
        await warm(session)
        for number in range(60):
            if number % 20 == 7:
                await session.until(lambda: session.feed.health.instruments[0].book_synced)
            await session.venue.send(market.quote(), market.trade(10000 + number % 9))
            message = market.update({9980 + number % 13: number % 5, 9970: 1 + number})
            if number % 20 != 7:  # those are lost
                await session.venue.send(message)
            if number == 30:
                await session.until(lambda: session.feed.health.instruments[0].messages >= 60)
                await session.venue.cut()
                await session.saw("feed.history", 2)
        last = market.update({9991: 3})
        await session.venue.send(last)
        await session.until(lambda: book(state) == (market.bids, market.asks))
        assert state.markets["gap_count"][0] == 1  # the cut; a gap of the book alone is none here
        assert len(session.rows(Kind.GAP)) >= 2
        assert state.markets["bar_ts"][0] == MINUTE * NS - 60_000_000_000
        session.task.cancel()

    tape = Tape.open(tmp_path / "t")
    assert len(tape.segments) > 1
    again = new_state(kernel)
    for segment in tape.segments:
        for head in range(segment.first_row + 1, segment.stop_row + 1):
            drain(kernel, again, (segment.address, segment.first_row, head))
    assert again.words[CURSOR] == tape.info.rows
    for name in COMPARED:
        np.testing.assert_array_equal(again.markets[name], state.markets[name], err_msg=name)
    assert book(again) == book(state)
    assert again.features.tobytes() == state.features.tobytes()
