"""Everything of one run that outlives the building of it."""

from collections.abc import Callable

from app.ahead import Ahead
from app.asked_again import AskedAgain
from app.kernel import KernelModule
from app.samples import Samples
from app.serving import Serving
from app.shadows import Shadows
from app.slots import SlotPlan
from app.swap import Swaps
from config.settings import Settings, StrategySettings
from engine.audit import AuditWriter
from engine.fills import FillDesk
from engine.instruments import Instrument
from engine.kernel.state import KernelState
from engine.model_answers import ModelAnswers
from engine.pipeline import Pipeline
from engine.portfolio import Portfolio
from engine.ports import Strategy, Venue
from engine.records import Recorder
from engine.venue_answers import VenueAnswers
from features.spec import FeatureSpec
from risk.gate import Gate

NewVenue = Callable[[Callable[[], int]], Venue]  # made with kernel time


class Parts:
    """Everything of one run that outlives the building of it."""

    settings: Settings
    instruments: tuple[Instrument, ...]
    quote: str
    models: list[Serving]
    strategies: list[tuple[StrategySettings, Strategy]]
    plans: list[SlotPlan]
    specs: list[FeatureSpec]
    bars: tuple[str, ...]  # beside the base bars
    kernel: KernelModule
    state: KernelState
    gate: Gate
    portfolio: Portfolio
    desk: FillDesk
    recorder: Recorder
    audit: AuditWriter
    samples: Samples
    pipeline: Pipeline
    ahead: Ahead | None
    shadows: Shadows
    model_answers: ModelAnswers
    asked_again: AskedAgain | None = None  # of a session's replay
    answers: VenueAnswers | None  # of a venue outside of the kernel
    swaps: Swaps
    window: tuple[int, int, int]
    row_by_row: str  # why nothing is evaluated ahead, "" where it may be
