"""The offline commands: data, features, training, models, audit, account. Flags -> app."""

import importlib
import sys
from pathlib import Path

from app.command_line import Parser, run

COMMANDS = {
    "data": "import, fetch, record or make market data, look at what is there",
    "features": "list, write and prove features; snapshots of them, and drift",
    "train": "train a model and register it as a candidate",
    "models": "list, show, verify and promote models",
    "audit": "verify a run, follow its signals, explain an order",
    "account": "see an account; say what no proof ends",
}
DESCRIPTION = """\
Tickgate's offline commands. Trading and replay: run_live.py

examples:
  lab.py data import --venue binance_spot --symbol BTC/USDT --out data FILE...
  lab.py train signal_classifier --data data/synth
  lab.py models list
  lab.py audit verify runs/ID
  lab.py account show
"""


def main(argv: list[str]) -> int:
    """Parse the command line, import only the chosen command, and run it."""
    parser = Parser(prog="lab.py", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), "")
    module = None
    for name, summary in COMMANDS.items():
        if not (Path(__file__).parent / "app" / f"{name}.py").exists():
            continue
        if name == chosen:
            module = importlib.import_module(f"app.{name}")
            module.add_parser(commands)
        else:
            commands.add_parser(name, help=summary)
    args = parser.parse_args(argv)
    assert module is not None  # argparse has refused anything else
    return int(module.main(args))


if __name__ == "__main__":
    sys.exit(run("lab.py", lambda: main(sys.argv[1:])))
