"""`lab.py features check`: every check of every set on somebody's data, as a table or JSON."""

import argparse
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from app.feature_checks import CHECKS, Report, check, load
from app.feature_data import held, open_named, stretches_of
from app.feature_sets import check_paths, chosen_sets, grid, pair_of, say, symbols_of, tell
from features.registry import absent_features

HEADS = dict(zip(CHECKS, ("parity", "reconn.", "cut", "warm-up", "mask", "alloc", "refs")))
SHOWN = 12  # differences of one set that are printed; --json has all


def main(args: argparse.Namespace) -> int:
    """Run all checks; exit code 1 when anything differs.

    Raises:
        UsageError: a set, path or pair that is not there.
    """
    check_paths(args.data)
    sets = chosen_sets(args.spec, args.all)
    pair = pair_of(args.pair)
    tape = open_named(args.data, symbols_of(args.symbols), args.cache)
    found: list[dict[str, Any]] = []
    for name, spec in sets.items():
        kernels = None
        for stretch in stretches_of(tape, spec, args.rows, pair):
            instrument = stretch.instruments[0].name
            has = held(stretch)
            absent = absent_features(spec, has)
            line: dict[str, Any] = {"set": name, "instrument": instrument, "features": len(spec)}
            if len(absent) == len(spec):
                needs = sorted({one for missing in absent.values() for one in missing})
                found.append({**line, "passed_over": f"needs {', '.join(needs)}"})
                continue
            tell(f"{name} on {instrument}: {len(stretch.rows):,} rows")
            kernels = kernels or load(spec)
            report = check(kernels, stretch, has, np.random.default_rng(args.seed))
            found.append({**line, "tape_rows": len(stretch.rows), "report": report})
    clean = all(line["report"].clean for line in found if "report" in line)
    ran = any("report" in line for line in found)
    if args.json:
        lines = [_plain(line) for line in found]
        print(json.dumps({"clean": clean and ran, "seed": args.seed, "sets": lines}))
    else:
        _show(found, args.seed)
    return 0 if clean and ran else 1


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    """Return one line fit for JSON: NaN is null."""
    if "report" not in line:
        return line
    report: Report = line["report"]
    rest = {key: value for key, value in line.items() if key != "report"}
    checks = {
        name: [
            {key: _number(value) for key, value in asdict(one).items()}
            for one in report.findings[name]
        ]
        for name in CHECKS
    }
    return rest | {
        "rows": report.rows,
        "warm": report.warm,
        "clean": report.clean,
        "absent": report.absent,
        "never_warm": report.unread,
        "references": report.compared,
        "without_reference": report.without,
        "differences": checks,
    }


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _show(found: list[dict[str, Any]], seed: int) -> None:
    for instrument in dict.fromkeys(line["instrument"] for line in found):
        lines = [line for line in found if line["instrument"] == instrument]
        say(f"{instrument} (seed {seed})")
        table = grid("set", "rows", "whole", *HEADS.values())
        for line in lines:
            if "report" in line:
                table.add_row(line["set"], *_cells(line["report"]))
        if table.row_count:
            say(table)
        for line in lines:
            if "report" in line:
                _notes(line["set"], line["report"])
            else:
                say(f"  {line['set']}: not checked, it {line['passed_over']}")


def _cells(report: Report) -> list[str]:
    marks = [str(len(report.findings[name])) if report.findings[name] else "ok" for name in CHECKS]
    known = report.features - len(report.absent)
    marks[-1] = f"{report.compared}/{known}" if marks[-1] == "ok" else f"{marks[-1]} differ"
    return [f"{report.rows:,}", f"{report.warm:,}", *marks]


def _notes(name: str, report: Report) -> None:
    for words, features in (
        ("inputs are absent", report.absent),
        ("never warm on these rows", report.unread),
        ("no independent version", report.without),
    ):
        if features:
            say(f"  {name}: {words}: {', '.join(features)}")
    differences = [(check_, one) for check_ in CHECKS for one in report.findings[check_]]
    for check_, one in differences[:SHOWN]:
        say(f"  {name} {check_}: {one.text()}")
    if len(differences) > SHOWN:
        say(f"  {name}: {len(differences) - SHOWN} more differences (--json has all)")
