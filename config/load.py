"""Load the settings of a run from one strict YAML file, or refuse it in one line that helps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from config import shape
from config.cross_check import cross_check
from config.problem import ConfigProblem
from config.settings import Settings
from config.yaml_tree import MAX_BYTES, YamlProblem, read_tree

DEFAULT = Path(__file__).with_name("default.yaml")
COMMAND_LINE = "command line"
MODELS_KEYS = ("models", "splits")  # what a file of models holds
Source = tuple[str, Mapping[shape.Path, int]]  # name of a file, and the lines of its keys
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
    tree, models = _with_models(tree, file, lines)
    given = [_override(tree, key, value) for key, value in overrides.items()]
    return _checked(tree, (str(file), lines), models, given)


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
    over, models = _with_models(over, path, lines)
    return _checked(_merged(base, over), (str(path), lines), models, [])


def check_settings(tree: Mapping[str, Any], source: str) -> Settings:
    """Check plain values as strictly as a file.

    Args:
        tree: settings as plain values.
        source: what to name before the key when something is wrong.
    Raises:
        ConfigProblem: as `load_settings`.
    """
    return _checked(dict(tree), (source, {}), None, [])


def _with_models(
    tree: Any, file: Path, lines: Mapping[shape.Path, int]
) -> tuple[Any, Source | None]:
    """Put what the file of `models_file` holds into a tree, and return where it comes from."""
    named = tree.get("models_file") if isinstance(tree, dict) else None
    if not isinstance(named, str) or not named:
        return tree, None
    for key in MODELS_KEYS:
        if key in tree:
            raise _problem(file, lines.get((key,), 0), (key,), f"stands in {named} (models_file)")
    beside = [folder / named for folder in (file.parent, DEFAULT.parent)]
    found = next((path for path in beside if path.exists()), beside[0])
    own = load_tree(found)
    source = (str(found), _read(found)[1])
    for key in own:
        if key not in MODELS_KEYS:
            text = "unknown key; known are " + ", ".join(MODELS_KEYS)
            raise _problem(found, source[1].get((key,), 0), (key,), text)
    return {**tree, **own, "models_file": ""}, source


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


def _checked(tree: Any, source: Source, models: Source | None, given: list[shape.Path]) -> Settings:
    """Return the settings of a tree; `given` are the paths that the command line set.

    `models` is where its models come from, if not from `source` too.
    """
    try:
        shape.check(tree, msgspec.inspect.type_info(Settings))
        settings = msgspec.convert(tree, Settings)
        cross_check(settings)
    except shape.Misfit as misfit:
        if misfit.path in given:
            raise _problem(COMMAND_LINE, 0, misfit.path, str(misfit)) from None
        of_models = models is not None and misfit.path[:1] in [(key,) for key in MODELS_KEYS]
        name, lines = models if of_models and models is not None else source
        raise _problem(name, _line(lines, misfit.path), misfit.path, str(misfit)) from None
    except msgspec.ValidationError as error:  # the check above should have found it
        raise ConfigProblem(f"{source[0]}: {error}") from None
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
