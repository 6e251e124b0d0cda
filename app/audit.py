"""`lab.py audit verify|signal-flow|explain`: what a run did, and the proof that it did so."""

import argparse
import sys
from pathlib import Path
from typing import Any

from engine.audit_reader import Funnel, read_names
from engine.audit_story import SignalFate, last_signals, order_story
from engine.audit_verify import Progress, Verification, verify
from engine.errors import UsageError
from engine.json_files import read_json, read_lines, to_json
from engine.run_files import CHAIN, SUMMARY, ChainLink, Names, Summary, resolve_run

WIDTH = 80


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register `audit` and its three commands; `main` carries them out."""
    audit = subparsers.add_parser("audit", help="verify a run, show its signals, explain an order")
    commands = audit.add_subparsers(dest="audit_command", required=True, metavar="COMMAND")
    verify_parser = commands.add_parser(
        "verify",
        help="check chain, completeness and tape of a run",
        description="Check a run's audit: hash chain, sequence, completeness, tape. "
        "Exit code 0: all that is there is as it was written; 1: it is not; 2: no such run.",
    )
    _run_argument(verify_parser)
    verify_parser.add_argument("--tape", type=Path, metavar="DIR", help="where the tape lies now")
    verify_parser.add_argument("--no-tape", action="store_true", help="leave the tape alone")
    verify_parser.add_argument(
        "--no-text", action="store_true", help="do not compare audit.jsonl with the records"
    )
    verify_parser.set_defaults(run=main_verify)
    flow = commands.add_parser(
        "signal-flow",
        help="count from ticks down to fills, and follow the last signals",
        description="Print the funnel from ticks to fills and the fates of the last signals.",
    )
    _run_argument(flow)
    flow.add_argument("--max", type=int, default=10, metavar="N", help="signals shown (10)")
    flow.add_argument("--holds", action="store_true", help="show HOLD signals among the last, too")
    flow.set_defaults(run=main_signal_flow)
    explain = commands.add_parser(
        "explain",
        help="tell one order's whole story",
        description="Tell one order's story: tick, features, signal, intent, verdict, fills, P&L.",
    )
    _run_argument(explain)
    explain.add_argument("order", metavar="ORDER_ID", help="the order's number")
    explain.add_argument("--tape", type=Path, metavar="DIR", help="where the tape lies now")
    explain.set_defaults(run=main_explain)


def main(args: argparse.Namespace) -> int:
    """Carry out the chosen command and return its exit code.

    Raises:
        UsageError: there is no such run or order.
    """
    return int(args.run(args))


def _run_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_name", metavar="RUN", help="a run folder, a run id, or `last`")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="where the runs are (runs)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def main_verify(args: argparse.Namespace) -> int:
    """Verify a run and print the verdict; 0 when it holds, 1 when not.

    Raises:
        DataError: there is no such run.
    """
    run_dir = resolve_run(args.run_name, args.runs)
    with _Bar("verifying") as bar:
        result = verify(
            run_dir,
            check_tape=not args.no_tape,
            check_text=not args.no_text,
            tape_dir=args.tape,
            progress=bar.progress,
        )
    if args.json:
        _print_json(result)
    else:
        for line in verdict_lines(result):
            print(line)
    return 0 if result.ok else 1


def verdict_lines(result: Verification) -> list[str]:
    """Say a verification in a few lines of at most 80 columns where they can be."""
    lines = [f"{'OK' if result.ok else 'BAD'}  {result.run_dir}"]
    if result.first_bad:
        lines.append(f"  first bad   {result.first_bad.line()}")
    lines += [f"  cut         {text}" for text in result.cut]
    if result.ok:
        kinds = ", ".join(f"{n:,} {kind.lower()}" for kind, n in result.kinds.items())
        lines.append(f"  records     {result.records:,}, {result.sealed:,} sealed in "
                     f"{result.links:,} links")  # fmt: skip
        lines += _wrapped("              ", kinds)
        lines += _wrapped("              ", result.tape, first="  tape        ")
        lines.append(f"  text        {result.text}")
        lines.append(f"  digest      {result.decision_digest}")
        lines.append(f"  head        {result.audit_head}")
        if result.open_orders:
            lines.append(f"  open        {result.open_orders} orders at the end")
        for model, share in result.exposure_share.items():
            lines.append(f"  exposure    {model} at most {share:.1%} of its limit")
    lines += [f"  note        {text}" for text in result.warnings]
    return lines


def _wrapped(indent: str, text: str, *, first: str = "") -> list[str]:
    import textwrap

    return textwrap.wrap(text, WIDTH, initial_indent=first or indent, subsequent_indent=indent)


def main_signal_flow(args: argparse.Namespace) -> int:
    """Print the funnel and the last signals.

    Raises:
        UsageError: there is no such run, or --max is not 0 or more.
    """
    if args.max < 0:
        raise UsageError(f"--max {args.max}: 0 or more")
    run_dir = resolve_run(args.run_name, args.runs)
    funnel, fates = last_signals(run_dir, args.max, holds=args.holds)
    ticks, names = ticks_of(run_dir), read_names(run_dir)
    if args.json:
        _print_json({
            "run_id": names.run.id,
            "funnel": funnel_object(funnel, ticks),
            "signals": [fate_object(fate, names) for fate in fates],
        })  # fmt: skip
        return 0
    print_flow(run_dir, names, funnel, ticks, fates)
    return 0


def ticks_of(run_dir: Path) -> int:
    """Return the rows of the tape that a run consumed, from its summary or its last chain link."""
    if (run_dir / SUMMARY).exists():
        return read_json(run_dir / SUMMARY, Summary).events
    rows = 0
    for _, _, link in read_lines(run_dir / CHAIN, ChainLink):
        rows = link.tape_row if link else rows
    return rows


def funnel_object(funnel: Funnel, ticks: int) -> dict[str, Any]:
    """Return the funnel as plain values."""
    from engine.audit_layout import Record

    holds = funnel.holds()
    return {
        "ticks": ticks,
        "decisions": funnel.count(Record.DECISION),
        "signals": {action.name.lower(): n for action, n in funnel.actions.items()},
        "hold_reasons": holds,
        "below_threshold": holds.get("BELOW_THRESHOLD", 0),
        "intents": funnel.count(Record.INTENT),
        "approved": int(funnel.verdicts[0]),
        "reduced": int(funnel.verdicts[1]),
        "blocked": int(funnel.verdicts[2]),
        "blocked_reasons": funnel.blocked,
        "orders": funnel.orders,
        "fills": funnel.count(Record.FILL),
    }


def print_flow(
    run_dir: Path, names: Names, funnel: Funnel, ticks: int, fates: list[SignalFate]
) -> None:
    """Print funnel and fates as two tables of 80 columns."""
    from rich import box
    from rich.table import Table

    from app.terminal import console, fate_row

    out = console()
    counts = funnel_object(funnel, ticks)
    table = Table(box=box.SIMPLE_HEAD, title=f"Signal flow of {names.run.id}", title_justify="left")
    for title, justify in (("", "left"), ("count", "right"), ("of the step above", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for name, count, above in _flow_rows(counts):
        share = f"{count / above:.2%}" if above else ""
        table.add_row(name, f"{count:,}", share)
    out.print(table)
    if not fates:
        out.print("No signal but HOLD." if counts["decisions"] else "No signal.")
        return
    table = Table(box=box.SIMPLE_HEAD, title=f"Last {len(fates)} signals", title_justify="left")
    for title, justify in (("signal", "right"), ("time (UTC)", "left"), ("what", "left"),
                           ("p", "right"), ("fate", "left")):  # fmt: skip
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for fate in fates:
        table.add_row(*fate_row(fate, names))
    out.print(table)


def _flow_rows(counts: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return (name, count, count of the step it is a part of)."""
    decisions, intents = counts["decisions"], counts["intents"]
    rows = [("ticks", counts["ticks"], 0), ("decisions", decisions, counts["ticks"])]
    rows += [
        (f"  {name.upper()}", counts["signals"][name], decisions)
        for name in ("buy", "sell", "hold")
    ]
    for reason, n in counts["hold_reasons"].items():
        rows.append((f"    {reason.lower().replace('_', ' ')}", n, counts["signals"]["hold"]))
    rows.append(("intents", intents, decisions))
    rows += [(f"  {name}", counts[name], intents) for name in ("approved", "reduced", "blocked")]
    for reason, n in counts["blocked_reasons"].items():
        rows.append((f"    {reason.lower().replace('_', ' ')}", n, counts["blocked"]))
    rows += [("orders", counts["orders"], intents), ("fills", counts["fills"], counts["orders"])]
    return rows


def fate_object(fate: SignalFate, names: Names) -> dict[str, Any]:
    """Return a fate as plain values, in units instead of ticks and lots."""
    from app.terminal import Units

    units = Units(names)
    lots = fate.filled_lot
    average = fate.value_tick_lot / lots if lots else None
    return {
        "signal": fate.signal_id,
        "ts": fate.ts,
        "row": fate.row,
        "instrument": units.instrument(fate.instrument),
        "model": units.model(fate.model),
        "action": fate.action,
        "hold_reason": fate.reason if fate.action == "HOLD" else None,
        "p": {"sell": fate.p_sell, "hold": fate.p_hold, "buy": fate.p_buy},
        "intent": fate.intent_id,
        "verdict": fate.verdict or None,
        "blocks": fate.blocks,
        "order": fate.order_id,
        "state": fate.state or None,
        "filled": units.quantity(fate.instrument, lots),
        "average_price": units.price(fate.instrument, average) if average else None,
        "protected_by": fate.protected_by,
        "protected_how": fate.protected_how or None,
        "fees": fate.fees_minor / 1e8,
        "realized": fate.realized_minor / 1e8,
    }


def main_explain(args: argparse.Namespace) -> int:
    """Print one order's story.

    Raises:
        UsageError: there is no such run or order.
    """
    from app.story import story_object
    from app.story_words import print_story

    run_dir = resolve_run(args.run_name, args.runs)
    digits = args.order.removeprefix("#")
    if not digits.isdecimal():
        raise UsageError(f"order {args.order!r}: an order id is a whole number, as in audit.jsonl")
    story = order_story(run_dir, int(digits))
    told = story_object(run_dir, story, tape_dir=args.tape)
    if args.json:
        _print_json(told)
    else:
        print_story(told)
    return 0


def _print_json(value: Any) -> None:
    sys.stdout.write(to_json(value).decode() + "\n")


class _Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "_Bar":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    @property
    def progress(self) -> Progress | None:
        """Return the function to call with (done, total)."""
        if not self._bar:
            return None
        return lambda done, total: self._bar.update(self._task, completed=done, total=total)
