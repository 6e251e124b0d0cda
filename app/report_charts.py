"""Draw a run's charts: as inline SVG that follows the page's colours, and as one picture."""

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.report_data import ReportData, feature_sets
from app.terminal import Units, short_reason
from engine.audit_layout import Record
from engine.events import Purpose

INK, FAINT = "#101820", "#8a94a0"  # replaced by the page's variables in the SVG
BLUE, GREEN, RED, AMBER, VIOLET = "#2f7ed8", "#0fa37f", "#e0503f", "#d9930d", "#8b6cd9"
LINES = (BLUE, AMBER, VIOLET, GREEN)
MAX_MODELS = 6  # panels of exposure
MAX_MARKERS = 400  # entries and exits drawn of one instrument
MAX_POINTS = 3000
MAX_PANELS = 12
_STYLE = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "grid.color": FAINT,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.35,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.fonttype": "none",
    "path.simplify": True,
}


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def styled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a drawing function so that it runs with the report's style and no screen."""

    def drawn(*args: Any, **options: Any) -> Any:
        import matplotlib

        with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return draw(*args, **options)

    return drawn


def to_svg(figure: Any, name: str) -> str:
    """Return a figure as an <svg> element whose ink follows the page's variables."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', ' role="img"', text, count=1)
    text = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"(url\(|href=\")#", rf"\1#{name}-", text)
    text = text.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    return text.replace("'DejaVu Sans', sans-serif", "inherit")


def moments(ts: np.ndarray) -> np.ndarray:
    """Return ns since the epoch as datetime64 for an axis."""
    return ts.astype("datetime64[ns]")


def _dates(axis: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=8)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axis.grid(True, axis="y")


def _plain_numbers(axis: Any) -> None:
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def thin(values: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` indices, evenly spread, ends included."""
    if len(values) <= count:
        return np.arange(len(values))
    return np.unique(np.linspace(0, len(values) - 1, count).astype(np.int64))


def plot_equity(upper: Any, lower: Any, data: ReportData, currency: str) -> None:
    """Draw equity above and drawdown below."""
    ts, equity = data.equity["ts"], data.equity["equity"]
    keep = thin(ts, MAX_POINTS)
    x, y = moments(ts[keep]), equity[keep]
    upper.plot(x, y, color=BLUE, linewidth=1.3)
    upper.axhline(equity[0], color=FAINT, linewidth=0.7, linestyle=(0, (4, 3)))
    upper.fill_between(x, equity[0], y, where=y >= equity[0], color=GREEN, alpha=0.16, linewidth=0)
    upper.fill_between(x, equity[0], y, where=y < equity[0], color=RED, alpha=0.16, linewidth=0)
    upper.set_title(f"Equity ({currency})" if currency else "Equity")
    _plain_numbers(upper)
    fall = -100 * data.equity["drawdown"][keep]
    lower.fill_between(x, fall, 0.0, color=RED, alpha=0.3, linewidth=0)
    lower.plot(x, fall, color=RED, linewidth=0.8)
    lower.set_title("Drawdown (%)")
    for axis in (upper, lower):
        _dates(axis)


def plot_price(axis: Any, data: ReportData, instrument: int) -> str:
    """Draw one instrument's mid with entries and exits; return what had to be left out, or ''."""
    units = Units(data.names)
    ts, mid = data.prices.get(f"ts_{instrument}"), data.prices.get(f"mid_{instrument}")
    if ts is not None and mid is not None and len(ts):
        keep = thin(ts, MAX_POINTS)
        axis.plot(moments(ts[keep]), mid[keep], color=FAINT, linewidth=0.9, zorder=1)
    mine = data.fills[data.fills["instrument"] == instrument]
    tick = float(data.names.instruments[instrument].tick)
    stops = (Purpose.STOP_LOSS, Purpose.TAKE_PROFIT)
    groups = (
        ("entry", mine["purpose"] == Purpose.ENTRY, BLUE),
        ("exit", (mine["purpose"] != Purpose.ENTRY) & ~np.isin(mine["purpose"], stops), AMBER),
        ("stop-loss", mine["purpose"] == Purpose.STOP_LOSS, RED),
        ("take-profit", mine["purpose"] == Purpose.TAKE_PROFIT, GREEN),
    )
    hidden = 0
    for label, chosen, color in groups:
        rows = mine[chosen]
        kept = rows[thin(rows, MAX_MARKERS)]
        size = 34 if len(rows) < 60 else 15
        hidden += len(rows) - len(kept)
        for side, marker in ((1, "^"), (-1, "v")):
            part = kept[kept["side"] == side]
            if len(part):
                word = "buy" if side > 0 else "sell"
                axis.scatter(moments(part["ts"]), part["price_tick"] * tick, marker=marker, s=size,
                             color=color, linewidths=0, alpha=0.85, label=f"{label} ({word})",
                             zorder=2)  # fmt: skip
    if len(mine):
        axis.legend(loc="upper center", ncols=4, bbox_to_anchor=(0.5, -0.12))
    axis.set_title(f"{units.instrument(instrument)} ({units.quote(instrument)})")
    _plain_numbers(axis)
    _dates(axis)
    return f"{hidden:,} of its fills are not drawn" if hidden else ""


def funnel_steps(data: ReportData) -> list[tuple[str, int, str]]:
    """Return (step, count, colour) from ticks to fills."""
    funnel, summary = data.funnel, data.summary
    steps = [("ticks", summary.events, FAINT)] if summary and summary.events else []
    actions = {action.name: n for action, n in funnel.actions.items()}
    steps += [
        ("decisions", funnel.count(Record.DECISION), BLUE),
        ("signals to buy or sell", actions["BUY"] + actions["SELL"], BLUE),
        ("intents", funnel.count(Record.INTENT), VIOLET),
        ("approved", int(funnel.verdicts[0]), GREEN),
        ("reduced", int(funnel.verdicts[1]), AMBER),
        ("blocked", int(funnel.verdicts[2]), RED),
        ("orders", funnel.orders, GREEN),
        ("fills", funnel.count(Record.FILL), GREEN),
    ]
    return steps


def plot_funnel(axis: Any, data: ReportData) -> None:
    """Draw the signal funnel as bars on a logarithmic scale."""
    steps = funnel_steps(data)[::-1]
    counts = [count for _, count, _ in steps]
    places = np.arange(len(steps))
    axis.barh(places, np.maximum(counts, 0.6), color=[c for *_, c in steps], height=0.62, alpha=0.9)
    axis.set_xscale("log")
    axis.set_xlim(0.6, max([10, *counts]) * 8)
    axis.set_yticks(places, [name for name, *_ in steps])
    for place, count in zip(places, counts):
        axis.text(max(count, 0.6) * 1.15, place, f"{count:,}", va="center", fontsize=8.0)
    axis.set_title("Signal funnel (counts, logarithmic)")
    axis.tick_params(axis="y", length=0)
    axis.set_xticks([])
    axis.minorticks_off()
    axis.spines[["left", "bottom"]].set_visible(False)


def plot_exposure(axes: list[Any], data: ReportData) -> None:
    """Draw the exposure of each model as a share of its limit, one panel a model."""
    units = Units(data.names)
    for k, (axis, line) in enumerate(zip(axes, fullest_first(data))):
        share = 100 * line.total / max(line.limit, 1e-9)
        x, color = moments(line.ts), LINES[k % len(LINES)]
        axis.fill_between(x, 0, share, step="post", color=color, alpha=0.3, linewidth=0)
        axis.step(x, share, where="post", color=color, linewidth=0.8)
        axis.axhline(100.0, color=RED, linewidth=1.0, linestyle=(0, (4, 3)))
        axis.set_ylim(0, 112)
        axis.set_yticks([0, 50, 100])
        name = units.model(line.model) or "no model"
        axis.set_title(f"Exposure of {name} (% of its limit {line.limit:,.0f})")
        _dates(axis)


def fullest_first(data: ReportData) -> list[Any]:
    """Return the exposure lines that are drawn, the fullest model first."""
    return sorted(data.exposures, key=lambda line: -line.fullest)[:MAX_MODELS]


@styled
def equity_svg(data: ReportData, currency: str) -> str:
    """Return the equity chart."""
    figure, axes = _figure(9, 4.1, 2, 1, sharex=True, gridspec_kw={"height_ratios": (2.6, 1)})
    plot_equity(axes[0][0], axes[1][0], data, currency)
    return to_svg(figure, "equity")


@styled
def price_svg(data: ReportData, instrument: int) -> tuple[str, str]:
    """Return the price chart of one instrument, and what it leaves out."""
    figure, axes = _figure(9, 3.1)
    note = plot_price(axes[0][0], data, instrument)
    return to_svg(figure, f"price{instrument}"), note


@styled
def funnel_svg(data: ReportData) -> str:
    """Return the signal funnel."""
    figure, axes = _figure(9, 2.9)
    plot_funnel(axes[0][0], data)
    return to_svg(figure, "funnel")


@styled
def exposure_svg(data: ReportData) -> str:
    """Return exposure against limits."""
    count = len(fullest_first(data))
    figure, axes = _figure(9, 0.5 + 1.5 * count, count, 1, sharex=True)
    plot_exposure(list(axes.flat), data)
    return to_svg(figure, "exposure")


@styled
def features_svg(data: ReportData) -> tuple[str, int]:
    """Return histograms of sampled features, and how many features there are in all."""
    sets = [(name, values) for name, values in feature_sets(data.features) if len(values)]
    shown = sets[:MAX_PANELS]
    if not shown:
        return "", 0
    rows = -(-len(shown) // 4)
    figure, axes = _figure(9, 1.45 * rows, rows, 4)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, (name, values) in zip(axes.flat, shown):
        low, high = np.percentile(values, (0.5, 99.5))
        inside = values[(values >= low) & (values <= high)] if high > low else values
        axis.hist(inside.astype(np.float64), bins=32, color=BLUE, alpha=0.85)
        axis.set_title(name, fontsize=8.0)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.locator_params(axis="x", nbins=4)
    return to_svg(figure, "features"), len(sets)


@styled
def latency_svg(data: ReportData) -> str:
    """Return histograms of stage latencies on a logarithmic axis, '' where none were sampled."""
    stages = [(name, ns[ns > 0] / 1e3) for name, ns in data.latency.items() if (ns > 0).any()]
    stages = stages[:6]
    if not stages:
        return ""
    columns = min(3, len(stages))
    rows = -(-len(stages) // columns)
    figure, axes = _figure(9, 1.9 * rows, rows, columns)
    for axis in axes.flat[len(stages) :]:
        axis.set_visible(False)
    for axis, (name, us) in zip(axes.flat, stages):
        edges = np.geomspace(max(us.min(), 0.01), max(us.max(), 0.02) * 1.01, 48)
        axis.hist(us, bins=edges, color=BLUE, alpha=0.85)
        for share, color in ((50, GREEN), (99, AMBER), (99.9, RED)):
            value = float(np.percentile(us, share))
            axis.axvline(value, color=color, linewidth=1.0, label=f"p{share:g} {value:,.1f}")
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axis.xaxis.set_minor_formatter("")
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_title(f"{short_reason(name)} (us)", fontsize=9.0)
        axis.legend(loc="upper right", fontsize=7.0, handlelength=1.0)
    return to_svg(figure, "latency")


@styled
def write_picture(data: ReportData, path: Path, titles: tuple[str, str], currency: str) -> None:
    """Write the overview picture: equity, drawdown, the busiest instrument, funnel, exposure."""
    import os

    from matplotlib.figure import Figure

    whole = Figure(figsize=(12.8, 7.8), layout="constrained", facecolor="white")
    bands: Any = whole.subfigures(2, 1, height_ratios=(0.075, 1), hspace=0.0)
    upper_figure, figure = bands
    upper_figure.text(0.012, 0.62, titles[0], fontsize=13, fontweight="bold", va="center")
    upper_figure.text(0.012, 0.12, titles[1], fontsize=9, color="#5b6672", va="center")
    grid = figure.add_gridspec(6, 2, width_ratios=(1.45, 1))
    upper, lower = figure.add_subplot(grid[0:2, 0]), figure.add_subplot(grid[2, 0])
    if len(data.equity.get("ts", ())):
        plot_equity(upper, lower, data, currency)
    else:
        for axis in (upper, lower):
            axis.set_axis_off()
        upper.text(0.0, 0.5, "No equity was sampled in this run.")
    price = figure.add_subplot(grid[3:6, 0])
    plot_price(price, data, next(iter(data.fills_by_instrument), 0))
    plot_funnel(figure.add_subplot(grid[0:3, 1]), data)
    shown = max(1, min(3, len(data.exposures)))
    panels = grid[3:6, 1].subgridspec(shown, 1).subplots(squeeze=False, sharex=True)
    plot_exposure(list(panels.flat), data)
    if not data.exposures:
        panels[0][0].set_axis_off()
        panels[0][0].text(0.0, 0.5, "No model ever had any exposure.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        whole.savefig(temporary, format="png", dpi=125, metadata={"Software": None})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
