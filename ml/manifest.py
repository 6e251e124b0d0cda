"""The strict structs of artifacts/: registry entries, metadata.json, and how they are checked."""

import functools
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import Meta

from engine.limits import MAX_WINDOW
from ml.refusal import ModelRefused
from ml.safe_files import check_name

SCHEMA_VERSION = 1
CLASSES = ("SELL", "HOLD", "BUY")
MODEL_FILES = {  # kind -> file; every kind but onnx is asked in a worker
    "onnx": "model.onnx",
    "lightgbm": "model.txt",
    "xgboost": "model.ubj",
    "catboost": "model.cbm",
    "sklearn": "model.skops",
    "torch": "model.pt",
    "pickle": "model.pkl",
}
NETWORK = "network.py"  # beside a torch state dict: the class that it belongs to
BESIDE = ("metadata.json", "model.meta.json", "feature_spec.json", "golden.npz", "model_card.md")
FILES = ("model.onnx", *BESIDE)  # of a model that is served in the live process
MAX_BYTES = {
    **dict.fromkeys(MODEL_FILES.values(), 64 << 20),
    NETWORK: 1 << 20,
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
Kind = Literal["onnx", "lightgbm", "xgboost", "catboost", "sklearn", "torch", "pickle"]
OutputKind = Literal[
    "classifier3", "binary", "regressor", "quantiles", "size", "action", "discrete8"
]
PROBABILITIES = ("classifier3", "binary")  # output kinds that are nothing but probabilities
CLASSED = (*PROBABILITIES, "discrete8")  # those whose columns are classes; the others are values
ACTIONS8 = (
    "HOLD",
    "BUY_SMALL",
    "BUY_MEDIUM",
    "BUY_LARGE",
    "SELL_SMALL",
    "SELL_MEDIUM",
    "SELL_LARGE",
    "CLOSE",
)


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all structs here: frozen, named fields only, unknown keys refused."""


Steps = Annotated[int, Meta(ge=0, le=MAX_WINDOW)]  # rows of a window; 0: single rows
Finite = Annotated[float, Meta(ge=-1e12, le=1e12)]
Above0 = Annotated[float, Meta(gt=0, le=1e12)]


class OutputSchema(Strict, frozen=True, omit_defaults=True):
    """What the served output is, and how it becomes a signal (ml/outputs.py).

    Attributes:
        name: the output's name in the graph.
        kind: classifier3, binary, regressor (an expected return), quantiles (of returns over
            horizons), size (a position 0..1), action (-1..1), discrete8 (scores of ACTIONS8).
        classes: its columns in order.
        dead_band: regressor, quantiles, action: smaller values are HOLD.
        scale: regressor, quantiles: the value that means full confidence.
        horizons, levels: quantiles: columns are horizon by horizon, each with these levels.
        act_on: quantiles: the horizon that decides; empty takes the first.
        sizes: discrete8: what small, medium and large mean, as shares of the largest position.
    """

    name: Text
    kind: OutputKind
    classes: Names
    dead_band: Annotated[float, Meta(ge=0, le=1e12)] = 0.0
    scale: Above0 = 1.0
    horizons: tuple[Name, ...] = ()
    levels: tuple[Annotated[float, Meta(gt=0, lt=1)], ...] = ()
    act_on: Text = ""
    sizes: tuple[float, float, float] = (0.25, 0.5, 1.0)

    @property
    def columns(self) -> int:
        """Columns of the output: one for each class."""
        return len(self.classes)


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


class GateResult(Strict, frozen=True):
    """One promotion gate: what was measured, what was asked for, whether it held."""

    gate: Name
    held: bool
    found: Text
    wanted: Text
    waived: bool = False  # it did not hold, and whoever changed the status said so


class Change(Strict, frozen=True, omit_defaults=True):
    """One change of an entry's status."""

    at: Text
    by: Text
    status: Status
    why: Text
    gates: tuple[GateResult, ...] = ()


class Entry(Strict, frozen=True, omit_defaults=True):
    """One version of one model in registry.json. Its folder follows from id and version."""

    model_id: Text
    version: Text
    status: Status
    sha256: Sha256  # of the model's own file
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
    kind: Kind = "onnx"
    sequence_length: Steps = 0
    network: Text = ""  # torch: name of the class in network.py; empty for TorchScript

    @property
    def model_file(self) -> str:
        """Name of the file that holds the model."""
        return MODEL_FILES[self.kind]

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of all files of its folder."""
        return (self.model_file, *((NETWORK,) if self.network else ()), *BESIDE)

    @property
    def name(self) -> str:
        """`ID:VERSION`, as the command line takes it."""
        return f"{self.model_id}:{self.version}"


class Registry(Strict, frozen=True):
    """The whole of registry.json."""

    schema_version: Annotated[int, Meta(ge=1, le=SCHEMA_VERSION)]
    entries: tuple[Entry, ...]


class Metadata(Strict, frozen=True, omit_defaults=True):
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
    sequence_length: Steps = 0


def to_json(value: object) -> bytes:
    """Write a struct or plain value as indented JSON with a last newline; floats must be finite."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def decode(data: bytes, kind: type[T], shown: str, code: str = "model.metadata") -> T:
    """Read JSON into a strict struct.

    Raises:
        ModelRefused: `code`, naming the file and the place in it.
    """
    try:
        return cast(T, _decoder(cast(Any, kind)).decode(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefused(code, f"{shown}: {str(error)[:300]}") from None


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return what reads a type; looking through the type takes longer than reading."""
    return msgspec.json.Decoder(kind)


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


def row_shape(sequence_length: int, features: int) -> tuple[int, ...]:
    """Return the shape of what a model reads at once: a row, or a window of rows.

    >>> row_shape(0, 10), row_shape(60, 10)
    ((10,), (60, 10))
    """
    return (sequence_length, features) if sequence_length else (features,)


def check_output(schema: OutputSchema, shown: str) -> None:
    """Refuse output schemas whose columns are not what their kind says.

    Raises:
        ModelRefused: `model.contract`.
    """
    problem = _output_problem(schema)
    if problem:
        raise ModelRefused("model.contract", f"{shown}: {problem}")


def _output_problem(schema: OutputSchema) -> str:
    kind, classes = schema.kind, schema.classes
    if kind == "classifier3" and sorted(classes) != sorted(CLASSES):
        return f"classes {list(classes)}, served are SELL, HOLD, BUY in any order"
    if kind == "discrete8" and sorted(classes) != sorted(ACTIONS8):
        return f"actions {list(classes)}, served are {', '.join(ACTIONS8)} in any order"
    if kind == "discrete8" and not 0 < schema.sizes[0] <= schema.sizes[1] <= schema.sizes[2] <= 1:
        return f"sizes {list(schema.sizes)} are not rising shares"
    wanted = {"binary": ("UP",), "regressor": ("VALUE",), "size": ("SIZE",), "action": ("ACTION",)}
    if kind in wanted and classes != wanted[kind]:
        return f"classes of a {kind} output are {list(classes)}, served is {list(wanted[kind])}"
    if kind == "quantiles":
        levels = list(schema.levels)
        if not schema.horizons or levels != sorted(set(levels)) or 0.5 not in levels:
            return "quantiles need horizons, and rising levels with 0.5 among them"
        if len(classes) != len(schema.horizons) * len(levels):
            return f"{len(classes)} columns for {len(schema.horizons)} horizons of {len(levels)}"
        if schema.act_on and schema.act_on not in schema.horizons:
            return f"act_on {schema.act_on!r} is none of {', '.join(schema.horizons)}"
    return ""


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
