"""The IR version goes down with the operator set, as far as the model allows."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_fix.lower import lower
from onnx_fix.lower.ir_version import lowered_ir_version
from onnx_fix.sign import FROM_KEY, PASS_KEY, sign
from onnx_fix.testing import run_model


def squeeze(opset: int, ir_version: int) -> ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: {ir_version}, opset_import: ["" : {opset}]>
        g (float[1, N] x) => (float[N] y) <int64[1] axes = {{0}}> {{ y = Squeeze(x, axes) }}"""
    )


def lowered(model: ModelProto, opset: int) -> ModelProto:
    done = lower(model, opset)
    assert not done.refusals
    onnx.checker.check_model(done.model, full_check=True)
    return done.model


def marks(node: NodeProto) -> tuple[bool, bool]:
    """Whether a node is signed in its metadata, and in its doc string."""
    keys = {p.key for p in node.metadata_props}
    return {PASS_KEY, FROM_KEY} <= keys, f"{PASS_KEY}=" in node.doc_string


@pytest.mark.parametrize(
    ("opset", "ir_version"),
    [(22, 10), (20, 9), (18, 8), (14, 7), (12, 7), (11, 6), (10, 5), (9, 4)],
)
def test_it_goes_with_the_operator_set(opset: int, ir_version: int) -> None:
    after = lowered(squeeze(23, 11), opset)
    assert after.ir_version == ir_version
    assert ir_version == helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(run_model(after, {"x": x})[0], x[0])


@pytest.mark.parametrize(("ir_version", "opset"), [(4, 11), (3, 9), (6, 11), (5, 12)])
def test_it_is_never_raised(ir_version: int, opset: int) -> None:
    model = squeeze(13, ir_version)
    if ir_version == 3:
        model.graph.input.append(helper.make_tensor_value_info("axes", TensorProto.INT64, [1]))
    assert lowered(model, opset).ir_version == ir_version


def test_a_model_that_is_not_lowered_keeps_it() -> None:
    model = squeeze(13, 11)
    done = lower(model, 13)
    assert done.model == model and done.model.ir_version == 11
    einsum = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 12]>
        g (float[N] x) => (float y) { y = Einsum<equation = "i->">(x) }"""
    )
    done = lower(einsum, 9)
    assert done.refusals and done.model.ir_version == 9


def typed(dtype: int) -> ModelProto:
    """A model with a tensor of an element type that no standard op reads."""
    model = squeeze(21, onnx.IR_VERSION)
    model.graph.value_info.append(helper.make_tensor_value_info("other", dtype, [2]))
    return model


@pytest.mark.parametrize(
    ("name", "ir_version"),
    [
        ("FLOAT8E4M3FN", 9),
        ("FLOAT8E5M2FNUZ", 9),
        ("UINT4", 10),
        ("INT4", 10),
        ("FLOAT4E2M1", 11),
        ("FLOAT8E8M0", 12),
        ("INT2", 13),
        ("FLOAT6E3M2", 14),
        ("BFLOAT16", 7),
    ],
)
def test_element_types_hold_it_up(name: str, ir_version: int) -> None:
    dtype = TensorProto.DataType.Value(name)
    assert lower(typed(dtype), 13).model.ir_version == ir_version
    nested = squeeze(21, onnx.IR_VERSION)
    body = helper.make_graph([], "b", [], [])
    body.value_info.append(
        onnx.ValueInfoProto(
            name="other",
            type=helper.make_sequence_type_proto(helper.make_tensor_type_proto(dtype, [1])),
        )
    )
    nested.graph.node.append(
        helper.make_node("Custom", ["x"], ["z"], domain="my", body=body, name="custom")
    )
    nested.opset_import.append(helper.make_opsetid("my", 1))
    assert lower(nested, 13).model.ir_version == ir_version


def test_what_else_holds_it_up() -> None:
    domain = squeeze(21, 11)
    domain.opset_import.append(helper.make_opsetid("ai.onnx.ml", 4))
    assert lowered(domain, 11).ir_version == 9
    foreign = squeeze(21, 11)
    foreign.opset_import.append(helper.make_opsetid("my.ops", 40))
    assert lowered(foreign, 11).ir_version == 6

    optional = squeeze(21, 11)
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
    optional.graph.value_info.append(onnx.ValueInfoProto(name="o", type=kind))
    assert lower(optional, 11).model.ir_version == 8

    training = squeeze(21, 11)
    training.training_info.add()
    assert lower(training, 9).model.ir_version == 7

    sparse = squeeze(21, 11)
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [2.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [3])
    sparse.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [5]))
    assert lowered(sparse, 9).ir_version == 6

    quantized = squeeze(21, 11)
    quantized.graph.quantization_annotation.add().tensor_name = "x"
    assert lower(quantized, 9).model.ir_version == 5

    function = squeeze(21, 11)
    function.functions.append(
        helper.make_function(
            "my",
            "F",
            ["a"],
            ["b"],
            [helper.make_node("Identity", ["a"], ["b"])],
            [helper.make_opsetid("", 21)],
        )
    )
    assert lowered_ir_version(function, 11) == 8


def test_notes_do_not_hold_it_up_and_are_kept() -> None:
    model = squeeze(21, 11)
    for proto in (model.graph.node[0], model.graph, model.graph.input[0], model):
        entry = proto.metadata_props.add()
        entry.key, entry.value = "mine", "kept"
    model.configuration.add(name="two", num_devices=2)
    model.graph.node[0].device_configurations.add(configuration_id="two")
    after = lowered(model, 11)
    assert after.ir_version == 6
    assert after.graph.metadata_props == model.graph.metadata_props
    assert after.configuration == model.configuration
    (node,) = after.graph.node
    assert [p.key for p in node.metadata_props] == ["mine"]
    assert node.device_configurations == model.graph.node[0].device_configurations
    run_model(after, {"x": np.ones((1, 2), np.float32)})


def test_nodes_are_signed_as_the_result_has_it() -> None:
    in_doc_string = lowered(squeeze(23, 11), 12).graph.node
    assert [marks(n) for n in in_doc_string] == [(False, True)]
    model = onnx.parser.parse_model(
        """<ir_version: 13, opset_import: ["" : 24]>
        g (float[N] x) => (float[N] y) { z = Swish(x)  y = Abs(z) }"""
    )
    made = [n for n in lowered(model, 22).graph.node if n.op_type != "Abs"]
    assert {marks(n) for n in made} == {(True, False)}
    made = [n for n in lowered(model, 13).graph.node if n.op_type != "Abs"]
    assert {marks(n) for n in made} == {(False, True)}


def test_nodes_in_the_bodies_of_functions_of_ops_are_signed_alike() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]>
        g (float[N, 2, 3] theta, int64[4] size) => (float[N, H, W, 2] grid) {
          grid = AffineGrid(theta, size)
        }"""
    )

    def every(nodes: list[NodeProto]) -> list[NodeProto]:
        inner = [n for node in nodes for a in node.attribute for n in every(list(a.g.node))]
        return [*nodes, *inner]

    for opset in (13, 11):
        nodes = every(list(lowered(model, opset).graph.node))
        assert not any(marks(n)[0] for n in nodes) and any(marks(n)[1] for n in nodes)


@pytest.mark.parametrize(("first", "then"), [(10, 8), (8, 10), (8, 8), (10, 10)])
def test_one_signature_replaces_the_other(first: int, then: int) -> None:
    node = NodeProto(doc_string="mine")
    entry = node.metadata_props.add()
    entry.key, entry.value = "mine", "kept"
    sign(node, pass_name="a", came_from="n", ir_version=first)
    sign(node, pass_name="b", came_from="m", ir_version=then)
    assert marks(node) == (then == 10, then == 8)
    assert node.doc_string.split("\n")[0] == "mine" and "=a" not in node.doc_string
    assert [p.value for p in node.metadata_props if p.key in ("mine", PASS_KEY)] == [
        "kept",
        *(["b"] if then == 10 else []),
    ]
