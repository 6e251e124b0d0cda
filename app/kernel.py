"""Writes the one generated module of a run, `advance` over the fused features, and loads it."""

import ast
import hashlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

from features.fuse import bound_source, fused_source
from features.spec import FeatureSpec

KERNEL_FOLDER = Path("artifacts/kernels")
_ROOT = Path(__file__).resolve().parent.parent
_EMBEDDED = tuple(
    f"engine.kernel.{name}"
    for name in ("memory book touch bars fills match triggers records apply decide run ops".split())
)
# numba makes machine code of every function it compiles, with all that is inlined in it: parts with
# one caller are merged into it before that, or the innermost ones would be compiled five times.
_ONE_CALLER = (
    "run take_row apply_market mark_market before_row due_before row_time apply_trade apply_quote"
    " apply_depth apply_bar touch_from_book evaluate decide_due obstacle read_row hold collect"
    " take_evaluated judge_output hash_row"
).split()
_NOT_COMPILED = ("state.py",)  # only holds the memory: its edits need no new kernel
# Nothing but the entry points is called from Python: wrappers for the rest cost a quarter of the
# compile time.
_INNER = "no_cpython_wrapper=True, no_cfunc_wrapper=True"
_PARTS = (
    "engine/rows.py",
    "engine/market.py",
    "engine/limits.py",
    "engine/events.py",
    "engine/audit_layout.py",
    "risk/gate_kernel.py",
    "risk/order_kernel.py",
    "risk/settle_kernel.py",
)

_OUTER = '''

# --- the kernel's entry points -----------------------------------------------------------------
from numba import carray

from engine.kernel.layout import ROOT
from engine.kernel.places import MANY, answer_at, append_audit, markets_of, matching_at
from engine.kernel.placing import place_order
from engine.rows import ROW
from risk.gate_kernel import (
    REQUEST, book_fill, end_order, gate_of, judge_order, mark, record_exposure, to_resting,
)
from risk.order_kernel import send_order
from risk.settle_kernel import ask_cancel as note_cancel, end_by_request, settle_answer, settle_out


@njit(inline="always")
def root_of(state):
    return carray(pointer(state), (1,), ROOT)[0]


@njit(forceinline=True)
def features_at(root, at):
    return carray(pointer(root["features"]), (MANY,), FEATURES)[at]


@njit("int64(int64, int64, int64, int64)", cache=True)
def advance(state, rows, first_row, head):
    """Run over rows [cursor, head); `rows` is the address of row `first_row`."""
    count = head - first_row
    return run(root_of(state), 0, carray(pointer(rows), (count,), ROW), first_row, head)


@njit("int64(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)", cache=True)
def place(state, order_id, instrument, side, order_type, qty, price, low, high, arrive_ts):
    """Send a paper order; see engine/kernel/ops.py."""
    order = (order_id, instrument, side, order_type, qty)
    return place_order(root_of(state), order, (price, low, high, -1), arrive_ts)


@njit("int64(int64, int64, int64)", cache=True)
def cancel(state, order_id, cancel_ts):
    """Ask for a paper order's removal."""
    return cancel_order(root_of(state), order_id, cancel_ts)


@njit("int64(int64, int64, int64, int64, int64, int64)", cache=True)
def protect(state, trigger_id, instrument, side, stop, profit):
    """Watch a position."""
    return add_trigger(root_of(state), trigger_id, (instrument, side), (stop, profit))


@njit("int64(int64, int64)", cache=True)
def unprotect(state, trigger_id):
    """Stop watching a position."""
    return remove_trigger(root_of(state), trigger_id)


@njit("int64(" + "int64, " * 13 + "int64)", cache=True)
def push(state, kind, id_, code, aux, instrument, model, i0, i1, i2, i3, i4, i5, i6):
    """Append an audit record."""
    head = (kind, id_, code, aux, instrument, model)
    root = root_of(state)
    append_audit(root, head, (i0, i1, i2, i3, i4, i5, i6))
    return root["audit_count"]


@njit("void(int64)", cache=True)
def reset_features(state):
    """Set every feature of every instrument to its start."""
    root = root_of(state)
    for at in range(root["n_instruments"]):
        init(features_at(root, at))


@njit("int64(int64, int64)", cache=True)
def gate_check(state, request):
    """Check an order against the gate's numbers; see risk/gate_kernel.py."""
    root = root_of(state)
    order = carray(pointer(request), (1,), REQUEST)[0]
    x = matching_at(root, order["instrument"])
    return judge_order(gate_of(root), markets_of(root), x, order, root["now"])


@njit("void(int64, int64, int64, int64, int64)", cache=True)
def gate_expose(state, model, cause, order_id, instrument):
    """Write a model's exposure into the audit."""
    record_exposure(root_of(state), model, (cause, order_id, instrument))


@njit("void(int64, int64, int64, int64, int64, int64, int64, int64, int64)", cache=True)
def gate_fill(state, instrument, model, rests, lots, opened, closed, gain, released):
    """Count a fill."""
    fill = (lots, opened, closed, gain, released)
    book_fill(gate_of(root_of(state)), (instrument, model, rests), fill)


@njit("void(int64, int64, int64, int64, int64, int64)", cache=True)
def gate_end(state, instrument, model, rests, released, first):
    """Count an order that is over."""
    end_order(gate_of(root_of(state)), (instrument, model, rests, first), released)


@njit("void(int64, int64, int64)", cache=True)
def gate_rest(state, model, amount):
    """Count an acknowledged order as resting."""
    to_resting(gate_of(root_of(state)), model, amount)


@njit("void(int64)", cache=True)
def gate_mark(state):
    """Bring equity, drawdown and the day up to date."""
    root = root_of(state)
    mark(gate_of(root), markets_of(root), root["now"])


@njit("int64(" + "int64, " * 12 + "int64)", cache=True)
def send(
    state, instrument, model, side, qty, price, signal_ts, order_type, purpose, signal_id, stop,
    profit, strategy,
):
    """Take an intent of one owner through the gate to the venue; see risk/order_kernel.py."""
    root = root_of(state)
    want = gate_of(root)["request"]
    want["instrument"] = instrument
    want["model"] = model
    want["side"] = side
    want["qty_lot"] = qty
    want["limit_tick"] = price
    want["signal_ts"] = signal_ts
    want["order_type"] = order_type
    want["purpose"] = purpose
    want["protective"] = 0
    want["signal_id"] = signal_id
    want["stop_tick"] = stop
    want["profit_tick"] = profit
    want["strategy"] = strategy
    return send_order(root, want)


@njit("void(int64, int64)", cache=True)
def settle_at(state, at):
    """Carry out the venue's answer at a place of `out`; see risk/settle_kernel.py."""
    root = root_of(state)
    settle_answer(root, answer_at(root, at))


@njit("void(int64, int64, int64, int64)", cache=True)
def end_at(state, at, kind, reason):
    """End an order of the ledger."""
    end_by_request(root_of(state), at, (kind, reason))


@njit("void(int64, int64)", cache=True)
def ask_cancel(state, at):
    """Note that the order at a place of the ledger is being cancelled."""
    note_cancel(root_of(state), at)
'''


class KernelModule(msgspec.Struct, frozen=True):
    """The compiled entry points; each takes integers only and allocates nothing."""

    features: np.dtype
    advance: Callable[[int, int, int, int], int]
    place: Callable[..., int]
    cancel: Callable[[int, int, int], int]
    protect: Callable[..., int]
    unprotect: Callable[[int, int], int]
    push: Callable[..., int]
    reset_features: Callable[[int], None]
    gate_check: Callable[[int, int], int]
    gate_expose: Callable[..., None]
    gate_fill: Callable[..., None]
    gate_end: Callable[..., None]
    gate_rest: Callable[[int, int, int], None]
    gate_mark: Callable[[int], None]
    send: Callable[..., int]
    settle_at: Callable[[int, int], None]
    end_at: Callable[..., None]
    ask_cancel: Callable[[int, int], None]
    needs_levels: bool
    name: str


def kernel_source(specs: Sequence[FeatureSpec]) -> str:
    """Write the source of the module for these specs: fused features, then the entry points.

    The text holds a hash of everything it is compiled from, because numba's on-disk cache notices
    neither edited parts nor changed layouts in other files.
    """
    digest = hashlib.sha256()
    kernel = sorted((_ROOT / "engine" / "kernel").glob("*.py"))
    for path in [*kernel, *(_ROOT / part for part in _PARTS)]:
        if path.name not in _NOT_COMPILED:
            digest.update(path.read_bytes())
    head = f"\nKERNEL_PARTS = {digest.hexdigest()!r}\n"
    fused = fused_source(specs)
    embedded = "\n".join(bound_source(name, _EMBEDDED) for name in _EMBEDDED)
    for name in _ONE_CALLER:
        plain, merged = (
            f"@njit(forceinline=True)\ndef {name}(",
            f"@njit(inline='always')\ndef {name}(",
        )
        assert plain in embedded, f"{name} is no inlined part of the kernel"
        embedded = embedded.replace(plain, merged)
    embedded = re.sub(r"^@njit$", f"@njit({_INNER})", embedded, flags=re.MULTILINE)
    embedded = embedded.replace("@njit(forceinline=True)", f"@njit(forceinline=True, {_INNER})")
    _check_names(fused, embedded)
    return fused + head + embedded + _OUTER


def _check_names(fused: str, embedded: str) -> None:
    """Make sure that no name of the feature part is hidden by one of the kernel's."""

    def names(source: str) -> set[str]:
        return {n.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)}

    clash = names(fused) & names(embedded)
    assert not clash, f"the kernel and the features both define {sorted(clash)}"


def load_kernel(specs: Sequence[FeatureSpec], folder: Path | None = None) -> KernelModule:
    """Compile, or load from the on-disk cache, the kernel for these specs.

    The first time takes seconds (compile time grows with the features), later ones a fraction.
    A cache that cannot be read is removed and compiled again.
    """
    folder = KERNEL_FOLDER if folder is None else folder
    source = kernel_source(specs)
    name = "advance_" + hashlib.sha256(source.encode()).hexdigest()[:20]
    path = folder / f"{name}.py"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{name}.{os.getpid()}.tmp"
        temporary.write_text(source, encoding="utf-8")
        os.replace(temporary, path)
    try:
        module = _import(name, path)
    except Exception:  # a cut-off cache index raises nearly anything: drop it and compile
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        module = _import(name, path)
    return _entry_points(module, name)


def is_compiled(specs: Sequence[FeatureSpec], folder: Path | None = None) -> bool:
    """Return True when the kernel for these specs was compiled before."""
    folder = KERNEL_FOLDER if folder is None else folder
    name = "advance_" + hashlib.sha256(kernel_source(specs).encode()).hexdigest()[:20]
    return any((folder / "__pycache__").glob(f"{name}.advance-*.nbi"))


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _entry_points(module: ModuleType, name: str) -> KernelModule:
    def entry(function: str) -> Callable[..., Any]:
        overloads = list(getattr(module, function).overloads.values())
        assert len(overloads) == 1, f"{function} must have one compiled form"
        return overloads[0].entry_point

    names = (
        "advance place cancel protect unprotect push reset_features"
        " gate_check gate_expose gate_fill gate_end gate_rest gate_mark"
        " send settle_at end_at ask_cancel"
    )
    return KernelModule(
        features=module.FEATURES,
        needs_levels=bool(module.READS_LEVELS),
        name=name,
        **{function: entry(function) for function in names.split()},
    )
