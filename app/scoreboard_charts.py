"""Draws a scoreboard: hit rate and markout by horizon, calibration, P&L."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.report_charts import AMBER, BLUE, FAINT, GREEN, RED, VIOLET, styled, to_svg
from app.scoring import HORIZONS_S, ModelScore

COLOURS = (BLUE, AMBER, VIOLET, GREEN, RED, "#17a2b8", "#c2549d", "#7a6a53", "#6b8e23", "#5b6b8c")
MARKERS = "osD^vPX<>h"
MAX_MODELS = 10  # drawn, the first of the run; each has a colour and a mark of its own
WIDTH, HEIGHT = 12.0, 7.8
ASIDE = 0.04  # models stand beside each other at a horizon, so that their errors can be told apart
BAR_HEIGHT = 0.12  # of the axis, at most
_SPANS = [f"{s} s" if s < 60 else f"{s // 60} min" for s in HORIZONS_S]


@styled
def write_png(
    path: Path, titles: Sequence[str], scores: Sequence[ModelScore], seconds: int, currency: str
) -> None:
    """Write the picture, in one step; `titles` are the run's name and what to say of it."""
    figure = _draw(scores, seconds, currency)
    text = "\n".join([f"Models of run {titles[0]}", *titles[1:]])
    figure.suptitle(text, x=0.012, ha="left", fontsize=11)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(
            temporary, format="png", dpi=120, facecolor="white", metadata={"Software": None}
        )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@styled
def figure_svg(scores: Sequence[ModelScore], seconds: int, currency: str) -> str:
    """Return the same as an <svg> element that follows the page's colours."""
    return to_svg(_draw(scores, seconds, currency), "scoreboard")


def _draw(scores: Sequence[ModelScore], seconds: int, currency: str) -> Any:
    from matplotlib.figure import Figure

    shown = list(scores)[:MAX_MODELS]
    figure = Figure(figsize=(WIDTH, HEIGHT))
    figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.12)
    axes = figure.subplots(2, 2)
    styles: list[dict[str, Any]] = [
        {
            "color": COLOURS[at],
            "linestyle": (0, (4, 2)) if one.mode == "shadow" else "-",
            "marker": MARKERS[at],
            "ms": 4,
            "linewidth": 1.3,
        }
        for at, one in enumerate(shown)
    ]
    _hit_rate(axes[0][0], shown, styles)
    _markout(axes[0][1], shown, styles)
    _calibration(axes[1][0], shown, styles, seconds)
    _money(axes[1][1], shown, currency)
    handles, labels = axes[0][0].get_legend_handles_labels()
    if handles:
        rows = -(-len(handles) // 5)
        columns = -(-len(handles) // rows)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=3.5)
    return figure


def _places(at: int, count: int) -> list[float]:
    """Return where a model's figures stand: about the horizon, beside those of the others.

    >>> [round(place, 2) for place in _places(0, 3)]
    [-0.04, 0.96, 1.96, 2.96]
    """
    return [place + ASIDE * (at - (count - 1) / 2) for place in range(len(HORIZONS_S))]


def _horizon_axis(axis: Any, unit: str) -> None:
    axis.set_xticks(range(len(HORIZONS_S)), _SPANS)
    axis.set_xlabel("after the decision")
    axis.set_ylabel(unit)
    axis.grid(True, axis="y")


def _label(score: ModelScore) -> str:
    return score.name if score.mode == "production" else f"{score.name} ({score.mode})"


def _hit_rate(axis: Any, shown: Sequence[ModelScore], styles: Sequence[dict[str, Any]]) -> None:
    for at, (score, style) in enumerate(zip(shown, styles, strict=True)):
        values = [_or_gap(one.hit_rate, 100.0) for one in score.horizons]
        axis.plot(_places(at, len(shown)), values, label=_label(score), **style)
    axis.axhline(50.0, color=FAINT, linewidth=0.8)
    axis.set_title("Hit rate of advice")
    _horizon_axis(axis, "% of the moves that went that way")


def _markout(axis: Any, shown: Sequence[ModelScore], styles: Sequence[dict[str, Any]]) -> None:
    for at, (score, style) in enumerate(zip(shown, styles, strict=True)):
        values = [_or_gap(one.markout_bps) for one in score.horizons]
        errors = [one.markout_se_bps or 0.0 for one in score.horizons]
        axis.errorbar(_places(at, len(shown)), values, yerr=errors, capsize=2, **style)
    axis.axhline(0.0, color=FAINT, linewidth=0.8)
    axis.set_title("Markout of advice, with its standard error")
    _horizon_axis(axis, "bps, before fees")


def _calibration(
    axis: Any, shown: Sequence[ModelScore], styles: Sequence[dict[str, Any]], seconds: int
) -> None:
    axis.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    for score, style in zip(shown, styles, strict=True):
        x = [one.predicted for one in score.calibration]
        y = [one.happened for one in score.calibration]
        axis.plot(x, y, **style)
    span = _SPANS[HORIZONS_S.index(seconds)]
    axis.set_xlim(-0.03, 1.03)
    axis.set_ylim(-0.03, 1.03)
    axis.set_title(f"Calibration at {span} (grey: chances are what they say)")
    axis.set_xlabel("P(up) as the model says it")
    axis.set_ylabel("share that rose")
    axis.grid(True)


def _money(axis: Any, shown: Sequence[ModelScore], currency: str) -> None:
    traded = [score for score in shown if score.money.fills][::-1]
    values = [score.pnl for score in traded]
    places = list(range(len(values)))
    height = min(0.6, BAR_HEIGHT * max(1, len(values)))
    axis.barh(places, values, color=[GREEN if v >= 0 else RED for v in values], height=height)
    axis.axvline(0.0, color=FAINT, linewidth=0.8)
    axis.set_yticks(places, [_label(score) for score in traded])
    axis.set_title("P&L after fees" if traded else "P&L: none has traded")
    axis.set_xlabel(currency)
    axis.margins(x=0.25, y=0.2)
    for place, value in zip(places, values, strict=True):
        side, shift = ("left", 4) if value >= 0 else ("right", -4)
        axis.annotate(
            f"{value:+,.2f}",
            (value, place),
            xytext=(shift, 0),
            textcoords="offset points",
            va="center",
            ha=side,
            fontsize=8.0,
        )
    axis.tick_params(axis="y", length=0)
    axis.grid(True, axis="x")


def _or_gap(value: float | None, scale: float = 1.0) -> float:
    return float("nan") if value is None else scale * value
