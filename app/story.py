"""One order's story, from the tick to the P&L, as an object and in sentences."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from app.terminal import MINOR, Units, short_reason, utc
from engine.audit_layout import ModelStatus, Verdict
from engine.audit_reader import block_names, read_names, reason_name
from engine.audit_story import PROTECTIVE, Story
from engine.errors import DataError
from engine.events import Action, Liquidity, OrderState, OrderType, Purpose, RejectReason
from engine.rows import Kind
from engine.run_files import CONFIG, Names, RunConfigFile, read_json

WIDTH = 80
LABEL = 12


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
        "base": units.base(instrument),
        "quote": units.quote(instrument),
        "tick": None,
        "signal": None,
    }
    told["intent"] = _intent(story.intent, units)
    told["protects"] = bool(len(story.intent)) and int(story.intent[0]["code"]) in PROTECTIVE
    if len(story.signal):
        told["signal"] = _signal(story.signal[0], units, names)
    cause = story.intent if told["protects"] or not len(story.signal) else story.signal
    if len(cause):
        told["tick"] = tick_object(run_dir, int(cause[0]["row"]), tape_dir)
    told["verdict"] = _verdict(verdict, units, _limits(run_dir))
    begin = int(verdict["ts"])
    told["states"] = [_state(record, units, begin) for record in story.orders]
    told["fills"] = [_fill(record, units, begin) for record in story.fills]
    told["exposure"] = [_exposure(record) for record in story.exposures]
    told["pnl"] = _profit(story, units, instrument)
    return told


def tick_object(run_dir: Path, row: int, tape_dir: Path | None) -> dict[str, Any]:
    """Return the tape row that a decision stood on; only its number where the tape is not there."""
    from engine.audit_tape import tape_folder
    from engine.tape import Tape

    try:
        tape = Tape.open(tape_folder(run_dir, tape_dir))
        record = next(
            segment.rows[row - segment.first_row]
            for segment in tape.segments
            if segment.first_row <= row < segment.first_row + len(segment.rows)
        )
    except (DataError, StopIteration) as error:
        return {"row": row, "missing": str(error) or "the tape ends before it"}
    kind = reason_name(Kind, int(record["kind"]))
    told = {"row": row, "kind": kind, "ts_event": int(record["ts_event"]),
            "ts_recv": int(record["ts_recv"])}  # fmt: skip
    fields = {
        Kind.QUOTE: ("bid", "ask", "bid_size", "ask_size"),
        Kind.TRADE: ("price", "size"),
        Kind.DEPTH: ("price", "size"),
        Kind.BAR: ("open", "high", "low", "close", "volume"),
    }.get(int(record["kind"]), ())  # type: ignore[call-overload]
    return told | {name: float(record[f"f{k}"]) for k, name in enumerate(fields)}


def _limits(run_dir: Path) -> dict[str, Any]:
    """Return the run's risk settings, empty where config.json is not there."""
    try:
        settings = read_json(run_dir / CONFIG, RunConfigFile).settings
    except DataError:
        return {}
    risk = settings.get("risk", {})
    return risk if isinstance(risk, dict) else {}


def _signal(record: np.void, units: Units, names: Names) -> dict[str, Any]:
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
        "model": model.name if model else None,
        "model_id": model.id if model else None,
        "model_version": model.version if model else None,
        "model_sha256": model.sha256 if model else None,
        "model_status": model.status if model else ModelStatus.MISSING.name,
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


def print_story(told: dict[str, Any]) -> None:
    """Print the story in labelled sentences of 80 columns."""
    for line in story_lines(told):
        print(line)


def story_lines(told: dict[str, Any]) -> list[str]:
    """Return the story as lines of at most 80 columns."""
    paragraphs = [("", _title(told))]
    paragraphs += [("tick", _tick_words(told)), ("features", _feature_words(told))]
    paragraphs += [("signal", _signal_words(told)), ("intent", _intent_words(told))]
    paragraphs += [("risk", line) for line in _verdict_words(told)]
    paragraphs.append(("order", _state_words(told)))
    paragraphs += [("fill", line) for line in _fill_words(told)]
    paragraphs += [("P&L", line) for line in _profit_words(told)]
    lines: list[str] = []
    last = ""
    for label, text in paragraphs:
        if not text:
            continue
        first = f"  {label if label != last else '':<{LABEL - 2}}" if label else ""
        lines += textwrap.wrap(
            text, WIDTH, initial_indent=first, subsequent_indent=" " * LABEL if label else ""
        )
        last = label
    return lines


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.8f}".rstrip("0").rstrip(".")


def _money(value: float, quote: str) -> str:
    places = 2 if abs(value) >= 1 or value == 0 else 4
    return f"{value:,.{places}f} {quote}"


def _title(told: dict[str, Any]) -> str:
    state = told["states"][-1]["state"] if told["states"] else "not sent"
    intent = told["intent"] or {"side": "?", "purpose": "?"}
    qty = _number(told["verdict"]["qty"])
    return (
        f"Order {told['order']} of run {told['run_id']}: {intent['side']} {qty} {told['base']} "
        f"on {told['instrument']} ({short_reason(intent['purpose'])}), {short_reason(state)}"
    )


def _tick_words(told: dict[str, Any]) -> str:
    tick = told["tick"]
    if tick is None:
        return "not in the audit"
    if "missing" in tick:
        return f"row {tick['row']:,}; the tape cannot be read: {tick['missing']}"
    what = short_reason(tick["kind"])
    values = " ".join(
        f"{k} {_number(v)}" for k, v in tick.items() if isinstance(v, float) and v == v
    )
    when = utc(tick["ts_recv"] or tick["ts_event"], date=True)
    did = "fired by " if told["protects"] else ""
    return f"{did}row {tick['row']:,}, a {what} of {when}: {values}"


def _feature_words(told: dict[str, Any]) -> str:
    signal = told["signal"]
    if signal is None or told["protects"]:
        return ""
    return f"row hash {signal['features_hash']}, read from data {signal['data_age_ms']:.1f} ms old"


def _signal_words(told: dict[str, Any]) -> str:
    s = told["signal"]
    if s is None:
        return ""
    if s["model"] is None:
        return (
            f"no model stands behind it: its strategy was asked at {utc(s['ts'])}; "
            f"touch {_number(s['bid'])} / {_number(s['ask'])}"
        )
    sha = (s["model_sha256"] or "")[:12]
    of_entry = "(of the entry that it closes) " if told["protects"] else ""
    return (
        f"{of_entry}{s['id']:,} at {utc(s['ts'])}: {s['action']} from {s['model']} "
        f"{s['model_version']} "
        f"({sha}): buy {s['p_buy']:.1%}, hold {s['p_hold']:.1%}, sell {s['p_sell']:.1%}, "
        f"threshold {s['threshold']:.0%}; touch {_number(s['bid'])} / {_number(s['ask'])}"
    )


def _intent_words(told: dict[str, Any]) -> str:
    i = told["intent"]
    if i is None:
        return "not in the audit"
    at = f" at {_number(i['price'])}" if i["price"] else ""
    stops = [
        f"{name} {_number(i[key])}"
        for key, name in (("stop_loss", "stop-loss"), ("take_profit", "take-profit"))
        if i[key]
    ]
    after = f"; {', '.join(stops)}" if stops else ""
    kind = short_reason(i["type"])
    return f"{i['id']:,}: {i['side']} {_number(i['qty'])} {told['base']}, {kind}{at}{after}"


def _verdict_words(told: dict[str, Any]) -> list[str]:
    v, quote = told["verdict"], told["quote"]
    lines = [f"{v['verdict']}: {_number(v['qty'])} {told['base']}, {_money(v['notional'], quote)}"]
    if v["blocks"]:
        lines[0] += " (" + ", ".join(short_reason(name) for name in v["blocks"]) + ")"
    limit = v["exposure_limit"]
    if limit:
        lines.append(
            f"model exposure {_money(v['exposure'], quote)} of {_money(limit, quote)} "
            f"({v['exposure'] / limit:.1%} of its limit)"
        )
    largest = v["limits"].get("max_order_notional")
    if isinstance(largest, int | float):
        lines.append(f"order notional {_money(v['notional'], quote)} of {_money(largest, quote)}")
    if v["mid"]:
        lines.append(f"mid {_number(v['mid'])}")
    return lines


def _state_words(told: dict[str, Any]) -> str:
    words = []
    for state in told["states"]:
        reason = f" ({short_reason(state['reason'])})" if state["reason"] else ""
        words.append(f"{state['state']}{reason} +{state['after_ms']:,.0f} ms")
    return ", ".join(words) or "no state was recorded"


def _fill_words(told: dict[str, Any]) -> list[str]:
    quote = told["quote"]
    lines = []
    for f in told["fills"]:
        lines.append(
            f"{f['fill']:,} at {utc(f['ts'])}: {f['side']} {_number(f['qty'])} at "
            f"{_number(f['price'])} ({short_reason(f['liquidity'])}), fee {_money(f['fee'], quote)}"
            + (f", realized {_money(f['realized'], quote)}" if f["realized"] else "")
        )
    return lines or ["none"]


def _profit_words(told: dict[str, Any]) -> list[str]:
    pnl, quote = told["pnl"], told["quote"]
    if not told["fills"]:
        return ["nothing was filled: no profit, no loss, no fee"]
    position = pnl["position"]
    entries = ", ".join(map(str, position["entries"][:8])) or "-"
    exits = ", ".join(map(str, position["exits"][:8])) or "none"
    lines = [
        f"this order: realized {_money(pnl['realized'], quote)}, fees {_money(pnl['fees'], quote)}"
    ]
    end = (
        f"flat again at {utc(position['closed_ts'])}"
        if position["closed_ts"]
        else f"still open with {_number(position['left'])} {told['base']}"
    )
    lines.append(f"its position: opened by order {entries}, closed by {exits}; {end}")
    lines.append(
        f"of the position: realized {_money(position['realized'], quote)}, fees "
        f"{_money(position['fees'], quote)}, net {_money(position['net'], quote)}"
    )
    return lines
