"""Read what an ONNX file is without the onnx package: a bounded walk over its protobuf fields.

Field numbers are those of onnx/onnx.proto (IR version 8). The scan refuses what the live process
must never load (faults.md M04, M06): external data, sparse tensors, subgraphs, local functions,
training graphs and operator domains other than the two standard ones.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ml.refusal import ModelRefused

MAX_MODEL_BYTES = 64 << 20
MAX_NODES = 100_000
MAX_METADATA_BYTES = 1 << 20
OPSET = 17
MAX_OPSET_ML = 3
IR_VERSIONS = range(3, 11)
DOMAINS = {"": "", "ai.onnx": "", "ai.onnx.ml": "ai.onnx.ml"}
CONTROL_FLOW = frozenset(("If", "Loop", "Scan", "SequenceMap"))
TREES = frozenset(("TreeEnsembleClassifier", "TreeEnsembleRegressor"))
FLOAT32 = 1  # TensorProto.DataType

Value = int | memoryview


@dataclass(frozen=True)
class Port:
    """One input or output: its name, TensorProto data type, and sizes (None where dynamic)."""

    name: str
    elem_type: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Scan:
    """What an ONNX file declares."""

    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operators: dict[str, int]  # operator -> how often
    metadata: dict[str, str]
    parameters: int  # numbers in the initialisers


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read one base-128 number; return it and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield (field number, number or bytes) of one protobuf message.

    Raises:
        IndexError: the bytes are no well-formed message.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 2:
            size, at = _varint(data, at)
            if size > end - at:
                raise IndexError
            yield tag >> 3, data[at : at + size]
            at += size
        elif wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            if size > end - at:
                raise IndexError
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            raise IndexError


def _text(value: Value) -> str:
    if not isinstance(value, memoryview):
        raise IndexError
    return bytes(value).decode("utf-8")


def _message(value: Value) -> memoryview:
    if not isinstance(value, memoryview):
        raise IndexError
    return value


def _unsafe(text: str) -> ModelRefused:
    return ModelRefused("model.unsafe", f"model.onnx: {text}")


def _tensor(data: memoryview) -> int:
    """Check one TensorProto; return how many numbers it declares."""
    count = 1
    for number, value in fields(data):
        if number == 13 or (number == 14 and value != 0):
            raise _unsafe("a tensor is kept outside of the file; save it with its data inside")
        if number == 1:
            dims = (value,) if isinstance(value, int) else tuple(_packed(value))
            count *= math.prod(dims)
    return count


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _attribute(data: memoryview) -> None:
    """Check one AttributeProto of a node that is no tree ensemble."""
    for number, value in fields(data):
        if number in (5, 10):
            _tensor(_message(value))
        elif number in (6, 11):
            raise _unsafe("an operator holds a graph of its own; control flow is not served")
        elif number in (22, 23):
            raise _unsafe("sparse tensors are not served")


def _tree_attribute(data: memoryview) -> None:
    """Check one attribute of a tree ensemble; its long number lists need no walk."""
    for number, value in fields(data):
        if number == 1:
            if _text(value).endswith("_as_tensor"):
                _attribute(data)
            return
        _attribute(data)
        return


def _node(data: memoryview) -> str:
    """Check one NodeProto; return its operator's name."""
    operator, domain = "", ""
    attributes = []
    for number, value in fields(data):
        if number == 4:
            operator = _text(value)
        elif number == 5:
            attributes.append(_message(value))
        elif number == 7:
            domain = _text(value)
    if domain not in DOMAINS:
        known = "the default domain and ai.onnx.ml"
        raise _unsafe(f"operator {operator!r} is of domain {domain!r}; only {known} are served")
    if operator in CONTROL_FLOW:
        raise _unsafe(f"operator {operator} is control flow, which is not served")
    check = _tree_attribute if operator in TREES else _attribute
    for attribute in attributes:
        check(attribute)
    return operator


def _port(data: memoryview) -> Port:
    """Read one ValueInfoProto; what is no tensor has element type 0."""
    name, elem = "", 0
    shape: tuple[int | None, ...] = ()
    for number, value in fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for kind, inner in fields(_message(value)):
                if kind == 1:
                    elem, shape = _tensor_type(_message(inner))
    return Port(name, elem, shape)


def _tensor_type(data: memoryview) -> tuple[int, tuple[int | None, ...]]:
    elem: int = 0
    shape: list[int | None] = []
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            elem = value
        elif number == 2:
            for dim, inner in fields(_message(value)):
                if dim == 1:
                    sizes = [v for n, v in fields(_message(inner)) if n == 1]
                    shape.append(sizes[0] if sizes and isinstance(sizes[0], int) else None)
    return elem, tuple(shape)


def _graph(data: memoryview) -> tuple[list[Port], list[Port], dict[str, int], int]:
    inputs, outputs, parameters = [], [], 0
    operators: dict[str, int] = {}
    initialised: set[str] = set()
    for number, value in fields(data):
        if number == 1:
            operator = _node(_message(value))
            operators[operator] = operators.get(operator, 0) + 1
            if sum(operators.values()) > MAX_NODES:
                raise ModelRefused("model.contract", f"model.onnx: more than {MAX_NODES} operators")
        elif number == 5:
            parameters += _tensor(_message(value))
            initialised.update(_text(v) for n, v in fields(_message(value)) if n == 8)
        elif number == 11:
            inputs.append(_port(_message(value)))
        elif number == 12:
            outputs.append(_port(_message(value)))
        elif number == 15:
            raise _unsafe("sparse tensors are not served")
    return [p for p in inputs if p.name not in initialised], outputs, operators, parameters


def scan(data: bytes) -> Scan:
    """Walk an ONNX file and return what it declares.

    Args:
        data: the whole file, at most MAX_MODEL_BYTES.
    Raises:
        ModelRefused: `model.invalid` when the bytes are no ONNX model, `model.unsafe` for what is
            never loaded, `model.contract` for another opset or IR version.
    """
    if len(data) > MAX_MODEL_BYTES:
        text = f"model.onnx: {len(data)} bytes, at most {MAX_MODEL_BYTES} are served"
        raise ModelRefused("model.contract", text)
    try:
        return _scan(memoryview(data))
    except (IndexError, UnicodeDecodeError, OverflowError):
        text = "model.onnx: not a whole ONNX file (empty, cut off or another format)"
        raise ModelRefused("model.invalid", text) from None


def _scan(data: memoryview) -> Scan:
    ir_version, graph = 0, None
    opsets: dict[str, int] = {}
    metadata: dict[str, str] = {}
    metadata_bytes = 0
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            ir_version = value
        elif number == 7:
            graph = _graph(_message(value))
        elif number == 8:
            domain, version = _opset(_message(value))
            opsets[domain] = version
        elif number == 14:
            metadata_bytes += len(_message(value))
            if metadata_bytes > MAX_METADATA_BYTES:
                raise ModelRefused("model.metadata", "model.onnx: its properties are too large")
            pair = {n: _text(v) for n, v in fields(_message(value)) if n in (1, 2)}
            metadata[pair.get(1, "")] = pair.get(2, "")
        elif number in (20, 25):
            raise _unsafe("training graphs and local functions are not served")
    if graph is None or not graph[1]:
        raise IndexError
    if ir_version not in IR_VERSIONS:
        text = f"model.onnx: IR version {ir_version}, served are 3 to {IR_VERSIONS[-1]}"
        raise ModelRefused("model.contract", text)
    _check_opsets(opsets)
    inputs, outputs, operators, parameters = graph
    ports = (tuple(inputs), tuple(outputs))
    return Scan(ir_version, opsets, *ports, operators, metadata, parameters)


def _opset(data: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in fields(data):
        if number == 1:
            domain = _text(value)
        elif number == 2 and isinstance(value, int):
            version = value
    return domain, version


def _check_opsets(opsets: dict[str, int]) -> None:
    """Refuse unknown domains and any default opset but 17."""
    for domain, version in opsets.items():
        if domain not in DOMAINS:
            raise _unsafe(f"operator domain {domain!r} is unknown; custom operators are not served")
        if domain == "ai.onnx.ml" and not 1 <= version <= MAX_OPSET_ML:
            text = f"model.onnx: ai.onnx.ml opset {version}, served are 1 to {MAX_OPSET_ML}"
            raise ModelRefused("model.contract", text)
    default = opsets.get("", opsets.get("ai.onnx"))
    if default != OPSET:
        text = f"model.onnx: opset {default}, served is {OPSET}; export again for opset {OPSET}"
        raise ModelRefused("model.contract", text)
