"""Draws a scoreboard: hit rate and markout by horizon, calibration, P&L."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.report_charts import AMBER, BLUE, FAINT, GREEN, RED, VIOLET, styled, to_svg
from app.scoring import HORIZONS_S, ModelScore

COLOURS = (BLUE, AMBER, VIOLET, GREEN, RED)
MAX_MODELS = 10  # drawn, the first of the run
WIDTH, HEIGHT = 12.0, 7.4
_SPANS = [f"{s} s" if s < 60 else f"{s // 60} min" for s in HORIZONS_S]


@styled
def write_png(
    path: Path, titles: Sequence[str], scores: Sequence[ModelScore], seconds: int
) -> None:
    """Write the picture, in one step; `titles` are the run's name and what to say of it."""
    figure = _draw(scores, seconds)
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
def figure_svg(scores: Sequence[ModelScore], seconds: int) -> str:
    """Return the same as an <svg> element that follows the page's colours."""
    return to_svg(_draw(scores, seconds), "scoreboard")


def _draw(scores: Sequence[ModelScore], seconds: int) -> Any:
    from matplotlib.figure import Figure

    shown = list(scores)[:MAX_MODELS]
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots(2, 2)
    styles = [
        {"color": COLOURS[at % len(COLOURS)], "linestyle": "--" if one.mode == "shadow" else "-"}
        for at, one in enumerate(shown)
    ]
    _hit_rate(axes[0][0], shown, styles)
    _markout(axes[0][1], shown, styles)
    _calibration(axes[1][0], shown, styles, seconds)
    _money(axes[1][1], shown)
    handles, labels = axes[0][0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def _label(score: ModelScore) -> str:
    return score.name if score.mode == "production" else f"{score.name} ({score.mode})"


def _hit_rate(axis: Any, shown: Sequence[ModelScore], styles: Sequence[dict[str, str]]) -> None:
    for score, style in zip(shown, styles, strict=True):
        values = [_or_gap(one.hit_rate, 100.0) for one in score.horizons]
        axis.plot(range(len(values)), values, marker="o", ms=4, label=_label(score), **style)
    axis.axhline(50.0, color=FAINT, linewidth=0.8)
    axis.set_xticks(range(len(HORIZONS_S)), _SPANS)
    axis.set_title("Hit rate of advice (%)")
    axis.grid(True, axis="y")


def _markout(axis: Any, shown: Sequence[ModelScore], styles: Sequence[dict[str, str]]) -> None:
    for score, style in zip(shown, styles, strict=True):
        values = [_or_gap(one.markout_bps) for one in score.horizons]
        errors = [one.markout_se_bps or 0.0 for one in score.horizons]
        axis.errorbar(range(len(values)), values, yerr=errors, marker="o", ms=4, capsize=3, **style)
    axis.axhline(0.0, color=FAINT, linewidth=0.8)
    axis.set_xticks(range(len(HORIZONS_S)), _SPANS)
    axis.set_title("Markout of advice (bps, with its standard error)")
    axis.grid(True, axis="y")


def _calibration(
    axis: Any, shown: Sequence[ModelScore], styles: Sequence[dict[str, str]], seconds: int
) -> None:
    axis.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    for score, style in zip(shown, styles, strict=True):
        x = [one.predicted for one in score.calibration]
        y = [one.happened for one in score.calibration]
        axis.plot(x, y, marker="o", ms=4, **style)
    span = _SPANS[HORIZONS_S.index(seconds)]
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_title(f"Calibration at {span}: P(up) and how often it rose")
    axis.grid(True)


def _money(axis: Any, shown: Sequence[ModelScore]) -> None:
    traded = [score for score in shown if score.money.fills][::-1]
    values = [score.pnl for score in traded]
    places = list(range(len(values)))
    axis.barh(places, values, color=[GREEN if v >= 0 else RED for v in values], height=0.6)
    axis.axvline(0.0, color=FAINT, linewidth=0.8)
    axis.set_yticks(places, [_label(score) for score in traded])
    axis.set_title("P&L after fees (quote currency)" if traded else "P&L: none has traded")
    axis.margins(x=0.25)
    for place, value in zip(places, values, strict=True):
        side = "left" if value >= 0 else "right"
        axis.text(value, place, f" {value:+,.2f} ", va="center", ha=side, fontsize=8.0)
    axis.tick_params(axis="y", length=0)
    axis.grid(True, axis="x")


def _or_gap(value: float | None, scale: float = 1.0) -> float:
    return float("nan") if value is None else scale * value
