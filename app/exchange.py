"""`python -m venues.embedded`: the embedded exchange alone, with the market that it is given."""

import argparse
import gc
import os
import stat
from pathlib import Path

import msgspec

from app.command_line import DONE, Parser
from app.lean import load_numba
from engine.errors import UsageError
from venues.embedded.ledger import AccountSpec
from venues.embedded.limits import RateLimits
from venues.embedded.market import Market
from venues.embedded.serving import ServingSettings, serve

DESCRIPTION = """\
An exchange of our own on this machine: Binance spot's REST, streams and
WebSocket API, a matching engine, and a seeded synthetic market. Prints one line
of JSON with its addresses once it listens. See docs/embedded_exchange.md.

  python -m venues.embedded --seed 7
  python -m venues.embedded --accounts accounts.json --duration 60
"""


def parser() -> Parser:
    """Return the command line."""
    from app import log

    made = Parser(prog="python -m venues.embedded", description=DESCRIPTION)
    add = made.add_argument
    add("--port", type=int, default=0, help="of the exchange; 0 takes a free one")
    add("--control-port", type=int, default=0, help="of the control port; 0 takes a free one")
    add("--control-token-env", default="", metavar="NAME", help="variable with the control token")
    add("--market", default="synth", metavar="WHAT", help="synth, or tape:PATH for a recorded one")
    add("--symbols", type=int, default=2, metavar="N", help="instruments of the synthetic market")
    add("--seed", type=int, default=1, metavar="S", help="of the synthetic market")
    add("--predictability", type=float, default=0.5, metavar="P", help="see lab.py data synth")
    add("--rows-per-s", type=float, default=4.0, metavar="R", help="of one instrument, about")
    add("--history-hours", type=float, default=24.0, metavar="H", help="before the opening")
    add("--speed", type=float, default=1.0, help="market seconds a second")
    add("--accounts", type=Path, metavar="FILE", help="JSON list of accounts; mode 0600")
    add("--accounts-env", default="", metavar="NAME", help="variable with the same JSON")
    add("--weight-per-minute", type=int, default=6000, metavar="N", help="request weight")
    add("--orders-per-10s", type=int, default=50, metavar="N", help="new orders of an account")
    add("--ban-s", type=int, default=120, metavar="S", help="ban of who does not stop at 429")
    add("--market-requests-per-s", type=int, default=5, metavar="N",
        help="client messages on a market stream; 0 is no limit")  # fmt: skip
    add("--duration", type=float, default=0.0, metavar="S", help="end by itself after this")
    add("--parent-pid", type=int, default=0, metavar="PID", help="end when this process ends")
    add("--lifeline-fd", type=int, default=-1, metavar="FD", help="end when this pipe closes")
    log.add_arguments(made)
    return made


def main() -> int:
    """Parse the command line, make the market, serve."""
    args = parser().parse_args()
    gc.disable()  # nothing that a start makes is garbage
    from app import log

    log.configure_from(args)
    kind, _, path = args.market.partition(":")
    if (kind, bool(path)) not in (("synth", False), ("tape", True)):
        raise UsageError(f"exchange: --market {args.market}: allowed is synth or tape:PATH")
    accounts = read_accounts(args.accounts, args.accounts_env)
    settings = ServingSettings(
        port=args.port,
        control_port=args.control_port,
        control_token=read_token(args.control_token_env),
        speed=_positive("--speed", args.speed),
        duration_s=args.duration,
        parent_pid=args.parent_pid,
        lifeline_fd=args.lifeline_fd,
    )
    limits = RateLimits(
        weight_per_minute=args.weight_per_minute,
        orders_per_10s=args.orders_per_10s,
        ban_s=args.ban_s,
        market_requests_per_s=args.market_requests_per_s,
    )
    market = market_of(args, path)
    gc.freeze()
    gc.enable()
    serve(market, accounts, limits, settings, lambda line: print(line, flush=True))
    return DONE


def market_of(args: argparse.Namespace, path: str) -> Market:
    """Return the recorded market of a path, or the synthetic one of the other options."""
    load_numba()
    from app.exchange_market import recorded_market, synthetic_market

    if path:
        cache = Path("runs/cache")
        return recorded_market([Path(path)], cache_dir=cache, history_hours=args.history_hours)
    return synthetic_market(
        symbols=args.symbols,
        seed=args.seed,
        predictability=args.predictability,
        rows_per_s=args.rows_per_s,
        history_hours=args.history_hours,
    )


def _positive(option: str, value: float) -> float:
    """Refuse a number that is not above 0 and at most 1000."""
    if not 0.0 < value <= 1000.0:
        raise UsageError(f"exchange: {option} {value:g}: allowed is above 0, to 1000")
    return value


def read_token(name: str) -> str:
    """Return the control token from the environment; without a name there is none.

    Raises:
        UsageError: the variable is not set, or too short to be a secret.
    """
    if not name:
        return ""
    token = os.environ.pop(name, "")
    if len(token) < 16:
        raise UsageError(f"exchange: {name} must hold a token of at least 16 characters")
    return token


def read_accounts(path: Path | None, name: str) -> tuple[AccountSpec, ...]:
    """Return the accounts of a file or an environment variable; without either there are none.

    Raises:
        UsageError: unreadable, readable by others, malformed, or two accounts share a key or name.
    """
    if path is not None:
        try:
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"exchange: {path} is open to others; run chmod 600 {path}")
            text = path.read_bytes()
        except OSError as error:
            raise UsageError(f"exchange: {path} cannot be read ({error.strerror})") from None
    elif name:
        text = os.environ.pop(name, "").encode()
        if not text:
            raise UsageError(f"exchange: {name} is not set")
    else:
        return ()
    where = path or name
    try:
        accounts = msgspec.json.decode(text, type=tuple[AccountSpec, ...])
    except msgspec.MsgspecError as error:
        raise UsageError(f"exchange: accounts in {where}: {error}") from None
    for field in ("name", "api_key"):
        if len({getattr(one, field) for one in accounts}) != len(accounts):
            raise UsageError(f"exchange: accounts in {where}: two have the same {field}")
    return accounts
