"""Two models of fixed random weights for the lateness lines: a transformer, and one of 10 MB.

The transformer reads a window of 64 rows of the ten tick features: four pre-norm encoder layers of
width 128 with four heads, mean over time, three probabilities; some milliseconds of one core. The
wide one is a network of 2.6 million numbers (10 MB); its versions differ in their weights. Both are
loads and predict nothing.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tick_features import TICK_FEATURES, TICK_SPEC
from ml.importing import Foreign, import_onnx

TRANSFORMER, WIDE = "BenchTransformer", "BenchWide"
STEPS, WIDTH, HEADS, LAYERS, INNER = 64, 128, 4, 4, 512
WIDE_WIDTH = 1_600
WIDE_SEEDS = 1, 2, 3  # versions: one serves, one is kept for a rollback, the third is loaded
CLASSES = 3


class Graph:
    """Nodes and weights of one model while it is written."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; return the name of what it makes."""
        from onnx import helper

        made = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [made], **attributes))
        return made

    def constant(self, value: np.ndarray) -> str:
        """Keep numbers in the file; return their name."""
        name = f"w{len(self.weights)}"
        self.weights[name] = value
        return name

    def linear(self, x: str, rows: int, columns: int) -> str:
        """Multiply by random weights that keep the variance."""
        weight = self.rng.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)
        product = self.op("MatMul", x, self.constant(weight))
        return self.op("Add", product, self.constant(np.zeros(columns, np.float32)))

    def normed(self, x: str) -> str:
        """Normalise the last axis."""
        scale, shift = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
        names = self.constant(scale), self.constant(shift)
        return self.op("LayerNormalization", x, *names, axis=-1)

    def shaped(self, x: str, *sizes: int) -> str:
        """Give it another shape."""
        return self.op("Reshape", x, self.constant(np.array(sizes, np.int64)))

    def model(self, result: str, shape: list[Any]) -> bytes:
        """Return the file: `x` of a shape to three probabilities from `result`."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        self.nodes.append(helper.make_node("Softmax", [result], ["p"], axis=-1))
        graph = helper.make_graph(
            self.nodes,
            "lateness",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("p", TensorProto.FLOAT, [shape[0], CLASSES])],
            initializer=[numpy_helper.from_array(v, k) for k, v in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", 17)]
        made = helper.make_model(graph, opset_imports=opsets, producer_name="tickgate-benchmarks")
        made.ir_version = 8
        onnx.checker.check_model(made, full_check=True)
        return bytes(made.SerializeToString())


def _attention(graph: Graph, x: str) -> str:
    """Let each step look at all others, in several heads."""
    heads, queries = WIDTH // HEADS, []
    for order in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)):  # queries, keys, values
        part = graph.shaped(graph.linear(x, WIDTH, WIDTH), 1, STEPS, HEADS, heads)
        queries.append(graph.op("Transpose", part, perm=order))
    query, key, value = queries
    scale = graph.constant(np.array(heads**-0.5, np.float32))
    scores = graph.op("Softmax", graph.op("Mul", graph.op("MatMul", query, key), scale), axis=-1)
    mixed = graph.op("Transpose", graph.op("MatMul", scores, value), perm=(0, 2, 1, 3))
    return graph.linear(graph.shaped(mixed, 1, STEPS, WIDTH), WIDTH, WIDTH)


def transformer() -> bytes:
    """Make the transformer."""
    graph = Graph(21)
    place = graph.rng.normal(0, 0.1, (STEPS, WIDTH)).astype(np.float32)
    x = graph.op("Add", graph.linear("x", TICK_FEATURES, WIDTH), graph.constant(place))
    for _ in range(LAYERS):
        x = graph.op("Add", x, _attention(graph, graph.normed(x)))
        inner = graph.op("Relu", graph.linear(graph.normed(x), WIDTH, INNER))
        x = graph.op("Add", x, graph.linear(inner, INNER, WIDTH))
    middle = graph.op("ReduceMean", graph.normed(x), axes=[1], keepdims=0)
    return graph.model(graph.linear(middle, WIDTH, CLASSES), [1, STEPS, TICK_FEATURES])


def wide(seed: int) -> bytes:
    """Make the wide network; another seed, another version."""
    graph = Graph(seed)
    x = graph.op("Relu", graph.linear("x", TICK_FEATURES, WIDE_WIDTH))
    x = graph.op("Relu", graph.linear(x, WIDE_WIDTH, WIDE_WIDTH))
    return graph.model(graph.linear(x, WIDE_WIDTH, CLASSES), ["n", TICK_FEATURES])


def register(root: Path) -> None:
    """Take the transformer and three versions of the wide network into a registry."""
    said = {"spec": TICK_SPEC, "cadence": "every_n:20", "placement": "thread"}
    foreign = Foreign(model_id=TRANSFORMER, sequence_length=STEPS, **said)  # type: ignore[arg-type]
    import_onnx(root, transformer(), foreign)
    for seed in WIDE_SEEDS:
        import_onnx(root, wide(seed), Foreign(model_id=WIDE, **said))  # type: ignore[arg-type]
