"""The files of a run folder: their names and their exact structs, and how a run is found.

runs/<id>/
  config.json          RunConfigFile: the resolved settings, secrets removed
  live.json            LiveRun: of a live run only: the account its orders went to
  tape/ref.json        TapeRef: which tape was replayed, by content hash
  tape/control.jsonl   what the tape's swap rows refer to, engine/control_log.py
  audit/000000.audit   AUDIT records, engine/audit_layout.py
  audit/chain.jsonl    ChainLink, one line per CHAIN_RECORDS records and one at the end
  audit/events.jsonl   EventLine, the text of each EVENT record
  audit/names.json     Names: what the indices in the records stand for
  audit.jsonl          the same audit as text, rendered from the records
  summary.json         Summary, also what `--json` prints
  report.html report.png
  samples/*.npz        drawn in the report, no part of the audit:
    equity.npz         ts i8[n], equity f8[n], drawdown f8[n] (share of the peak, 0.01 is 1 %)
    prices.npz         ts_<index> i8[n], mid_<index> f8[n] for each instrument index
    features.npz       names str[F], rows f4[n, F]
    latency.npz        <stage> i8[n], nanoseconds
"""

from pathlib import Path
from typing import Any

import msgspec

from engine.audit_layout import AUDIT_LAYOUT_VERSION
from engine.errors import DataError
from engine.served import ServedVersion

RUN_FORMAT = 1
CONFIG = "config.json"
LIVE = "live.json"
TAPE_REF = "tape/ref.json"
AUDIT_RECORDS = "audit/000000.audit"
CHAIN = "audit/chain.jsonl"
EVENTS = "audit/events.jsonl"
NAMES = "audit/names.json"
AUDIT_TEXT = "audit.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"
REPORT_PICTURE = "report.png"
SAMPLES = "samples"
TAPE_EVENT = "tape"  # the event whose text is the sha256 of the tape: so the chain binds it
FIRST_CHAIN = bytes(32)  # the chain value before the first link


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the structs kept in a run folder; fields of later versions are passed over."""


class RunConfigFile(_File):
    """config.json: everything the run was started with."""

    run_id: str
    mode: str  # replay, paper, live
    settings: dict[str, Any]  # config.settings.Settings as plain values
    format: int = RUN_FORMAT
    layout: int = AUDIT_LAYOUT_VERSION
    version: str = ""  # of the program
    started_at: str = ""  # wall clock, ISO 8601 UTC; in no digest
    command: tuple[str, ...] = ()
    inputs_sha256: str = ""  # the words of the RUN record
    inputs: tuple[str, ...] = ()  # paths as the person named them
    model_overrides: tuple[str, ...] = ()  # --model ID:VERSION
    answers_on_tape: bool = False  # SIGNAL rows answered for models on threads


class LiveRun(_File):
    """live.json: where the run's orders are journalled."""

    account: str  # its folder, absolute; else one of that name in accounts/ beside the run
    tag: str  # of the run's client order ids


class TapeRef(_File):
    """tape/ref.json: the tape that the run replayed."""

    path: str  # its folder; another one with the same sha256 will do
    sha256: str  # content identity, as in tape.json
    rows: int
    wakes: str = "implied"


class InstrumentName(_File):
    """One row of the instrument table. `unit_minor` is exact: it need not be whole."""

    index: int
    name: str  # venue:SYMBOL
    base: str
    quote: str
    tick: str  # decimal
    lot: str  # decimal
    unit_minor: str  # decimal: one tick times one lot in minor units (1e-8) of the quote currency
    inferred: tuple[str, ...] = ()


class ModelName(_File):
    """One row of the model table."""

    index: int
    name: str
    id: str
    version: str
    sha256: str = ""  # empty where there is no file
    limit_minor: int = 0  # exposure limit in minor units of its quote currency
    mode: str = "production"  # production, shadow, ab
    status: str = "SERVING"  # ModelStatus name at the start
    note: str = ""  # why it does not serve, and the command that helps
    min_confidence: float = 0.0
    placement: str = "inline"  # or thread
    trades: bool | None = None  # whether its signals may cause orders, at the start
    features: tuple[str, ...] = ()  # its columns at the start, where own state is among them
    feature_spec_sha256: str = ""  # of what it reads, as in its metadata; empty without a file
    kernel_identity: str = ""  # of the code that computes it


class RunName(_File):
    """What the records say of the run, in words."""

    id: str
    mode: str
    inputs_sha256: str = ""
    reporting_currency: str = ""
    threshold: float = 0.0  # of the strategy, for the story of a signal


class Names(_File):
    """audit/names.json: what the indices of the records stand for."""

    instruments: tuple[InstrumentName, ...]
    models: tuple[ModelName, ...]
    run: RunName
    format: int = RUN_FORMAT
    layout: int = AUDIT_LAYOUT_VERSION


class ChainLink(_File):
    """One line of audit/chain.jsonl."""

    block: int  # from 0
    first_seq: int
    records: int  # CHAIN_RECORDS, fewer in the last
    chain: str  # hex, see engine/audit_streams.py
    tape_row: int  # rows of the tape consumed when the link was made
    tape_sha256: str  # hex of tape_hash over the complete blocks up to tape_row


class EventLine(_File):
    """One line of audit/events.jsonl: the words of an EVENT record."""

    event_id: int
    ts: int
    code: int
    name: str  # short, constant: model_refused, gap, run_end
    text: str = ""


class Signals(_File):
    """Signals by action; HOLDs by reason."""

    buy: int = 0
    sell: int = 0
    hold: int = 0
    hold_reasons: dict[str, int] = {}


class ProfitLoss(_File):
    """Money in the reporting currency, after fees; null where there is no conversion."""

    realized: float | None = None
    unrealized: float | None = None
    total: float | None = None


class Latency(_File):
    """Microseconds of one stage."""

    p50: float | None
    p99: float | None
    p999: float | None
    max: float | None


class ModelLine(_File):
    """A model as the summary names it; version and sha256 are those at the end."""

    id: str
    version: str
    sha256: str
    status: str
    name: str = ""
    mode: str = "production"  # shadow, ab
    note: str = ""
    placement: str = "inline"  # or thread: then the two below are counted
    requests: int = 0
    answers: dict[str, int] = {}  # by how the request ended
    served: tuple[ServedVersion, ...] = ()  # in the order in which they first served
    evaluated: str = ""  # why the run decided row by row; empty where batches ahead may be


class BookLine(_File):
    """One book at the end of a run; money in the quote currency of its instrument."""

    owner: str  # name of the model or strategy; empty for strategies without a model
    kind: str  # model or strategy
    instrument: str
    position: float  # base units, signed
    average_price: float | None
    realized: float  # before fees
    unrealized: float | None  # null while what is held has no price
    fees: float
    max_drawdown: float  # largest fall of the result after fees


class Summary(_File):
    """summary.json, and the one object that `--json` prints. Money is in `reporting_currency`."""

    run_id: str
    run_dir: str
    mode: str
    exit_reason: str  # done, interrupted, halted, failed
    instruments: tuple[str, ...] = ()
    events: int = 0
    kernel_calls: int = 0
    wall_s: float = 0.0
    events_per_s: float = 0.0
    market_span_s: float = 0.0
    decisions: int = 0  # those of shadows apart
    shadow_decisions: int = 0
    signals: Signals = Signals()
    intents: int = 0
    approved: int = 0
    reduced: int = 0
    blocked: dict[str, int] = {}
    orders: int = 0
    fills: int = 0
    rejects: int = 0
    fees: dict[str, float] = {}  # by currency
    pnl: ProfitLoss = ProfitLoss()
    reporting_currency: str = ""
    equity: float | None = None
    max_drawdown: float | None = None  # share of the peak: 0.012 is 1.2 %
    exposure_max: dict[str, float] = {}  # by model name, quote currency
    limits: dict[str, Any] = {}  # config.settings.RiskLimits, and model_exposure by model name
    models: tuple[ModelLine, ...] = ()
    books: tuple[BookLine, ...] = ()
    reloads: int = 0
    decision_digest: str = ""
    shadow_digest: str = ""  # of what the shadows decided; empty without any
    audit_head: str = ""  # chain value of the last link
    audit_records: int = 0
    latency_us: dict[str, Latency] = {}
    assumed: dict[str, Any] = {}  # what was assumed and used: quote_size_notional, ...
    inferred: tuple[str, ...] = ()  # ticks, lots, minimum notionals inferred from the data
    notes: tuple[str, ...] = ()  # what a reader must know of the data: "synthetic market"
    market_from: int = 0  # ns
    market_to: int = 0
    report: str = ""


def resolve_run(text: str, runs_dir: Path) -> Path:
    """Find a run folder by path, by id, by the start of an id, or `last`.

    Raises:
        DataError: there is none, or the start fits several; the line names what is there.
    """
    path = Path(text)
    if text != "last" and (path / NAMES).exists():
        return path
    folders = sorted(
        (folder for folder in runs_dir.glob("*") if (folder / NAMES).exists()),
        key=lambda folder: ((folder / NAMES).stat().st_mtime_ns, folder.name),
    )
    if text == "last":
        if folders:
            return folders[-1]
        raise DataError(f"last: no run in {runs_dir}/ yet; `make replay` makes one")
    exact = [folder for folder in folders if folder.name == text]
    fitting = exact or [folder for folder in folders if text and folder.name.startswith(text)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(f"{text}: fits {len(fitting)} runs in {runs_dir}/, give more of the id")
    if path.is_dir():
        raise DataError(f"{text}: no run folder, it has no {NAMES}")
    recent = ", ".join(folder.name for folder in folders[:-4:-1]) or "none yet"
    raise DataError(f"{text}: no such run in {runs_dir}/ (latest: {recent})")
