"""`lab.py models register|gates|compare|lineage|latest|best|shadow|adopt|predict`."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec

from app import models_watch
from config.governance import Governance, load_governance
from engine.errors import UsageError
from engine.limits import MAX_WINDOW
from ml import registry, versions
from ml.governance import GATES
from ml.manifest import MODEL_FILES, Entry, OutputKind
from ml.model_interface import Trust

STAMPS = ("auto", "open", "close")
VERBS: dict[str, str] = {
    "adopt": "compare a feature matrix with the kernel's, register its model",
    "predict": "ask a version for rows given by hand",
    "watch": "say how far a run's models are from their training",
    "register": "register a file of any kind as a candidate",
    "gates": "say which promotion gates hold for a version",
    "shadow": "let a version see the stream without causing orders",
    "compare": "two versions beside each other",
    "lineage": "who descends of whom",
    "latest": "the version created last",
    "best": "the version with the best value of a metric",
}


def add_verbs(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Register the verbs; `add` makes the parser of one."""
    for name, summary in VERBS.items():
        verb = add(name, summary)
        verb.set_defaults(run_verb=_RUN[name])
        _add_arguments(name, verb)


def _add_arguments(name: str, verb: argparse.ArgumentParser) -> None:
    if name == "adopt":
        _add_adopt(verb)
    elif name == "predict":
        _add_predict(verb)
    elif name == "watch":
        models_watch.add_arguments(verb)
    elif name == "register":
        _add_register(verb)
    elif name == "compare":
        verb.add_argument("model", metavar="ID[:VERSION]")
        verb.add_argument("other", metavar="ID[:VERSION]")
    elif name == "lineage":
        verb.add_argument("model", nargs="?", default="", metavar="ID")
    elif name in ("latest", "best"):
        verb.add_argument("model", metavar="ID")
        verb.add_argument("--status", default="", metavar="A,B", help="only of these")
        if name == "best":
            verb.add_argument("--metric", default="test_log_loss", metavar="NAME")
            verb.add_argument("--better", choices=("lower", "higher"), default="lower")
    else:
        verb.add_argument("model", metavar="ID:VERSION")
        if name == "shadow":
            verb.add_argument("--why", default="by hand", help="recorded in the history")
            verb.add_argument("--by", default="", help="who; default: the user's name")
        if name == "gates":
            add_evidence(verb)
    add_rules(verb)


def _add_adopt(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("model", type=Path, metavar="MODEL", help="an ONNX file, or its folder")
    verb.add_argument("--matrix", type=Path, required=True, metavar="FILE", help="Parquet or CSV")
    verb.add_argument("--data", type=Path, nargs="+", required=True, metavar="PATH")
    verb.add_argument("--symbols", default="", metavar="A", help="the matrix's instrument")
    verb.add_argument("--id", default="", help="model id; default: what metadata.json says")
    verb.add_argument("--spec", type=Path, metavar="FILE", help="feature spec, for parameters")
    verb.add_argument("--map", default="", metavar="COL=FEATURE,...", help="columns by hand")
    verb.add_argument("--time", default="", metavar="COL", help="the column of times")
    verb.add_argument("--stamp", choices=STAMPS, default="auto", help="what times of bars mean")
    verb.add_argument("--answers", default="", metavar="COL,...", help="the model's own answers")
    verb.add_argument("--cadence", default="bar:1m", help="when it is asked (bar:1m, quote, ...)")
    verb.add_argument("--check-only", action="store_true", help="compare, register nothing")
    verb.add_argument("--cache", type=Path, default=Path("data/tapes"), metavar="DIR")


def _add_predict(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("model", metavar="ID[:VERSION]")
    text = "JSON object or list of them, or CSV with a header; - reads standard input"
    verb.add_argument("--row", required=True, metavar="FILE|-", help=text)


def _add_register(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("model", metavar="ID[:VERSION]")
    verb.add_argument("file", type=Path, metavar="FILE")
    verb.add_argument("--spec", type=Path, required=True, metavar="FILE", help="its features")
    verb.add_argument("--file-kind", choices=tuple(MODEL_FILES), default="onnx")
    text = "torch: file beside it and class of a state dict's network; without, it is TorchScript"
    verb.add_argument("--factory", default="", metavar="NET.PY:NET", help=text)
    verb.add_argument("--kind", choices=get_args(OutputKind), default="classifier3")
    verb.add_argument("--classes", default="SELL,HOLD,BUY", help="order of the columns")
    text = "rows of the window that it reads"
    verb.add_argument("--sequence-length", type=int, default=0, metavar="N", help=text)
    verb.add_argument("--words", type=Path, metavar="FILE", help="JSON: scale, dead_band, ...")
    verb.add_argument("--metrics", type=Path, metavar="FILE", help="JSON: name -> number")
    verb.add_argument("--parent", default=None, metavar="ID:VERSION")
    verb.add_argument("--cadence", default="", help="when it is asked, for the reader")


def add_rules(verb: argparse.ArgumentParser) -> None:
    """Add the file that says what may run code and which gates there are."""
    verb.add_argument("--rules", type=Path, metavar="FILE", help="default: config/governance.yaml")


def add_promotion(verb: argparse.ArgumentParser) -> None:
    """Add what `promote` takes beside model, why and by."""
    add_evidence(verb)
    text = "go on without this gate; recorded, may be given again"
    verb.add_argument("--waive", action="append", default=[], choices=GATES, help=text)
    add_rules(verb)


def add_evidence(verb: argparse.ArgumentParser) -> None:
    """Add the runs in which a version was a shadow."""
    verb.add_argument("--runs", type=Path, nargs="*", default=[], metavar="RUN", help="shadow runs")


def promotion(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `registry.promote` takes of the rules, the shadow runs and the flags."""
    rules = load_governance(args.rules)
    return {
        "gates": rules.gates,
        "evidence": _evidence(args),
        "waive": tuple(args.waive),
        "trust": trust_of(rules, args.artifacts),
    }


def trust_of(rules: Governance, artifacts: Path) -> Trust:
    """Return what the rules allow to run code."""
    return Trust(pickle=rules.allow_pickle, custom=rules.allow_custom, registry=artifacts)


def trust_in(args: argparse.Namespace) -> Trust:
    """Return what the rules that the flags name allow to run code."""
    return trust_of(load_governance(args.rules), args.artifacts)


def _evidence(args: argparse.Namespace) -> Any:
    from app.model_evidence import evidence_of

    model_id, version = _split(args.model)
    entry = registry.View(args.artifacts).find(model_id, version)
    return evidence_of(args.runs, entry.sha256)


def _split(text: str, default: str = "") -> tuple[str, str]:
    from app.models import split_name

    return split_name(text, default)


def _find(args: argparse.Namespace, text: str) -> Entry:
    model_id, version = _split(text, "production")
    return registry.View(args.artifacts).find(model_id, version)


def _print(args: argparse.Namespace, value: object, lines: Callable[[], None]) -> None:
    if args.json:
        print(json.dumps(msgspec.to_builtins(value), allow_nan=False))
    else:
        lines()


def _one(args: argparse.Namespace, entry: Entry, text: str) -> int:
    _print(args, {"model": entry}, lambda: print(text))
    return 0


def _register(args: argparse.Namespace) -> int:
    from app.features import read_spec
    from ml.importing import Foreign, register
    from ml.loading import read_network

    model_id, _, version = args.model.partition(":")
    if not args.file.is_file():
        raise UsageError(f"{args.file}: no such file")
    if args.factory and args.file_kind != "torch":
        raise UsageError("--factory goes with --file-kind torch")
    if not 0 <= args.sequence_length <= MAX_WINDOW:
        raise UsageError(f"--sequence-length {args.sequence_length}: 0 to {MAX_WINDOW}")
    beside = args.file.parent
    network, source = read_network(beside, args.factory) if args.factory else ("", b"")
    config = Foreign(
        model_id=model_id,
        spec=read_spec(args.spec),
        kind=args.kind,
        classes=tuple(args.classes.split(",")),
        words=_json_object(args.words),
        file_kind=args.file_kind,
        network=network,
        network_bytes=source,
        sequence_length=args.sequence_length,
        cadence=args.cadence,
        parent=args.parent,
        trust=trust_in(args),
    )
    metrics = _json_object(args.metrics)
    entry = register(args.artifacts, model_id, version, args.file, config=config, metrics=metrics)
    return _one(args, entry, f"{entry.name} is a candidate now ({entry.kind}, {entry.sha256[:8]})")


def _json_object(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: {str(error)[:200]}") from None


def _gates(args: argparse.Namespace) -> int:
    model_id, version = _split(args.model)
    rules = load_governance(args.rules)
    found = registry.assess(
        args.artifacts,
        model_id,
        version,
        rules.gates,
        evidence=_evidence(args),
        trust=trust_of(rules, args.artifacts),
    )
    held = all(gate.held for gate in found)
    _print(
        args, {"ok": held, "model": args.model, "gates": found}, lambda: _show_gates(args, found)
    )
    return 0 if held else 1


def _show_gates(args: argparse.Namespace, found: list[Any]) -> None:
    from app.models import console, table

    grid = table("gate", "holds", "found", "wanted")
    for gate in found:
        grid.add_row(gate.gate, "yes" if gate.held else "NO", gate.found, gate.wanted)
    console().print(grid)
    missed = [gate.gate for gate in found if not gate.held]
    if not missed:
        print(f"next: python lab.py models promote {args.model} --why ...")


def _shadow(args: argparse.Namespace) -> int:
    model_id, version = _split(args.model)
    entry = registry.set_status(
        args.artifacts, model_id, version, "shadow", why=args.why, by=args.by
    )
    return _one(args, entry, f"{entry.name} is {entry.status} now ({entry.history[-1].why})")


def _compare(args: argparse.Namespace) -> int:
    first, second = _find(args, args.model), _find(args, args.other)
    found = versions.compare(args.artifacts, first, second, trust=trust_in(args))
    _print(args, found.as_json(), lambda: _show_comparison(found))
    return 0


def _show_comparison(found: versions.Comparison) -> None:
    from app.models import console, table

    out = console()
    grid = table("", found.first, found.second)
    for name, pair in found.metrics.items():
        grid.add_row(name, *("-" if value is None else f"{value:.6g}" for value in pair))
    out.print(grid)
    out.print(f"features: {found.features or 'the same'}")
    if found.agreement is None:
        out.print("answers: not comparable (other features or outputs)")
    else:
        share = f"best class equal in {found.agreement:.1%} of {found.rows} golden rows"
        out.print(f"answers: {share}, largest difference {found.largest:.3g}")
    moved = sorted(found.drift.items(), key=lambda pair: -pair[1])[:5]
    shown = ", ".join(f"{name} {value:.3f}" for name, value in moved) or "none in common"
    out.print(f"training rows, stability index, largest first: {shown}")


def _lineage(args: argparse.Namespace) -> int:
    nodes = versions.lineage(args.artifacts, args.model)
    rows = [
        {
            "model": node.entry.name,
            "parent": node.entry.parent,
            "depth": node.depth,
            "status": node.entry.status,
            "created_at": node.entry.created_at,
            "why": node.why,
        }
        for node in nodes
    ]

    def lines() -> None:
        for node in nodes:
            entry = node.entry
            lead = "  " * node.depth + ("`- " if node.depth else "")
            text = f"{lead}{entry.name} {entry.status} {entry.created_at[:10]} {node.why}"
            print(text if len(text) <= 80 else text[:77] + "...")

    _print(args, {"models": rows}, lines)
    return 0


def _statuses(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(word for word in args.status.split(",") if word)


def _latest(args: argparse.Namespace) -> int:
    entry = versions.get_latest(args.artifacts, args.model, status=_statuses(args))
    return _one(args, entry, f"{entry.name} ({entry.status}), created {entry.created_at}")


def _best(args: argparse.Namespace) -> int:
    entry = versions.get_best(
        args.artifacts, args.model, args.metric, better=args.better, status=_statuses(args)
    )
    value = entry.metrics[args.metric]
    return _one(args, entry, f"{entry.name} ({entry.status}), {args.metric} {value:g}")


def _adopt(args: argparse.Namespace) -> int:
    from app import models_adopt

    report, entry = models_adopt.main(args)
    if args.json:
        print(json.dumps(models_adopt.as_json(report, entry), allow_nan=False))
    else:
        models_adopt.show(report, entry)
    return 0 if report.ok else 1


def _predict(args: argparse.Namespace) -> int:
    from app import models_predict

    answers = models_predict.main(args, _find(args, args.model), trust_in(args))
    if args.json:
        print(json.dumps({"model": args.model, "rows": answers}, allow_nan=False))
    else:
        models_predict.show(answers)
    sys.stdout.flush()
    return 0


_RUN: dict[str, Callable[[argparse.Namespace], int]] = {
    "adopt": _adopt,
    "predict": _predict,
    "register": _register,
    "gates": _gates,
    "shadow": _shadow,
    "compare": _compare,
    "lineage": _lineage,
    "latest": _latest,
    "best": _best,
    "watch": models_watch.main,
}
