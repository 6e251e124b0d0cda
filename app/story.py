"""One order's story, from the tick to the P&L, as plain values."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from app.terminal import MINOR, Units
from engine.audit_layout import ModelStatus, Verdict
from engine.audit_reader import block_names, read_names, reason_name
from engine.audit_story import PROTECTIVE, Story
from engine.control_log import swapped_versions
from engine.errors import DataError
from engine.events import Action, Liquidity, OrderState, OrderType, Purpose, RejectReason
from engine.hash_words import words_hash
from engine.json_files import read_json
from engine.kernel.output_layout import OutputKind
from engine.rows import Kind
from engine.run_files import CONFIG, Names, RunConfigFile

ROWS_AT_ONCE = 65_536
MAX_ROWS_BACK = 1 << 22  # rows searched for an instrument's last market row
_MARKET_ROWS: dict[int, tuple[str, ...]] = {
    Kind.QUOTE: ("bid", "ask", "bid_size", "ask_size"),
    Kind.TRADE: ("price", "size"),
    Kind.DEPTH: ("price", "size"),
    Kind.BAR: ("open", "high", "low", "close", "volume"),
}


def story_object(run_dir: Path, story: Story, *, tape_dir: Path | None = None) -> dict[str, Any]:
    """Return the story as plain values.

    Args:
        run_dir: the run's folder.
        story: the order's records.
        tape_dir: where the tape lies now, if not where the run says.
    """
    names = read_names(run_dir)
    units = Units(names)
    verdict = story.verdict[0]
    instrument = int(verdict["instrument"])
    told: dict[str, Any] = {
        "run_id": names.run.id,
        "order": story.order_id,
        "instrument": units.instrument(instrument),
        "price_decimals": units.price_decimals(instrument),
        "base": units.base(instrument),
        "quote": units.quote(instrument),
        "tick": None,
        "signal": None,
    }
    told["intent"] = _intent(story.intent, units)
    told["protects"] = bool(len(story.intent)) and int(story.intent[0]["code"]) in PROTECTIVE
    if len(story.signal):
        told["signal"] = _signal(story.signal[0], names) | _version(run_dir, story, names)
        told["signal"] |= _said(story.said)
    cause = story.intent if told["protects"] or not len(story.signal) else story.signal
    if len(cause):
        told["tick"] = tick_object(run_dir, cause[0], tape_dir)
    told["verdict"] = _verdict(verdict, units, _limits(run_dir))
    begin = int(verdict["ts"])
    told["states"] = [_state(record, units, begin) for record in story.orders]
    told["fills"] = [_fill(record, units, begin) for record in story.fills]
    told["exposure"] = [_exposure(record) for record in story.exposures]
    told["pnl"] = _profit(story, units, instrument)
    return told


def tick_object(run_dir: Path, cause: np.void, tape_dir: Path | None) -> dict[str, Any]:
    """Return the tape row that an instrument's market stood on when a record was made.

    That is the instrument's last market row at or before the record's: another instrument's row, or
    a timer, may have woken the engine. Where the tape is not there, only the numbers are told.
    """
    from engine.audit_tape import tape_folder
    from engine.tape import Tape

    woken = int(cause["row"])
    try:
        tape = Tape.open(tape_folder(run_dir, tape_dir))
        found = _market_row(tape, woken, int(cause["instrument"]))
    except DataError as error:
        return {"row": woken, "woken_at_row": woken, "missing": str(error)}
    if found is None:
        return {"row": woken, "woken_at_row": woken, "missing": "no market row before it"}
    row, record = found
    told = {
        "row": row,
        "woken_at_row": woken,
        "kind": reason_name(Kind, int(record["kind"])),
        "ts_event": int(record["ts_event"]),
        "ts_recv": int(record["ts_recv"]),
    }
    names = _MARKET_ROWS[int(record["kind"])]
    return told | {name: float(record[f"f{k}"]) for k, name in enumerate(names)}


def _market_row(tape: Any, last: int, instrument: int) -> tuple[int, np.void] | None:
    """Return number and record of an instrument's last market row at or before row `last`."""
    left = MAX_ROWS_BACK
    for segment in reversed(tape.segments):
        rows = segment.rows[: max(0, last + 1 - segment.first_row)]
        while len(rows) and left > 0:
            part = rows[-ROWS_AT_ONCE:]
            mine = (part["instrument"] == instrument) & np.isin(part["kind"], list(_MARKET_ROWS))
            if mine.any():
                at = int(np.flatnonzero(mine)[-1])
                return segment.first_row + len(rows) - len(part) + at, part[at].copy()
            rows = rows[: -len(part)]
            left -= len(part)
    return None


def _limits(run_dir: Path) -> dict[str, Any]:
    """Return the run's risk settings, empty where config.json is not there."""
    try:
        settings = read_json(run_dir / CONFIG, RunConfigFile).settings
    except DataError:
        return {}
    risk = settings.get("risk", {})
    return risk if isinstance(risk, dict) else {}


def _signal(record: np.void, names: Names) -> dict[str, Any]:
    model = names.models[int(record["model"])] if record["model"] < len(names.models) else None
    return {
        "id": int(record["id"]),
        "ts": int(record["ts"]),
        "row": int(record["row"]),
        "action": reason_name(Action, int(record["code"])),
        "p_sell": float(record["f0"]),
        "p_hold": float(record["f1"]),
        "p_buy": float(record["f2"]),
        "features_hash": f"{int(record['i3']) & (1 << 64) - 1:016x}",
        "bid": float(record["f4"]),
        "ask": float(record["f5"]),
        "data_age_ms": int(record["i6"]) / 1e6,
        "threshold": max(names.run.threshold, model.min_confidence if model else 0.0),
    }


def _said(outputs: np.ndarray) -> dict[str, Any]:
    """Say what an output that is more than probabilities was; nothing where there is none."""
    if not len(outputs):
        return {}
    value, position = float(outputs["f0"][0]), float(outputs["f1"][0])
    found: dict[str, Any] = {"output": reason_name(OutputKind, int(outputs["code"][0])).lower()}
    found["value"] = value if math.isfinite(value) else None
    found["position"] = position if math.isfinite(position) else None
    return found


def _version(run_dir: Path, story: Story, names: Names) -> dict[str, Any]:
    """Say which version of which model gave the signal: that of the start, or a later one."""
    index = int(story.signal[0]["model"])
    model = names.models[index] if index < len(names.models) else None
    sha256 = model.sha256 if model else None
    version, status = (model.version, model.status) if model else (None, ModelStatus.MISSING.name)
    if model and len(story.model):
        record = story.model[0]
        status = reason_name(ModelStatus, int(record["code"]))
        sha256 = words_hash([int(record[f"i{k}"]) for k in range(4)])
        if sha256 != model.sha256:
            version = swapped_versions(run_dir).get(sha256, "unknown")
    return {
        "model": model.name if model else None,
        "model_id": model.id if model else None,
        "model_version": version,
        "model_sha256": sha256,
        "model_status": status,
        "model_placement": model.placement if model else None,
    }


def _intent(records: np.ndarray, units: Units) -> dict[str, Any] | None:
    if not len(records):
        return None
    record = records[0]
    instrument = int(record["instrument"])
    return {
        "id": int(record["id"]),
        "ts": int(record["ts"]),
        "purpose": reason_name(Purpose, int(record["code"])),
        "side": "buy" if record["i1"] > 0 else "sell",
        "qty": units.quantity(instrument, int(record["i2"])),
        "type": reason_name(OrderType, int(record["i4"])),
        "price": units.price(instrument, int(record["i3"])),
        "stop_loss": units.price(instrument, int(record["i5"])),
        "take_profit": units.price(instrument, int(record["i6"])),
    }


def _verdict(record: np.void, units: Units, limits: dict[str, Any]) -> dict[str, Any]:
    instrument = int(record["instrument"])
    return {
        "ts": int(record["ts"]),
        "verdict": reason_name(Verdict, int(record["code"])),
        "blocks": block_names(int(record["i0"])),
        "qty": units.quantity(instrument, int(record["i1"])),
        "notional": int(record["i2"]) / MINOR,
        "exposure": int(record["i3"]) / MINOR,
        "exposure_limit": int(record["i4"]) / MINOR,
        "mid": units.price(instrument, float(record["f6"])),
        "limits": limits,
    }


def _state(record: np.void, units: Units, begin: int) -> dict[str, Any]:
    instrument = int(record["instrument"])
    return {
        "state": reason_name(OrderState, int(record["code"])),
        "ts": int(record["ts"]),
        "after_ms": (int(record["ts"]) - begin) / 1e6,
        "row": int(record["row"]),
        "filled": units.quantity(instrument, int(record["i4"])),
        "reason": reason_name(RejectReason, int(record["i5"])) if record["i5"] else None,
    }


def _fill(record: np.void, units: Units, begin: int) -> dict[str, Any]:
    instrument = int(record["instrument"])
    return {
        "fill": int(record["id"]),
        "ts": int(record["ts"]),
        "after_ms": (int(record["ts"]) - begin) / 1e6,
        "row": int(record["row"]),
        "side": "buy" if record["i1"] > 0 else "sell",
        "qty": units.quantity(instrument, int(record["i2"])),
        "price": units.price(instrument, int(record["i3"])),
        "liquidity": reason_name(Liquidity, int(record["code"])),
        "fee": int(record["i4"]) / MINOR,
        "realized": int(record["i5"]) / MINOR,
    }


def _exposure(record: np.void) -> dict[str, Any]:
    names = ("filled", "resting", "in_flight", "unknown", "total", "limit")
    told: dict[str, Any] = {name: int(record[f"i{k}"]) / MINOR for k, name in enumerate(names)}
    return {"ts": int(record["ts"]), "model_index": int(record["model"])} | told


def _profit(story: Story, units: Units, instrument: int) -> dict[str, Any]:
    episode = story.episode
    fees = int(story.fills["i4"].sum()) / MINOR if len(story.fills) else 0.0
    realized = int(story.fills["i5"].sum()) / MINOR if len(story.fills) else 0.0
    return {
        "realized": realized,
        "fees": fees,
        "position": {
            "opened_ts": episode.opened_ts or None,
            "closed_ts": episode.closed_ts or None,
            "entries": episode.entries,
            "exits": episode.exits,
            "left": units.quantity(instrument, episode.left_lot),
            "realized": episode.realized_minor / MINOR,
            "fees": episode.fees_minor / MINOR,
            "net": (episode.realized_minor - episode.fees_minor) / MINOR,
        },
    }
