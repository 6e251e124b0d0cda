"""An account for a person: lines of at most 80 columns where names allow."""

import datetime
import textwrap

from app.account_view import AccountView, LossLine, OrderLine
from app.live_text import clean
from app.terminal import short_reason, utc

WIDTH = 80
INDENT = " " * 13
MAX_ORDERS = 40  # lines of open orders
EPOCH = datetime.date(1970, 1, 1)


def lines_of(view: AccountView) -> list[str]:
    """Write an account."""
    held = f"by the engine with process id {view.held_by}" if view.held_by else "by nobody"
    journal = f"{view.records:,} records of {view.runs:,} runs, the last at {_second(view.last_ts)}"
    lines = [clean(f"{view.account}  {view.folder}")]
    lines += _part("held", [held])
    lines += _part("journal", [journal, *_torn(view.torn_bytes)])
    latches = []
    for one in view.latches:
        latches += [f"{one.latch} since {_second(one.since)}", f"  {clean(one.why)}"]
    lines += _part("latched", latches or ["nothing"])
    lines += _part("open", _orders(view.orders) or ["none"])
    positions = [
        f"{one.symbol} {one.quantity} for {one.cost} {one.quote}"
        + (f" ({clean(one.model)})" if one.model else "")
        for one in view.positions
    ]
    lines += _part("positions", positions or ["none"])
    balances = [f"{clean(asset)} {amount}" for asset, amount in view.balances.items()]
    lines += _part("balances", balances or ["none yet: the first session counts them"])
    if view.losses is not None:
        lines += _part("losses", [_loss(view.losses)])
    notes = [
        f"{_second(one.ts)}  {short_reason(one.about)}: {clean(one.text)}" for one in view.notes
    ]
    lines += _part("notes", notes or ["none"])
    return lines + _part("you can", _remedies(view))


def _part(label: str, texts: list[str]) -> list[str]:
    """Write lines behind a label, wrapped; nothing where there are none."""
    lines: list[str] = []
    for at, text in enumerate(texts):
        inner = len(text) - len(text.lstrip())
        first = f"  {label:<11}" if at == 0 else INDENT
        lines += textwrap.wrap(
            text.lstrip(),
            WIDTH,
            initial_indent=first + " " * inner,
            subsequent_indent=INDENT + "  " + " " * inner,
            break_on_hyphens=False,
        )
    return lines


def _orders(orders: tuple[OrderLine, ...]) -> list[str]:
    lines = []
    for one in orders[:MAX_ORDERS]:
        filled = f", {one.filled} filled" if one.filled != "0" else ""
        lines.append(
            f"{one.client_id} {one.symbol} {one.side} {one.quantity} at {one.price}{filled}"
        )
        doubt = f" ({short_reason(one.doubt)})" if one.doubt else ""
        lines.append(f"  {one.state} since {_second(one.since)}{doubt}")
    if len(orders) > MAX_ORDERS:
        lines.append(f"and {len(orders) - MAX_ORDERS:,} more")
    return lines


def _loss(loss: LossLine) -> str:
    day = EPOCH + datetime.timedelta(days=loss.day)
    peak = "the peak begins anew" if loss.peak is None else f"the peak lies {loss.peak} above cost"
    return f"{day} began {loss.began} above cost; {peak}"


def _remedies(view: AccountView) -> list[str]:
    """Say what an operator can do now, once the exchange has been looked at."""
    if not (view.latches or any(one.state == "UNKNOWN" for one in view.orders)):
        return []
    if view.held_by:
        return ["speak when the session is over; then look at the exchange first"]
    found = ["look at the exchange first; then, each with --why TEXT:"]
    if any(one.state == "UNKNOWN" for one in view.orders):
        found.append("  lab.py account end-order CLIENT_ID   it never arrived there")
    if any(one.latch == "ACCOUNT" for one in view.latches):
        found.append("  lab.py account declare ASSET AMOUNT  that is what it holds there")
    found += [f"  lab.py account clear {one.latch:<16}trade again" for one in view.latches]
    return found


def _torn(count: int) -> list[str]:
    if not count:
        return []
    return [f"{count} bytes of a torn record stand behind it; the next start cuts them"]


def _second(ts: int) -> str:
    """Write a time as UTC, to the second."""
    return utc(ts, date=True)[:19]
