"""`lab.py models`: list, show, verify, promote, roll back, archive and import models."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from app import models_govern, scoreboard
from app.signal_file import DEFAULT_NAME, send
from config.settings import Cadence
from engine.errors import UsageError
from ml import registry
from ml.manifest import Entry

RIGHT = ("inputs", "us", "log loss", "largest", "first row", "shift", "confidence")
PLACED = {"inline": "in the hot path", "thread": "on a thread of its own"}
EPILOG = """\
examples:
  lab.py models list
  lab.py models show SignalClassifier
  lab.py models verify
  lab.py models promote SignalClassifier:2 --why "better log loss on the test part"
  lab.py models rollback SignalClassifier --why "loses money since noon"
  lab.py models import --onnx mlp.onnx --spec spec.json --id PeerMLP --kind binary
  lab.py models adopt model.onnx --matrix X.parquet --data data/sample --symbols BTC/USDT
  lab.py models predict SignalClassifier --row row.json
  lab.py models gates SignalClassifier:2
  lab.py models scoreboard last --png scores.png
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Register the command and its verbs."""
    parser = commands.add_parser(
        "models", help="list, show, verify and promote models", epilog=EPILOG
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, summary in (
        ("list", "one line for each version"),
        ("show", "everything about one version"),
        ("verify", "hash every file again and run the golden rows"),
        ("promote", "make a version the serving one; the one before is archived"),
        ("rollback", "let the version serve again that the serving one has replaced"),
        ("archive", "take a version out of service"),
        ("import", "register an ONNX file made elsewhere as a candidate"),
    ):
        _add_arguments(name, _add_verb(verbs, name, summary))
    models_govern.add_verbs(lambda name, summary: _add_verb(verbs, name, summary))
    scoreboard.add_verb(lambda name, summary: _add_verb(verbs, name, summary))
    parser.set_defaults(command="models")


def _add_verb(verbs: Any, name: str, summary: str) -> argparse.ArgumentParser:
    """Add one verb with what all of them take."""
    verb = verbs.add_parser(name, help=summary, description=summary.capitalize() + ".")
    verb.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def _add_arguments(name: str, verb: argparse.ArgumentParser) -> None:
    """Add what only one verb takes."""
    if name in ("show", "verify"):
        nargs = "?" if name == "verify" else None
        text = "ID or ID:VERSION; an ID alone means its production version when shown"
        verb.add_argument("model", nargs=nargs, metavar="ID[:VERSION]", help=text)
        if name == "verify":
            models_govern.add_rules(verb)
    elif name in ("promote", "rollback", "archive"):
        verb.add_argument("model", metavar="ID" if name == "rollback" else "ID:VERSION")
        verb.add_argument("--why", default="by hand", help="recorded in the history")
        verb.add_argument("--by", default="", help="who; default: the user's name")
        if name == "promote":
            models_govern.add_promotion(verb)
        if name == "rollback":
            verb.add_argument("--version", default="", help="which; default: what served last")
            models_govern.add_rules(verb)
        if name != "archive":
            text = "tell running sessions here (reload.signal_file); default: DIR/models.signal"
            verb.add_argument("--signal", type=Path, metavar="FILE", help=text)
    elif name == "import":
        verb.add_argument("--onnx", type=Path, required=True, metavar="FILE")
        verb.add_argument("--spec", type=Path, required=True, metavar="FILE")
        verb.add_argument("--id", required=True, metavar="ID")
        verb.add_argument("--kind", choices=("classifier3", "binary"), default="classifier3")
        verb.add_argument("--classes", default="SELL,HOLD,BUY", help="order of the three columns")
        verb.add_argument("--output", default="", help="name of the output; default: the last")
        verb.add_argument("--cadence", default="", help="when it is asked, such as every:250ms")
        text = "in the hot path or on a thread; default: by its time and cadence"
        verb.add_argument(
            "--placement", choices=("auto", "inline", "thread"), default="auto", help=text
        )


def main(args: argparse.Namespace) -> int:
    """Run one verb; return the exit code.

    Raises:
        ModelRefused: the registry or a model cannot be used.
        UsageError: a name that is no ID:VERSION.
    """
    if hasattr(args, "run_verb"):
        return int(args.run_verb(args))
    verbs = {
        "list": _list,
        "show": _show,
        "verify": _verify,
        "promote": _promote,
        "rollback": _rollback,
        "archive": _archive,
        "import": _import,
    }
    return verbs[args.verb](args)


def split_name(text: str, default: str = "") -> tuple[str, str]:
    """Split `ID:VERSION`; without a version the default stands, or the name is refused.

    >>> split_name("TickMLP:3"), split_name("TickMLP", "production")
    (('TickMLP', '3'), ('TickMLP', 'production'))
    """
    model_id, colon, version = text.partition(":")
    if not model_id or (colon and not version) or not (version or default):
        raise UsageError(f"{text!r} is no model; write ID:VERSION, for example SignalClassifier:1")
    return model_id, version or default


def _print_json(value: object) -> None:
    print(json.dumps(msgspec.to_builtins(value), allow_nan=False))


def console() -> Any:
    """Return a console of 80 columns, or of a terminal's width."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 80, highlight=False)


def table(*columns: str) -> Any:
    """Return a plain table with a bold header; numbers stand right."""
    from rich.table import Table

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        right = column in RIGHT
        grid.add_column(column, justify="right" if right else "left", overflow="fold")
    return grid


def _list(args: argparse.Namespace) -> int:
    view = registry.View(args.artifacts)
    entries = view.registry.entries
    if view.problem:
        print(view.problem, file=sys.stderr)
    if args.json:
        _print_json({"models": entries, "problem": view.problem})
        return 0
    if not entries:
        print("no models; `make demo-models` trains the demonstration models")
        return 0
    grid = table("model", "status", "cadence", "inputs", "log loss", "us", "sha256")
    for entry in entries:
        loss = entry.metrics.get("test_log_loss")
        grid.add_row(
            entry.name,
            entry.status,
            entry.cadence or "-",
            str(len(entry.input_features)),
            "-" if loss is None else f"{loss:.4f}",
            f"{entry.latency_us:.1f}",
            entry.sha256[:8],
        )
    console().print(grid)
    return 0


def _show(args: argparse.Namespace) -> int:
    model_id, version = split_name(args.model, "production")
    entry = registry.View(args.artifacts).find(model_id, version)
    folder = args.artifacts / entry.model_id / entry.version
    if args.json:
        _print_json({"model": entry, "folder": str(folder)})
        return 0
    grid = table("", "")
    for label, value in _rows(entry, folder):
        grid.add_row(label, value)
    grid.show_header = False
    console().print(grid)
    return 0


def _rows(entry: Entry, folder: Path) -> list[tuple[str, str]]:
    """Return what `show` prints, label and text."""
    figures = ", ".join(f"{name} {value:g}" for name, value in sorted(entry.metrics.items()))
    data = entry.training_data
    rows = [
        ("model", f"{entry.name} ({entry.status})"),
        ("task", entry.task),
        ("asked", f"{entry.cadence or '-'}, horizon {entry.horizon or '-'}"),
        ("output", f"{entry.output_schema.kind}: {', '.join(entry.output_schema.classes)}"),
        ("normalised", f"in the {entry.normalisation.where}"),
        (
            "served",
            f"{PLACED[entry.placement]}, {entry.latency_us:g} us a row, "
            f"optimisation {entry.optimisation}",
        ),
        ("trained on", f"{data.name}, {data.rows} rows, {data.start} to {data.end}"),
        ("kind", entry.kind),
        ("figures", figures or "-"),
        ("created", f"{entry.created_at}, features at {entry.commit[:12]}"),
        ("owner", entry.owner),
        ("sha256", entry.sha256),
        ("spec", entry.feature_spec_sha256),
        ("kernel", entry.kernel_identity),
        ("features", ", ".join(entry.input_features)),
        ("card", str(folder / "model_card.md")),
    ]
    history = (f"{c.at} {c.status} by {c.by}: {c.why}" for c in entry.history)
    gates = [
        ("gates", f"{g.gate}: {g.found}, wanted {g.wanted}{' (WAIVED)' if g.waived else ''}")
        for change in entry.history[-1:]
        for g in change.gates
    ]
    return rows + [("history", line) for line in history] + gates


def _verify(args: argparse.Namespace) -> int:
    model_id, version = ("", "")
    if args.model:
        model_id, _, version = args.model.partition(":")
    trust = models_govern.trust_in(args)
    findings = registry.verify(args.artifacts, model_id, version, trust=trust)
    bad = [finding for finding in findings if not finding.ok]
    if args.json:
        rows = [
            {"model": f.entry.name, "ok": f.ok, "code": f.code, "reason": f.reason}
            for f in findings
        ]
        _print_json({"ok": not bad, "models": rows})
        return 1 if bad else 0
    for finding in findings:
        said = "ok" if finding.ok else f"REFUSED: {finding.reason}"
        print(f"{finding.entry.name} ({finding.entry.status}): {said}")
    if not findings:
        print("no models to verify")
    return 1 if bad else 0


def _changed(args: argparse.Namespace, entry: Entry) -> int:
    if args.json:
        _print_json({"model": entry})
    else:
        print(f"{entry.name} is {entry.status} now ({entry.history[-1].why})")
    return 0


def _promote(args: argparse.Namespace) -> int:
    model_id, version = split_name(args.model)
    rules = models_govern.promotion(args)
    entry = registry.promote(args.artifacts, model_id, version, why=args.why, by=args.by, **rules)
    _tell_sessions(args)
    return _changed(args, entry)


def _rollback(args: argparse.Namespace) -> int:
    model_id, version = split_name(args.model, "production")
    if version != "production":
        raise UsageError(f"{args.model}: name the model alone; its history says what served before")
    trust = models_govern.trust_in(args)
    words = {"why": args.why, "by": args.by, "version": args.version, "trust": trust}
    entry = registry.rollback(args.artifacts, model_id, **words)
    _tell_sessions(args)
    return _changed(args, entry)


def _tell_sessions(args: argparse.Namespace) -> None:
    """Let running sessions look at the registry; the change itself is made already."""
    path = args.signal or args.artifacts / DEFAULT_NAME
    try:
        send(path)
    except OSError as error:
        print(f"running sessions were not told: {path}: {error.strerror}", file=sys.stderr)


def _archive(args: argparse.Namespace) -> int:
    model_id, version = split_name(args.model)
    entry = registry.archive(args.artifacts, model_id, version, why=args.why, by=args.by)
    return _changed(args, entry)


def _cadence(text: str) -> str:
    """Return a cadence as it was given, when it is one or nothing."""
    try:
        return msgspec.convert(text, Cadence) if text else ""
    except msgspec.ValidationError:
        forms = "quote, trade, bar:1m, every:250ms or every_n:50"
        raise UsageError(f"--cadence {text}: must be {forms} in form") from None


def _import(args: argparse.Namespace) -> int:
    from features.spec import parse_spec
    from ml.importing import Foreign, import_onnx

    cadence, found = _cadence(args.cadence), {}
    for option in ("onnx", "spec"):
        path = getattr(args, option)
        try:
            found[option] = path.read_bytes()
        except OSError as error:
            raise UsageError(f"--{option} {path}: {error.strerror}") from None
    foreign = Foreign(
        model_id=args.id,
        spec=parse_spec(found["spec"], str(args.spec)),
        kind=args.kind,
        classes=tuple(args.classes.split(",")),
        output=args.output,
        cadence=cadence,
        placement=args.placement,
    )
    return _changed(args, import_onnx(args.artifacts, found["onnx"], foreign))
