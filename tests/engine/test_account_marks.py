"""Latches and counters outlive the process; an operator's word is written down."""

from decimal import Decimal

import pytest

from engine.account_marks import clear, count, counted, declare_balance, latch, operator_ends
from engine.events import OrderState
from engine.journal_layout import Doubt, Latch
from engine.journal_sync import GroupCommit, promised
from tests.engine.account_world import World


@pytest.mark.asyncio
@pytest.mark.parametrize("policy", ["written", "synced"])
async def test_latches_and_counters_are_there_after_a_restart(tmp_path, policy):
    world = World(tmp_path / "a", segment_records=64, policy=policy)
    commit = GroupCommit(world.account.journal)
    await latch(world.account, commit, Latch.KILL, "the operator pressed it")
    await latch(world.account, commit, Latch.DRAWDOWN, "7 % below the peak")
    assert promised(world.account.journal) == world.account.journal.head
    for loss in (-5, -12):
        count(world.account, 1, "TickMLP", (20_000, loss))
    await commit.close()
    world.account.journal.close()
    again = World(tmp_path / "a", segment_records=64)
    assert again.account.state.latches == {
        Latch.KILL: "the operator pressed it",
        Latch.DRAWDOWN: "7 % below the peak",
    }
    assert counted(again.account, 1, "TickMLP")[:2] == (20_000, -12)
    assert counted(again.account, 1, "other") is None
    commit = GroupCommit(again.account.journal)
    await clear(again.account, commit, Latch.KILL, "looked, it was a test")
    assert list(again.account.state.latches) == [Latch.DRAWDOWN]
    await commit.close()
    again.account.journal.close()


def test_an_operators_word_ends_what_no_proof_ends_and_sets_a_balance(tmp_path):
    world = World(tmp_path / "a", segment_records=64)
    client = world.sent(0)
    world.account.unknown(client, Doubt.NO_ANSWER)
    operator_ends(world.account, client, "support says so")
    assert world.account.state.orders[client].state == OrderState.REJECTED
    declare_balance(world.account, "USDT", Decimal("12.5"), "deposit of today")
    assert world.account.state.expected("USDT") == Decimal("12.5")
    assert [text for _, text in world.account.state.notes] == [
        f"{client} never arrived: support says so",
        "USDT 12.5: deposit of today",
    ]
    world.account.journal.close()
