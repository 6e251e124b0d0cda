"""One order's story in labelled sentences of at most 80 columns."""

import textwrap
from typing import Any

from app.terminal import short_reason, utc

WIDTH = 80
LABEL = 12
PRICES = ("bid", "ask", "price", "open", "high", "low", "close")
SIZES = ("bid_size", "ask_size", "size", "volume")


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


def _price(told: dict[str, Any], value: float | None) -> str:
    """Write a price with the tick's decimals, more where it lies between two ticks."""
    if value is None:
        return "-"
    plain, exact = f"{value:,.{told['price_decimals']}f}", _number(value)
    return exact if len(exact) > len(plain) else plain


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
        f"{name} {_price(told, tick[name]) if name in PRICES else _number(tick[name])}"
        for name in (*PRICES, *SIZES)
        if tick.get(name) is not None and tick[name] == tick[name]
    ).replace("_", " ")
    when = utc(tick["ts_recv"] or tick["ts_event"], date=True)
    did = "fired by " if told["protects"] else ""
    later = tick["woken_at_row"] - tick["row"]
    woken = f"; the engine acted {later:,} rows later" if later else ""
    return f"{did}row {tick['row']:,}, a {what} of {when}: {values}{woken}"


def _feature_words(told: dict[str, Any]) -> str:
    signal = told["signal"]
    if signal is None or told["protects"]:
        return ""
    read = f"row hash {signal['features_hash']}, read from data"
    if signal.get("model_placement") == "thread":
        return f"{read} {signal['data_age_ms']:.1f} ms old when the model's thread answered"
    return f"{read} {signal['data_age_ms']:.1f} ms old"


def _signal_words(told: dict[str, Any]) -> str:
    s = told["signal"]
    if s is None:
        return ""
    if s["model"] is None:
        return (
            f"no model stands behind it: its strategy was asked at {utc(s['ts'])}; "
            f"touch {_price(told, s['bid'])} / {_price(told, s['ask'])}"
        )
    sha = (s["model_sha256"] or "")[:12]
    of_entry = "(of the entry that it closes) " if told["protects"] else ""
    return (
        f"{of_entry}{s['id']:,} at {utc(s['ts'])}: {s['action']} from {s['model']} "
        f"{s['model_version']} "
        f"({sha}): buy {s['p_buy']:.1%}, hold {s['p_hold']:.1%}, sell {s['p_sell']:.1%}, "
        f"threshold {s['threshold']:.0%}{_output_words(s)}; "
        f"touch {_price(told, s['bid'])} / {_price(told, s['ask'])}"
    )


def _output_words(signal: dict[str, Any]) -> str:
    """Say what stands beside the probabilities."""
    if "output" not in signal:
        return ""
    parts = [signal["output"]]
    parts += [
        f"{name} {signal[name]:.6g}" for name in ("value", "position") if signal[name] is not None
    ]
    return f"; {', '.join(parts)}"


def _intent_words(told: dict[str, Any]) -> str:
    i = told["intent"]
    if i is None:
        return "not in the audit"
    at = f" at {_price(told, i['price'])}" if i["price"] else ""
    stops = [
        f"{name} {_price(told, i[key])}"
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
        lines.append(f"mid {_price(told, v['mid'])}")
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
        deal = f"{f['side']} {_number(f['qty'])} at {_price(told, f['price'])}"
        paid = f"({short_reason(f['liquidity'])}), fee {_money(f['fee'], quote)}"
        gain = f", realized {_money(f['realized'], quote)}" if f["realized"] else ""
        lines.append(f"{f['fill']:,} at {utc(f['ts'])}: {deal} {paid}{gain}")
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
