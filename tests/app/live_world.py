"""An exchange of its own process, and live sessions on it as a person starts them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from app.live_permission import KEY_ENV, SECRET_ENV
from engine.account_state import AccountOrder
from engine.client_ids import client_id
from engine.journal_reader import fold
from engine.tape import Tape
from tests.app.replay_cli import ROOT
from venues.embedded.launcher import RunningExchange, start_exchange
from venues.embedded.ledger import AccountSpec

HOOK_ENV = "TICKGATE_TEST_HOOK"  # sessions begun while it is set tell people
KEY, SECRET = "live-key-canary-7781", "live-secret-canary-2290"
BALANCES = {"BTC": "2", "USDT": "50000", "BNB": "10"}
CONFIG = """
assumed: {quote_size_notional: 100000, bar_spread_bps: 1.0}
paper: {maker_fee_bps: 10.0, taker_fee_bps: 10.0}
portfolio: {balances: {USDT: "0"}, reporting_currency: USDT}
risk:
  max_order_notional: 1000
  max_position_notional: 6000
  max_model_exposure: 6000
  max_gross_exposure: 8000
  max_price_deviation_pct: 2.0
  max_orders_per_s: 20
  max_open_orders: 16
  duplicate_window_ms: 0
  max_market_age_ms: 15000
  max_signal_age_ms: 5000
  max_daily_loss: 2000
  max_drawdown_pct: 50
strategies:
  - name: lively
    params: {pause: PAUSE, stall_at: STALL}
"""


def exchange(*options: str, fee_asset: str = "") -> RunningExchange:
    """Start an exchange with one account."""
    account = AccountSpec(
        name="main", api_key=KEY, api_secret=SECRET, balances=BALANCES, fee_asset=fee_asset,
        fee_asset_price="600",
    )  # fmt: skip
    words = ("--seed", "7", "--rows-per-s", "20", "--orders-per-10s", "100000")
    words += ("--weight-per-minute", "1000000", "--symbols", "1", *options)
    return start_exchange(accounts=[account], options=words, stderr=subprocess.DEVNULL)


def command(
    folder: Path, venue: RunningExchange, *words: object, pause: int = 1, stall_at: int = 0
) -> list[str]:
    """Return the command line of a live session whose runs lie under `folder`."""
    config = folder / "live.yaml"
    if not config.exists():
        text = CONFIG.replace("PAUSE", str(pause)).replace("STALL", str(stall_at))
        if HOOK_ENV in os.environ:
            text += f"notify: {{urls_env: {HOOK_ENV}, min_interval_s: 0}}\n"
        config.write_text(f"{text}runs_dir: {folder / 'runs'}\n")
    found = [sys.executable, "-m", "tests.app.lively", "--live", "--base-url", venue.rest_url]
    found += ["--confirm-live", "main", "--config", str(config), "--json", "--no-report"]
    return found + [str(word) for word in words]


def environment(key: str = KEY, secret: str = SECRET) -> dict[str, str]:
    """Return the environment of a session."""
    return os.environ | {KEY_ENV: key, SECRET_ENV: secret}


def session(words: list[str], seconds: float = 90.0) -> subprocess.CompletedProcess[str]:
    """Run a session to its end."""
    return subprocess.run(
        words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=seconds
    )


def traded_until(
    words: list[str],
    venue: RunningExchange,
    enough: Callable[[dict[str, Any]], bool],
    seconds: float = 180.0,
) -> subprocess.CompletedProcess[str]:
    """Run a session until the exchange's ledger of it shows enough, then end it as SIGTERM does."""
    with subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until:
            if enough(venue.control("GET", "/ledger")["accounts"]["main"]):
                break
            time.sleep(0.5)
        process.terminate()
        out, said = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, out, said)


def run_dirs(folder: Path) -> list[Path]:
    """Return the run folders, oldest first."""
    found = (folder / "runs").glob("*/config.json")
    return sorted((path.parent for path in found), key=lambda path: path.stat().st_mtime)


def replayed(run: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Replay a run folder."""
    line = [sys.executable, "-m", "tests.app.lively", "--replay", str(run), "--json", "--no-report"]
    return subprocess.run(
        [*line, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=90
    )


def same_ledger(folder: Path, venue: RunningExchange, summary: dict[str, Any] | None = None) -> int:
    """Compare the journal with the exchange's own ledger to the last unit; return the fills."""
    state = fold(folder / "runs" / "accounts" / "embedded-main")
    theirs = venue.control("GET", "/ledger")["accounts"]["main"]
    for asset, parts in theirs["balances"].items():
        held = Decimal(parts["free"]) + Decimal(parts["locked"])
        assert state.expected(asset) == held, asset
    assert len(state.fills) == len(theirs["fills"])
    lots = {o["clientOrderId"]: Decimal(o["executedQty"]) for o in theirs["orders"]}
    for client, order in state.orders.items():
        lot = Decimal(state.markets[order.ref].instrument.lot)
        assert order.filled_lot * lot == lots.pop(client, Decimal(0)), client
        assert client == client_id(order.tag, order.ordinal)
    assert not lots, "the exchange knows orders that the journal does not"
    return len(state.fills)


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the one JSON object that a command printed."""
    assert done.stdout.strip(), done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def kinds_of(run: Path) -> np.ndarray:
    """Return the kind of each row of a run's tape."""
    return np.concatenate([s.rows["kind"] for s in Tape.open(run / "tape", repair=False).segments])


def tape_kinds(run: Path) -> dict[int, int]:
    """Count the rows of a run's tape by kind."""
    kinds = np.unique(kinds_of(run), return_counts=True)
    return dict(zip(*(part.tolist() for part in kinds)))


def account_orders(folder: Path) -> list[AccountOrder]:
    """Return the orders of an account's journal."""
    return list(fold(folder / "runs" / "accounts" / "embedded-main").orders.values())
