"""Losses across live runs: what is held at a start has no price yet."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from app.live_books import LOSSES
from app.live_record import account_folder
from engine.journal_reader import fold
from tests.app.live_world import (
    BALANCES,
    command,
    exchange,
    same_ledger,
    session,
    summary_of,
    traded_until,
)
from venues.embedded.launcher import RunningExchange


def test_a_start_with_a_position_and_no_price_opens_nothing_and_goes_on(tmp_path):
    with exchange("--history-hours", "1") as venue:
        without_a_price(tmp_path, venue)


def without_a_price(folder: Path, venue: RunningExchange) -> None:
    """Trade, start blind, trade again."""
    account = account_folder(folder / "runs", "embedded-main")
    traded_until(command(folder, venue), venue, holds_base)
    kept = counters_of(account)
    blind = [venue.fault("market", "drop", "*"), venue.fault("rest", "hang", "GET /api/v3/depth*")]
    done = session(command(folder, venue, "--duration", "4s"))
    assert done.returncode == 0, done.stderr[-2000:]
    for number in blind:
        venue.control("DELETE", f"/faults/{number}")
    told = summary_of(done)
    assert (told["orders"], told["equity"], told["pnl"]["total"]) == (0, None, None)
    assert any(book["unrealized"] is None and book["position"] for book in told["books"])
    assert counters_of(account) == kept, "nothing new is known of the day"
    again = session(command(folder, venue, "--duration", "3s"))
    assert summary_of(again)["orders"] > 0
    same_ledger(folder, venue)


def holds_base(ledger: dict[str, Any]) -> bool:
    """Return True for an account that has bought more than it sold."""
    base = ledger["balances"]["BTC"]
    return Decimal(base["free"]) + Decimal(base["locked"]) > Decimal(BALANCES["BTC"])


def counters_of(account: Path) -> tuple[int, ...]:
    """Return the day, its first equity and the peak, as the journal keeps them."""
    ((_, kept),) = [item for item in fold(account).counters.items() if item[0][0] == LOSSES]
    return tuple(kept[:3])
