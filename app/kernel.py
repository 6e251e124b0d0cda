"""Writes the one generated module of a run, `advance` over the fused features, and loads it."""

import ctypes
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from app.compiled import entry, load_module, module_name, parts_sha256
from app.desk_module import RARE, desk_source, load_desk
from engine.kernel.layout import ROOT
from features.feature_bars import bars_of
from features.fuse import INNER, fused_source, inner_source, part_modules, spare_callbacks
from features.fuse_bars import without_series
from features.registry import resolve
from features.spec import FeatureSpec

KERNEL_FOLDER = Path(__file__).resolve().parent.parent / "artifacts" / "kernels"
_EMBEDDED = tuple(
    f"engine.kernel.{name}"
    for name in ("memory book touch bars series records apply chances decide run".split())
)
# numba makes machine code of every function it compiles, with all that is inlined in it: parts with
# one caller are merged into it before that, or the innermost ones would be compiled five times.
_ONE_CALLER = (
    "run take_row apply_market mark_market before_row due_before row_time apply_trade apply_quote"
    " apply_depth apply_bar touch_from_book evaluate decide_due obstacle read_row hold collect"
    " take_evaluated read_output judge_chances hash_row"
).split()
_PLACE = {name: int(ROOT.fields[name][1]) for name in (*RARE, "state")}  # type: ignore[index]

_OUTER = '''

# --- the kernel's entry points -----------------------------------------------------------------
from numba import carray

from engine.kernel.layout import ROOT
from engine.kernel.places import MANY
from engine.rows import ROW


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


@njit("void(int64)", cache=True)
def reset_features(state):
    """Set every feature of every instrument to its start."""
    root = root_of(state)
    for at in range(root["n_instruments"]):
        init(features_at(root, at))


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
    start: Callable[[int], None]  # once for each new state: features at their start
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
    ask: Callable[[int, int], int]
    answer: Callable[..., int]
    begin: Callable[[int, int], int]
    end: Callable[[int, int, int], int]
    close_asked: Callable[[int, int], int]
    settle_shadows: Callable[[int], None]
    needs_levels: int  # see ROOT
    name: str


def kernel_source(specs: Sequence[FeatureSpec], bars: Sequence[str] = ()) -> str:
    """Write the source of the module for these specs: fused features, then the entry points.

    `bars` names those beside the base bars that only cadences want; the specs name theirs.

    The text holds a hash of everything it is compiled from, because numba's on-disk cache notices
    neither edited parts nor changed layouts in other files.
    """
    head = f"\nKERNEL_PARTS = {parts_sha256()!r}\n"
    fused = fused_source(specs, inner=True)
    embedded = "\n".join(inner_source(name, _EMBEDDED) for name in _EMBEDDED)
    embedded = without_series(embedded, bars_of(specs, bars))
    for name in _ONE_CALLER:
        plain, merged = (
            f"@njit(forceinline=True, {INNER})\ndef {name}(",
            f"@njit(inline='always')\ndef {name}(",
        )
        assert plain in embedded, f"{name} is no inlined part of the kernel"
        embedded = embedded.replace(plain, merged)
    _check_names(fused, embedded)
    return fused + head + embedded + _OUTER


def _check_names(fused: str, embedded: str) -> None:
    """Make sure that no name of the feature part is hidden by one of the kernel's."""

    def names(source: str) -> set[str]:
        return set(re.findall(r"^def (\w+)\(", source, re.MULTILINE))

    clash = names(fused) & names(embedded)
    assert not clash, f"the kernel and the features both define {sorted(clash)}"


def load_kernel(
    specs: Sequence[FeatureSpec],
    folder: Path | None = None,
    bars: Sequence[str] = (),
    *,
    source: str = "",
) -> KernelModule:
    """Compile, or load from the on-disk cache, the kernel for these specs; see kernel_source.

    The first time takes seconds (compile time grows with the features), later ones a fraction.

    Args:
        specs: of the models, in order.
        folder: where generated modules are kept.
        source: what kernel_source says of these specs, where that is known already.
    """
    folder = KERNEL_FOLDER if folder is None else folder
    spare_callbacks(part_modules([entry for spec in specs for entry in resolve(spec)]))
    module = load_module("advance", source or kernel_source(specs, bars), folder)
    entries, rare = load_desk(folder)
    reset = entry(module, "reset_features")

    def start(state: int) -> None:
        for name, address in rare.items():
            ctypes.c_int64.from_address(state + _PLACE[name]).value = address
        ctypes.c_int64.from_address(state + _PLACE["state"]).value = state
        reset(state)

    return KernelModule(
        features=module.FEATURES,
        needs_levels=int(module.READS_LEVELS),
        name=module.__name__,
        advance=entry(module, "advance"),
        start=start,
        **entries,
    )


def is_compiled(source: str, folder: Path | None = None) -> bool:
    """Return True when the kernel of this source was compiled before."""
    folder = KERNEL_FOLDER if folder is None else folder
    names = (
        (module_name("advance", source), "advance"),
        (module_name("desk", desk_source()), "send"),
    )
    cache = folder / "__pycache__"
    return all(any(cache.glob(f"{name}.{last}-*.nbi")) for name, last in names)
