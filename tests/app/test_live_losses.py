"""Losses across live runs: what is held at a start has no price yet."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from app.live_record import account_folder
from engine.account_state import LOSSES
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
    account = account_folder(tmp_path / "runs", "embedded-main")
    with exchange("--history-hours", "1") as venue:
        traded_until(command(tmp_path, venue), venue, holds_base)
        kept = counters_of(account)
        blind = blinded(venue)
        done = session(command(tmp_path, venue, "--duration", "4s"))
        assert done.returncode == 0, done.stderr[-2000:]
        told = summary_of(done)
        assert (told["orders"], told["equity"], told["pnl"]["total"]) == (0, None, None)
        assert any(book["unrealized"] is None and book["position"] for book in told["books"])
        assert counters_of(account) == kept, "nothing new is known of the day"
        for number in blind:
            venue.control("DELETE", f"/faults/{number}")
        again = session(command(tmp_path, venue, "--duration", "3s"))
        assert summary_of(again)["orders"] > 0
        assert same_ledger(tmp_path, venue) > 0


def blinded(venue: RunningExchange) -> list[int]:
    """Let no price come; return the faults."""
    return [venue.fault("market", "drop", "*"), venue.fault("rest", "hang", "GET /api/v3/depth*")]


def holds_base(ledger: dict[str, Any]) -> bool:
    """Return True for an account that has bought more than it sold."""
    base = ledger["balances"]["BTC"]
    return Decimal(base["free"]) + Decimal(base["locked"]) > Decimal(BALANCES["BTC"])


def counters_of(account: Path) -> tuple[int, ...]:
    """Return the day, its first equity and the peak, as the journal keeps them."""
    ((_, kept),) = [item for item in fold(account).counters.items() if item[0][0] == LOSSES]
    return tuple(kept[:3])
