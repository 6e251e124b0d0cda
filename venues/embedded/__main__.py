"""`python -m venues.embedded`: start the exchange alone; the command itself is app/exchange.py."""

import sys

from app.exchange import main
from app.command_line import run

if __name__ == "__main__":
    sys.exit(run("python -m venues.embedded", main))
