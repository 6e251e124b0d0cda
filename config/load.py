"""Load the settings of a run from one strict YAML file, or refuse it in one line that helps."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from config import shape
from config.problem import ConfigProblem
from config.settings import Settings
from config.yaml_tree import MAX_BYTES, YamlProblem, read_tree

DEFAULT = Path(__file__).with_name("default.yaml")
COMMAND_LINE = "command line"
__all__ = [
    "DEFAULT",
    "ConfigProblem",
    "check_settings",
    "lay_over",
    "load_settings",
    "load_tree",
    "settings_json",
]


def load_settings(path: Path | None, overrides: Mapping[str, Any] = {}) -> Settings:
    """Read a settings file, lay overrides over it and check all of it.

    A file stands alone: what it leaves out takes the default of config/settings.py, and what has no
    default there must be given. Nothing is taken from config/default.yaml then.

    Args:
        path: the YAML file; None reads config/default.yaml.
        overrides: dotted key -> value, such as {"risk.max_daily_loss": 50, "models[0].name": "A"}.
    Returns:
        the checked settings, frozen.
    Raises:
        ConfigProblem: the file cannot be read, or a setting is unknown, doubled, missing, of the
            wrong type, out of its range or against another one.
    Example:
        >>> load_settings(None, {"risk.max_open_orders": 7}).risk.max_open_orders
        7
    """
    file = DEFAULT if path is None else path
    tree, lines = _read(file)
    given = [_override(tree, key, value) for key, value in overrides.items()]
    return _checked(tree, str(file), lines, given)


def load_tree(path: Path) -> dict[str, Any]:
    """Read a YAML file strictly as plain values, not yet compared with any setting.

    Raises:
        ConfigProblem: the file cannot be read, is no strict YAML or no mapping.
    """
    tree = _read(path)[0]
    if not isinstance(tree, dict):
        raise ConfigProblem(f"{path}: must hold settings by name, such as `risk: {{...}}`")
    return tree


def lay_over(base: Mapping[str, Any], path: Path) -> Settings:
    """Lay a file that names only some settings over a tree of settings, and check the whole.

    Groups are laid over setting by setting; lists (strategies, models) are replaced.

    Args:
        base: settings as plain values, such as those of a run's config.json.
        path: the YAML file.
    Raises:
        ConfigProblem: as `load_settings`; what is wrong in the file is named by its line.
    """
    over, lines = load_tree(path), _read(path)[1]
    return _checked(_merged(base, over), str(path), lines, [])


def check_settings(tree: Mapping[str, Any], source: str) -> Settings:
    """Check plain values as strictly as a file.

    Args:
        tree: settings as plain values.
        source: what to name before the key when something is wrong.
    Raises:
        ConfigProblem: as `load_settings`.
    """
    return _checked(dict(tree), source, {}, [])


def _read(file: Path) -> tuple[Any, dict[shape.Path, int]]:
    """Return the tree of a file ({} when it is empty) and the lines of its keys."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConfigProblem(f"{file}: cannot be read: {why}") from None
    try:
        tree, lines = read_tree(data)
    except YamlProblem as problem:
        raise _problem(file, problem.line, problem.path, str(problem)) from None
    return ({} if tree is None else tree), lines


def _checked(
    tree: Any, source: str, lines: Mapping[shape.Path, int], given: list[shape.Path]
) -> Settings:
    """Return the settings of a tree; `given` are the paths that the command line set."""
    try:
        shape.check(tree, msgspec.inspect.type_info(Settings))
        settings = msgspec.convert(tree, Settings)
        _cross_check(settings)
    except shape.Misfit as misfit:
        if misfit.path in given:
            raise _problem(COMMAND_LINE, 0, misfit.path, str(misfit)) from None
        raise _problem(source, _line(lines, misfit.path), misfit.path, str(misfit)) from None
    except msgspec.ValidationError as error:  # the check above should have found it
        raise ConfigProblem(f"{source}: {error}") from None
    return settings


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def settings_json(settings: Settings) -> bytes:
    """Return canonical JSON: sorted keys, no spaces; equal settings give equal bytes."""
    return msgspec.json.encode(settings, order="sorted")


def _problem(file: Path | str, line: int, path: shape.Path, message: str) -> ConfigProblem:
    place = f"{file}:{line}" if line else str(file)
    return ConfigProblem(f"{place}: {shape.dotted(path)}{': ' if path else ''}{message}")


def _line(lines: Mapping[shape.Path, int], path: shape.Path) -> int:
    """Return the line of a key, or of the nearest group around it that stands in the file."""
    for depth in range(len(path), 0, -1):
        if path[:depth] in lines:
            return lines[path[:depth]]
    return 0


def _override(tree: Any, key: str, value: Any) -> shape.Path:
    """Set one dotted key in the tree, and return its path. A list item must exist."""
    parts = key.replace("[", ".").replace("]", "").split(".")
    path = [int(part) if part.isascii() and part.isdigit() else part for part in parts]
    place: Any = tree
    for part, following in zip(path, [*path[1:], None], strict=True):
        if isinstance(place, dict) and isinstance(part, str) and part:
            if following is not None:
                place.setdefault(part, {})
        elif not (isinstance(place, list) and isinstance(part, int) and part < len(place)):
            raise _problem(COMMAND_LINE, 0, tuple(path), "no such setting")
        if following is None:
            place[part] = value
        else:
            place = place[part]
    return tuple(path)


def _cross_check(settings: Settings) -> None:
    """Refuse settings that are fine alone and contradict each other."""
    risk = settings.risk
    if risk.max_order_notional > risk.max_position_notional:
        raise shape.Misfit(
            ("risk", "max_order_notional"),
            f"{risk.max_order_notional:g} is more than risk.max_position_notional "
            f"({risk.max_position_notional:g}); one order may not be larger than a position",
        )
    if settings.paper.decision_latency_ms >= risk.max_signal_age_ms:
        raise shape.Misfit(
            ("risk", "max_signal_age_ms"),
            f"{risk.max_signal_age_ms:g} is not more than paper.decision_latency_ms "
            f"({settings.paper.decision_latency_ms:g}); every signal would be too old",
        )
    models = [model.name for model in settings.models]
    _refuse_twins("models", models)
    _refuse_twins("strategies", [strategy.name for strategy in settings.strategies])
    for index, strategy in enumerate(settings.strategies):
        for place, name in enumerate(strategy.models):
            _refuse_stranger(("strategies", index, "models", place), name, models)
    for index, model in enumerate(settings.models):
        for key in ("signal_from", "classifier_from", "book_from"):
            _refuse_stranger(("models", index, key), getattr(model, key), models)
        for key in ("signal_from", "classifier_from"):
            if getattr(model, key) == model.name:
                raise shape.Misfit(
                    ("models", index, key), "a model is not told its own signal; name another one"
                )


def _refuse_stranger(path: shape.Path, name: str | None, models: list[str]) -> None:
    """Refuse the name of a model that the file does not list."""
    if name is not None and name not in models:
        close = shape.nearest(name, models)
        known = f"did you mean {close}?" if close else f"known are {', '.join(models)}"
        raise shape.Misfit(
            path, f"{shape.shown(name)} is no model of this file; {known or 'none is listed'}"
        )


def _refuse_twins(group: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise shape.Misfit((group, index, "name"), f"{shape.shown(name)} stands twice")
        seen.add(name)
