"""What a run ends with: a table for a person, or exactly one JSON object for a program."""

import sys
from typing import Any

from app.terminal import console, percent, short_reason, span
from engine.json_files import to_json
from engine.run_files import Latency, Summary

_EXITS = {
    "done": "came to the end",
    "interrupted": "interrupted: this is what was done until then",
    "halted": "halted by risk",
    "failed": "failed",
}


def show(summary: Summary, *, as_json: bool = False) -> None:
    """Print a run's summary on stdout: the table, or the one JSON object of `--json`."""
    if as_json:
        sys.stdout.write(to_json(summary, indent=0).decode() + "\n")
        sys.stdout.flush()
        return
    console().print(summary_table(summary))


def summary_table(summary: Summary) -> Any:
    """Return the summary as a rich renderable that reads well at 80 columns."""
    from rich import box
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, words, style in summary_rows(summary):
        grid.add_row(label, Text(words, style=style))
    title = f"{summary.mode} {summary.run_id}: {summary.exit_reason}"
    return Panel(grid, title=Text(title), title_align="left", box=box.ROUNDED, expand=False)


def summary_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """Return (label, words, style) of each line; lines that have nothing to say are left out."""
    s, money = summary, summary.reporting_currency
    rows: list[tuple[str, str, str]] = []
    if s.exit_reason != "done":
        rows.append(("exit", _EXITS.get(s.exit_reason, s.exit_reason), "yellow"))
    rows.append(("market", _market(s), ""))
    rows.append(("speed", _speed(s), ""))
    rows.append(("signals", _signals(s), ""))
    rows.append(("risk", _risk(s), ""))
    rejects = f", {s.rejects:,} rejected by the venue" if s.rejects else ""
    rows.append(("orders", f"{s.orders:,} orders, {s.fills:,} fills{rejects}", ""))
    fees = ", ".join(amount(value, currency) for currency, value in s.fees.items())
    rows.append(("fees", fees or "none", ""))
    rows.append(("P&L", *_profit(s, money)))
    if s.equity is not None:
        drawdown = "" if s.max_drawdown is None else f", max drawdown {percent(s.max_drawdown)}"
        rows.append(("equity", amount(s.equity, money) + drawdown, ""))
    rows += [("by owner", words, "") for words in _owners(s, money)]
    rows += [("exposure", words, "") for words in _exposures(s)]
    rows += [("model", words, style) for words, style in _models(s)]
    rows += [("latency", words, "") for words in _latencies(s.latency_us)]
    assumed = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in s.assumed.items())
    rows += [("assumed", assumed, "yellow")] if assumed else []
    rows += [("inferred", ", ".join(s.inferred), "yellow")] if s.inferred else []
    told = {model.note for model in s.models}
    notes = (text for text in dict.fromkeys(s.notes) if text not in told)
    rows += [("note", text, "yellow") for text in notes]
    rows.append(("digest", s.decision_digest[:16] or "none", ""))
    audit = f"{s.audit_records:,} records, head {s.audit_head[:16] or 'none'}"
    rows.append(("audit", audit, ""))
    rows.append(("run", s.run_dir, ""))
    rows += [("report", s.report, "bold")] if s.report else []
    return _without_repeated_labels(rows)


def _without_repeated_labels(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    out, last = [], ""
    for label, words, style in rows:
        out.append(("" if label == last else label, words, style))
        last = label
    return out


def _owners(summary: Summary, currency: str) -> list[str]:
    """Return one line for each model and strategy that traded: its result after fees."""
    results: dict[tuple[str, str], float] = {}
    for book in summary.books:
        key = (book.kind, book.owner or "without model")
        result = book.realized + (book.unrealized or 0.0) - book.fees
        results[key] = results.get(key, 0.0) + result
    return [f"{kind} {name} {amount(value, currency)}" for (kind, name), value in results.items()]


def amount(value: float | None, currency: str) -> str:
    """Write money: two decimals, more where the amount is small.

    >>> amount(1234.5, "USDT"), amount(-0.0123, "USDT"), amount(None, "USDT")
    ('1,234.50 USDT', '-0.0123 USDT', 'not known')
    """
    if value is None:
        return "not known"
    places = 4 if 0 < abs(value) < 0.1 else 2
    return f"{value:,.{places}f} {currency}".rstrip()


def _market(s: Summary) -> str:
    shown = ", ".join(s.instruments[:4])
    more = f" and {len(s.instruments) - 4} more" if len(s.instruments) > 4 else ""
    return f"{s.events:,} events over {span(s.market_span_s)} of {shown or 'no instrument'}{more}"


def _speed(s: Summary) -> str:
    return f"{s.wall_s:.2f} s, {s.events_per_s:,.0f} events/s, {s.kernel_calls:,} kernel calls"


def _counted(counts: dict[str, int], limit: int = 5) -> str:
    largest = sorted(counts.items(), key=lambda item: -item[1])
    words = [f"{n:,} {short_reason(name)}" for name, n in largest[:limit] if n]
    rest = sum(n for _, n in largest[limit:])
    if rest:
        words.append(f"{rest:,} others")
    return ", ".join(words)


def _signals(s: Summary) -> str:
    signals = s.signals
    holds = _counted(signals.hold_reasons)
    tail = f" ({holds})" if holds else ""
    return (
        f"{s.decisions:,} decisions: {signals.buy:,} buy, {signals.sell:,} sell, "
        f"{signals.hold:,} hold{tail}"
    )


def _risk(s: Summary) -> str:
    reasons = _counted(s.blocked)
    blocked = s.intents - s.approved - s.reduced
    tail = f" ({reasons})" if reasons else ""
    return (
        f"{s.intents:,} intents: {s.approved:,} approved, {s.reduced:,} reduced, "
        f"{blocked:,} blocked{tail}"
    )


def _profit(s: Summary, money: str) -> tuple[str, str]:
    pnl = s.pnl
    if pnl.total is None:
        return "no total: what is held has no price, or no way into " + (
            money or "one currency"
        ), "yellow"
    words = (
        f"{amount(pnl.total, money)} (realized {amount(pnl.realized, '')}, "
        f"unrealized {amount(pnl.unrealized, '')}), after fees"
    )
    return words, "green" if pnl.total > 0 else "red" if pnl.total < 0 else ""


def _exposures(s: Summary) -> list[str]:
    limits = s.limits.get("model_exposure", {})
    lines = []
    for model, value in s.exposure_max.items():
        if value == 0:
            continue
        limit = limits.get(model, s.limits.get("max_model_exposure"))
        words = f"{model} at most {amount(value, '')}"
        if isinstance(limit, int | float) and limit > 0:
            words += f" of {amount(float(limit), '')} ({value / limit:.1%})"
        lines.append(words)
    return lines


def _models(s: Summary) -> list[tuple[str, str]]:
    lines = []
    for model in s.models:
        serving = model.status.upper() == "SERVING"
        named = "" if model.name in ("", model.id) else f"{model.name}: "
        mode = "" if model.mode == "production" else f"{model.mode}, "
        words = f"{model.id} {model.version} {mode}{short_reason(model.status)}"
        words = named + " ".join(f"{words} {model.sha256[:12]}".split())
        if model.placement == "thread":
            ends = ", ".join(f"{n:,} {short_reason(end)}" for end, n in model.answers.items())
            words += f", on a thread: {model.requests:,} requests{f' ({ends})' if ends else ''}"
        if model.evaluated:
            words += f", {model.evaluated}"
        if model.note:
            words += f": {model.note}"
        lines.append((words, "" if serving else "yellow"))
    return lines


def _latencies(latency: dict[str, Latency]) -> list[str]:
    def micro(value: float | None) -> str:
        return "-" if value is None else f"{value:,.1f}"

    return [
        f"{stage} p50 {micro(one.p50)}, p99 {micro(one.p99)}, p99.9 {micro(one.p999)}, "
        f"max {micro(one.max)} us"
        for stage, one in latency.items()
    ]
