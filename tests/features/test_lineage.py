"""Lineage on a copy of the tree, each edit in a fresh process: who changes, what a cache serves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from features.identity import kernel_identity
from features.registry import resolve
from features.spec import FeatureSpec, parse_spec

ROOT = Path(__file__).resolve().parents[2]
SETS = sorted(path.stem for path in (ROOT / "config" / "features").glob("*.json"))
ROOMS = ("config", "engine", "features")

IDENTITIES = """
import json
from pathlib import Path
from features.identity import kernel_identity
from features.spec import parse_spec
paths = sorted(Path("config/features").glob("*.json"))
print(json.dumps({p.stem: kernel_identity(parse_spec(p.read_bytes())) for p in paths}))
"""

SPREAD = """
import numpy as np
from pathlib import Path
from engine.market import MARKET
from features.fuse import load_fused
from features.spec import FeatureSpec

TAIL = '''
from numba import carray
from engine.kernel.memory import pointer
from engine.market import MARKET


@njit("float64(int64)", error_model="numpy", cache=CACHE)
def spread(address):
    return bid_ask_spread_value(0, carray(pointer(address), (1,), MARKET)[0])
'''
m = np.zeros(1, MARKET)
m["quote_count"], m["bid"], m["ask"], m["mid"] = 1, 99.0, 101.0, 100.0
folder = Path("kernels")
before = len(list(folder.glob("*.py")))
module = load_fused([FeatureSpec((("bid_ask_spread", {}),))], folder, TAIL)
hits = sum(module.spread.stats.cache_hits.values())
print(module.spread(m.ctypes.data), hits, len(list(folder.glob("*.py"))) - before)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what features are made of."""
    folder = tmp_path_factory.mktemp("tree")
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def python(tree: Path, script: str, *, compiled: bool) -> str:
    env = {**os.environ, "NUMBA_DISABLE_JIT": "0" if compiled else "1"}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tree, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def edited(tree: Path, file: str, old: str, new: str) -> None:
    path = tree / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def users(*names: str) -> set[str]:
    """Return the committed sets that have a feature of these files."""
    return {
        name
        for name in SETS
        if {f"features.{one}" for one in names}
        & {e.feature.module for e in resolve(committed(name))}
    }


def committed(name: str) -> FeatureSpec:
    return parse_spec((ROOT / "config" / "features" / f"{name}.json").read_bytes())


def test_an_edit_changes_exactly_the_sets_that_use_the_feature(tree: Path) -> None:
    first = {name: kernel_identity(committed(name)) for name in SETS}

    def changed() -> set[str]:
        now = json.loads(python(tree, IDENTITIES, compiled=False))
        return {name for name in SETS if now[name] != first[name]}

    edited(tree, "features/rsi.py", "\n\n@step", "\n\n# A remark.\n@step")
    edited(tree, "features/smoothing.py", '    """Advance by one value;', '    """Go on one value;')
    edited(tree, "features/step.py", "\nHUGE = ", "\n\nHUGE = ")
    assert changed() == set()
    edited(tree, "features/tick_volatility.py", "1e4", "1e3")
    assert changed() == users("tick_volatility")
    assert 0 < len(users("tick_volatility")) < len(SETS)
    edited(tree, "features/tick_volatility.py", "1e3", "1e4")
    edited(tree, "features/directional.py", "100.0 * ratio", "99.0 * ratio")  # part of two features
    assert changed() == users("di_plus", "di_minus")


def test_a_warm_cache_never_serves_the_old_kernel(tree: Path) -> None:
    """Every edit stands in another file than the cached kernel: numba alone does not notice."""

    def spread() -> list[float]:
        return [float(word) for word in python(tree, SPREAD, compiled=True).split()]

    assert spread() == [200.0, 0.0, 1.0]  # basis points; compiled; one new module
    assert spread() == [200.0, 1.0, 0.0]  # from the cache
    edited(tree, "features/bid_ask_spread.py", "1e4", "1e2")
    assert spread() == [2.0, 0.0, 1.0]
    edited(tree, "features/step.py", "numerator / denominator", "2.0 * numerator / denominator")
    assert spread() == [4.0, 0.0, 1.0]
