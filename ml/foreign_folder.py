"""Reads a model folder made elsewhere: model.onnx with metadata.json, model.meta.json, or both.

Two forms are known, and what both say must agree:

    metadata.json     {model_id, version, feature_names, mean?, std?, actions?}
    model.meta.json   {sequence_length?, feature_count?, feature_spec_sha256?, opset?, thresholds?,
                       normalisation?}

Normalisation is applied exactly once. `mean` and `std` in metadata.json mean that the caller must
apply them, unless model.meta.json says `"normalisation": "graph"` (then they are only told), or the
graph holds these very numbers, which is refused where nobody says which of the two is meant.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from ml.manifest import ACTIONS8, CLASSES, MAX_BYTES, Finite, Name, Normalisation, OutputKind
from ml.onnx_scan import Scan, scan
from ml.refusal import ModelRefused
from ml.safe_files import open_folder, read_bounded

MODEL, METADATA, META = "model.onnx", "metadata.json", "model.meta.json"
_UP = ("UP",)
_SPELLING = {"BUY": "BUY", "LONG": "BUY", "SELL": "SELL", "SHORT": "SELL"}
_SPELLING |= {"HOLD": "HOLD", "FLAT": "HOLD", "NEUTRAL": "HOLD"}


class MetadataForm(msgspec.Struct, frozen=True, kw_only=True):
    """metadata.json of a foreign model; other keys are left unread."""

    feature_names: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=4096)]
    model_id: str = ""
    version: str | int = ""
    mean: tuple[Finite, ...] | None = None
    std: tuple[Finite, ...] | None = None
    actions: tuple[Name, ...] | dict[str, Name] = ()


class MetaForm(msgspec.Struct, frozen=True, kw_only=True):
    """model.meta.json of a foreign model; other keys are left unread."""

    sequence_length: Annotated[int, Meta(ge=0, le=100_000)] = 0
    feature_count: Annotated[int, Meta(ge=0, le=4096)] = 0
    feature_spec_sha256: str = ""
    spec_hash: str = ""
    opset: int = 0
    thresholds: dict[str, float] = {}
    normalisation: Literal["", "graph", "none", "metadata"] = ""


@dataclass(frozen=True)
class ForeignFolder:
    """What a folder holds, its contradictions refused.

    Attributes:
        model_bytes: the ONNX file.
        scan: what it declares.
        model_id, version: as it calls itself; may be empty.
        feature_names: its columns in order; empty where nothing says.
        normalisation: the one place where rows are normalised.
        classes: order of a classifier's columns.
        kind: what its output is, as far as that follows from its size and words.
        steps: rows of a window; 0 for single rows.
        spec_sha256: hash of the feature spec it was trained with; may be empty.
        thresholds: as given.
    """

    model_bytes: bytes
    scan: Scan
    model_id: str
    version: str
    feature_names: tuple[str, ...]
    normalisation: Normalisation
    classes: tuple[str, ...]
    kind: OutputKind
    steps: int
    spec_sha256: str
    thresholds: dict[str, float]


def read_folder(path: Path) -> ForeignFolder:
    """Read a model folder, or a lone ONNX file and what lies beside it.

    Args:
        path: a folder with model.onnx, or a file.
    Raises:
        ModelRefused: `model.missing`, `model.metadata` for JSON that is malformed, `model.features`
            and `model.contract` for what contradicts the graph or the other file, and what
            ml.onnx_scan refuses.
    """
    folder_path, name = (path, MODEL) if path.is_dir() else (path.parent, path.name)
    with open_folder(folder_path) as folder:
        data = read_bounded(folder, name, MAX_BYTES[MODEL], name)
        metadata = _read(folder, METADATA, MetadataForm)
        meta = _read(folder, META, MetaForm)
    declared = scan(data)
    first, second = metadata or MetadataForm(feature_names=()), meta or MetaForm()
    names = first.feature_names or _kept_names(declared)
    steps, width = _input_sizes(declared)
    _check_sizes(names, second, declared, (steps, width))
    kind, classes = _outputs(first, declared)
    return ForeignFolder(
        model_bytes=data,
        scan=declared,
        model_id=first.model_id,
        version=str(first.version),
        feature_names=names,
        normalisation=_normalisation(first, second, data, width),
        classes=classes,
        kind=kind,
        steps=steps,
        spec_sha256=second.feature_spec_sha256 or second.spec_hash,
        thresholds=dict(second.thresholds),
    )


def _read(folder: int, name: str, form: type[Any]) -> Any:
    try:
        data = read_bounded(folder, name, MAX_BYTES[name], name)
    except ModelRefused as error:
        if error.code == "model.missing":
            return None
        raise
    try:
        return msgspec.json.decode(data, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefused("model.metadata", f"{name}: {str(error)[:300]}") from None


def _kept_names(declared: Scan) -> tuple[str, ...]:
    try:
        kept = declared.metadata.get("feature_names", "[]")
        return msgspec.json.decode(kept, type=tuple[str, ...])
    except msgspec.MsgspecError:
        return ()


def _input_sizes(declared: Scan) -> tuple[int, int]:
    """Return (steps, features) of the one input; 0 where it is dynamic or has no steps."""
    if len(declared.inputs) != 1:
        text = f"{MODEL}: {len(declared.inputs)} inputs, one is served"
        raise ModelRefused("model.contract", text)
    shape = declared.inputs[0].shape
    return (int(shape[1] or 0) if len(shape) == 3 else 0, int(shape[-1] or 0) if shape else 0)


def _check_sizes(
    names: tuple[str, ...], meta: MetaForm, declared: Scan, sizes: tuple[int, int]
) -> None:
    steps, width = sizes
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ModelRefused("model.features", f"{METADATA}: {doubled[0]} stands twice")
    if names and width and len(names) != width:
        text = f"{METADATA} names {len(names)} features, the graph reads {width}"
        raise ModelRefused("model.features", text)
    if meta.feature_count and meta.feature_count != (len(names) or width):
        text = f"{META} says {meta.feature_count} features, {METADATA} or the graph says"
        raise ModelRefused("model.features", f"{text} {len(names) or width}")
    if meta.sequence_length > 1 and steps and meta.sequence_length != steps:
        text = f"{META} says {meta.sequence_length} steps, the graph reads {steps}"
        raise ModelRefused("model.contract", text)
    opset = declared.opsets.get("", declared.opsets.get("ai.onnx", 0))
    if meta.opset and meta.opset != opset:
        raise ModelRefused("model.contract", f"{META} says opset {meta.opset}, the file {opset}")


def _normalisation(
    metadata: MetadataForm, meta: MetaForm, data: bytes, width: int
) -> Normalisation:
    """Decide where rows are normalised; never in two places."""
    mean, std = metadata.mean, metadata.std
    if (mean is None) != (std is None):
        raise ModelRefused("model.contract", f"{METADATA}: mean and std go together")
    if meta.normalisation == "metadata" and mean is None:
        text = f"{META} says that rows are normalised by {METADATA}, which has no mean and std"
        raise ModelRefused("model.contract", text)
    if mean is None or std is None or meta.normalisation in ("graph", "none"):
        return Normalisation(where="none" if meta.normalisation == "none" else "graph")
    size = width or len(metadata.feature_names)
    if (len(mean), len(std)) != (size, size) or any(not value > 0 for value in std):
        text = (
            f"{METADATA}: {len(mean)} means and {len(std)} deviations above 0 for {size} features"
        )
        raise ModelRefused("model.contract", text)
    if meta.normalisation != "metadata" and _inside(data, mean):
        text = f"the graph holds the means of {METADATA}: rows would be normalised twice"
        help_ = f'say which in {META}: "normalisation": "graph" or "metadata"'
        raise ModelRefused("model.contract", f"{text}; {help_}")
    return Normalisation(where="metadata", mean=mean, std=std)


def _inside(data: bytes, numbers: tuple[float, ...]) -> bool:
    """Say whether a run of numbers stands in the file as float32 or float64."""
    if len(numbers) < 2 or not any(numbers):
        return False
    return any(np.asarray(numbers, kind).tobytes() in data for kind in (np.float32, np.float64))


def _outputs(metadata: MetadataForm, declared: Scan) -> tuple[OutputKind, tuple[str, ...]]:
    """Read kind and class order of actions, whatever they are called; else by the output's size."""
    actions = metadata.actions
    if isinstance(actions, dict):
        try:
            actions = tuple(actions[key] for key in sorted(actions, key=int))
        except ValueError:
            text = f'{METADATA}: actions is a list, or {{"0": name, ...}}'
            raise ModelRefused("model.metadata", text) from None
    words = tuple(action.upper() for action in actions)
    if words and set(words) == set(ACTIONS8):
        return "discrete8", words
    spelt = tuple(_SPELLING.get(word, word) for word in words)
    if len(spelt) == 3 and set(spelt) == set(CLASSES):
        return "classifier3", spelt
    if words:
        text = f"{METADATA}: actions {list(words)}; served are {', '.join(CLASSES)} in any order"
        raise ModelRefused("model.contract", f"{text}, or the eight of ml.manifest.ACTIONS8")
    shape = declared.outputs[-1].shape
    return ("binary", _UP) if shape and shape[-1] == 1 else ("classifier3", CLASSES)
