"""What a run is made with: config, run folder, and what the command line lays over them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from config.load import check_settings, lay_over, load_settings
from config.settings import ModelSettings, Settings
from engine.errors import UsageError
from engine.json_files import read_json
from engine.run_files import CONFIG, TAPE_REF, RunConfigFile, resolve_run
from ml.registry_file import REGISTRY

HOME = Path(__file__).resolve().parent.parent
CADENCES = {"bar": "bar:1m"}


def run_folder(paths: Sequence[str], runs_dir: Path) -> Path | None:
    """Return the run folder that the one PATH names, None when it is data."""
    if len(paths) != 1:
        return None
    path = Path(paths[0])
    if (path / CONFIG).exists() and (path / TAPE_REF).exists():
        return path
    if not path.exists() and len(path.parts) == 1 and runs_dir.is_dir():
        return resolve_run(paths[0], runs_dir) if any(runs_dir.glob(f"{paths[0]}*")) else None
    return None


def settings_of(args: argparse.Namespace) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings of the run and the models named on the command line.

    A run folder brings its own settings and models; --config, --what-if and the flags go before.

    Raises:
        ConfigProblem, UsageError: something is not as it must be.
    """
    changes: dict[str, Any] = {}
    if args.block_rows is not None:
        changes["engine.block_rows"] = args.block_rows
    base = found_from_anywhere(load_settings(args.config, changes))
    named = tuple(args.model)
    run = run_folder(args.replay or (), Path(base.runs_dir))
    if run is not None:
        recorded = read_json(run / CONFIG, RunConfigFile)
        if args.config is None:
            base = _recorded(recorded, base, args)
        named = named or recorded.model_overrides
    if args.what_if is not None and (run is None or args.config is not None):
        base = lay_over(msgspec.to_builtins(base), args.what_if)
    return with_models(base, args.model), named


def found_from_anywhere(settings: Settings, home: Path = HOME) -> Settings:
    """Look for models beside the program where the folder one stands in has no registry.

    A person who calls it from another folder means the models that came with it.
    """
    there = Path(settings.artifacts_dir)
    if there.is_absolute() or (there / REGISTRY).exists() or not (home / there / REGISTRY).exists():
        return settings
    return msgspec.structs.replace(settings, artifacts_dir=str(home / there))


def _recorded(recorded: RunConfigFile, base: Settings, args: argparse.Namespace) -> Settings:
    """Return the settings of a run folder, with where things lie taken from today's config."""
    tree = dict(recorded.settings)
    tree |= {"artifacts_dir": base.artifacts_dir, "runs_dir": base.runs_dir}
    engine = dict(tree.get("engine", {}))
    if args.block_rows is not None:
        engine["block_rows"] = args.block_rows
    tree["engine"] = engine
    if args.what_if is not None:
        return lay_over(tree, args.what_if)
    return check_settings(tree, f"{recorded.run_id}: {CONFIG}")


def with_models(settings: Settings, named: Sequence[str]) -> Settings:
    """Put the models of --model into the settings: in place of that model, or beside the others.

    Raises:
        UsageError: not of the form ID:VERSION.
    """
    models = list(settings.models)
    for word in named:
        model_id, colon, version = word.partition(":")
        if not colon or not model_id or not version:
            raise UsageError(f"--model {word}: must be ID:VERSION, see python lab.py models list")
        same = [at for at, model in enumerate(models) if model.model_id == model_id]
        for at in same:
            models[at] = msgspec.structs.replace(models[at], version=version)
        if not same:
            models.append(_new_model(settings, model_id, version))
    return msgspec.structs.replace(settings, models=tuple(models))


def _new_model(settings: Settings, model_id: str, version: str) -> ModelSettings:
    from ml.refusal import ModelRefused
    from ml.registry import View

    try:
        cadence = View(Path(settings.artifacts_dir)).find(model_id, version).cadence
    except ModelRefused as error:
        raise UsageError(f"--model {model_id}:{version}: {error}") from None
    return ModelSettings(
        name=model_id, model_id=model_id, version=version, cadence=CADENCES.get(cadence, cadence)
    )
