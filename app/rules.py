"""The settings that the kernel itself needs, in its units."""

from config.settings import Settings
from engine.bar_kinds import several
from engine.kernel.state import KernelRules
from engine.rows import NS_PER_S

NS_PER_MS = 1_000_000
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
        series=several(bars),
    )
