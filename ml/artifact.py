"""One model's folder: every file read once, hashed, and compared with all that is claimed of it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from engine.errors import ConfigError
from features.spec import FeatureSpec, parse_spec
from ml import golden as golden_rows
from ml.golden import Golden
from ml.manifest import (
    MAX_BYTES,
    MAX_FEATURES,
    NETWORK,
    Entry,
    Metadata,
    Normalisation,
    check_normalisation,
    check_output,
    decode,
    name_difference,
    row_shape,
)
from ml.onnx_scan import FLOAT32, Port, Scan, scan
from ml.refusal import ModelRefused
from ml.runtime.bound import BoundModel
from ml.runtime.native import NativeModel
from ml.runtime.session import OrtModel
from ml.safe_files import check_name, open_folder, read_bounded, sha256


@dataclass(frozen=True)
class LoadedModel:
    """A model whose bytes, claims and contract agree. No session exists yet.

    Attributes:
        entry: its registry entry.
        metadata: its metadata.json.
        model_bytes: the model's file; what is served is made from these very bytes.
        sha256: their hash.
        spec: features in order.
        golden: golden rows.
        scan: what the ONNX file declares; None of another kind.
        network: of a torch state dict the file that holds its class, else empty.
    """

    entry: Entry
    metadata: Metadata
    model_bytes: bytes
    sha256: str
    spec: FeatureSpec
    golden: Golden
    scan: Scan | None
    network: bytes = b""

    @property
    def name(self) -> str:
        """`ID:VERSION`."""
        return self.entry.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Columns of the output in order."""
        return self.entry.output_schema.classes

    @property
    def output_kind(self) -> str:
        """One of manifest.OutputKind."""
        return self.entry.output_schema.kind

    @property
    def columns(self) -> int:
        """Columns of the output."""
        return self.entry.output_schema.columns

    @property
    def sequence_length(self) -> int:
        """Rows of the window that it reads; 0 for single rows."""
        return self.entry.sequence_length

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of what it reads at once: (F,) or (sequence_length, F)."""
        return row_shape(self.sequence_length, len(self.spec))

    @property
    def normalise(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(mean, 1 / std) float32[F] that the runtime must apply, or None when the graph does."""
        return normalise_arrays(self.entry.normalisation)

    def open(
        self,
        x: np.ndarray | None = None,
        y: np.ndarray | None = None,
        *,
        quick: bool = False,
    ) -> BoundModel:
        """Make a session bound to the caller's arrays (or to new ones).

        Args:
            x: float32[1, F], or float32[1, n, F] of a sequence model.
            y: float32[1, columns].
            quick: it runs inside of the hot path, see NativeModel.
        Raises:
            ModelRefused: `runtime.missing`, `model.invalid`, `model.contract`; `model.kind` for
                what is not served in this process.
        """
        if self.entry.kind != "onnx":
            text = f"{self.name}: kind {self.entry.kind} is asked in a worker only"
            raise ModelRefused("model.kind", f"{text}; export it to ONNX to serve it in a run")
        shapes = (1, *self.row_shape), (1, self.columns)
        x = np.zeros(shapes[0], np.float32) if x is None else x
        y = np.zeros(shapes[1], np.float32) if y is None else y
        if (x.shape, y.shape) != shapes:
            text = f"{self.name}: arrays {x.shape} and {y.shape} where it has {shapes}"
            raise ModelRefused("model.contract", text)
        optimisation, output = self.entry.optimisation, self.entry.output_schema.name
        if self.normalise is None and self.scan is not None:
            names = self.scan.inputs[0].name, output
            with contextlib.suppress(OSError):  # no shared library: the Python package serves
                return NativeModel(
                    self.model_bytes,
                    x=x,
                    y=y,
                    names=names,
                    optimisation=optimisation,
                    quick=quick,
                    sha256=self.sha256,
                )
        return OrtModel(
            self.model_bytes,
            x=x,
            y=y,
            optimisation=optimisation,
            output=output,
            normalise=self.normalise,
        )


def normalise_arrays(kept: Normalisation) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (mean, 1 / std) float32[F], or None where the runtime must not normalise."""
    if kept.where != "metadata":
        return None
    std = np.asarray(kept.std, np.float64)
    return np.asarray(kept.mean, np.float32), (1.0 / std).astype(np.float32)


def read_files(root: Path, entry: Entry) -> dict[str, bytes]:
    """Read a version's files once each and compare every hash with the entry.

    Raises:
        ModelRefused: `model.hash`, `model.missing`, `model.path`, `model.metadata`.
    """
    names = entry.file_names
    if set(entry.files) != set(names):
        text = f"{entry.name}: the registry names {sorted(entry.files)}, expected {sorted(names)}"
        raise ModelRefused("model.metadata", text)
    for name in (entry.model_id, entry.version):
        check_name(name, "model id or version")
    found = {}
    with open_folder(root, entry.model_id, entry.version) as folder:
        for name in names:
            shown = f"{entry.name}: {name}"
            found[name] = read_bounded(folder, name, MAX_BYTES[name], shown)
    for name in names:
        if sha256(found[name]) != entry.files[name]:
            text = f"{entry.name}: {name} is not the registered one (sha256 differs)"
            raise ModelRefused("model.hash", f"{text}; restore it or register it as a new version")
    if entry.files[entry.model_file] != entry.sha256:
        text = f"{entry.name}: two hashes of {entry.model_file} in the registry"
        raise ModelRefused("model.hash", text)
    return found


def assemble(entry: Entry, files: Mapping[str, bytes], *, tape: bool = True) -> LoadedModel:
    """Compare spec, metadata, graph and entry with each other and make a LoadedModel.

    Args:
        entry: the registry's claims.
        files: the bytes of all its files, hashes already compared.
        tape: unpack the golden tape slice too; nothing in a run asks for it.
    Raises:
        ModelRefused: `model.features`, `model.kernel`, `model.contract`, `model.unsafe`,
            `model.invalid`, `model.metadata`.
    """
    shown = entry.name
    metadata = decode(files["metadata.json"], Metadata, f"{shown}: metadata.json")
    spec = _read_spec(files["feature_spec.json"], shown)
    graph = scan(files["model.onnx"]) if entry.kind == "onnx" else None
    _check_claims(entry, metadata, files, shown)
    _check_features(entry, metadata, spec, graph, shown)
    check_output(entry.output_schema, shown)
    check_normalisation(entry.normalisation, len(spec), shown)
    if graph is not None:
        _check_ports(entry, graph, len(spec), shown)
    golden = golden_rows.unpack(files["golden.npz"], f"{shown}: golden.npz", tape=tape)
    shape = row_shape(entry.sequence_length, len(spec))
    if golden.x.shape[1:] != shape or golden.y.shape[1] != entry.output_schema.columns:
        raise ModelRefused("model.metadata", f"{shown}: golden.npz is of other columns")
    return LoadedModel(
        entry=entry,
        metadata=metadata,
        model_bytes=files[entry.model_file],
        sha256=entry.sha256,
        spec=spec,
        golden=golden,
        scan=graph,
        network=files.get(NETWORK, b""),
    )


def check_kernel(loaded: LoadedModel, known: Mapping[str, str] = MappingProxyType({})) -> None:
    """Compare the identity of the feature code with the one the model was trained with.

    Args:
        loaded: the model.
        known: identities, by the sha256 of their spec, of code that this process runs already.
    Raises:
        ModelRefused: `model.kernel`, or `model.features` for a feature that does not exist.
    """
    from features.identity import kernel_identity

    try:
        identity = known.get(loaded.spec.sha256) or kernel_identity(loaded.spec)
    except ConfigError as error:
        raise ModelRefused("model.features", f"{loaded.name}: {error}") from None
    if identity != loaded.entry.kernel_identity:
        text = f"{loaded.name}: the code of its features has changed since it was trained"
        raise ModelRefused("model.kernel", f"{text}; train it again (demo: make demo-models)")


def _read_spec(data: bytes, shown: str) -> FeatureSpec:
    try:
        return parse_spec(data, f"{shown}: feature_spec.json")
    except (ConfigError, RecursionError, UnicodeDecodeError) as error:
        raise ModelRefused("model.features", str(error)[:400]) from None


def _check_claims(entry: Entry, metadata: Metadata, files: Mapping[str, bytes], shown: str) -> None:
    """Compare what the registry and metadata.json both say."""
    both = (
        "model_id version task feature_spec_sha256 kernel_identity output_schema normalisation "
        "training_data cadence horizon sequence_length"
    )
    for field in both.split():
        if getattr(entry, field) != getattr(metadata, field):
            text = f"{shown}: {field} differs between registry.json and metadata.json"
            code = "model.kernel" if field == "kernel_identity" else "model.metadata"
            raise ModelRefused("model.features" if "spec" in field else code, text)
    if metadata.golden_sha256 != sha256(files["golden.npz"]):
        raise ModelRefused("model.metadata", f"{shown}: metadata.json names other golden rows")


def _check_features(
    entry: Entry, metadata: Metadata, spec: FeatureSpec, graph: Scan | None, shown: str
) -> None:
    """Compare the feature names and the spec's hash in all places where they stand."""
    kept = {} if graph is None else graph.metadata
    if not 1 <= len(spec) <= MAX_FEATURES:
        raise ModelRefused("model.features", f"{shown}: {len(spec)} features")
    places = {"registry.json": entry.input_features, "metadata.json": metadata.feature_names}
    if inside := kept.get("feature_names"):
        places["model.onnx"] = decode(inside.encode(), tuple[str, ...], f"{shown}: feature_names")
    for place, names in places.items():
        if difference := name_difference(spec.names, names):
            text = f"{shown}: features of {place} differ from feature_spec.json: {difference}"
            raise ModelRefused("model.features", text)
    hashes = {"registry.json": entry.feature_spec_sha256}
    if "feature_spec_sha256" in kept:
        hashes["model.onnx"] = kept["feature_spec_sha256"]
    for place, value in hashes.items():
        if value != spec.sha256:
            text = f"{shown}: feature_spec.json has other parameters than {place} says"
            raise ModelRefused("model.features", text)


def _check_ports(entry: Entry, graph: Scan, features: int, shown: str) -> None:
    """Compare the graph's input and output with the contract."""
    if len(graph.inputs) != 1:
        raise ModelRefused("model.contract", f"{shown}: {len(graph.inputs)} inputs, 1 is served")
    name, columns = entry.output_schema.name, entry.output_schema.columns
    outputs = [port for port in graph.outputs if port.name == name]
    if not outputs:
        known = ", ".join(port.name for port in graph.outputs)
        raise ModelRefused("model.contract", f"{shown}: no output {name!r}; there is {known}")
    read = row_shape(entry.sequence_length, features)
    ports = ((graph.inputs[0], read, "input"), (outputs[0], (columns,), "output"))
    for port, want, what in ports:
        if not _serves(port, want):
            shape = [size if size is not None else "n" for size in port.shape]
            text = f"{shown}: {what} {port.name} is of type {port.elem_type} and shape {shape}"
            served = ", ".join(map(str, ("n", *want)))
            raise ModelRefused("model.contract", f"{text}, served is float32 [{served}]")


def _serves(port: Port, sizes: tuple[int, ...]) -> bool:
    if port.elem_type != FLOAT32 or len(port.shape) != 1 + len(sizes):
        return False
    fits = zip(port.shape, (1, *sizes), strict=True)
    return all(there in (None, want) for there, want in fits)
