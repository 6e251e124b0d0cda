"""Generated modules on disk: named by a hash of their text, compiled once, loaded after that."""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np

from engine.inlining import merge_fresh_code

_ROOT = Path(__file__).resolve().parent.parent
_NOT_COMPILED = ("state.py",)  # only holds the memory: its edits need no new kernel
_PARTS = (
    "engine/rows.py",
    "engine/market.py",
    "engine/limits.py",
    "engine/events.py",
    "engine/audit_layout.py",
    "engine/own_state.py",
    "risk/exposure_kernel.py",
    "risk/gate_kernel.py",
    "risk/gate_layout.py",
    "risk/order_kernel.py",
    "risk/own_kernel.py",
    "risk/settle_kernel.py",
)


def parts_sha256() -> str:
    """Hash the sources of the kernel's parts and the versions of what compiles them.

    numba's on-disk cache notices neither edited parts nor changed layouts in other files; so the
    name of a generated module must change with them.
    """
    digest = hashlib.sha256()
    kernel = sorted((_ROOT / "engine" / "kernel").glob("*.py"))
    for path in [*kernel, *(_ROOT / part for part in _PARTS)]:
        if path.name not in _NOT_COMPILED:
            digest.update(path.read_bytes())
    digest.update(repr((np.__version__, numba.__version__, llvmlite.__version__)).encode())
    return digest.hexdigest()


def module_name(kind: str, source: str) -> str:
    """Return the name of the module of a source text."""
    return f"{kind}_{hashlib.sha256(source.encode()).hexdigest()[:20]}"


def load_module(kind: str, source: str, folder: Path) -> ModuleType:
    """Write the source where it is not there yet, and import it; numba keeps what it compiles.

    A cache that cannot be read is removed and compiled again.
    """
    name = module_name(kind, source)
    path = (folder / f"{name}.py").absolute()  # as importlib names it: what is loaded is found
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path) and path.exists():
        return known
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{name}.{os.getpid()}.tmp"
        temporary.write_text(source, encoding="utf-8")
        os.replace(temporary, path)
    merge_fresh_code()
    with _alone(folder / f"{name}.lock"):
        try:
            return _import(name, path)
        except Exception:  # a cut-off cache index raises nearly anything: drop it and compile
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)
            return _import(name, path)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time compile a module; the others find it in the cache then."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # goes with the file, however the process ends
        yield


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def entry(module: ModuleType, function: str) -> Callable[..., Any]:
    """Return the C entry of an eagerly compiled function: integers in, nothing allocated."""
    overloads = list(getattr(module, function).overloads.values())
    assert len(overloads) == 1, f"{function} must have one compiled form"
    point: Callable[..., Any] = overloads[0].entry_point
    return point
