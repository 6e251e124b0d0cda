"""The kernel identity: changes with code and numbers, not with words or neighbours."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from features import registry
from features.identity import kernel_identity
from features.spec import FeatureSpec

SOURCE = '''"""Probe: the sum of closes times a factor."""

import numpy as np

from features.registry import bars, feature
from features.step import Record, step
from probe_part import scaled

FACTOR = 2.0
STATE = np.dtype([("total", "f8")])


@step
def init(s: Record, span: int) -> None:
    """Start at zero."""
    s["total"] = 0.0 * span


@step
def on_bar(s: Record, m: Record) -> None:
    s["total"] += scaled(m["bar_close"]) * FACTOR


@step
def value(s: Record, m: Record) -> float:
    return s["total"]


feature("probe", state=STATE, defaults={"span": 3}, init=init, on_bar=on_bar, value=value,
        warmup=bars(1), unit="u", range="r", source="s", inputs=("bars",))
'''
PART = '''"""A part of the probe."""

from features.step import step


@step
def scaled(x: float) -> float:
    """Return x times three."""
    return 3.0 * x


@step
def unused(x: float) -> float:
    return x
'''
SPEC = FeatureSpec((("returns_5", {}), ("probe", {})))


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Return a function that writes the probe, imports it anew and returns the spec's identity."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    registry.catalogue()
    monkeypatch.setattr(registry, "_CATALOGUE", dict(registry._CATALOGUE))
    count = iter(range(100))

    def write(name: str, source: str) -> ModuleType:
        sys.modules.pop(name, None)
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    def compute(source: str = SOURCE, part: str = PART, spec: FeatureSpec = SPEC) -> str:
        registry._CATALOGUE.pop("probe", None)
        write("probe_part", part)
        write("probe_feature", source + f"# {next(count)}\n")
        import linecache

        linecache.checkcache()
        return kernel_identity(spec)

    yield compute
    sys.modules.pop("probe_part", None)
    sys.modules.pop("probe_feature", None)


def test_words_and_layout_of_the_text_do_not_count(identity) -> None:  # type: ignore[no-untyped-def]
    first = identity()
    assert identity() == first
    assert identity(SOURCE.replace('"""Start at zero."""\n    ', "")) == first
    assert identity(SOURCE.replace('"""Start at zero."""', '"""Begin."""\n    # so')) == first
    assert (
        identity(SOURCE.replace(" -> None", "").replace("(s: Record, m: Record)", "(s, m)"))
        == first
    )
    assert identity(SOURCE.replace("scaled(m[", "scaled(\n        m[")) == first
    assert identity(part=PART.replace("Return x times three", "Triple x")) == first
    assert identity(part=PART.replace("    return x\n", "    return -x\n")) == first  # unused


CHANGES = {
    "formula": ('s["total"] += scaled', 's["total"] -= scaled'),
    "constant": ("FACTOR = 2.0", "FACTOR = 2.5"),
    "layout": ('("total", "f8")', '("total", "f8"), ("more", "f8")'),
    "default": ('"span": 3', '"span": 4'),
    "input": ('inputs=("bars",)', 'inputs=("bars", "trades")'),
    "event": ("on_bar=on_bar", "on_trade=on_bar"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_values_changes_the_identity(identity, what: str) -> None:  # type: ignore[no-untyped-def]
    old, new = CHANGES[what]
    assert old in SOURCE
    assert identity(SOURCE.replace(old, new)) != identity()


def test_a_helpers_code_counts(identity) -> None:  # type: ignore[no-untyped-def]
    assert identity(part=PART.replace("3.0 * x", "4.0 * x")) != identity()


def test_order_and_parameters_count(identity) -> None:  # type: ignore[no-untyped-def]
    first = identity()
    assert identity(spec=FeatureSpec((("probe", {}), ("returns_5", {})))) != first
    assert identity(spec=FeatureSpec((("returns_6", {}), ("probe", {})))) != first
    assert identity(spec=FeatureSpec((("returns_5", {}), ("probe", {"span": 5})))) != first


def test_does_not_depend_on_the_rest_of_the_catalogue() -> None:
    spec = FeatureSpec((("rsi_14", {}), ("vpin", {"mode": "bulk"})))
    before = kernel_identity(spec)
    importlib.import_module("benchmarks.tick_features")
    assert kernel_identity(spec) == before
