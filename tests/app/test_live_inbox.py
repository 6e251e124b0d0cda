"""What an account tells a session that trades: an order of an earlier run still moves the books."""

import ctypes
from pathlib import Path

import numpy as np

from app.live_inbox import Inbox
from engine.events import OrderState, RejectReason
from engine.journal_layout import Kind as Word
from engine.live_tape import LiveTape
from engine.rows import ROW, ROW_BYTES, Kind
from engine.venue_answers import POSITION
from tests.engine.account_world import BTC, World


def rows_of(tape: LiveTape) -> np.ndarray:
    """Return what stands on the tape."""
    parts = []
    for address, first_row, stop in tape.windows(0):
        parts.append(
            bytes((ctypes.c_char * ((stop - first_row) * ROW_BYTES)).from_address(address))
        )
    return np.frombuffer(b"".join(parts), ROW)


def test_fault_V12_a_late_fill_of_an_earlier_runs_order_is_booked_once(tmp_path: Path) -> None:
    before = World(tmp_path / "a")
    client = before.sent(0, qty=100)
    before.account.acked(client, "v1")
    before.account.ended(client, Word.CANCELED, RejectReason.BY_REQUEST)
    before.account.journal.close()

    world = World(tmp_path / "a")  # the next run, on the same account
    tape = LiveTape(tmp_path / "t", [BTC], segment_rows=256)
    inbox, notes, wakes = Inbox(world.now), [], []
    inbox.bind(
        tape, world.account, {"USDT": 0, "BTC": 1, "BNB": 2},
        wake=lambda: wakes.append(1), note=lambda code, text: notes.append((code, text)),
        tell_person=lambda code, text: None,
    )  # fmt: skip
    world.account.tell = inbox.tell
    for _ in range(2):  # the order stream tells it, and a poll again
        world.account.filled(world.trade(client, "t9", 40))

    rows = rows_of(tape)
    assert set(rows["kind"]) == {Kind.OPENING}
    moved = {int(row["i0"]): int(row["i1"]) for row in rows if row["i0"] != POSITION}
    assert moved == {0: -2_400_000_000, 1: 40_000, 2: -11}
    assert not rows["i3"][rows["i0"] != POSITION].any(), "it is no capital"
    (position,) = rows[rows["i0"] == POSITION]
    assert (position["side"], position["i1"], position["i2"]) == (1, 40, -1)
    assert position["i4"] == 2_400_000_000
    assert notes == [("orders.earlier_fill", "BTCUSDT: 40 lots")]
    assert wakes
    order = world.account.state.orders[client]
    assert (order.state, order.filled_lot) == (OrderState.CANCELED, 40)
    assert world.account.state.positions == {world.market.ref: 40}
    world.account.journal.close()
    tape.close()
