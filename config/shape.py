"""Compare a tree of plain values with the settings' types, and say in words what is allowed."""

import difflib
import json
import math
import re
from collections.abc import Iterable
from typing import Any

from msgspec import inspect

Path = tuple[str | int, ...]
_SECRET = re.compile(
    r"api_?key|secret|token|passw|passphrase|credential|private_?key|^key$", re.IGNORECASE
)
_SIMPLE = re.compile(r"[A-Za-z0-9_-]{1,60}")
_NO_SECRETS = "; secrets come from the environment, never from a file"


class Misfit(ValueError):
    """The first value that does not fit: where it stands, and one sentence about it."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def dotted(path: Path) -> str:
    """Return a path as a person writes it.

    Example:
        >>> dotted(("models", 0, "cadence"))
        'models[0].cadence'
    """
    words = []
    for part in path:
        plain = isinstance(part, int) or _SIMPLE.fullmatch(part)
        words.append(f"[{part}]" if isinstance(part, int) else f".{part if plain else shown(part)}")
    return "".join(words).removeprefix(".")


def shown(value: Any, path: Path = ()) -> str:
    """Return a value for a message: one short line, control characters escaped, secrets hidden."""
    if any(isinstance(part, str) and _SECRET.search(part) for part in path):
        return "(hidden)"
    if isinstance(value, dict | list | tuple) and value:
        return "{...}" if isinstance(value, dict) else "[...]"  # a secret may be inside
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that looks most like another, or "" if none does."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def allowed(kind: inspect.Type) -> str:
    """Return in words what a type accepts."""
    if isinstance(kind, inspect.Metadata):
        return (kind.extra_json_schema or {}).get("description") or allowed(kind.type)
    if isinstance(kind, inspect.IntType):
        return "an integer" + _range(kind)
    if isinstance(kind, inspect.FloatType):
        return "a number" + _range(kind)
    if isinstance(kind, inspect.UnionType):
        words = [allowed(part) for part in kind.types]
        return " or ".join(sorted(words, key=lambda word: word == "null"))
    if isinstance(kind, inspect.VarTupleType):
        return f"a list; each item: {allowed(kind.item_type)}"
    if isinstance(kind, inspect.DictType):
        return f"pairs; each value: {allowed(kind.value_type)}"
    if isinstance(kind, inspect.StructType):
        return "a group of settings"
    return _PLAIN[type(kind)]


_PLAIN = {
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
}


_NUMBERS = ("an integer", "a number")


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return (
            f" from {kind.ge:g} to {kind.le:g}"
            if kind.le < 1e6
            else f" from {kind.ge} to {kind.le}"
        )
    bounds = ((">", kind.gt), (">=", kind.ge), ("<", kind.lt), ("<=", kind.le))
    words = [f" {sign} {bound:g}" for sign, bound in bounds if bound is not None]
    return " and".join(words)


def check(value: Any, kind: inspect.Type, path: Path = ()) -> None:
    """Compare a value, and all in it, with a type.

    Integers are accepted where numbers are wanted; nothing else is converted: no text for a number,
    no 60.0 for an integer, no 1 for true.

    Raises:
        Misfit: the first key that is unknown or missing, or value that is not allowed.
    """
    if isinstance(kind, inspect.Metadata):
        kind, described = kind.type, kind
    else:
        described = kind
    if isinstance(kind, inspect.UnionType) and value is not None:
        kind = next((one for one in kind.types if isinstance(one, inspect.StructType)), kind)
    if isinstance(kind, inspect.StructType):
        _check_struct(value, kind, path)
    elif isinstance(kind, inspect.VarTupleType):
        if not isinstance(value, list | tuple):
            raise _unfit(value, described, path)
        for index, item in enumerate(value):
            check(item, kind.item_type, (*path, index))
    elif isinstance(kind, inspect.DictType):
        if not isinstance(value, dict):
            raise _unfit(value, described, path)
        for key, item in value.items():
            if not _fits(key, kind.key_type):
                raise Misfit((*path, key), f"unknown key; a key is {allowed(kind.key_type)}")
            if _SECRET.search(key):
                raise Misfit((*path, key), f"(hidden): not allowed here{_NO_SECRETS}")
            check(item, kind.value_type, (*path, key))
    elif not _fits(value, kind):
        raise _unfit(value, described, path)


def _check_struct(value: Any, kind: inspect.StructType, path: Path) -> None:
    if not isinstance(value, dict):
        names = ", ".join(field.encode_name for field in kind.fields)
        raise Misfit(path, f"{shown(value, path)} is not allowed; a group is: {names}")
    fields = {field.encode_name: field for field in kind.fields}
    for key in value:
        if key not in fields:
            close = nearest(key, fields)
            known = f"did you mean {close}?" if close else "known are " + ", ".join(fields)
            here = (*path, key)
            more = _NO_SECRETS if _SECRET.search(key) else ""
            raise Misfit(here, f"{shown(value[key], here)}: unknown key; {known}{more}")
    for name, field in fields.items():
        if name in value:
            check(value[name], field.type, (*path, name))
        elif field.required:
            raise Misfit((*path, name), f"is missing; give {allowed(field.type)}")


def _unfit(value: Any, kind: inspect.Type, path: Path) -> Misfit:
    wanted = allowed(kind)
    hint = " (this is text)" if isinstance(value, str) and wanted.startswith(_NUMBERS) else ""
    return Misfit(path, f"{shown(value, path)} is not allowed{hint}; allowed is {wanted}")


def _fits(value: Any, kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.Metadata):
        return _fits(value, kind.type)
    if isinstance(kind, inspect.UnionType):
        return any(_fits(value, part) for part in kind.types)
    if isinstance(kind, inspect.NoneType):
        return value is None
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, inspect.StrType):
        return isinstance(value, str) and bool(re.fullmatch(kind.pattern or "(?s).*", value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(kind, inspect.IntType) and not isinstance(value, int):
        return False
    assert isinstance(kind, inspect.IntType | inspect.FloatType), kind
    return math.isfinite(value) and _within(value, kind)


def _within(value: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (kind.gt is None or value > kind.gt)
        and (kind.ge is None or value >= kind.ge)
        and (kind.lt is None or value < kind.lt)
        and (kind.le is None or value <= kind.le)
    )
