"""Compare what the settings say of a model with what its registry entry says."""

import re
from pathlib import Path

from config.settings import ModelSettings
from engine.errors import ConfigError
from features.spec import parse_spec
from ml.artifact import LoadedModel
from ml.refusal import ModelRefused

SPECS = Path(__file__).resolve().parent.parent / "config" / "features"
_HASH = re.compile(r"^[0-9a-f]{6,64}$")
CLASSIFIES = ("classifier3", "binary", "discrete8")  # output kinds of classifiers


def check_declared(settings: ModelSettings, loaded: LoadedModel) -> None:
    """Refuse a version that is not what the settings say; what they leave empty is not compared.

    Raises:
        ModelRefused: `model.contract`, or `model.features` for another feature spec.
    """
    entry = loaded.entry
    task_type = "classifier" if loaded.output_kind in CLASSIFIES else "regressor"
    for key, wanted, found in (
        ("kind", settings.kind, entry.kind),
        ("target", settings.target, entry.task),
        ("task_type", settings.task_type, task_type),
        ("horizon", settings.horizon, entry.horizon),
    ):
        if wanted and wanted != found:
            text = f"{loaded.name}: its {key} is {found!r}, models.{settings.name}.{key} says"
            raise ModelRefused("model.contract", f"{text} {wanted!r}")
    if settings.features and not entry.feature_spec_sha256.startswith(_spec_hash(settings)):
        text = f"{loaded.name}: its feature spec is {entry.feature_spec_sha256[:12]}"
        raise ModelRefused(
            "model.features", f"{text}, models.{settings.name}.features says {settings.features!r}"
        )


def _spec_hash(settings: ModelSettings) -> str:
    """Return the hash, or its beginning, that `features` asks for."""
    if _HASH.match(settings.features):
        return settings.features
    path = SPECS / f"{Path(settings.features).name}.json"
    try:
        return parse_spec(path.read_bytes(), path.name).sha256
    except (OSError, ConfigError):
        known = ", ".join(sorted(one.stem for one in SPECS.glob("*.json")))
        text = (
            f"models.{settings.name}.features: {settings.features!r} is neither a hash nor one of"
        )
        raise ModelRefused("model.features", f"{text} {known}") from None
