"""Every setting, its unit, its range and its default. Read by config/load.py, strictly.

A part of the engine receives its own small struct, never the whole. Settings without a default must
be given: no limit and no fee is ever assumed. Money is a decimal string or number in the named
currency; percentages are written as such (`_pct`), 1.5 means 1.5 %.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Percent = Annotated[float, Meta(gt=0, le=100)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Cadence = Annotated[str, Meta(pattern=r"^(quote|trade|bar:[0-9]+[smhd]|every:[0-9]+(ms|s)|every_n:[0-9]+)$")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all settings: frozen, named fields only, unknown keys refused."""


class EngineSettings(Strict):
    """How the kernel keeps time and bars."""

    bar_interval_s: Annotated[int, Meta(ge=1, le=86400)] = 60
    bar_grace_ms: Annotated[int, Meta(ge=0, le=60_000)] = 250
    block_rows: Annotated[int, Meta(ge=1, le=65_536)] = 65_536
    max_data_age_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 15_000
    max_price_jump_pct: Percent = 50.0  # a quote further than this from the last waits for confirmation
    jump_confirmations: Annotated[int, Meta(ge=1, le=1000)] = 3
    trigger_confirmations: Annotated[int, Meta(ge=1, le=1000)] = 2  # quotes beyond a stop before it fires
    batch_rows: Annotated[int, Meta(ge=1, le=4096)] = 1024  # decisions evaluated ahead in one batch; 1 is off


class AssumedMarket(Strict):
    """What is assumed where the data does not say. Both stand in every run's summary."""

    quote_size_notional: Positive  # size at the touch of quotes without sizes, in quote currency
    bar_spread_bps: NonNegative  # spread of the quotes made from bars


class PaperVenue(Strict):
    """The paper venue's behaviour. Fees must be given; negative is a rebate."""

    maker_fee_bps: Annotated[float, Meta(ge=-100, le=1000)]
    taker_fee_bps: Annotated[float, Meta(ge=-100, le=1000)]
    order_latency_ms: NonNegative = 20.0  # from approval to the venue's book
    cancel_latency_ms: NonNegative = 20.0
    decision_latency_ms: NonNegative = 1.0  # inference and decision of inline models


class Portfolio(Strict):
    """What the account starts with."""

    balances: dict[str, str]  # currency -> decimal amount
    reporting_currency: str = "USDT"


class RiskLimits(Strict):
    """The gate's limits, in quote currency where they are money. None has a default of `unlimited`."""

    max_order_notional: Positive
    max_position_notional: Positive  # per instrument, at cost
    max_model_exposure: Positive  # per model unless the model states its own
    max_gross_exposure: Positive
    max_price_deviation_pct: Percent  # collar around the current mid
    max_orders_per_s: Positive
    max_open_orders: Annotated[int, Meta(ge=1, le=256)]
    duplicate_window_ms: NonNegative
    max_market_age_ms: Positive
    max_signal_age_ms: Positive
    max_daily_loss: Positive
    max_drawdown_pct: Percent
    allow_short: bool = False
    reduce_to_fit: bool = True  # approve the part of an order that the limits leave room for


class StrategySettings(Strict):
    """One running strategy."""

    name: Name
    models: tuple[Name, ...] = ()  # model names it listens to; empty means all
    symbols: tuple[str, ...] = ()  # empty means all on the tape
    params: dict[str, float | int | str | bool] = {}


class ModelSettings(Strict):
    """One running model."""

    name: Name
    model_id: Name
    version: str = "production"
    cadence: Cadence
    symbols: tuple[str, ...] = ()
    min_confidence: Share = 0.0
    max_exposure: Positive | None = None  # quote currency; None takes risk.max_model_exposure
    mode: Annotated[str, Meta(pattern="^(production|shadow)$")] = "production"


class Settings(Strict):
    """The whole configuration of a run."""

    engine: EngineSettings = EngineSettings()
    assumed: AssumedMarket
    paper: PaperVenue
    portfolio: Portfolio
    risk: RiskLimits
    strategies: tuple[StrategySettings, ...]
    models: tuple[ModelSettings, ...] = ()
    artifacts_dir: str = "artifacts"
    runs_dir: str = "runs"
