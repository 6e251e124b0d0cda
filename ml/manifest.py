"""The strict structs of artifacts/: registry entries, metadata.json, and how they are checked."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from ml.refusal import ModelRefused
from ml.safe_files import check_name

SCHEMA_VERSION = 1
CLASSES = ("SELL", "HOLD", "BUY")
FILES = (
    "model.onnx",
    "metadata.json",
    "model.meta.json",
    "feature_spec.json",
    "golden.npz",
    "model_card.md",
)
MAX_BYTES = {
    "model.onnx": 64 << 20,
    "metadata.json": 1 << 20,
    "model.meta.json": 4 << 20,
    "feature_spec.json": 1 << 20,
    "golden.npz": 16 << 20,
    "model_card.md": 1 << 20,
    "registry.json": 16 << 20,
}
MAX_FEATURES = 4096

T = TypeVar("T")

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Meta(max_length=4000)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Names = Annotated[tuple[Name, ...], Meta(min_length=1)]
Status = Literal["candidate", "shadow", "production", "archived"]
OutputKind = Literal["classifier3", "binary"]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all structs here: frozen, named fields only, unknown keys refused."""


class OutputSchema(Strict, frozen=True):
    """What the served output is: its name in the graph, its kind and its columns in order."""

    name: Text
    kind: OutputKind
    classes: Names

    @property
    def columns(self) -> int:
        """Columns of the output: 3 probabilities, or 1 of `up`."""
        return 3 if self.kind == "classifier3" else 1


class Normalisation(Strict, frozen=True):
    """Where inputs are normalised; exactly one place is ever used.

    `graph`: inside the model. `none`: not at all (trees). `metadata`: a foreign model whose numbers
    stand here; the runtime then feeds (x - mean) / std.
    """

    where: Literal["graph", "none", "metadata"]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class TrainingData(Strict, frozen=True):
    """The snapshot a model was trained on."""

    name: Text
    sha256: Sha256
    rows: Annotated[int, Meta(ge=0)] = 0
    start: Text = ""  # ISO times of the first and last training row
    end: Text = ""


class Change(Strict, frozen=True):
    """One change of an entry's status."""

    at: Text
    by: Text
    status: Status
    why: Text


class Entry(Strict, frozen=True):
    """One version of one model in registry.json. Its folder follows from id and version."""

    model_id: Text
    version: Text
    status: Status
    sha256: Sha256  # of model.onnx
    files: dict[str, Sha256]  # of every file of the folder
    input_features: Names
    feature_spec_sha256: Sha256
    kernel_identity: Sha256
    output_schema: OutputSchema
    normalisation: Normalisation
    task: Text
    owner: Text
    created_at: Text
    commit: Text
    training_data: TrainingData
    metrics: dict[str, float]
    thresholds: dict[str, float]
    cadence: Text
    horizon: Text
    parent: Text | None
    optimisation: Literal["disabled", "basic", "extended", "all"]
    placement: Literal["inline", "thread"]
    latency_us: Annotated[float, Meta(ge=0)]
    history: tuple[Change, ...] = ()

    @property
    def name(self) -> str:
        """`ID:VERSION`, as the command line takes it."""
        return f"{self.model_id}:{self.version}"


class Registry(Strict, frozen=True):
    """The whole of registry.json."""

    schema_version: Annotated[int, Meta(ge=1, le=SCHEMA_VERSION)]
    entries: tuple[Entry, ...]


class Metadata(Strict, frozen=True):
    """metadata.json: what the model itself claims, compared with entry, spec and graph at load."""

    schema_version: Annotated[int, Meta(ge=1, le=SCHEMA_VERSION)]
    model_id: Text
    version: Text
    task: Text
    feature_names: Names
    feature_spec_sha256: Sha256
    kernel_identity: Sha256
    output_schema: OutputSchema
    normalisation: Normalisation
    opset: int
    golden_sha256: Sha256
    source_model_sha256: Sha256
    training_data: TrainingData
    cadence: Text
    horizon: Text
    created_at: Text
    commit: Text
    libraries: dict[str, str]


def to_json(value: object) -> bytes:
    """Write a struct or plain value as indented JSON with a last newline; floats must be finite."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def decode(data: bytes, kind: type[T], shown: str, code: str = "model.metadata") -> T:
    """Read JSON into a strict struct.

    Raises:
        ModelRefused: `code`, naming the file and the place in it.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefused(code, f"{shown}: {str(error)[:300]}") from None


def read_registry_bytes(data: bytes) -> Registry:
    """Decode registry.json and refuse what contradicts itself.

    Raises:
        ModelRefused: `registry.torn` for what cannot be read, `registry.ambiguous` for a version
            that stands twice or two productions of one id, `model.path` for a bad name.
    """
    registry = decode(data, Registry, "registry.json", "registry.torn")
    seen: set[str] = set()
    serving: dict[str, str] = {}
    for entry in registry.entries:
        check_name(entry.model_id, "model id")
        check_name(entry.version, "version")
        if entry.name in seen:
            raise ModelRefused("registry.ambiguous", f"registry.json: {entry.name} stands twice")
        seen.add(entry.name)
        if entry.status != "production":
            continue
        if other := serving.get(entry.model_id):
            text = f"registry.json: {other} and {entry.name} are both production; archive one"
            raise ModelRefused("registry.ambiguous", text)
        serving[entry.model_id] = entry.name
    return registry


def name_difference(expected: Sequence[str], found: Sequence[str]) -> str:
    """Say how two lists of feature names differ; empty when they do not.

    >>> name_difference(["a", "b", "c"], ["a", "c", "b"])
    'reordered: b is at 2, expected at 1'
    >>> name_difference(["a", "b"], ["a", "x"])
    'missing: b; extra: x'
    """
    if list(expected) == list(found):
        return ""
    missing = [name for name in expected if name not in set(found)]
    extra = [name for name in found if name not in set(expected)]
    doubled = sorted({name for name in found if list(found).count(name) > 1})
    parts = [
        f"{word}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        for word, names in (("missing", missing), ("extra", extra), ("doubled", doubled))
        if names
    ]
    if not parts:
        at, name = next((k, n) for k, n in enumerate(expected) if found[k] != n)
        parts = [f"reordered: {name} is at {list(found).index(name)}, expected at {at}"]
    return "; ".join(parts)


def check_output(schema: OutputSchema, shown: str) -> None:
    """Refuse class orders that the engine does not serve.

    Raises:
        ModelRefused: `model.contract`.
    """
    if schema.kind == "classifier3" and sorted(schema.classes) != sorted(CLASSES):
        text = f"{shown}: classes {list(schema.classes)}, served are SELL, HOLD, BUY in any order"
        raise ModelRefused("model.contract", text)
    if schema.kind == "binary" and schema.classes != ("UP",):
        text = f"{shown}: classes of a binary output are {list(schema.classes)}, served is ['UP']"
        raise ModelRefused("model.contract", text)


def check_normalisation(normalisation: Normalisation, features: int, shown: str) -> None:
    """Refuse normalisation numbers that do not fit the features, or stand in two places.

    Raises:
        ModelRefused: `model.contract`.
    """
    wanted = features if normalisation.where == "metadata" else 0
    sizes = (len(normalisation.mean), len(normalisation.std))
    if sizes != (wanted, wanted):
        text = f"{shown}: normalisation in the {normalisation.where} with {sizes} numbers"
        raise ModelRefused("model.contract", f"{text}, expected ({wanted}, {wanted})")
    if any(not std > 0 for std in normalisation.std):
        raise ModelRefused("model.contract", f"{shown}: a std of the normalisation is not above 0")
