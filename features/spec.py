"""The feature spec: which features a model reads, in which order, with which parameters."""

import hashlib
import json
import math
from typing import Any

import msgspec

from engine.errors import ConfigError

SPEC_VERSION = 1
Value = int | float | str
Params = dict[str, Value]
BAR = "bar"  # the parameter that every feature on bars has

_HELP = "a feature spec is {version: 1, features: [{name, params?}, ...]}"


class FeatureEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a spec's JSON."""

    name: str
    params: dict[str, Value] = {}


class _SpecFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON file as a whole."""

    version: int
    features: list[FeatureEntry]


class FeatureSpec(msgspec.Struct, frozen=True):
    """Ordered features with parameters. The order is the order of the model's input columns.

    `params` hold only what differs from the feature's defaults; numbers that stand in a name
    (`rsi_14`) are not repeated there. `bar` among them names the bar that a feature on bars is
    computed on, and the column is then called after both; without it that is the run's base bar.

    Example:
        >>> spec = FeatureSpec(features=(("rsi_14", {}), ("vpin", {"mode": "bulk"})))
        >>> spec.names, len(spec), spec.sha256[:12]
        (('rsi_14', 'vpin'), 2, '4d0f8102173d')
        >>> parse_spec(spec.to_json()) == spec
        True
        >>> FeatureSpec((("rsi_14", {}), ("rsi_14", {"bar": "1h"}))).names
        ('rsi_14', 'rsi_14@1h')
    """

    features: tuple[tuple[str, Params], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns in order."""
        return tuple(column_name(name, params) for name, params in self.features)

    def __len__(self) -> int:
        return len(self.features)

    def canonical_json(self) -> bytes:
        """Write the one byte form that is hashed: sorted keys, no blanks, ASCII."""
        return json.dumps(
            self._document(), sort_keys=True, separators=(",", ":"), allow_nan=False
        ).encode("ascii")

    @property
    def sha256(self) -> str:
        """Return the hex digest of the canonical JSON."""
        return hashlib.sha256(self.canonical_json()).hexdigest()

    def to_json(self) -> bytes:
        """Write the readable form, one feature a line, with a final newline."""
        lines = [json.dumps(entry) for entry in self._document()["features"]]
        body = ",\n".join(f"    {line}" for line in lines)
        text = f'{{\n  "version": {SPEC_VERSION},\n  "features": [\n{body}\n  ]\n}}\n'
        return text.encode("ascii")

    def _document(self) -> dict[str, Any]:
        features = []
        for name, params in self.features:
            features.append({"name": name, "params": params} if params else {"name": name})
        return {"version": SPEC_VERSION, "features": features}


def column_name(name: str, params: Params) -> str:
    """Return what a feature's column is called."""
    return f"{name}@{params[BAR]}" if BAR in params else name


def entry_of(column: str) -> tuple[str, Params]:
    """Return the entry of a column's name, all other parameters being the defaults.

    >>> entry_of("rsi_14@1h"), entry_of("rsi_14")
    (('rsi_14', {'bar': '1h'}), ('rsi_14', {}))
    """
    name, at, bar = column.partition("@")
    return name, {BAR: bar} if at else {}


def parse_spec(data: bytes | str, source: str = "feature spec") -> FeatureSpec:
    """Read a spec's JSON, strictly.

    Args:
        data: JSON text.
        source: what to call it in errors, usually the file's name.
    Returns:
        The spec. Whether its features exist is decided by `registry.resolve`.
    Raises:
        ConfigError: no JSON, unknown or doubled keys, wrong version, no or doubled features.
    """
    try:
        document = json.loads(
            data,
            object_pairs_hook=_refuse_doubled_keys,
            parse_constant=_finite,
            parse_float=_finite,
        )
        found = msgspec.convert(document, _SpecFile)
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{source}: {error}; {_HELP}") from None
    if found.version != SPEC_VERSION:
        raise ConfigError(
            f"{source}: version is {found.version}, this program reads version {SPEC_VERSION}"
        )
    if not found.features:
        raise ConfigError(f"{source}: features is empty; {_HELP}")
    spec = FeatureSpec(features=tuple((entry.name, entry.params) for entry in found.features))
    check_unique(spec, source)
    return spec


def check_unique(spec: FeatureSpec, source: str = "feature spec") -> None:
    """Refuse a spec that names a feature twice.

    Raises:
        ConfigError: it does; the message names the feature.
    """
    seen: set[str] = set()
    for name in spec.names:
        if name in seen:
            raise ConfigError(f"{source}: feature {name!r} stands in the list twice")
        seen.add(name)


def spec_json_schema() -> dict[str, Any]:
    """Return the JSON schema of a spec file."""
    return msgspec.json.schema(_SpecFile)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _refuse_doubled_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"key {key!r} stands twice in one object")
    return dict(pairs)
