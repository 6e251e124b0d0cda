"""How numbers, times and names of a run are written for a person."""

import datetime
import os
from typing import Any

from engine.audit_layout import NO_INDEX
from engine.audit_story import SignalFate
from engine.instruments import decimals
from engine.run_files import Names

MINOR = 100_000_000


def console(*, stderr: bool = False) -> Any:
    """Return a rich console: 80 columns where the terminal does not say, at most 100."""
    from rich.console import Console

    out = Console(stderr=stderr, highlight=False)
    out.width = min(out.width, 100) if out.is_terminal else 80
    return out


def has_terminal() -> bool:
    """Say whether this process has a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def utc(ts: int, *, date: bool = False) -> str:
    """Write ns since the epoch as UTC, to the millisecond.

    >>> utc(1_700_000_000_123_456_789), utc(1_700_000_000_123_456_789, date=True)
    ('22:13:20.123', '2023-11-14 22:13:20.123')
    """
    moment = datetime.datetime.fromtimestamp(ts // 1_000_000_000, datetime.UTC)
    text = moment.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S")
    return f"{text}.{ts // 1_000_000 % 1000:03d}"


def span(seconds: float) -> str:
    """Write a duration.

    >>> span(0.25), span(75), span(7_500), span(200_000)
    ('0.2 s', '1 min 15 s', '2 h 5 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small, small_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {small_unit}"
    return f"{seconds:.1f} s"


def percent(share: float) -> str:
    """Write a share in percent, with more decimals where it is small.

    >>> percent(0.0123), percent(0.0000371), percent(0.0)
    ('1.23%', '0.0037%', '0%')
    """
    if share == 0:
        return "0%"
    return f"{share:.2%}" if abs(share) >= 0.0005 else f"{share:.4%}"


def short_reason(name: str) -> str:
    """Write an enum's name as words.

    >>> short_reason("MODEL_EXPOSURE")
    'model exposure'
    """
    return name.lower().replace("_", " ")


class Units:
    """Names, prices and quantities by index."""

    def __init__(self, names: Names) -> None:
        """Take the tables of a run."""
        self._instruments = {one.index: one for one in names.instruments}
        self._models = {one.index: one for one in names.models}

    def instrument(self, index: int) -> str | None:
        """Return venue:SYMBOL, None where there is none."""
        one = self._instruments.get(index)
        return one.name if one else None

    def symbol(self, index: int) -> str:
        """Return the symbol alone, for narrow tables."""
        name = self.instrument(index) or "-"
        return name.partition(":")[2] or name

    def base(self, index: int) -> str:
        """Return the base currency."""
        one = self._instruments.get(index)
        return one.base if one else ""

    def quote(self, index: int) -> str:
        """Return the quote currency."""
        one = self._instruments.get(index)
        return one.quote if one else ""

    def model(self, index: int) -> str | None:
        """Return a model's name, None where there is none."""
        one = self._models.get(index) if index != NO_INDEX else None
        return one.name if one else None

    def price(self, index: int, tick: float) -> float | None:
        """Return ticks as a price; more decimals than the tick's for an average."""
        one = self._instruments.get(index)
        if one is None or not tick or tick != tick:
            return None
        places = decimals(one.tick)
        return round(tick * float(one.tick), places if tick == int(tick) else places + 2)

    def price_text(self, index: int, price: float | None) -> str:
        """Write a price with the tick's decimals.

        An absent price is a dash.
        """
        one = self._instruments.get(index)
        if price is None or one is None:
            return "-"
        return f"{price:,.{decimals(one.tick)}f}"

    def price_decimals(self, index: int) -> int:
        """Return the decimals of an instrument's tick."""
        one = self._instruments.get(index)
        return decimals(one.tick) if one else 8

    def quantity(self, index: int, lots: int) -> float:
        """Return lots as base units."""
        one = self._instruments.get(index)
        if one is None:
            return float(lots)
        return round(lots * float(one.lot), decimals(one.lot))


def fate_row(fate: SignalFate, names: Names) -> tuple[str, str, str, str, str]:
    """Return one row of the table of last signals."""
    units = Units(names)
    p = {"SELL": fate.p_sell, "BUY": fate.p_buy}.get(fate.action, fate.p_hold)
    model = units.model(fate.model)
    what = f"{fate.action} {units.symbol(fate.instrument)} by {model}"
    if model is None:
        what = f"strategy on {units.symbol(fate.instrument)}"
    chance = f"{p:.0%}" if p == p and model else "-"
    return str(fate.signal_id), utc(fate.ts), what, chance, _fate_words(fate, units)


def _fate_words(fate: SignalFate, units: Units) -> str:
    if fate.action == "HOLD" and fate.intent_id is None:
        return f"held: {short_reason(fate.reason)}"
    if fate.intent_id is None:
        return "no intent"
    if not fate.verdict:
        return "no verdict yet"
    if fate.verdict == "BLOCKED":
        return "blocked: " + ", ".join(short_reason(name) for name in fate.blocks)
    words = f"order {fate.order_id} {short_reason(fate.state or 'APPROVED')}"
    if fate.filled_lot:
        average = units.price(fate.instrument, fate.value_tick_lot / fate.filled_lot)
        words += f" at {units.price_text(fate.instrument, average)}"
    if fate.protected_by:
        words += f", {short_reason(fate.protected_how)} by order {fate.protected_by[-1]}"
    if fate.realized_minor:
        words += f", P&L {fate.realized_minor / MINOR:+,.2f}"
    return words
