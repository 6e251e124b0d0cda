"""Trains the tiny networks of torch and exports them to ONNX opset 17, with torch's own answers.

Run by tests/ml/families/make.py. `cnn.pt` is TorchScript, the other `.pt` files are state dicts.
"""

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from tests.ml.families.networks import MEAN, STD, STEPS, Cnn, LstmAttention, Transformer
from tests.ml.families.tft import HORIZONS, LEVELS, UNIT, Tft

OPSET = 17
ROWS, EPOCHS, GOLDEN = 600, 60, 40
NETWORKS: dict[str, type[nn.Module]] = {
    "cnn": Cnn,
    "lstm": LstmAttention,
    "tft": Tft,
    "transformer": Transformer,
}


def windows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32[count, STEPS, 4] in the features' units, and a score that follows."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, STEPS + 4, len(MEAN)))
    z = np.stack([noise[:, k : k + STEPS] for k in range(5)]).mean(axis=0) * 2.0
    score = z[:, -3:, 0].mean(axis=1) - 0.5 * z[:, -1, 1] + 0.5 * rng.normal(size=count)
    x = (z * np.array(STD) + np.array(MEAN)).astype(np.float32)
    return x, score.astype(np.float32)


def trained(name: str) -> nn.Module:
    """Train one network on drawn windows; the same on one machine every time."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    network = NETWORKS[name]()
    x, score = (torch.from_numpy(values) for values in windows(ROWS, seed=5))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        loss = _pinball(network(x), score) if name == "tft" else _surprise(network(x), score)
        loss.backward()
        optimiser.step()
    return network.eval()


def _surprise(chances: Tensor, score: Tensor) -> Tensor:
    labels = torch.bucketize(score, torch.tensor((-0.6, 0.6)))
    return nn.functional.nll_loss(torch.log(chances + 1e-9), labels)


def _pinball(points: Tensor, score: Tensor) -> Tensor:
    """Measure quantiles of both horizons; the score is the return in tenths of a percent."""
    wanted = torch.stack((score, 2.0 * score), 1).unsqueeze(-1)
    error = wanted - points.reshape(len(score), len(HORIZONS), len(LEVELS)) / UNIT
    levels = torch.tensor(LEVELS)
    return torch.maximum(levels * error, (levels - 1.0) * error).mean()


def exported(network: nn.Module, x: np.ndarray) -> bytes:
    """Export by tracing; the opset of the file is looked at, not trusted."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is said to go some day; it writes opset 17 today
        torch.onnx.export(
            network,
            (torch.from_numpy(x[:2]),),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        )
    model = onnx.load_from_string(buffer.getvalue())
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    for node in model.graph.node:  # it may say in which source file
        node.ClearField("doc_string")
    del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def scripted(network: nn.Module, x: np.ndarray) -> bytes:
    """Trace to TorchScript; what names source files, with their whole paths, is left out."""
    full, lean = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated as well
        torch.jit.save(torch.jit.trace(network, torch.from_numpy(x[:2])), full)
    with zipfile.ZipFile(full) as given, zipfile.ZipFile(lean, "w") as kept:
        for info in given.infolist():
            if not info.filename.endswith(".debug_pkl"):
                kept.writestr(info, given.read(info))
    return lean.getvalue()


def make(folder: Path) -> None:
    """Write the files of all networks."""
    for name in NETWORKS:
        network = trained(name)
        x, _ = windows(GOLDEN, seed=11)
        with torch.inference_mode():
            y = network(torch.from_numpy(x)).numpy()
        np.savez_compressed(folder / f"{name}.npz", x=x, y=y)
        (folder / f"{name}.onnx").write_bytes(exported(network, x))
        own = folder / f"{name}.pt"
        if name == "cnn":
            own.write_bytes(scripted(network, x))
        else:
            torch.save(network.state_dict(), own)
