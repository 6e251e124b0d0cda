"""`python -m venues.embedded`: start the exchange alone; the command itself is app/exchange.py."""

import sys

from app.command_line import run
from app.exchange import main

if __name__ == "__main__":
    sys.exit(run("python -m venues.embedded", main))
