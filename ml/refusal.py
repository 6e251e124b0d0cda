"""Why a model is refused: one stable code for each cause, and how the engine holds on it."""

from engine.audit_layout import ModelStatus
from engine.errors import ModelError
from engine.events import HoldReason

# code -> what it means; docs/models.md shows the same table. Only append.
CODES = {
    "model.missing": "no such model, version, folder or file",
    "model.path": "an id, version or file name leaves its folder, or a link stands in the way",
    "model.invalid": "the file is no ONNX model that the runtime can load",
    "model.unsafe": "external data, sparse tensors, control flow, local functions, unknown domains",
    "model.hash": "a file's sha256 is not the one in the registry",
    "model.contract": "input, output, shape, dtype, opset or class order is not what is served",
    "model.features": "a feature is missing, extra, renamed, reordered, doubled or changed",
    "model.kernel": "the feature code has changed since the model was trained",
    "model.metadata": "a JSON file of the model is malformed, too large, or contradicts another",
    "model.golden": "the golden rows or bars give other numbers in this runtime",
    "model.output": "an output is not finite, or no probability",
    "model.status": "the model's status does not allow this",
    "model.kind": "a kind of model that is not served",
    "registry.torn": "registry.json cannot be read",
    "registry.ambiguous": "registry.json contradicts itself",
    "runtime.missing": "onnxruntime cannot be imported",
    "runtime.failed": "onnxruntime raised",
    "model.late": "no answer within the deadline; its worker was ended",
    "model.failed": "the model raised, or its worker died",
    "model.library": "a package that this kind of model needs is not installed",
    "model.trust": "loading it would run code that nobody has allowed",
    "model.gate": "a promotion gate does not hold",
}


class ModelRefused(ModelError):
    """A model error with a stable code; the message is one line that ends with it.

    >>> error = ModelRefused("model.hash", "SignalClassifier:1: model.onnx has changed")
    >>> str(error), error.status.name, error.hold.name
    ('SignalClassifier:1: model.onnx has changed [model.hash]', 'REFUSED', 'MODEL_REFUSED')
    """

    def __init__(self, code: str, text: str) -> None:
        assert code in CODES, code
        super().__init__(f"{' '.join(text.split())} [{code}]")
        self.code = code

    @property
    def status(self) -> ModelStatus:
        """How the model stands in a run's audit."""
        if self.code == "runtime.missing":
            return ModelStatus.RUNTIME_MISSING
        if self.code == "model.missing":
            return ModelStatus.MISSING
        return ModelStatus.REFUSED

    @property
    def hold(self) -> HoldReason:
        """Why signals of this model are HOLD."""
        return hold_of(self.status)


def hold_of(status: ModelStatus) -> HoldReason:
    """Return the reason of the HOLDs of a model that stands so; NONE while it serves."""
    return {
        ModelStatus.SERVING: HoldReason.NONE,
        ModelStatus.RUNTIME_MISSING: HoldReason.RUNTIME_MISSING,
        ModelStatus.MISSING: HoldReason.MODEL_MISSING,
    }.get(status, HoldReason.MODEL_REFUSED)
