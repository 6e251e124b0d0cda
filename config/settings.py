"""Every setting, its unit, its range and its default. Read by config/load.py, strictly.

A part of the engine receives its own small struct, never the whole. Settings without a default must
be given: no limit and no fee is ever assumed. Money is a decimal string or number in the named
currency; percentages are written as such (`_pct`), 1.5 means 1.5 %. The comment behind a setting
becomes its line in docs/configuration.md (`python -m config.document` writes that page).
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Percent = Annotated[float, Meta(gt=0, le=100)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Deadline = Annotated[float, Meta(gt=0, le=60_000)]
Cores = tuple[Annotated[int, Meta(ge=0, le=4095)], ...]
Fee = Annotated[float, Meta(ge=-100, le=1000)]
Cadence = Annotated[
    str,
    Meta(
        pattern=r"^(quote|trade|bar:[0-9]+[smhd]|bar:(ticks|volume|dollar):[0-9.]+"
        r"|every:[0-9]+(ms|s)|every_n:[0-9]+|members)$",
        description="quote, trade, bar:1m, bar:ticks:500, bar:volume:25, bar:dollar:250000, "
        "every:250ms or every_n:50 (the numbers are free); members for a fused model",
    ),
]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$",
        description="a name of letters, digits, `_`, `.`, `-`, at most 64",
    ),
]
Currency = Annotated[
    str,
    Meta(pattern=r"^[A-Z0-9]{2,16}$", description="a currency in capitals, such as USDT"),
]
Amount = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,10}(\.[0-9]{1,8})?$",
        description='a quoted decimal amount of at most 8 decimals, such as "10000.50"',
    ),
]
Variable = Annotated[
    str,
    Meta(
        pattern=r"^([A-Z_][A-Z0-9_]{0,63})?$",
        description="the name of an environment variable, in capitals, or nothing",
    ),
]
Mode = Annotated[
    str,
    Meta(pattern="^(production|shadow|ab)$", description="production, shadow or ab"),
]
NoName = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z][A-Za-z0-9_.-]{0,63})?$",
        description="a name of letters, digits, `_`, `.`, `-`, at most 64, or nothing",
    ),
]
Rule = Annotated[
    str,
    Meta(pattern="^(vote|confidence|stacking)$", description="vote, confidence or stacking"),
]
Opposed = Annotated[str, Meta(pattern="^(hold|weigh)$", description="hold or weigh")]
SplitBy = Annotated[str, Meta(pattern="^(instrument|time)$", description="instrument or time")]
TaskType = Annotated[
    str,
    Meta(pattern="^(classifier|regressor|)$", description="classifier, regressor or nothing"),
]
Sha256 = Annotated[
    str, Meta(pattern="^([0-9a-f]{64})?$", description="64 hexadecimal digits, or nothing")
]
WatchCheck = Annotated[
    str,
    Meta(
        pattern="^(features|outputs|dissimilar|calibration|strikes|constant|latency|age)$",
        description="features, outputs, dissimilar, calibration, strikes, constant, latency, age",
    ),
]
OnDemotion = Annotated[str, Meta(pattern="^(hold|previous)$", description="hold, previous")]


ToldEvent = Annotated[
    str,
    Meta(
        pattern="^(start|stop|halt|kill|feed_lost|order_unknown"
        "|model_swapped|model_refused|model_demoted)$",
        description="start, stop, halt, kill, feed_lost, order_unknown, model_swapped, "
        "model_refused, model_demoted",
    ),
]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all settings: frozen, named fields only, unknown keys refused."""


class EngineSettings(Strict, frozen=True, kw_only=True):
    """How the kernel keeps time and bars."""

    bar_interval_s: Annotated[int, Meta(ge=1, le=86400)] = 60  # of the base bars; see docs/bars.md
    bar_grace_ms: Annotated[int, Meta(ge=0, le=60_000)] = 250  # a bar closes so long after its end
    block_rows: Annotated[int, Meta(ge=1, le=65_536)] = 65_536  # rows a kernel call handles at most
    max_data_age_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 15_000  # older touch: models HOLD
    max_price_jump_pct: Percent = 10.0  # a quote further than this from the last needs confirming
    jump_confirmations: Annotated[int, Meta(ge=1, le=1000)] = 3  # quotes that confirm such a jump
    trigger_confirmations: Annotated[int, Meta(ge=1, le=1000)] = 2  # quotes that fire a stop
    max_order_age_ms: Annotated[int, Meta(ge=1, le=60_000)] = 500  # --live: older is not sent
    pairs: dict[Name, Name] = {}  # symbol -> the one whose bars its pair features read
    calendars: dict[Name, Name] = {}  # symbol -> exchange: opens only in its regular hours
    exits_wait: bool = True  # exits and stops wait for them too; false: they go at any time
    batch_rows: Annotated[int, Meta(ge=1, le=4096)] = 1024  # decisions evaluated ahead; 1: none
    inference_cores: Cores = ()  # of threads for heavy models, in turn; empty: the last one allowed


class AssumedMarket(Strict, frozen=True, kw_only=True):
    """What is assumed where the data does not say. Both stand in every run's summary."""

    quote_size_notional: Positive  # size at the touch of quotes without sizes, in quote currency
    bar_spread_bps: NonNegative  # spread of the quotes made from bars


class PaperVenue(Strict, frozen=True, kw_only=True):
    """The paper venue's behaviour. Fees must be given; negative is a rebate."""

    maker_fee_bps: Fee  # fee of fills that rested in the book
    taker_fee_bps: Fee  # fee of fills that took from the book
    order_latency_ms: NonNegative = 20.0  # from approval to the venue's book
    cancel_latency_ms: NonNegative = 20.0  # from the wish to cancel to the venue's book
    decision_latency_ms: NonNegative = 1.0  # inference and decision of inline models


class Portfolio(Strict, frozen=True, kw_only=True):
    """What the account starts with."""

    balances: dict[Currency, Amount]  # currency -> amount
    reporting_currency: Currency = "USDT"  # totals are given in this one


class RiskLimits(Strict, frozen=True, kw_only=True):
    """The gate's limits, in quote currency where they are money. None may be left out."""

    max_order_notional: Positive  # value of one order
    max_position_notional: Positive  # per instrument, at cost
    max_model_exposure: Positive  # per model unless the model states its own
    max_gross_exposure: Positive  # sum over all instruments
    max_price_deviation_pct: Percent  # collar around the current mid
    max_orders_per_s: Positive  # orders in any second
    max_open_orders: Annotated[int, Meta(ge=1, le=256)]  # orders resting or on their way
    duplicate_window_ms: NonNegative  # the same order again within this time is refused
    max_market_age_ms: Positive  # age of the touch that an order is checked against
    max_signal_age_ms: Positive  # age of the signal behind an order
    max_daily_loss: Positive  # loss since midnight UTC that stops new exposure
    max_drawdown_pct: Percent  # fall from the highest equity that stops new exposure
    allow_short: bool = False  # false: only what is held can be sold
    reduce_to_fit: bool = True  # approve the part of an order that the limits leave room for


class StrategySettings(Strict, frozen=True, kw_only=True):
    """One running strategy."""

    name: Name  # file of strategies/ without .py
    models: tuple[Name, ...] = ()  # names of the models it listens to; empty means all
    symbols: tuple[str, ...] = ()  # empty means all on the tape
    params: dict[str, float | int | str | bool] = {}  # the strategy's own settings


class FusionSettings(Strict, frozen=True, kw_only=True):
    """How the advice of several models becomes one; see docs/ensemble.md."""

    rule: Rule = "vote"  # how members become one signal
    members: tuple[Name, ...]  # names of models of this file, two at least; their weights count
    threshold: Share = 0.6  # least score; below it HOLD, like below its strategy's threshold
    min_members: Count | None = None  # fewer that advised of late: HOLD; null: 1, stacking all
    max_age_ms: Positive | None = None  # older advice is missing; null: by the member's cadence
    opposed: Opposed = "hold"  # members advise BUY and SELL at once: HOLD, or the stronger side
    stacker: str = ""  # stacking: path of the ONNX file that reads the members' probabilities
    stacker_sha256: Sha256 = ""  # stacking: its hash; other bytes are refused


class SplitSettings(Strict, frozen=True, kw_only=True):
    """How an A/B split shares the market among its models; by their weights."""

    by: SplitBy  # each instrument has one model, or each slice of time
    slice_s: Annotated[int, Meta(ge=1, le=31_536_000)] = 3600  # length of a slice of market time
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 0  # another seed shares out anew


class ModelSettings(Strict, frozen=True, kw_only=True):
    """One running model: of the registry, of another artifacts folder, or fused of others."""

    name: Name  # what this run calls it
    model_id: NoName = ""  # id in artifacts/registry.json
    version: str = "production"  # a version, or production for the one in production
    path: str = ""  # in place of both: the folder ROOT/ID/VERSION in another artifacts folder
    fusion: FusionSettings | None = None  # in place of all three: it is made of other models
    cadence: Cadence = "members"  # when it is asked; must be given of all but fused models
    symbols: tuple[str, ...] = ()  # empty means all on the tape
    min_confidence: Share = 0.0  # below it a signal is HOLD, like below its strategy's threshold
    max_exposure: Positive | None = None  # quote currency; null takes risk.max_model_exposure
    deadline_ms: Deadline | None = None  # of a model on a thread; null: 4 latencies, 50 at least
    mode: Mode = "production"  # a shadow's signals are recorded and never cause an order
    weight: Positive = 1.0  # in fused models, and its share of an A/B split
    split: NoName = ""  # mode ab: which of `splits` it belongs to
    size_quote: Positive | None = None  # size of an entry, quote currency; null: the strategy's
    kind: NoName = ""  # must be the registry's; empty: not compared. A run serves onnx
    features: str = ""  # must be the hash of its feature spec, or its beginning; empty: any
    target: str = ""  # must be the registry's task; empty: any
    task_type: TaskType = ""  # must fit its outputs; empty: any
    horizon: str = ""  # must be the registry's, such as "30 bars"; empty: any
    signal_from: Name | None = None  # own state: name of the model whose signal it is told
    classifier_from: Name | None = None  # own state: whose probability; null: as signal_from
    book_from: Name | None = None  # own state: whose position, losses, exposure; null: its own
    signal_age_ms: Positive | None = None  # own state: of signals; null: as risk says


class NotifySettings(Strict, frozen=True, kw_only=True):
    """Who is told of events. Addresses hold secrets: they stand in the environment only."""

    urls_env: Variable = ""  # variable that holds the addresses; empty: nobody is told
    events: tuple[ToldEvent, ...] = ()  # what is told, docs/notifications.md; none: all
    min_interval_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0  # between two of the same code


class ReloadSettings(Strict, frozen=True, kw_only=True):
    """How running sessions are asked for other model versions; see docs/hot_reload.md."""

    signal_file: str = ""  # its path; empty: models.signal in the artifacts folder


class WatchSettings(Strict, frozen=True, kw_only=True):
    """When a model counts as drifted; see docs/model_watch.md."""

    period_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0  # between looks in a session; 0: none
    demote_on: tuple[WatchCheck, ...] = (  # checks whose failing takes a model's orders away
        "features", "outputs", "dissimilar", "calibration", "strikes", "constant",
    )  # fmt: skip
    on_demotion: OnDemotion = "hold"  # previous: the version that served before trades on
    confirmations: Annotated[int, Meta(ge=1, le=100)] = 2  # looks in a row that must say so
    least_rows: Annotated[int, Meta(ge=50, le=1_000_000)] = 500  # fewer are not judged
    window_rows: Annotated[int, Meta(ge=50, le=1_000_000)] = 20_000  # the latest so many are judged
    max_psi: Positive = 0.25  # population stability index of a feature, 20 bins
    max_ks: Share = 0.2  # Kolmogorov-Smirnov distance of a feature
    max_drifted_share: Share = 0.5  # features that may have drifted
    adwin_delta: Annotated[float, Meta(gt=0, lt=1)] = 0.002  # chance of seeing a change in none
    max_output_shift: Share = 0.2  # of the mean of p_buy - p_sell, or of a position, since it began
    max_dissimilar_share: Share = 0.25  # rows further out than 99 % of the training rows
    horizon_s: Positive = 60.0  # when advice is held against the mid price
    max_calibration_gap: Share = 0.2  # between confidence and how often it was right
    max_strikes_share: Share = 0.05  # answers that were no number, failed or came too late
    strikes: Annotated[int, Meta(ge=0, le=1000)] = 3  # no number, no chances, raised: out; 0: never
    deadline_misses: Annotated[int, Meta(ge=0, le=1000)] = 10  # that make it a shadow; 0: never
    strike_runs: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000  # among which these are counted
    max_latency_ratio: Positive = 10.0  # of the median to what the registry says
    max_age_days: Positive = 365.0  # since the model was made


class Settings(Strict, frozen=True, kw_only=True):
    """The whole configuration of a run."""

    engine: EngineSettings = EngineSettings()  # time and bars
    assumed: AssumedMarket  # where the data does not say
    paper: PaperVenue  # fees and latencies of paper trading
    portfolio: Portfolio  # opening balances
    risk: RiskLimits  # the gate
    strategies: tuple[StrategySettings, ...]  # what turns signals into intents
    models: tuple[ModelSettings, ...] = ()  # none: strategies run without advice
    models_file: str = ""  # file with `models` and `splits`, beside this one or in config/
    splits: dict[Name, SplitSettings] = {}  # A/B splits by name
    notify: NotifySettings = NotifySettings()  # who is told of events
    reload: ReloadSettings = ReloadSettings()  # how models are swapped while a session runs
    watch: WatchSettings = WatchSettings()  # when a model counts as drifted
    artifacts_dir: str = "artifacts"  # where models are
    runs_dir: str = "runs"  # where runs are written
