"""Write a run's report: one self-contained page, and one overview picture."""

import math
from pathlib import Path
from typing import Any

from app import report_charts as charts
from app.report_data import ReportData, gather
from app.summary import amount, summary_rows
from app.terminal import Units, percent, short_reason, span, utc
from engine.audit_layout import Record
from engine.json_files import write_bytes
from engine.run_files import REPORT, REPORT_PICTURE, Names

TEMPLATE = Path(__file__).with_name("report.html.j2")
MAX_INSTRUMENTS = 3  # charts of prices: the instruments with the most fills


def write_report(run_dir: Path) -> Path:
    """Write report.html and report.png of a run, each whole or not at all.

    Args:
        run_dir: the run's folder, closed: with its summary where the run came to its end.
    Returns:
        the path of report.html.
    Raises:
        DataError: the folder has no audit.
    """
    data = gather(run_dir)
    page = render_page(data)
    write_bytes(run_dir / REPORT, page.encode())
    currency = data.names.run.reporting_currency
    titles = (_headline(data), _subtitle(data))
    charts.write_picture(data, run_dir / REPORT_PICTURE, titles, currency)
    return run_dir / REPORT


def render_page(data: ReportData) -> str:
    """Return the page's text: HTML with its style and charts inside, no reference to anything."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(**page_values(data))


def page_values(data: ReportData) -> dict[str, Any]:
    """Return what the template names."""
    names, summary, currency = data.names, data.summary, data.names.run.reporting_currency
    has_equity = len(data.equity.get("ts", ())) > 0
    features, feature_count = charts.features_svg(data)
    return {
        "run": names.run,
        "headline": _headline(data),
        "span": f"{utc(data.ts_from, date=True)} to {utc(data.ts_to, date=True)} UTC",
        "notes": _notes(data),
        "tiles": tiles(data),
        "equity": charts.equity_svg(data, currency) if has_equity else "",
        "prices": price_charts(data),
        "funnel": charts.funnel_svg(data),
        "holds": counted(data.funnel.holds()),
        "blocked": counted(data.funnel.blocked),
        "exposure": charts.exposure_svg(data) if data.exposures else "",
        "exposures": exposure_rows(data),
        "features": features,
        "feature_note": _shown(feature_count, charts.MAX_PANELS, "features"),
        "latency": charts.latency_svg(data),
        "summary": [(label, words) for label, words, _ in summary_rows(summary)] if summary else [],
        "models": names.models,
        "instruments": names.instruments,
        "assumed": _assumed(data),
        "limits": _limits(data),
        "digest": summary.decision_digest if summary else "",
        "head": summary.audit_head if summary else "",
    }


def _notes(data: ReportData) -> list[str]:
    if data.summary is None:
        return ["The run did not come to its end."]
    return list(dict.fromkeys(data.summary.notes))


def _headline(data: ReportData) -> str:
    run, units = data.names.run, Units(data.names)
    shown = [units.symbol(index) for index in list(data.fills_by_instrument)[:3]]
    shown = shown or [units.symbol(one.index) for one in data.names.instruments[:3]]
    return f"{run.mode.capitalize()} {run.id}: {', '.join(shown)}"


def _subtitle(data: ReportData) -> str:
    words = [f"{label} {value}" for label, value, _ in tiles(data)[:4]]
    synthetic = [text for text in _notes(data) if text.startswith("synthetic")]
    return "   ".join(words + synthetic)


def _shown(count: int, limit: int, what: str) -> str:
    return f"The first {limit} of {count} {what}." if count > limit else ""


def tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Return (label, value, tone) of the figures at the top."""
    funnel, s = data.funnel, data.summary
    counts = [
        ("decisions", f"{funnel.count(Record.DECISION):,}", ""),
        ("orders", f"{funnel.orders:,}", ""),
        ("fills", f"{funnel.count(Record.FILL):,}", ""),
    ]
    if s is None:
        return counts
    total = s.pnl.total
    tone = "" if not total else "good" if total > 0 else "bad"
    money = [("P&L after fees", amount(total, s.reporting_currency), tone)]
    if s.equity is not None:
        money.append(("equity", amount(s.equity, s.reporting_currency), ""))
    if s.max_drawdown is not None:
        money.append(("max drawdown", percent(s.max_drawdown), ""))
    money.append(("fees", ", ".join(amount(v, c) for c, v in s.fees.items()) or "none", ""))
    pace = [("market", span(s.market_span_s), ""), ("events/s", f"{s.events_per_s:,.0f}", "")]
    return [*money, *counts, *pace]


def price_charts(data: ReportData) -> list[tuple[str, str]]:
    """Return (chart, what it leaves out) of the busiest instruments."""
    chosen = list(data.fills_by_instrument)[:MAX_INSTRUMENTS]
    sampled = [one.index for one in data.names.instruments if f"ts_{one.index}" in data.prices]
    chosen = chosen or sampled[:MAX_INSTRUMENTS]
    known = {one.index for one in data.names.instruments}
    return [charts.price_svg(data, index) for index in chosen if index in known]


def counted(counts: dict[str, int]) -> list[tuple[str, str, str]]:
    """Return (reason, count, share) rows, largest first."""
    whole = sum(counts.values()) or 1
    largest = sorted(counts.items(), key=lambda item: -item[1])
    return [(short_reason(name), f"{n:,}", f"{n / whole:.1%}") for name, n in largest]


def exposure_rows(data: ReportData) -> list[tuple[str, str, str, str]]:
    """Return (model, highest exposure, limit, share) of each model."""
    units = Units(data.names)
    rows = []
    for line in data.exposures:
        name = units.model(line.model) or "no model"
        highest = line.fullest * line.limit
        rows.append((name, f"{highest:,.2f}", f"{line.limit:,.2f}", f"{line.fullest:.1%}"))
    return rows


def _assumed(data: ReportData) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if data.summary:
        assumed = data.summary.assumed.items()
        rows += [(short_reason(name), _plain(value)) for name, value in assumed]
        rows += [("inferred from the data", text) for text in data.summary.inferred]
    rows += _inferred(data.names) if not (data.summary and data.summary.inferred) else []
    return rows


def _inferred(names: Names) -> list[tuple[str, str]]:
    return [
        (f"{one.name}, inferred", ", ".join(one.inferred))
        for one in names.instruments
        if one.inferred
    ]


def _limits(data: ReportData) -> list[tuple[str, str]]:
    limits = data.summary.limits if data.summary else {}
    return [(short_reason(name), _plain(value)) for name, value in limits.items()]


def _plain(value: Any) -> str:
    """Write a setting for a table."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and math.isfinite(value):
        return f"{value:,}"
    return str(value)
