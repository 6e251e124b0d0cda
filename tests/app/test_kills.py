"""kill -9 of a trading live session at many moments: nothing is lost, doubled or forgotten."""

from pathlib import Path

import pytest

from tests.app.live_world import exchange
from tests.kills import Kills, counts, enough


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_fault_P01_kill_9_in_mid_session_loses_doubles_and_forgets_nothing(
    tmp_path: Path, rounds: int
) -> None:
    with exchange("--history-hours", "1", fee_asset="BNB") as venue:
        kills = Kills(tmp_path, venue)
        kills.run(rounds)
        kills.latched()
        kills.end("--clear-latches", "looked at it")
    assert len(kills.moments) == rounds
    assert enough(kills.moments), counts(kills.moments)
    assert kills.losses_kept > 0
