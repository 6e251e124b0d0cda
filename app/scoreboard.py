"""`lab.py models scoreboard RUN`: how the models of a run did, as table, JSON, page or picture."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.scoring import HORIZONS_S, ModelScore, score_run
from app.terminal import console
from engine.errors import DataError, UsageError
from engine.json_files import read_json
from engine.run_files import TAPE_REF, TapeRef, resolve_run
from engine.tape import Tape

SYNTHETIC = "synthetic market: the figures show that the plumbing works, and no skill"
SUMMARY = "how the models of a run did against the market that followed"
COLUMNS = ("model", "advice", "hit", "markout", "IC", "Brier", "P&L", "up", "us p50")


def add_verb(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Register the verb; `add` makes its parser."""
    verb = add("scoreboard", SUMMARY)
    verb.set_defaults(run_verb=main)
    verb.add_argument("run", metavar="RUN", help="run folder, id, the start of one, or last")
    verb.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR")
    words = [str(seconds) for seconds in HORIZONS_S]
    text = "seconds of the table's figures and of the calibration curve"
    verb.add_argument("--horizon", choices=words, default="60", help=text)
    verb.add_argument("--against", default="", metavar="NAME", help="the champion")
    verb.add_argument("--png", type=Path, metavar="FILE", help="also draw a picture")
    verb.add_argument("--html", type=Path, metavar="FILE", help="also write a page")


def main(args: argparse.Namespace) -> int:
    """Score a run and show it; return the exit code.

    Raises:
        DataError: no such run, or its tape is gone.
        UsageError: --against names no model of it.
    """
    run = resolve_run(args.run, args.runs)
    seconds = int(args.horizon)
    tape = tape_of(run, args.runs)
    scores = score_run(run, tape, horizon_s=seconds, champion=args.against)
    quotes = {one.quote for one in tape.instruments}
    currency = quotes.pop() if len(quotes) == 1 else "quote currency"
    notes = (SYNTHETIC,) if any(one.venue == "synthetic" for one in tape.instruments) else ()
    known = [score.name for score in scores]
    if args.against and args.against not in known:
        there = ", ".join(known) or "none"
        raise UsageError(f"--against {args.against}: no model of run {run.name}; there are {there}")
    if args.json:
        content = {"run": run.name, "horizon_s": seconds, "notes": notes}
        content["models"] = msgspec.to_builtins(scores)
        print(json.dumps(content, allow_nan=False))
    else:
        show(run.name, scores, seconds, notes)
    for path, write in ((args.png, _write_png), (args.html, _write_html)):
        if path is not None:
            write(path, (run.name, *notes), scores, seconds, currency)
            if not args.json:
                print(f"written: {path}")
    return 0


def tape_of(run: Path, runs_dir: Path) -> Tape:
    """Open the tape that a run went over.

    Raises:
        DataError: it is no longer there.
    """
    ref = read_json(run / TAPE_REF, TapeRef)
    for folder in (Path(ref.path), runs_dir / "tapes" / Path(ref.path).name, run / "tape"):
        if (folder / "tape.json").exists():
            tape = Tape.open(folder, repair=not ref.sha256)
            if ref.sha256 in ("", tape.info.sha256):
                return tape
    raise DataError(f"{run}: its tape is no longer at {ref.path}; replay its data to make it again")


def show(run: str, scores: Sequence[ModelScore], seconds: int, notes: Sequence[str]) -> None:
    """Print the table, 80 columns wide, and a second one with all horizons."""
    from rich.table import Table

    out = console()
    out.print(f"[bold]{run}[/]: figures at {_span(seconds)}", highlight=False)
    for columns, rows in (
        (COLUMNS, [_row(score, seconds) for score in scores]),
        (("hit % / markout bps", *map(_span, HORIZONS_S)), [_horizons(score) for score in scores]),
    ):
        grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
        for at, name in enumerate(columns):
            grid.add_column(name, justify="left" if at == 0 else "right", overflow="fold")
        for row in rows:
            grid.add_row(*row)
        out.print(grid)
        out.print()
    for line in [*notes, *(line for score in scores for line in _notes(score))]:
        out.print(line, highlight=False)


def _row(score: ModelScore, seconds: int) -> tuple[str, ...]:
    at = next(one for one in score.horizons if one.seconds == seconds)
    mode = "" if score.mode == "production" else f" ({score.mode})"
    return (
        f"{score.name}{mode}",
        f"{score.buys + score.sells:,}",
        text_of(at.hit_rate, "{:.1%}"),
        text_of(at.markout_bps, "{:+.2f}"),
        text_of(at.ic, "{:+.3f}"),
        text_of(at.brier, "{:.4f}"),
        text_of(score.pnl if score.money.fills else None, "{:+,.2f}"),
        text_of(score.uptime, "{:.1%}"),
        text_of(score.latency_us.get("p50"), "{:,.1f}"),
    )


def _horizons(score: ModelScore) -> tuple[str, ...]:
    return (
        score.name,
        *(
            f"{text_of(one.hit_rate, '{:.1%}')} / {text_of(one.markout_bps, '{:+.2f}')}"
            for one in score.horizons
        ),
    )


def _notes(score: ModelScore) -> list[str]:
    """Say what the table has no room for."""
    lines = []
    if score.beside is not None and score.beside.rows:
        gap, error = score.beside.brier_difference, score.beside.brier_difference_se
        lines.append(
            f"{score.name} beside {score.beside.champion}: same action on "
            f"{text_of(score.beside.agreement, '{:.1%}')} of {score.beside.rows:,} common rows, "
            f"Brier {text_of(gap, '{:+.4f}')} (se {text_of(error, '{:.4f}')}; below 0 is better)"
        )
    if score.faults:
        said = ", ".join(f"{name} {count:,}" for name, count in score.faults.items())
        lines.append(f"{score.name}: no answer because of {said}")
    return lines


def text_of(value: float | None, form: str) -> str:
    """Write a figure, `-` where there is none.

    >>> text_of(0.5, "{:.1%}"), text_of(None, "{}")
    ('50.0%', '-')
    """
    return "-" if value is None else form.format(value)


def _span(seconds: int) -> str:
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


def _write_png(
    path: Path, titles: Sequence[str], scores: Sequence[ModelScore], seconds: int, currency: str
) -> None:
    from app.scoreboard_charts import write_png

    write_png(path, titles, scores, seconds, currency)


def _write_html(
    path: Path, titles: Sequence[str], scores: Sequence[ModelScore], seconds: int, currency: str
) -> None:
    import jinja2

    from app.scoreboard_charts import figure_svg

    template = Path(__file__).with_name("scoreboard.html.j2").read_text(encoding="utf-8")
    world = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    named = {"hit": "hit rate", "markout": "markout, bps", "P&L": f"P&L, {currency}"}
    named |= {"up": "answered", "us p50": "its stage p50, us"}
    content: dict[str, Any] = {
        "run": titles[0],
        "span": _span(seconds),
        "columns": [named.get(name, name) for name in COLUMNS],
        "rows": [_row(score, seconds) for score in scores],
        "spans": [_span(one) for one in HORIZONS_S],
        "horizons": [_horizons(score) for score in scores],
        "warnings": titles[1:],
        "notes": [line for score in scores for line in _notes(score)],
        "chart": figure_svg(scores, seconds, currency),
    }
    path.write_text(world.from_string(template).render(**content), encoding="utf-8")
