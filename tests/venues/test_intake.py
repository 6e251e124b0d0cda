"""The intake without a socket: orders of messages that no test would think of, and exact times."""

import ctypes
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.book_sync import FIRST_TO_LAST, GapReason
from engine.feed_health import FeedState
from engine.live_tape import LiveTape
from engine.rows import ROW, ROW_BYTES, Kind
from tests.venues.feed_harness import instrument
from tests.venues.scripted_venue import Market, rebuilt_book
from venues.intake import Intake
from venues.lines import ROWS, IntakeLimits, Line, Want

S = 1_000_000_000
NOW = 1_700_000_000 * S


class Desk:
    """An intake, the venue's truth, and what the intake asks for."""

    def __init__(
        self, folder: Path, symbols: tuple[str, ...] = ("BTCUSDT",), **limits: int
    ) -> None:
        self.markets = [Market(name, lambda: NOW // 1_000_000) for name in symbols]
        self.tape = LiveTape(
            folder / "t", [instrument(name) for name in symbols], segment_rows=1 << 14
        )
        self.wanted: list[tuple[Want, Line]] = []
        self.events: list[str] = []
        self.intake = Intake(
            self.tape, range(len(symbols)), FIRST_TO_LAST, IntakeLimits(**limits),
            on_event=lambda code, fields: self.events.append(code),
            wants=lambda want, line: self.wanted.append((want, line)),
        )  # fmt: skip
        self.intake.connected(NOW)

    def take(self, message: str, now_ns: int = NOW) -> None:
        assert self.intake.take(message.encode(), now_ns) is None

    def rows(self) -> np.ndarray:
        parts = []
        for address, first_row, stop in self.tape.windows(0):
            size = (stop - first_row) * ROW_BYTES
            parts.append(bytes((ctypes.c_char * size).from_address(address)))
        return np.frombuffer(b"".join(parts), ROW)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, ("BTCUSDT", "ETHUSDT"), stale_ns=S)
    yield made
    made.tape.close()


OPS = st.sampled_from(["send", "send", "send", "lose", "twice", "late", "snapshot", "old snapshot"])


@given(ops=st.lists(OPS, max_size=60), warms=st.booleans())
@settings(max_examples=150)
def test_the_book_on_the_tape_was_always_the_venues_at_some_moment_and_never_goes_back(
    ops: list[str], warms: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder), warms=warms)
        market, line = desk.markets[0], desk.intake.lines[0]
        truths = {market.told_id: (dict(market.bids), dict(market.asks))}
        delayed: list[str] = []
        snapshots = [json.dumps(market.snapshot()).encode()]
        reached = 0
        for number, op in enumerate(ops):
            if op == "snapshot":
                snapshots.append(json.dumps(market.snapshot()).encode())
                desk.intake.take_snapshot(line, snapshots[-1], NOW)
            elif op == "old snapshot":
                desk.intake.take_snapshot(line, snapshots[0], NOW)
            else:
                message = market.update({9990 - number % 7: number % 4, 9950 + number: 1})
                truths[market.told_id] = (dict(market.bids), dict(market.asks))
                if op == "late":
                    delayed.append(message)
                elif op != "lose":
                    for one in [message, *([message] if op == "twice" else []), *delayed]:
                        desk.take(one)
                    delayed.clear()
            if warms and number == 30:
                desk.intake.take_history(line, np.zeros(0, ROW), -1)
            book = rebuilt_book(desk.rows())
            if book is not None:
                assert line.sync is not None
                assert book == truths[line.sync.book_id]
                assert line.sync.book_id >= reached
                reached = line.sync.book_id
        if line.held is not None:
            desk.intake.take_history(line, np.zeros(0, ROW), -1)
        market.update({9000: 1})
        desk.take(market.update({9001: 1}))
        desk.intake.take_snapshot(line, json.dumps(market.snapshot()).encode(), NOW)
        assert rebuilt_book(desk.rows()) == (market.bids, market.asks)
        desk.tape.close()


def test_fault_F03_F05_silence_is_seen_at_the_first_look_after_its_bound(desk: Desk) -> None:
    btc, eth = desk.markets
    desk.take(btc.trade(), NOW + S // 2)
    assert desk.intake.tick(NOW + S) == []
    assert [line.index for line in desk.intake.tick(NOW + S + 1)] == [1]  # ETHUSDT, for a second
    assert desk.intake.tick(NOW + S + 2) == []  # said once
    assert desk.intake.lines[1].health.state == FeedState.STALE
    gap = desk.rows()[-1]
    assert (gap["kind"], gap["instrument"], gap["i2"]) == (Kind.GAP, 1, GapReason.STALE)
    assert (gap["i0"], gap["i1"]) == (NOW, NOW + S + 1)
    assert len(desk.intake.tick(NOW + 3 * S // 2 + 1)) == 2  # nothing from any: the connection
    desk.take(eth.trade(), NOW + 2 * S)
    assert desk.intake.lines[1].health.state == FeedState.LIVE
    assert desk.events == ["feed.stale", "feed.gap", "feed.resumed"]


def test_fault_F05_a_silent_instrument_is_asked_for_again_and_again(desk: Desk) -> None:
    asked = []
    for second in range(25):
        desk.take(desk.markets[0].trade(), NOW + second * S)
        asked += [(second, line.index) for line in desk.intake.tick(NOW + second * S + 1)]
    assert asked == [(1, 1), (11, 1), (21, 1)]
    assert desk.events.count("feed.stale") == 1


def test_fault_F24_silence_of_what_is_halted_ends_no_connection(desk: Desk) -> None:
    for line in desk.intake.lines.values():
        assert line.set_halted(True)
    assert desk.intake.health.halted
    assert len(desk.intake.tick(NOW + S + 1)) == 2
    assert desk.intake.tick(NOW + S + 2) == []  # they are gapped, and asked for later
    gaps = desk.rows()[desk.rows()["kind"] == Kind.GAP]
    assert gaps["instrument"].tolist() == [0, 1]
    desk.intake.lines[0].set_halted(False)
    assert len(desk.intake.tick(NOW + S + 3)) == 2  # as without halts: the connection


def test_an_instrument_that_resumes_while_history_is_wanted_holds_its_rows(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ("BTCUSDT", "ETHUSDT"), stale_ns=S, warms=True)
    for line in desk.intake.lines.values():
        desk.intake.take_history(line, np.zeros(0, ROW), -1)
    desk.take(desk.markets[0].trade(), NOW + S)
    desk.intake.tick(NOW + S + 1)
    desk.take(desk.markets[1].trade(), NOW + 2 * S)
    desk.take(desk.markets[0].trade(), NOW + 2 * S)
    assert [(want, line.index) for want, line in desk.wanted] == [(Want.HISTORY, 1)]
    trades = desk.rows()[desk.rows()["kind"] == Kind.TRADE]
    assert trades["instrument"].tolist() == [0, 0]
    desk.intake.take_history(desk.intake.lines[1], np.zeros(0, ROW), 1000)
    trades = desk.rows()[desk.rows()["kind"] == Kind.TRADE]
    assert trades["instrument"].tolist() == [0, 0, 1]
    assert desk.intake.lines[1].health.state == FeedState.LIVE
    desk.tape.close()


def test_rows_that_wait_for_history_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("venues.row_sink.MAX_HELD_ROWS", 50)
    desk = Desk(tmp_path, warms=True)
    for _ in range(60):
        desk.take(desk.markets[0].trade())
    assert desk.events == ["feed.history_failed"]
    assert np.count_nonzero(desk.rows()["kind"] == Kind.TRADE) == 60
    assert (np.diff(desk.rows()["i2"][desk.rows()["kind"] == Kind.TRADE]) == 1).all()
    desk.tape.close()


def test_trades_that_never_came_are_said(desk: Desk) -> None:
    market = desk.markets[0]
    desk.take(market.trade())
    market.trade()
    market.trade()
    desk.take(market.trade())
    assert desk.intake.health.instruments[0].trade_holes == 2
    assert "feed.trade_hole" in desk.events


KINDS = st.sampled_from(
    ["quote", "trade", "lost trade", "twice", "late", "depth", "strange", "old"]
)


@given(kinds=st.lists(KINDS, max_size=40), warms=st.booleans())
@settings(max_examples=60)
def test_what_simply_follows_is_published_in_one_call_as_by_the_slow_way(
    kinds: list[str], warms: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        quick, slow = (Desk(Path(folder) / way, warms=warms) for way in ("quick", "slow"))
        slow.intake.decoder.fast.publish = lambda *_: 0
        market = quick.markets[0]
        told = market.quote()
        for number, kind in enumerate(kinds):
            if kind == "lost trade":
                market.trade()
            elif kind == "depth":
                told = market.update({9990 - number: 1 + number})
            elif kind != "twice":
                told = market.quote(u=7) if kind == "old" else market.quote()
                told = market.trade() if kind in ("trade", "late") else told
            for one in (quick, slow):
                one.take(told.replace(":", ": ") if kind == "strange" else told, NOW + number)
                if number == 20 and warms:
                    one.intake.take_history(one.intake.lines[0], np.zeros(0, ROW), -1)
        for told in (market.quote(), market.quote()):  # the first message of a segment goes slowly
            for one in (quick, slow):
                one.take(told, NOW + 50)
        assert quick.rows().tobytes() == slow.rows().tobytes()
        assert quick.intake.health == slow.intake.health
        assert quick.events == slow.events
        assert slow.intake.lines[0].words[ROWS] == 0
        assert warms or quick.intake.lines[0].words[ROWS] > 0
        quick.tape.close()
        slow.tape.close()


def test_a_message_longer_than_what_is_left_goes_into_the_next_segment(tmp_path: Path) -> None:
    market = Market("BTCUSDT", lambda: NOW // 1_000_000)
    tape = LiveTape(tmp_path / "t", [instrument("BTCUSDT")], segment_rows=96)
    intake = Intake(
        tape, [0], FIRST_TO_LAST, IntakeLimits(), on_event=lambda *_: None, wants=lambda *_: None
    )
    intake.connected(NOW)
    for number in range(30):
        intake.take(market.update({9980 + k: 1 + (number + k) % 5 for k in range(9)}).encode(), NOW)
        if number == 0:
            snapshot = json.dumps(market.snapshot()).encode()
            assert intake.take_snapshot(intake.lines[0], snapshot, NOW)
    assert len(list(tape.windows(0))) > 2
    parts = []
    for address, first_row, stop in tape.windows(0):
        size = (stop - first_row) * ROW_BYTES
        parts.append(bytes((ctypes.c_char * size).from_address(address)))
    assert rebuilt_book(np.frombuffer(b"".join(parts), ROW)) == (market.bids, market.asks)
    assert not intake.sink.lost
    tape.close()
