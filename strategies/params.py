"""The parameters that strategies share: what they may be, and what is made of them."""

from collections.abc import Mapping
from typing import NamedTuple

from engine.errors import ConfigError

NS_PER_S = 1_000_000_000
Params = Mapping[str, float | str | bool]
Ranges = Mapping[str, tuple[float, float]]
SHARED: Ranges = {  # the usual ones; a strategy may say others of its own
    "threshold": (0.0, 1.0),
    "size_quote": (1e-8, 1e12),
    "stop_loss_pct": (0.0, 99.0),
    "take_profit_pct": (0.0, 1e6),
    "cooldown_s": (0.0, 1e6),
}


class Trading(NamedTuple):
    """The shared parameters as `decide` wants them; 0 where a strategy has no such parameter."""

    size_quote: float  # of an entry, quote currency
    protect: tuple[float, float]  # distances of stop and target from the touch as shares; 0: none
    cooldown_ns: int  # pause after an order, market time
    allow_short: bool


def read_trading(name: str, params: Params, ranges: Ranges) -> Trading:
    """Check all parameters of a strategy and return the shared ones.

    Args:
        name: of the strategy.
        params: all of them.
        ranges: of its own parameters, and of shared ones where it wants other ranges.
    Raises:
        ConfigError: the first one out of range, with what is allowed.
    Example:
        >>> params = {"stop_loss_pct": 1.5, "take_profit_pct": 0.0, "cooldown_s": 2.0}
        >>> trading = read_trading("mine", {**params, "allow_short": True}, {})
        >>> trading.protect, trading.cooldown_ns
        ((0.015, 0.0), 2000000000)
    """
    shared = {key: limits for key, limits in SHARED.items() if key in params}
    check_ranges(name, params, {**shared, **ranges})
    return Trading(
        size_quote=float(params.get("size_quote", 0.0)),
        protect=(float(params["stop_loss_pct"]) / 100.0, float(params["take_profit_pct"]) / 100.0),
        cooldown_ns=int(float(params["cooldown_s"]) * NS_PER_S),
        allow_short=bool(params["allow_short"]),
    )


def check_ranges(name: str, params: Params, ranges: Ranges) -> None:
    """Refuse parameters out of range, ends included.

    Args:
        name: of the strategy.
        ranges: lowest and highest value by parameter.
    Raises:
        ConfigError: the first one, with what is allowed.
    """
    for key, (low, high) in ranges.items():
        if not low <= float(params[key]) <= high:
            raise ConfigError(
                f"strategies.{name}.params.{key}: {params[key]} must be {low:g}..{high:g}"
            )
