"""`lab.py features new NAME`: a feature that passes every check, to be changed into one's own."""

import argparse
import keyword
import re
from pathlib import Path

from app.feature_sets import say
from engine.errors import UsageError
from features.registry import GROUPS, catalogue

NAME = re.compile(r"[a-z][a-z0-9_]*[a-z0-9]\Z")

MOST = 40  # letters of a name, so that no line grows too long
ROOT = Path(__file__).resolve().parents[1]

FEATURE = '''\
"""Distance of the last {what} to its exponential mean: (x - EMA) / |EMA|.

The mean has alpha = 2 / (span + 1) and is seeded with the mean of the first `span` values. 0 where
the mean is zero.
"""

from features.registry import {warm}
from features.smoothing import EMA, ema_init, ema_step
from features.step import Record, relative, step, {good}


@step
def init(s: Record, span: int) -> None:
    """Start with an empty mean."""
    ema_init(s, span)


@step
def {event}(s: Record, m: Record) -> None:
    """Advance the mean."""
    if {good}({tested}):
        ema_step(s, m["{field}"])


@step
def value(s: Record, m: Record) -> float:
    """Return the distance as a fraction."""
    return relative(m["{field}"], s["value"])


feature(
    "{name}_{{span}}",
    state=EMA,
    defaults={{"span": 20}},
    init=init,
    {event}={event},
    value=value,
    warmup=lambda p: {warmup},
    group="{group}",
    unit="fraction",
    range="about -0.1 to 0.1",
    source="own definition",
    inputs=("{needs}",),
)
'''

REFERENCE = '''\
"""The formula of features/{name}.py a second time, on whole columns; no code is shared."""

import numpy as np

{imports}


def {name}({columns}, p: dict) -> np.ndarray:
    """Return the distance to the mean."""
{body}


{table} = {{"{name}_{{span}}": {name}}}
'''

KINDS = {
    "bars": {
        "what": "close", "event": "on_bar", "field": "bar_close", "good": "usable_prices",
        "tested": "m", "warm": "bars, feature", "warmup": 'bars(int(p["span"]))', "needs": "bars",
        "table": "ON_BARS", "columns": "b: Bars",
        "imports": "from references.bars import Bars, ema",
        "body": '    return b["close"] / ema(b["close"], p["span"]) - 1.0',
    },
    "quotes": {
        "what": "mid", "event": "on_quote", "field": "mid", "good": "usable",
        "tested": 'm["mid"]', "warm": "feature, quotes", "warmup": 'quotes(int(p["span"]))',
        "needs": "quotes", "table": "ON_TICKS", "columns": "c: Columns",
        "imports": "from references.bars import ema\n"
        "from references.ticks import Columns, on_quotes",
        "body": '    return c["mid"] / on_quotes(c, lambda x: ema(x, p["span"])) - 1.0',
    },
    "trades": {
        "what": "trade's price", "event": "on_trade", "field": "trade_price", "good": "usable",
        "tested": 'm["trade_price"]', "warm": "Warmup, feature",
        "warmup": 'Warmup(int(p["span"]), "trades")', "needs": "trades", "table": "ON_TICKS",
        "columns": "c: Columns",
        "imports": "from references.bars import ema\n"
        "from references.ticks import Columns, held",
        "body": '    trade = c["trade"]\n    mean = np.full(len(trade), np.nan)\n'
        '    mean[trade] = ema(c["price"][trade], p["span"])\n'
        '    return held(c["price"], trade) / held(mean, trade) - 1.0',
    },
}  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Write the two files and say what comes next.

    Raises:
        UsageError: the name cannot be one, or is taken.
    """
    written = write(ROOT, args.name, args.on, args.group)
    for path in written:
        say(f"written: {path.relative_to(ROOT)}")
    member = f"{args.name}_20"
    say(f"""
next:
  1. change the formula in both files
  2. name it in a set: {{"name": "{member}"}} is one line of a JSON in config/features
  3. prove it:  lab.py features check --spec SET --data data/sample
                lab.py features lookahead --spec SET --data data/sample
  4. write the catalogue anew:
     NUMBA_DISABLE_JIT=1 .venv/bin/python -m features.catalogue > docs/features.md
  5. make test ARGS=tests/features""")
    return 0


def write(root: Path, name: str, kind: str, group: str) -> list[Path]:
    """Write features/NAME.py and references/NAME.py below `root`; see main."""
    if not NAME.match(name) or len(name) > MOST or keyword.iskeyword(name):
        raise UsageError(f"{name!r} is no name: lower case letters, digits and _, at most {MOST}")
    if group not in GROUPS:
        raise UsageError(f"--group {group!r}: known are {', '.join(GROUPS)}")
    paths = [root / room / f"{name}.py" for room in ("features", "references")]
    taken = [str(path.relative_to(root)) for path in paths if path.exists()]
    family = f"{name}_{{span}}"
    if taken or any(entry.name in (name, family) for entry in catalogue()):
        raise UsageError(f"{name}: there is one already ({', '.join(taken) or family})")
    words = {**KINDS[kind], "name": name, "group": group}
    for path, text in zip(paths, (FEATURE, REFERENCE), strict=True):
        path.write_text(text.format(**words), encoding="utf-8")
    return paths
