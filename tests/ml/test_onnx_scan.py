"""What the scan refuses before any session exists, and that it survives any bytes."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ml.onnx_scan import scan
from ml.refusal import ModelRefused


def tiny(opset: int = 17, domain: str = "", nodes=None, extra_opset=None) -> onnx.ModelProto:
    """Return a model of one Gemm over two features."""
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    nodes = nodes or [helper.make_node("MatMul", ["x", "w"], ["y"], domain=domain)]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        initializer=[weight],
    )
    opsets = [helper.make_opsetid("", opset)]
    if extra_opset:
        opsets.append(helper.make_opsetid(*extra_opset))
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    return model


def code_of(data: bytes) -> str:
    """Return the code that the scan refuses bytes with."""
    with pytest.raises(ModelRefused) as caught:
        scan(data)
    return caught.value.code


def test_it_reads_what_the_file_declares():
    model = tiny()
    helper.set_model_props(model, {"a": "b"})
    found = scan(model.SerializeToString())
    assert found.opsets == {"": 17}
    assert found.metadata == {"a": "b"}
    assert found.operators == {"MatMul": 1}
    assert found.parameters == 6
    assert (found.inputs[0].name, found.inputs[0].shape) == ("x", (None, 2))
    assert (found.outputs[0].elem_type, found.outputs[0].shape) == (1, (None, 3))


@pytest.mark.parametrize("data", [b"", b"\x80\x04\x95pickle", b"PK\x03\x04", b"\xff" * 400])
def test_fault_M01_other_bytes_are_no_model(data):
    assert code_of(data) == "model.invalid"


def test_fault_M01_every_truncation_is_refused():
    data = tiny().SerializeToString()
    for size in range(len(data)):
        with pytest.raises(ModelRefused):
            scan(data[:size])


@given(st.binary(max_size=300), st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_anything_but_a_refusal(noise, at):
    data = tiny().SerializeToString()
    code = ""
    try:
        scan(data[:at] + noise + data[at:])
    except ModelRefused as error:
        code = error.code
    assert code.startswith("model.") or code == ""


def test_fault_M04_external_data_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(tiny(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert code_of(path.read_bytes()) == "model.unsafe"


@pytest.mark.parametrize("where", ["../../etc/passwd", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"])
def test_fault_M04_external_data_in_an_attribute_is_refused(where):
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=1)
    tensor.external_data.add(key="location", value=where)
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.append(helper.make_attribute("value", tensor))
    model = tiny(nodes=[constant, helper.make_node("MatMul", ["x", "c"], ["y"])])
    assert code_of(model.SerializeToString()) == "model.unsafe"


def test_fault_M04_sparse_tensors_are_refused():
    model = tiny()
    model.graph.sparse_initializer.add()
    assert code_of(model.SerializeToString()) == "model.unsafe"


def test_fault_M06_unknown_domains_are_refused():
    assert code_of(tiny(domain="com.evil").SerializeToString()) == "model.unsafe"
    data = tiny(extra_opset=("com.microsoft", 1)).SerializeToString()
    assert code_of(data) == "model.unsafe"


@pytest.mark.parametrize("opset", [15, 16, 18, 21])
def test_fault_M06_other_opsets_are_refused(opset):
    assert code_of(tiny(opset=opset).SerializeToString()) == "model.contract"


def test_fault_M06_local_functions_and_control_flow_are_refused():
    model = tiny()
    model.functions.add(name="f", domain="x")
    assert code_of(model.SerializeToString()) == "model.unsafe"
    body = tiny().graph
    branches = {"then_branch": body, "else_branch": body}
    branch = helper.make_node("If", ["x"], ["y"], **branches)
    assert code_of(tiny(nodes=[branch]).SerializeToString()) == "model.unsafe"
