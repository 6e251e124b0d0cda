"""Follow links through an audit: what became of a signal, and where an order came from."""

from collections import deque
from pathlib import Path

import msgspec
import numpy as np

from engine.audit_layout import AUDIT, Record, Verdict
from engine.audit_reader import AuditFile, Funnel, block_names, hold_words, reason_name
from engine.errors import UsageError
from engine.events import Action, OrderState, Purpose

PROTECTIVE = (Purpose.STOP_LOSS, Purpose.TAKE_PROFIT)
ORDER_KINDS = (Record.INTENT, Record.VERDICT, Record.ORDER, Record.FILL)
MAX_EPISODE_FILLS = 10_000  # fills kept of one position; more are counted only in the sums


class SignalFate(msgspec.Struct, kw_only=True):
    """A signal and what became of it. Quantities in lots, prices in ticks, money in minor units."""

    signal_id: int
    ts: int
    row: int
    instrument: int
    model: int
    action: str
    reason: str  # of a HOLD
    p_sell: float
    p_hold: float
    p_buy: float
    intent_id: int | None = None
    verdict: str = ""
    blocks: list[str] = []
    order_id: int | None = None
    state: str = ""
    filled_lot: int = 0
    value_tick_lot: int = 0  # sum of price_tick * qty_lot of its fills
    realized_minor: int = 0
    fees_minor: int = 0
    protected_by: list[int] = []  # orders of the stop or target that was laid on its fills
    protected_how: str = ""  # purpose of the last of them


class Story(msgspec.Struct, kw_only=True):
    """The records of one order's life, in order."""

    order_id: int
    intent: np.ndarray  # AUDIT[1]
    verdict: np.ndarray  # AUDIT[1]
    orders: np.ndarray  # AUDIT[n]
    fills: np.ndarray
    exposures: np.ndarray
    signal: np.ndarray  # AUDIT[0..1]
    said: np.ndarray  # AUDIT[0..n]: the OUTPUT records behind the signal
    model: np.ndarray  # AUDIT[0..1]: the MODEL record that was in force at the signal
    episode: "Episode"


class Episode(msgspec.Struct, kw_only=True):
    """The position that an order was part of, from flat to flat."""

    opened_ts: int = 0
    closed_ts: int = 0  # 0: still open at the end
    left_lot: int = 0  # signed
    entries: list[int] = []  # order ids
    exits: list[int] = []
    realized_minor: int = 0
    fees_minor: int = 0
    fills: int = 0


def last_signals(
    run_dir: Path, count: int, *, holds: bool = False
) -> tuple[Funnel, list[SignalFate]]:
    """Count the whole funnel and follow the last signals.

    Args:
        run_dir: the run's folder.
        count: how many signals.
        holds: whether HOLDs are among them.
    Returns:
        the funnel, and the last signals, oldest first.
    """
    audit, funnel = AuditFile(run_dir), Funnel()
    last: deque[np.void] = deque(maxlen=count)
    for block in audit.blocks():
        funnel.update(block)
        chosen = block["kind"] == Record.DECISION
        if not holds:  # a strategy without a model acts on HOLDs: those with an intent count
            acted = block["i0"][block["kind"] == Record.INTENT]
            chosen &= (block["code"] != Action.HOLD) | np.isin(block["id"], acted)
        last.extend(block[np.flatnonzero(chosen)[-count:]] if count else [])
    fates = {int(record["id"]): _fate(record) for record in last}
    if fates:
        _follow(audit, int(last[0]["seq"]), fates)
    return funnel, list(fates.values())


def _fate(record: np.void) -> SignalFate:
    return SignalFate(
        signal_id=int(record["id"]),
        ts=int(record["ts"]),
        row=int(record["row"]),
        instrument=int(record["instrument"]),
        model=int(record["model"]),
        action=reason_name(Action, int(record["code"])),
        reason=hold_words(int(record["aux"])),
        p_sell=float(record["f0"]),
        p_hold=float(record["f1"]),
        p_buy=float(record["f2"]),
    )


def _follow(audit: AuditFile, start: int, fates: dict[int, SignalFate]) -> None:
    """Fill in intents, verdicts, orders and fills from record number `start` on."""
    by_intent: dict[int, SignalFate] = {}
    by_order: dict[int, SignalFate] = {}
    purposes: dict[int, int] = {}  # of protective intents: they name the entry's signal
    for block in audit.blocks(start):
        for record in block[np.isin(block["kind"], ORDER_KINDS)]:
            kind, ident = int(record["kind"]), int(record["id"])
            if kind == Record.INTENT and (fate := fates.get(int(record["i0"]))):
                by_intent[ident] = fate
                if record["code"] in PROTECTIVE:
                    purposes[ident] = int(record["code"])
                else:
                    fate.intent_id = ident
            elif kind == Record.VERDICT and ident in purposes:
                if record["code"] != Verdict.BLOCKED:
                    fate = by_intent[ident]
                    fate.protected_by.append(int(record["i5"]))
                    fate.protected_how = reason_name(Purpose, purposes[ident])
                    by_order[int(record["i5"])] = fate
            elif kind == Record.VERDICT and (fate := by_intent.get(ident)):
                fate.verdict = reason_name(Verdict, int(record["code"]))
                fate.blocks = block_names(int(record["i0"]))
                if record["code"] != Verdict.BLOCKED:
                    fate.order_id = int(record["i5"])
                    by_order[fate.order_id] = fate
            elif kind == Record.ORDER and (fate := by_order.get(ident)) and ident == fate.order_id:
                fate.state = reason_name(OrderState, int(record["code"]))
            elif kind == Record.FILL and (fate := by_order.get(int(record["i0"]))):
                if record["i0"] == fate.order_id:
                    fate.filled_lot += int(record["i2"])
                    fate.value_tick_lot += int(record["i2"]) * int(record["i3"])
                fate.fees_minor += int(record["i4"])
                fate.realized_minor += int(record["i5"])


def order_story(run_dir: Path, order_id: int) -> Story:
    """Collect every record of one order, its signal, and the position it was part of.

    Raises:
        UsageError: the run has no such order; the line says which it has.
    """
    audit = AuditFile(run_dir)
    verdict = _verdict(audit, order_id)
    intent_id = int(verdict[0]["id"])
    parts: dict[int, list[np.ndarray]] = {kind: [] for kind in Record}
    for block in audit.blocks():
        kind, ident, cause = block["kind"], block["id"], block["i6"]
        exposed = (kind == Record.EXPOSURE) & (cause == order_id)
        mine = (
            ((kind == Record.INTENT) & (ident == intent_id))
            | ((kind == Record.ORDER) & (ident == order_id))
            | ((kind == Record.FILL) & (block["i0"] == order_id))
            | exposed
        )
        for record in block[mine]:
            parts[int(record["kind"])].append(record)
    intent = np.array(parts[Record.INTENT])
    signal = _signal(audit, int(intent[0]["i0"])) if len(intent) else intent
    fills = np.array(parts[Record.FILL], dtype=verdict.dtype)
    return Story(
        order_id=order_id,
        intent=intent,
        verdict=verdict,
        orders=np.array(parts[Record.ORDER], dtype=verdict.dtype),
        fills=fills,
        exposures=np.array(parts[Record.EXPOSURE], dtype=verdict.dtype),
        signal=signal,
        said=_said(audit, int(signal[0]["id"])) if len(signal) else signal,
        model=_model(audit, signal) if len(signal) else signal,
        episode=_episode(audit, fills) if len(fills) else Episode(),
    )


def _verdict(audit: AuditFile, order_id: int) -> np.ndarray:
    """Find the verdict that approved an order."""
    first, last = None, None
    for verdicts in audit.pick((Record.VERDICT,)):
        approved = verdicts[verdicts["code"] != Verdict.BLOCKED]
        if len(approved):
            first = int(approved["i5"][0]) if first is None else first
            last = int(approved["i5"][-1])
            found = approved[approved["i5"] == order_id]
            if len(found):
                return found[:1]
    has = f"its orders are {first} to {last}" if first is not None else "it has no orders"
    raise UsageError(f"order {order_id}: not in run {audit.run_dir.name}; {has}")


def _signal(audit: AuditFile, signal_id: int) -> np.ndarray:
    for decisions in audit.pick((Record.DECISION,)):
        found = decisions[decisions["id"] == signal_id]
        if len(found):
            return found[:1]
    return np.zeros(0, dtype=np.dtype([]))


def _said(audit: AuditFile, signal_id: int) -> np.ndarray:
    """Find what the model said behind a signal; none for probabilities, which the signal holds."""
    found = np.zeros(0, AUDIT)
    for outputs in audit.pick((Record.OUTPUT,)):
        mine = outputs[outputs["id"] == signal_id]
        found = np.concatenate([found, mine])
        if len(found) and int(outputs["id"][-1]) > signal_id:
            break
    return found


def _model(audit: AuditFile, signal: np.ndarray) -> np.ndarray:
    """Find the version that gave a signal: the last MODEL record of its model before it."""
    last = signal[:0]
    for models in audit.pick((Record.MODEL,)):
        mine = models[(models["model"] == signal["model"]) & (models["seq"] < signal["seq"])]
        last = mine[-1:] if len(mine) else last
    return last


def _episode(audit: AuditFile, fills: np.ndarray) -> Episode:
    """Walk the fills of the order's instrument and model; keep the stretch from flat to flat."""
    instrument, model = int(fills["instrument"][0]), int(fills["model"][0])
    first_seq, last_seq = int(fills["seq"][0]), int(fills["seq"][-1])
    episode, held = Episode(), 0
    for block in audit.pick((Record.FILL,)):
        mine = (block["instrument"] == instrument) & (block["model"] == model)
        for fill in block[mine]:
            if held == 0:
                if episode.fills and int(fill["seq"]) > last_seq:
                    return episode
                episode = Episode(opened_ts=int(fill["ts"]), entries=[], exits=[])
            side, order = int(fill["i1"]), int(fill["i0"])
            ids = episode.entries if held * side >= 0 else episode.exits
            if order not in ids[-1:] and len(ids) < MAX_EPISODE_FILLS:
                ids.append(order)
            held += side * int(fill["i2"])
            episode.fills += 1
            episode.realized_minor += int(fill["i5"])
            episode.fees_minor += int(fill["i4"])
            episode.left_lot = held
            episode.closed_ts = 0 if held else int(fill["ts"])
            if held == 0 and int(fill["seq"]) >= first_seq:
                return episode
    return episode
