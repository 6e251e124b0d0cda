"""The benchmark's flood in short: all of it is taken, conflated by wakes; memory stays flat."""

import subprocess
from pathlib import Path

from app.paper_exchange import OPTIONS
from benchmarks.measure_flood import RATE, flooded
from venues.embedded.launcher import start_exchange

SECONDS = 2.0
MIB = 24.0  # a bound of another order than the flood's 100,000 messages


def test_fault_F17_a_session_takes_a_flood_and_goes_on(tmp_path: Path) -> None:
    with start_exchange(options=OPTIONS, stderr=subprocess.DEVNULL) as exchange:
        one = flooded(exchange, ["--runs-dir", str(tmp_path)], RATE, SECONDS)
    sent, found = one.sent, one.found
    assert sent["sent"] > 0
    assert found["quotes"] >= sent["sent"]
    assert found["dropped"] == 0
    assert found["connects"] == 1
    assert one.messages_a_wake > 2.0
    assert one.grown_mib < MIB
    assert found["decisions"] > 0
