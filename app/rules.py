"""From the settings to what the kernel itself must know of them."""

from collections.abc import Sequence

from config.settings import Settings
from engine.bar_kinds import several
from engine.errors import ConfigError
from engine.events import HoldReason
from engine.instruments import Instrument, split_symbol
from engine.kernel.state import KernelRules, KernelState
from engine.session_table import EXCHANGES, sessions

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
SAMPLE_NS = 60 * NS_PER_S


def kernel_rules(
    settings: Settings, implied_wakes: bool, bars: tuple[str, ...] = ()
) -> KernelRules:
    """Translate the settings the kernel itself needs; `bars` are those beside the base bars."""
    engine = settings.engine
    return KernelRules(
        implied_wakes=implied_wakes,
        bar_interval_ns=engine.bar_interval_s * NS_PER_S,
        bar_grace_ns=engine.bar_grace_ms * NS_PER_MS,
        max_data_age_ns=engine.max_data_age_ms * NS_PER_MS,
        max_jump=engine.max_price_jump_pct / 100.0,
        jump_confirmations=engine.jump_confirmations,
        trigger_confirmations=engine.trigger_confirmations,
        max_answer_age_ns=int(settings.risk.max_signal_age_ms * NS_PER_MS),
        sample_ns=SAMPLE_NS,
        assumed_notional=settings.assumed.quote_size_notional,
        half_spread=settings.assumed.bar_spread_bps / 20_000.0,
        pairs=tuple(engine.pairs.items()),
        calendars=calendars(settings),
        exits_wait=engine.exits_wait,
        series=several(bars),
    )


def calendars(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return (symbol in its canonical form, exchange) of each instrument with regular hours."""
    found = settings.engine.calendars.items()
    return tuple((split_symbol(symbol)[0], exchange) for symbol, exchange in found)


def check_calendars(settings: Settings, instruments: Sequence[Instrument]) -> None:
    """Refuse a calendar that would guard nothing: an exchange or a symbol that is not there.

    Raises:
        ConfigError: names it, and what there is.
    """
    there = [instrument.symbol for instrument in instruments]
    for symbol, exchange in calendars(settings):
        where = f"engine.calendars.{symbol}"
        if exchange not in EXCHANGES:
            raise ConfigError(f"{where}: no exchange {exchange}; there are {', '.join(EXCHANGES)}")
        if symbol not in there:
            raise ConfigError(f"{where}: {symbol} is not on the tape; it holds {', '.join(there)}")


def beyond_table(
    state: KernelState, settings: Settings, instruments: Sequence[Instrument]
) -> list[str]:
    """Say where decisions were held because the table of sessions does not reach so far."""
    slots, notes = state.slots, []
    symbols = [instrument.symbol for instrument in instruments]
    for symbol, exchange in calendars(settings):
        mine = slots["instrument"] == symbols.index(symbol)
        held = int(slots["holds"][mine, int(HoldReason.SESSION_UNKNOWN)].sum())
        shut = int(state.sessions[symbols.index(symbol)]["shut"])
        if held or shut == HoldReason.SESSION_UNKNOWN:
            first, last = sessions(exchange)[[0, -1], 0].astype("datetime64[m]").astype(str)
            notes.append(
                f"{symbol}: the sessions of {exchange} are known from {first[:10]} to {last[:10]}; "
                f"beyond, nothing opens ({held:,} decisions held): `make sessions "
                f'ARGS="--last {int(last[:4]) + 5}-12-31"` writes a longer table'
            )
    return notes
