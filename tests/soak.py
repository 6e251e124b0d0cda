"""`make soak`: live orders on an embedded exchange for ten minutes, with faults.

Prints what happened; ends with 0 when every claim holds, with 1 and those that do not else.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from app.start import duration_of
from engine.audit_layout import AUDIT, Record
from engine.events import OrderState, OrderType
from engine.orders import FINAL
from engine.rows import Kind
from engine.run_files import AUDIT_RECORDS
from tests.app.live_world import (
    account_orders,
    command,
    exchange,
    replayed,
    same_ledger,
    session,
    summary_of,
    tape_kinds,
)

ROWS_PER_S = "6500"  # asked of the market, which comes in bursts; what it truly sent is printed
MESSAGES_PER_S = 2000.0
FAULTS = (
    ("hang", "after", 37),
    ("reset", "after", 23),
    ("truncate", "after", 29),
    ("status", "after", 31),
    ("reset", "before", 41),
)


def main() -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--duration", default="10m", help="of the session, such as 60s or 10m")
    args = parser.parse_args()
    seconds = duration_of(args.duration)
    folder = Path(tempfile.mkdtemp(prefix="tickgate-soak-"))
    with exchange("--rows-per-s", ROWS_PER_S, fee_asset="BNB") as venue:
        for skip, (action, phase, every) in enumerate(FAULTS):
            extra = {"status": 502} if action == "status" else {}
            venue.fault(
                "rest", action, "POST /api/v3/order", phase=phase, every=every, skip=2 + skip,
                **extra,
            )  # fmt: skip
        venue.fault("user", "drop", "executionReport:*", skip=5, every=7)
        venue.fault("user", "duplicate", "executionReport:*", skip=2, every=5)
        venue.control("POST", "/engine", {"fragments": 3, "late_fill_lots": 50})
        words = command(folder, venue, "--duration", args.duration, pause=2)
        before = venue.control("GET", "/state")["published"]
        done = session(words, seconds + 300.0)
        sent = venue.control("GET", "/state")["published"] - before
        print(done.stderr[-2000:], file=sys.stderr)
        try:
            fills = same_ledger(folder, venue)
            ledgers = "engine ledger = exchange ledger, to the last unit"
        except AssertionError as error:
            fills, ledgers = 0, f"LEDGERS DIFFER: {error}"
    return judge(folder, summary_of(done), (done.returncode, fills, ledgers), (seconds, sent))


def judge(folder: Path, summary: dict, ended: tuple[int, int, str], load: tuple[float, int]) -> int:
    """Print the figures and the claims; return the exit code.

    Args:
        folder: config and runs.
        summary: of the session.
        ended: its exit code, the fills of both ledgers, and whether these agree.
        load: seconds that were asked for, and messages that the exchange sent to the feed.
    """
    (code, fills, ledgers), (seconds, sent) = ended, load
    run = Path(summary["run_dir"])
    orders, kinds = account_orders(folder), tape_kinds(run)
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    moves = records[records["kind"] == Record.ORDER]
    count = max(1, len(orders))
    types = [order.order_type for order in orders]
    resting = sum(kind in (OrderType.POST_ONLY, OrderType.LIMIT_GTC) for kind in types)
    canceled = sum(order.state == OrderState.CANCELED for order in orders)
    again = replayed(run)
    same = summary_of(again)["decision_digest"] == summary["decision_digest"]
    messages = sum(n for kind, n in kinds.items() if kind in (Kind.QUOTE, Kind.TRADE, Kind.DEPTH))
    figures = {
        "seconds": round(summary["wall_s"], 1),
        "messages a second": round(sent / max(summary["wall_s"], 1.0)),
        "market rows a second": round(messages / max(summary["wall_s"], 1.0)),
        "orders": len(orders),
        "resting": f"{resting / count:.0%}",
        "cancelled": f"{canceled / count:.0%}",
        "fills": fills,
        "partly filled": int((moves["code"] == OrderState.PARTIAL).sum()),
        "rejected": kinds.get(int(Kind.REJECT), 0),
        "unknown": kinds.get(int(Kind.UNKNOWN), 0),
    }
    claims = {
        "the session ended well": code == 0,
        ledgers: not ledgers.startswith("LEDGERS"),
        "every order has one final state": all(order.state in FINAL for order in orders),
        "at least 2,000 messages a second": figures["messages a second"] >= MESSAGES_PER_S,
        "at least an order a second": len(orders) >= seconds,
        "at least 30 % were to rest": resting / count >= 0.3,
        "at least 10 % were cancelled": canceled / count >= 0.1,
        "some were filled in parts": figures["partly filled"] > 0,
        "some were rejected": figures["rejected"] > 0,
        "some were UNKNOWN": figures["unknown"] > 0,
        "the replay has the same digest": again.returncode == 0 and same,
    }
    for name, value in figures.items():
        print(f"{name:<24}{value}")
    for claim, holds in claims.items():
        print(f"{'ok  ' if holds else 'FAIL'} {claim}")
    print(f"the run lies in {run}")
    return 0 if all(claims.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
