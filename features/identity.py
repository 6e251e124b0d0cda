"""What a model's features are, as one hash: the spec and the code that computes it.

Comments, docstrings and formatting do not count; a changed formula, parameter, constant or state
layout does, also in a helper. The union with other models' features and numba's version do not.
"""

import ast
import hashlib
import importlib
import inspect
from collections.abc import Callable
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
    digest.update(repr((entry.name, sorted(entry.params.items()), entry.inputs)).encode())
    digest.update(dtype_source(entry.state).encode())
    kernels = {"init": entry.feature.init, "value": entry.feature.value, **entry.feature.steps}
    for role, kernel in sorted(kernels.items()):
        digest.update(role.encode())
        for line in code_of(kernel):
            digest.update(line.encode())
    return digest.hexdigest()


def code_of(kernel: Callable[..., Any]) -> list[str]:
    """List what a kernel is made of, one line each: functions reached, then constants, sorted.

    A function's line is its syntax tree without docstring and annotations; names that are module
    globals are followed when they are functions of our rooms, and written out when they are
    numbers, words, dtypes or tuples of them.
    """
    lines: dict[str, str] = {}
    pending = [_plain(kernel)]
    while pending:
        function = pending.pop()
        key = f"{function.__module__}.{function.__qualname__}"
        if key in lines:
            continue
        tree = _bare(function)
        lines[key] = f"{key} {ast.dump(tree)}"
        for name in sorted(_global_names(tree)):
            thing = _plain(function.__globals__.get(name))
            if inspect.isfunction(thing) and _is_ours(thing.__module__):
                pending.append(thing)
            elif isinstance(thing, np.dtype):
                lines[f"{key}:{name}"] = f"{name} = {dtype_source(thing)}"
            elif isinstance(thing, (int, float, str, tuple)):
                lines[f"{key}:{name}"] = f"{name} = {thing!r}"
    return [lines[key] for key in sorted(lines)]


def _plain(thing: Any) -> Any:
    return getattr(thing, "py_func", thing)


def _is_ours(module: str) -> bool:
    top = module.split(".")[0]
    return hasattr(importlib.import_module(module), "__file__") and top not in ("numba", "numpy")


def _bare(function: Callable[..., Any]) -> ast.FunctionDef:
    source = inspect.getsource(inspect.getmodule(function))  # type: ignore[arg-type]
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            break
    else:
        raise AssertionError(f"{function.__qualname__} is no module-level function")
    node.decorator_list = []
    node.returns = None
    for argument in node.args.args:
        argument.annotation = None
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:] or [ast.Pass()]
    return node


def _global_names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
