"""`lab.py account show|end-order|declare|clear`: how an account stands, and an operator's word.

What no proof ends, an operator ends who has looked at the exchange. Each word is a record of the
account's journal, with its reason, on the disk before the command says so; nothing is said while a
session holds the account.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.account_text import lines_of
from app.account_view import account_at, order_line, view_of
from engine.errors import UsageError
from engine.events import OrderState
from engine.journal_layout import Latch, Note
from engine.json_files import to_json
from engine.money import MAX_INT64, MINOR_PER_UNIT
from engine.orders import FINAL

if TYPE_CHECKING:
    from engine.account import Account

MAX_WHY = 500  # characters
MAX_ASSET = 20
MINOR_UNIT = Decimal(1) / MINOR_PER_UNIT
MAX_AMOUNT = MAX_INT64 * MINOR_UNIT
ALL = "all"
AT_THE_VENUE = (OrderState.ACKED, OrderState.PARTIAL, OrderState.PENDING_CANCEL)
LATCHES = [latch.name for latch in Latch]
EPILOG = """\
ACCOUNT is a folder, or a name such as embedded-main or main; it may be left
out where there is only one. What to do when: docs/live_orders.md
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register `account` and its four commands; `main` carries them out."""
    account = subparsers.add_parser(
        "account", help="see an account; say what no proof ends", epilog=EPILOG
    )
    commands = account.add_subparsers(dest="account_command", required=True, metavar="COMMAND")
    show = commands.add_parser(
        "show",
        help="latches, open orders, positions, balances, notes",
        description="Show what an account's journal adds up to. Reads only, also while a\n"
        "session runs.",
        epilog=EPILOG,
    )
    show.add_argument("named", nargs="?", default="", metavar="ACCOUNT", help="folder or name")
    show.add_argument("--notes", type=int, default=10, metavar="N", help="latest notes shown (10)")
    _common(show, show=True)
    show.set_defaults(run=main_show)
    end = _speaking(commands, "end-order", "end an UNKNOWN order that never arrived", main_end)
    end.add_argument("client_id", metavar="CLIENT_ID", help="as `show` names it")
    declare = _speaking(commands, "declare", "say what the account holds of an asset", main_declare)
    declare.add_argument("asset", metavar="ASSET", help="such as USDT")
    declare.add_argument("amount", metavar="AMOUNT", help="free and locked together, a decimal")
    declare.add_argument("--new", action="store_true", help="an asset that is not counted yet")
    clear = _speaking(commands, "clear", "clear a latch", main_clear)
    clear.add_argument("latch", metavar="LATCH", help=f"{', '.join(LATCHES)}, or {ALL}")


def _speaking(commands: Any, name: str, summary: str, run: Any) -> argparse.ArgumentParser:
    """Register a command by which an operator speaks."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"By an operator's word, {summary}.\nIt is kept in the account's journal.",
        epilog=EPILOG,
    )
    parser.add_argument("--why", required=True, metavar="TEXT", help="kept with it")
    _common(parser)
    parser.set_defaults(run=run)
    return parser


def _common(parser: argparse.ArgumentParser, *, show: bool = False) -> None:
    if not show:
        parser.add_argument(
            "--account", dest="named", default="", metavar="ACCOUNT", help="folder or name"
        )
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="where the runs are (runs)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def main(args: argparse.Namespace) -> int:
    """Carry out the chosen command and return its exit code.

    Raises:
        UsageError: it cannot be done: no such account, order or latch, or a session holds it.
    """
    return int(args.run(args))


def main_show(args: argparse.Namespace) -> int:
    """Show an account.

    Raises:
        UsageError: there is no such account, its journal is damaged, or --notes is below 0.
    """
    if args.notes < 0:
        raise UsageError(f"--notes {args.notes}: 0 or more")
    view = view_of(account_at(args.named, args.runs), notes=args.notes)
    if args.json:
        sys.stdout.write(to_json(view).decode() + "\n")
    else:
        print("\n".join(lines_of(view)))
    return 0


def main_end(args: argparse.Namespace) -> int:
    """End an UNKNOWN order as never arrived, or one that contradicts the exchange's as over.

    Raises:
        UsageError: it is neither, or the journal does not know it.
    """
    from engine.account_marks import operator_ends

    why, client = _why(args.why), args.client_id
    with _held(args) as account:
        state = account.state
        order = state.orders.get(client)
        if order is None:
            raise UsageError(f"{client}: the journal of {_name(account)} knows no such order")
        aside = any(
            about == Note.QUARANTINE and text.startswith(f"{client}: ")
            for about, text in state.notes
        )
        unknown = order.state == OrderState.UNKNOWN
        if not unknown and not (aside and order.state in AT_THE_VENUE):
            raise UsageError(f"{client}: {_not_ended(OrderState(order.state))}")
        line = order_line(state, order, order.intent_ts)
        operator_ends(account, client, why)
        what = f"{line.symbol} {line.side} {line.quantity} at {line.price}"
        how = "it never arrived" if unknown else "by what the exchange says"
        _done(account, args, [f"{client}: {what} is over, {how}"], client_id=client)
    return 0


def _not_ended(state: OrderState) -> str:
    """Say why an order is not for an operator to end."""
    if state in FINAL:
        return f"it is over already ({state.name})"
    if state in (OrderState.APPROVED, OrderState.SENT):
        return f"it is {state.name}: the next session asks the exchange about it first"
    return f"it is {state.name}: the exchange has it, and the next session cancels it there"


def main_declare(args: argparse.Namespace) -> int:
    """Let what the operator says be what the account holds of an asset.

    Raises:
        UsageError: no such amount, or an asset that is not counted.
    """
    from engine.account_marks import declare_balance

    why, asset, amount = _why(args.why), args.asset, amount_of(args.amount)
    with _held(args) as account:
        state = account.state
        known = sorted({*state.baseline, *state.money})
        if asset not in known and not args.new:
            close = get_close_matches(asset.upper(), known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"counted are {', '.join(known)};"
            raise UsageError(f"{asset}: is not counted; {hint} --new begins to count it")
        if not (asset.isalnum() and asset.isascii() and len(asset) <= MAX_ASSET):
            raise UsageError(f"{asset!r}: is no asset's name")
        before = state.expected(asset)
        declare_balance(account, asset, amount, why)
        instead = "" if before is None else f" instead of {before:f}"
        lines = [f"{asset}: {amount:f}{instead}"]
        if Latch.ACCOUNT in state.latches:
            lines.append("ACCOUNT is still latched: lab.py account clear ACCOUNT --why TEXT")
        lines += _too_little(account, asset, amount)
        _done(account, args, lines, asset=asset, amount=f"{amount:f}")
    return 0


def _too_little(account: "Account", asset: str, amount: Decimal) -> list[str]:
    """Say when a position is more than what was declared: fills alone move positions."""
    held = Decimal(0)
    for ref, lots in account.state.positions.items():
        one = account.state.markets[ref].instrument
        if one.base == asset:
            held += lots * Decimal(one.lot)
    if held <= amount:
        return []
    return [
        f"note: fills add up to a position of {held:f} {asset}, which stays: sessions will "
        "want to sell more than there is"
    ]


def amount_of(text: str) -> Decimal:
    """Return an exact amount.

    >>> amount_of("50100.25")
    Decimal('50100.25')

    Raises:
        UsageError: it is no number, negative, too large, or has more than 8 decimals.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise UsageError(f"{text!r}: is no amount; a decimal such as 50100.25")
    if amount.is_signed():
        raise UsageError(f"{text}: an account holds no less than 0")
    if amount > MAX_AMOUNT:
        raise UsageError(f"{text}: is more than the books can hold")
    exact = amount.quantize(MINOR_UNIT)
    if exact != amount:
        raise UsageError(f"{text}: amounts have at most 8 decimals")
    return Decimal(f"{exact:f}".rstrip("0").rstrip("."))


def main_clear(args: argparse.Namespace) -> int:
    """Clear a latch, or all of them.

    Raises:
        UsageError: it is not latched.
    """
    from engine.account_marks import operator_clears

    why = _why(args.why)
    word = args.latch.upper()
    if word not in (*LATCHES, ALL.upper()):
        raise UsageError(f"{args.latch}: no such latch; there are {', '.join(LATCHES)}, or {ALL}")
    with _held(args) as account:
        latched = [Latch(which) for which in sorted(account.state.latches)]
        wanted = [latch for latch in latched if word in (latch.name, ALL.upper())]
        if not wanted:
            there = ", ".join(latch.name for latch in latched) or "nothing"
            raise UsageError(f"{args.latch}: is not latched; {there} is")
        for latch in wanted:
            operator_clears(account, latch, why)
        names = [latch.name for latch in wanted]
        lines = [f"{name}: cleared" for name in names]
        if Latch.DRAWDOWN in wanted:
            lines.append("the drawdown counts anew, from the next equity that is known")
        _done(account, args, lines, latches=names)
    return 0


@contextlib.contextmanager
def _held(args: argparse.Namespace) -> Iterator["Account"]:
    """Open an account's journal for writing, and leave it as it was found.

    A torn last record is cut, as at a session's start.

    Raises:
        UsageError: a session holds it, or there is none.
        DataError: it is damaged; the message says where and what to do.
    """
    folder = account_at(args.named, args.runs)
    from engine.account import Account
    from engine.clock import SystemClock

    account = Account(folder, lambda event: None, SystemClock().now_ns)
    try:
        yield account
    finally:
        account.journal.close()


def _done(account: "Account", args: argparse.Namespace, lines: list[str], **what: Any) -> None:
    """Force it to the disk, then say so."""
    account.journal.sync()
    if args.json:
        said = {"account": _name(account), "done": args.account_command, **what}
        sys.stdout.write(to_json({**said, "why": _why(args.why)}).decode() + "\n")
    else:
        print("\n".join(lines))


def _name(account: "Account") -> str:
    return account.journal.folder.resolve().name


def _why(text: str) -> str:
    """Return an operator's reason as one line.

    Raises:
        UsageError: there is none, or it cannot be kept.
    """
    line = " ".join(text.split())
    if not line:
        raise UsageError("--why: say why, it is kept with what you do")
    if not line.isprintable() or len(line) > MAX_WHY:
        raise UsageError(f"--why: a line of at most {MAX_WHY} characters, without control codes")
    return line
