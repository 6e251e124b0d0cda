"""Run the engine, `--paper`, `--live` or `--replay PATH…`: flags -> app, nothing else."""

import sys
from pathlib import Path

from app.command_line import Parser, run

DESCRIPTION = """\
Trade on paper over live wires, or replay recorded markets, through one
pipeline: features, models, risk, paper venue, audit.

  python run_live.py --paper                         on an exchange of our own
  python run_live.py --live --base-url http://127.0.0.1:8001 --confirm-live main
  python run_live.py --replay data/sample
  python run_live.py --replay runs/<id>              the same decisions again
  python run_live.py --replay day.parquet --config my.yaml --json
"""


def parser() -> Parser:
    """Return the command line."""
    from app import live_urls, log

    made = Parser(prog="run_live.py", description=DESCRIPTION)
    mode = made.add_mutually_exclusive_group(required=True)
    mode.add_argument("--paper", action="store_true", help="live data, fills on paper")
    mode.add_argument("--live", action="store_true", help="real orders; see docs/live_orders.md")
    mode.add_argument(
        "--replay",
        nargs="+",
        metavar="PATH",
        help="tape, run folder, data folder, Parquet, CSV(.gz) or wire captures",
    )
    made.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML; default config/default.yaml"
    )
    made.add_argument(
        "--venue", default="embedded", help="embedded (our own), or binance (--paper)"
    )
    live_urls.add_arguments(made)
    made.add_argument("--duration", default="", help="end it after 60s, 10m or 2h")
    made.add_argument("--symbols", default="", help="only these, for example BTC/USDT,ETH/USDT")
    made.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="ID:VERSION",
        help="run this version of a model, whatever its status (paper matching only)",
    )
    made.add_argument(
        "--speed", default="max", help="max, or a multiple of market time such as 10x"
    )
    made.add_argument(
        "--block-rows", type=int, metavar="N", help="rows in one kernel call; changes no decision"
    )
    made.add_argument(
        "--what-if", type=Path, metavar="FILE", help="settings laid over the run's own"
    )
    made.add_argument("--compare", metavar="RUN", help="name the first decision that differs")
    made.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    made.add_argument(
        "--no-report", action="store_true", help="leave out audit.jsonl and report.html"
    )
    log.add_arguments(made)
    return made


def main() -> int:
    """Parse the command line and run."""
    args = parser().parse_args()
    from app import log
    from app.start import start

    log.configure_from(args)
    return start(args, sys.argv)


if __name__ == "__main__":
    sys.exit(run("run_live.py", main))
