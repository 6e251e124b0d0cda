"""What a fused model is made of, as bytes: its rule, its members, and its stacking model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from config.settings import FusionSettings, ModelSettings
from ml.onnx_scan import FLOAT32, scan
from ml.refusal import ModelRefused
from ml.safe_files import open_folder, read_bounded, sha256

MAX_STACKER_BYTES = 16 << 20
STACKED = 3  # columns of a stacking model's output: SELL, HOLD, BUY


def fused_sha256(settings: ModelSettings, models: Sequence[ModelSettings], stacker: bytes) -> str:
    """Return the identity of a fused model: the hash of its rule, weights and stacking model.

    The members' own hashes stand in their own records.
    """
    fusion = settings.fusion
    assert fusion is not None
    weights = {model.name: model.weight for model in models}
    parts = [msgspec.to_builtins(fusion), [weights.get(name) for name in fusion.members]]
    said = msgspec.json.encode([*parts, sha256(stacker)], order="deterministic")
    return hashlib.sha256(said).hexdigest()


def read_stacker(name: str, fusion: FusionSettings, artifacts: Path) -> bytes:
    """Read a stacking model's bytes once, and check them: hash, safety, ports.

    Args:
        name: of the fused model, for messages.
        fusion: its settings; `stacker` lies below `artifacts`.
    Returns:
        the bytes; none where the rule needs none.
    Raises:
        ModelRefused: with the reason.
    """
    if fusion.rule != "stacking":
        return b""
    *folders, file = Path(fusion.stacker).parts or ("",)
    with open_folder(artifacts, *folders) as folder:
        data = read_bounded(folder, file, MAX_STACKER_BYTES, f"{name}: {fusion.stacker}")
    if sha256(data) != fusion.stacker_sha256:
        text = f"{name}: {fusion.stacker} has sha256 {sha256(data)[:12]}, models.{name}.fusion"
        raise ModelRefused("model.hash", f"{text} says {fusion.stacker_sha256[:12]}")
    graph = scan(data)
    wanted = 3 * len(fusion.members)
    for ports, columns, what in (
        (graph.inputs, wanted, "input"),
        (graph.outputs, STACKED, "output"),
    ):
        fits = len(ports) == 1 and ports[0].elem_type == FLOAT32 and len(ports[0].shape) == 2
        if (
            not fits
            or ports[0].shape[0] not in (None, 1)
            or ports[0].shape[1] not in (None, columns)
        ):
            text = f"{name}: {fusion.stacker} must have one {what}, float32 [n, {columns}]"
            raise ModelRefused("model.contract", text)
    return data
