"""The addresses of a live run, and its words on the command line."""

import argparse
from typing import NamedTuple

from engine.errors import UsageError

EMBEDDED, BINANCE = "embedded", "binance"
VENUES = (EMBEDDED, BINANCE)
REAL = {"binance": "https://api.binance.com"}  # refused by app/live_permission.py, with its reason


class Urls(NamedTuple):
    """Every address that a live run speaks to."""

    rest: str  # orders and market data
    market: str  # market streams
    orders: str  # the venue's WebSocket API, for the order stream


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of --live."""
    add = parser.add_argument
    add("--base-url", default="", metavar="URL", help="of --live: http://127.0.0.1:PORT")
    add("--stream-url", default="", metavar="URL", help="of --live: the venue's WebSocket API")
    add("--account", default="main", metavar="NAME", help="of --live: whose journal it is")
    add("--confirm-live", metavar="NAME", help="of --live: the account's name once more")
    add("--clear-latches", default="", metavar="WHY", help="of --live: an operator has looked")


def urls_of(venue: str, base_url: str, stream_url: str) -> Urls:
    """Return the addresses of a venue.

    >>> urls_of("embedded", "http://127.0.0.1:8001", "").orders
    'ws://127.0.0.1:8001/ws-api/v3'

    Raises:
        UsageError: no such venue, or no address.
    """
    if venue not in VENUES:
        raise UsageError(f"--venue {venue}: there are {', '.join(VENUES)}")
    base = (base_url or REAL.get(venue, "")).rstrip("/")
    if not base:
        raise UsageError(
            "--live: --base-url is missing: start `python -m venues.embedded --accounts FILE` "
            "and give its address"
        )
    if not base.startswith(("http://", "https://")):
        raise UsageError(f"--base-url {base_url}: must begin with http:// or https://")
    if venue != EMBEDDED and base_url:
        raise UsageError("--base-url: only an embedded exchange is somewhere else")
    market = stream_base(base)
    return Urls(base, market, stream_url or f"{market}/ws-api/v3")


def stream_base(base_url: str) -> str:
    """Return where the streams of an embedded exchange are.

    >>> stream_base("http://127.0.0.1:8001/")
    'ws://127.0.0.1:8001'
    """
    return "ws" + base_url.rstrip("/").removeprefix("http")
