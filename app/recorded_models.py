"""The models of a recorded run's replay: the versions that decided it, whatever serves today."""

from pathlib import Path

import msgspec

from app.opening import Pin
from app.parts import Parts
from config.settings import ModelSettings, Settings
from engine.control_log import read_control_log
from engine.errors import ConfigError
from engine.json_files import read_json
from engine.run_files import CONFIG, NAMES, Names, RunConfigFile


def pins_of(run: Path, settings: Settings) -> dict[str, Pin]:
    """Return the versions of a run's models, by name, as far as the settings still ask for them.

    Args:
        run: the folder of the run that is replayed.
        settings: of the replay; a model that they name otherwise (`--model`, `--what-if`) is not
            pinned, and follows no swap of the tape.
    """
    config = read_json(run / CONFIG, RunConfigFile)
    asked = {model.name: model for model in _models(config)}
    names = {model.name: model for model in read_json(run / NAMES, Names).models}
    pins = {}
    for model in settings.models:
        then, known = asked.get(model.name), names.get(model.name)
        if then is None or known is None:
            continue
        if (model.model_id, model.version) == (then.model_id, then.version):
            pins[model.name] = Pin(
                config.run_id,
                known.version,
                known.sha256,
                known.trades,
                known.status,
                known.note,
                str(config.settings.get("artifacts_dir", "")),
            )
    return pins


def _models(config: RunConfigFile) -> list[ModelSettings]:
    try:
        return msgspec.convert(config.settings.get("models", []), list[ModelSettings])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{config.run_id}: {CONFIG}: models: {error}") from None


def expect_swaps(parts: Parts, tape_folder: Path, pins: dict[str, Pin]) -> None:
    """Load what the swap rows of a run's tape refer to.

    Raises:
        UsageError: a version is not there any more, or is another one now.
    """
    lines = read_control_log(tape_folder) if pins else []
    world = (Path(parts.settings.artifacts_dir), parts.specs)
    parts.swaps.expect_recorded(lines, parts.models, pins, world)
