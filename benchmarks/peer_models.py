"""Three ONNX models with fixed random weights, ten inputs and one probability, as loads.

`logistic` has ten weights, `mlp` is 10-64-32-1, `gbdt` has 500 trees of 31 leaves. They have the
shape and the cost of real models and predict nothing. Opset 17 (ai.onnx.ml 3), dynamic batch. The
same bytes each time; they are written under build/, and needed only by who runs the benchmarks.
"""

from pathlib import Path
from typing import Any

import numpy as np

INPUTS = 10
SEEDS = {"logistic": 11, "mlp": 12, "gbdt": 13}
MLP_WIDTHS = (INPUTS, 64, 32, 1)
TREES, LEAVES = 500, 31
DEFAULT_DIR = Path("build") / "peer_models"


def _model_bytes(name: str, nodes: list[Any], weights: dict[str, np.ndarray], trees: bool) -> bytes:
    """Wrap nodes and weights into a model, float32[batch, 10] `x` to float32[batch, 1] `p`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", INPUTS])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 1])],
        initializer=[numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    if trees:
        opsets.append(helper.make_opsetid("ai.onnx.ml", 3))
    model = helper.make_model(graph, opset_imports=opsets, producer_name="tickgate-benchmarks")
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def logistic() -> bytes:
    """Make x.W + b through a sigmoid."""
    from onnx import helper

    rng = np.random.default_rng(SEEDS["logistic"])
    weights = {
        "w": rng.normal(0, 0.6, (INPUTS, 1)).astype(np.float32),
        "b": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    return _model_bytes("logistic", nodes, weights, trees=False)


def mlp() -> bytes:
    """Make the 10-64-32-1 network: ReLU between the layers, a sigmoid at the end."""
    from onnx import helper

    rng = np.random.default_rng(SEEDS["mlp"])
    weights: dict[str, np.ndarray] = {}
    nodes = []
    value = "x"
    for layer, (rows, columns) in enumerate(zip(MLP_WIDTHS, MLP_WIDTHS[1:], strict=False)):
        matrix = rng.normal(0, 1, (rows, columns)) / np.sqrt(rows)
        weights[f"w{layer}"] = matrix.astype(np.float32)
        weights[f"b{layer}"] = np.zeros(columns, np.float32)
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [f"z{layer}"]))
        value = f"z{layer}"
        if columns > 1:
            nodes.append(helper.make_node("Relu", [value], [f"a{layer}"]))
            value = f"a{layer}"
    nodes.append(helper.make_node("Sigmoid", [value], ["p"]))
    return _model_bytes("mlp", nodes, weights, trees=False)


def _grow(rng: np.random.Generator) -> list[tuple[int, int] | None]:
    """Split random leaves until there are LEAVES of them; entry k is node k's children or None."""
    children: list[tuple[int, int] | None] = [None]
    leaves = [0]
    while len(leaves) < LEAVES:
        leaf = leaves.pop(int(rng.integers(len(leaves))))
        pair = (len(children), len(children) + 1)
        children[leaf] = pair
        children += [None, None]
        leaves += pair
    return children


def gbdt() -> bytes:
    """Make 500 random trees of 31 leaves, summed, through a sigmoid."""
    from onnx import helper

    rng = np.random.default_rng(SEEDS["gbdt"])
    nodes: list[tuple[int, int, int, float, str, int, int]] = []
    leaves: list[tuple[int, int, float]] = []
    for tree in range(TREES):
        for node, pair in enumerate(_grow(rng)):
            if pair is None:
                nodes.append((tree, node, 0, 0.0, "LEAF", 0, 0))
                leaves.append((tree, node, float(rng.normal(0, 0.03))))
            else:
                feature, threshold = int(rng.integers(INPUTS)), float(rng.normal(0, 0.8))
                nodes.append((tree, node, feature, threshold, "BRANCH_LEQ", *pair))
    columns = list(zip(*nodes, strict=True))
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["z"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=columns[0],
        nodes_nodeids=columns[1],
        nodes_featureids=columns[2],
        nodes_values=columns[3],
        nodes_modes=columns[4],
        nodes_truenodeids=columns[5],
        nodes_falsenodeids=columns[6],
        nodes_hitrates=[1.0] * len(nodes),
        nodes_missing_value_tracks_true=[0] * len(nodes),
        target_treeids=[leaf[0] for leaf in leaves],
        target_nodeids=[leaf[1] for leaf in leaves],
        target_ids=[0] * len(leaves),
        target_weights=[leaf[2] for leaf in leaves],
    )
    return _model_bytes("gbdt", [ensemble, helper.make_node("Sigmoid", ["z"], ["p"])], {}, True)


def make_all(folder: Path = DEFAULT_DIR) -> dict[str, Path]:
    """Write the models that are not there yet; return their paths by name.

    Raises:
        ImportError: `onnx` is not installed and a model is missing (`make extras` brings it).
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, make in (("logistic", logistic), ("mlp", mlp), ("gbdt", gbdt)):
        path = folder / f"{name}.onnx"
        if not path.exists():
            temporary = path.with_suffix(".part")
            temporary.write_bytes(make())
            temporary.replace(path)
        paths[name] = path
    return paths


if __name__ == "__main__":
    for model_name, model_path in make_all().items():
        print(model_name, model_path, model_path.stat().st_size)
