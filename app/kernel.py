"""Writes the one generated module of a run, `advance` over the fused features, and loads it."""

import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np

from features.fuse import fused_source
from features.spec import FeatureSpec

KERNEL_FOLDER = Path("artifacts/kernels")
_ROOMS = ("engine", "risk")
_PARTS = (
    "engine/rows.py",
    "engine/market.py",
    "engine/limits.py",
    "engine/events.py",
    "engine/audit_layout.py",
    "risk/gate_kernel.py",
)

_OUTER = '''

# --- the kernel's entry points -----------------------------------------------------------------
from numba import carray

from engine.audit_layout import AUDIT
from engine.kernel.layout import (
    BARS, BATCH, COLLECT, MATCHING, MODEL, ORDER, OUT, ROOT, SLOT, TRIGGER,
)
from engine.kernel.memory import pointer
from engine.kernel.ops import add_trigger, cancel_order, place_order, record, remove_trigger
from engine.kernel.run import Fused, Kernel, run
from engine.limits import AUDIT_BUFFER, MAX_ORDERS, MAX_OUT, MAX_TRIGGERS
from engine.market import MARKET
from engine.rows import ROW
from risk.gate_kernel import GATE, check, settle_exposure

BIG = 1 << 20


@njit
def view(state):
    root = carray(pointer(state), (1,), ROOT)[0]
    return Kernel(
        root,
        carray(pointer(root["markets"]), (root["n_instruments"],), MARKET),
        carray(pointer(root["features"]), (root["n_instruments"],), FEATURES),
        carray(pointer(root["matching"]), (root["n_instruments"],), MATCHING),
        carray(pointer(root["bars"]), (root["n_instruments"],), BARS),
        carray(pointer(root["slots"]), (root["n_slots"],), SLOT),
        carray(pointer(root["models"]), (root["n_models"],), MODEL),
        carray(pointer(root["orders"]), (MAX_ORDERS,), ORDER),
        carray(pointer(root["triggers"]), (MAX_TRIGGERS,), TRIGGER),
        carray(pointer(root["out"]), (MAX_OUT,), OUT),
        carray(pointer(root["audit"]), (AUDIT_BUFFER,), AUDIT),
        carray(pointer(root["collect"]), (root["collect_capacity"],), COLLECT),
        carray(pointer(root["batches"]), (BIG,), BATCH),
    )


@njit("int64(int64, int64, int64, int64)", cache=True)
def advance(state, rows, first_row, head):
    """Run over rows [cursor, head); `rows` is the address of row `first_row`."""
    k = view(state)
    count = head - first_row
    fused = Fused(init, on_quote, on_trade, on_bar, on_depth, read)
    return run(k, fused, carray(pointer(rows), (count,), ROW), first_row, head)


@njit("int64(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)", cache=True)
def place(state, order_id, instrument, side, order_type, qty, price, low, high, arrive_ts):
    """Send a paper order; see engine/kernel/ops.py."""
    order = (order_id, instrument, side, order_type, qty)
    return place_order(view(state), order, (price, low, high), arrive_ts)


@njit("int64(int64, int64, int64)", cache=True)
def cancel(state, order_id, cancel_ts):
    """Ask for a paper order's removal."""
    return cancel_order(view(state), order_id, cancel_ts)


@njit("int64(int64, int64, int64, int64, int64, int64)", cache=True)
def protect(state, trigger_id, instrument, side, stop, profit):
    """Watch a position."""
    return add_trigger(view(state), trigger_id, (instrument, side), (stop, profit))


@njit("int64(int64, int64)", cache=True)
def unprotect(state, trigger_id):
    """Stop watching a position."""
    return remove_trigger(view(state), trigger_id)


@njit("int64(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)", cache=True)
def push(state, kind, id_, code, aux, instrument, model, i0, i1, i2, i3, i4, i5, i6):
    """Append an audit record."""
    return record(view(state), (kind, id_, code, aux, instrument, model), (i0, i1, i2, i3, i4, i5, i6))


@njit("void(int64)", cache=True)
def reset_features(state):
    """Set every feature of every instrument to its start."""
    k = view(state)
    for at in range(k.root["n_instruments"]):
        init(k.features[at])


@njit("int64(int64, int64)", cache=True)
def gate_check(state, order):
    """Check an order against the gate's numbers; see risk/gate_kernel.py."""
    return check(view(state), order)


@njit("void(int64, int64, int64, int64, int64, int64)", cache=True)
def gate_move(state, model, filled, resting, in_flight, unknown):
    """Change a model's exposure; see risk/gate_kernel.py."""
    settle_exposure(view(state), model, (filled, resting, in_flight, unknown))
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
    gate_move: Callable[..., None]
    needs_levels: bool
    name: str


def kernel_source(specs: Sequence[FeatureSpec]) -> str:
    """Write the source of the module for these specs: fused features, then the entry points.

    The text holds a hash of everything it is compiled from, because numba's on-disk cache notices
    neither edited parts nor changed layouts in other files.
    """
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    kernel = sorted((root / "engine" / "kernel").glob("*.py"))
    for path in [*kernel, *(root / part for part in _PARTS)]:
        digest.update(path.read_bytes())
    head = f"KERNEL_PARTS = {digest.hexdigest()!r}\n"
    return fused_source(specs) + head + _OUTER


def load_kernel(specs: Sequence[FeatureSpec], folder: Path | None = None) -> KernelModule:
    """Compile, or load from the on-disk cache, the kernel for these specs.

    The first time takes seconds (compile time grows with the features), later ones a fraction of one.
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
    def entry(function: str) -> Callable[..., int]:
        overloads = list(getattr(module, function).overloads.values())
        assert len(overloads) == 1, f"{function} must have one compiled form"
        return overloads[0].entry_point

    names = "advance place cancel protect unprotect push reset_features gate_check gate_move"
    return KernelModule(
        features=module.FEATURES,
        needs_levels=bool(module.READS_LEVELS),
        name=name,
        **{function: entry(function) for function in names.split()},
    )
