"""Hot reload with real orders: the journal names the version behind each, and the run replays."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from app.account_books import positions_of
from app.signal_file import send
from engine.errors import DataError
from engine.journal_reader import fold
from ml import registry
from tests.app.live_world import command, environment, exchange, replayed, same_ledger, summary_of
from tests.app.replay_cli import ROOT
from tests.app.versions import add_version, copy_artifacts, tick_mlp

WITHIN_S = 240.0  # a cold machine compiles first


def until(session: subprocess.Popen, test: Callable[[], bool]) -> None:
    """Wait until something holds; fail at once when the session has ended."""
    ends = time.monotonic() + WITHIN_S
    while not test():
        assert session.poll() is None, "the session has ended"
        assert time.monotonic() < ends, "not in time"
        time.sleep(0.1)


def versions(folder: Path) -> set[str]:
    """Return the versions of TickMLP that stand behind the orders of the account."""
    account = folder / "runs" / "accounts" / "embedded-main"
    try:
        state = fold(account)
    except DataError:  # no journal is there yet
        return set()
    names = (state.names.get(order.model, "") for order in state.orders.values())
    told = [json.loads(name) for name in names if name]
    return {version for model_id, version, _ in told if model_id == "TickMLP"}


def test_orders_after_a_swap_name_the_new_version_and_the_run_replays(tmp_path):
    root = copy_artifacts(tmp_path)
    add_version(root, tick_mlp())
    text = (ROOT / "config" / "default.yaml").read_text()
    text = text.replace("threshold: 0.6", "threshold: 0.4").replace(
        "cooldown_s: 30", "cooldown_s: 0"
    )
    assert "threshold: 0.4" in text
    assert "cooldown_s: 0" in text  # orders come by the second
    runs = tmp_path / "runs"
    (tmp_path / "live.yaml").write_text(f"{text}\nruns_dir: {runs}\nartifacts_dir: {root}\n")
    with exchange("--predictability", "0.9", "--speed", "4") as venue:
        session = subprocess.Popen(
            command(tmp_path, venue), cwd=ROOT, env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            until(session, lambda: versions(tmp_path) == {"1"})
            registry.promote(root, "TickMLP", "2", why="test", by="tests")
            send(root / "models.signal")
            until(session, lambda: versions(tmp_path) == {"1", "2"})
            session.send_signal(signal.SIGTERM)
            out, err = session.communicate(timeout=120)
        finally:
            session.kill()
        assert session.returncode == 0, err[-2000:]
        found = json.loads(out)
        same_ledger(tmp_path, venue)
    assert found["reloads"] == 1
    again = replayed(Path(found["run_dir"]))  # its models are found where the run took them from
    assert again.returncode == 0, again.stderr[-2000:]
    held = positions_of(runs / "accounts" / "embedded-main")
    assert len({one.model for one in held}) == len(held)  # one owner, whatever its versions
    repeated = summary_of(again)
    assert repeated["reloads"] == 1
    assert repeated["decision_digest"] == found["decision_digest"]
