"""What a model's features are, as one hash: the spec and the code that computes it.

Comments, docstrings and formatting do not count; a changed formula, parameter, constant or state
layout does, also in a helper. The union with other models' features and numba's version do not.
"""

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from features.fuse import dtype_source
from features.registry import Resolved, resolve
from features.spec import FeatureSpec


def kernel_identity(spec: FeatureSpec) -> str:
    """Hash the spec and the syntax trees of the functions that its features use.

    Returns:
        Hex SHA-256, the same for the same features in the same order with the same code, whatever
        else is in the catalogue.
    Raises:
        ConfigError: the spec does not resolve.
    """
    digest = hashlib.sha256(spec.canonical_json())
    for entry in resolve(spec):
        digest.update(feature_identity(entry).encode())
    return digest.hexdigest()


def feature_identity(entry: Resolved) -> str:
    """Hash one feature: name, parameters, state layout, inputs and code."""
    digest = hashlib.sha256()
    words = (entry.name, sorted(entry.params.items()), entry.inputs)
    digest.update(repr((*words, entry.bar) if entry.bar else words).encode())
    digest.update(dtype_source(entry.state).encode())
    kernels = {"init": entry.feature.init, "value": entry.feature.value, **entry.feature.steps}
    for role, kernel in sorted(kernels.items()):
        digest.update(role.encode())
        for line in code_of(kernel):
            digest.update(line.encode())
    return digest.hexdigest()


def code_of(kernel: Callable[..., Any]) -> list[str]:
    """List what a kernel is made of, one entry each: functions reached and constants, sorted.

    A function's entry is its code without docstring, comments and annotations, written from its
    syntax tree, so that it is the same under every Python version. Names that are module globals
    are followed when they are functions of our rooms, and written out when they are numbers, words,
    dtypes or tuples of them; arrays by their hash.
    """
    lines: dict[str, str] = {}
    pending = [_plain(kernel)]
    while pending:
        function = pending.pop()
        key = f"{function.__module__}.{function.__qualname__}"
        if key in lines:
            continue
        functions = _functions(inspect.getsource(sys.modules[function.__module__]))
        assert function.__name__ in functions, f"{key} is no module-level function"
        text, names = functions[function.__name__]
        lines[key] = f"{key}\n{text}"
        for name in names:
            thing = _plain(function.__globals__.get(name))
            if inspect.isfunction(thing) and _is_ours(thing.__module__):
                pending.append(thing)
            elif isinstance(thing, np.dtype):
                lines[f"{key}:{name}"] = f"{name} = {dtype_source(thing)}"
            elif isinstance(thing, np.ndarray):
                digest = hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()
                lines[f"{key}:{name}"] = f"{name} = {thing.dtype.str}{thing.shape} {digest}"
            elif isinstance(thing, (int, float, str, tuple)):
                lines[f"{key}:{name}"] = f"{name} = {thing!r}"
    return [lines[key] for key in sorted(lines)]


def _plain(thing: Any) -> Any:
    return getattr(thing, "py_func", thing)


def _is_ours(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None) or "site-packages"
    return "site-packages" not in file and module.split(".")[0] not in sys.stdlib_module_names


@cache
def _functions(source: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Map a module's functions to their bare code and the names they use."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            node.returns = None
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                argument.annotation = None
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            found[node.name] = ast.unparse(node), tuple(sorted(names))
    return found
