"""The reference of the plugin, its rule of shapes and types, and its body as an ONNX function."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnx_fix.errors import ModelError
from onnx_fix.testing import run_model, run_reference
from onnx_fix_plugins import gather_elements, reference_functions


def call(data: NDArray[np.generic], indices: NDArray[np.generic], axis: int) -> onnx.ModelProto:
    """One plugin node, executable through its body."""
    node = helper.make_node(
        gather_elements.OP, ["data", "indices"], ["out"], domain=gather_elements.DOMAIN
    )
    for name, value in gather_elements.attributes(axis).items():
        node.attribute.append(helper.make_attribute(name, value))
    types = [helper.np_dtype_to_tensor_dtype(a.dtype) for a in (data, indices)]
    inputs = [
        helper.make_tensor_value_info("data", types[0], data.shape),
        helper.make_tensor_value_info("indices", types[1], indices.shape),
    ]
    dtype, shape = gather_elements.output_type(types[0], data.shape, types[1], indices.shape, axis)
    out = helper.make_tensor_value_info("out", dtype, shape)
    graph = helper.make_graph([node], "g", inputs, [out])
    imports = [helper.make_opsetid("", 13), helper.make_opsetid(gather_elements.DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    model.functions.extend(reference_functions(13))
    onnx.checker.check_model(model, full_check=True)
    return model


def by_definition(
    data: NDArray[np.generic], indices: NDArray[np.generic], axis: int
) -> NDArray[np.generic]:
    """Element by element, as the ONNX operator specification writes it."""
    out = np.empty(indices.shape, data.dtype)
    for place in np.ndindex(indices.shape):
        at = list(place)
        at[axis] = int(indices[place])
        out[place] = data[tuple(at)]
    return out


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_reference_against_the_definition_and_onnxruntime(draw: st.DataObject) -> None:
    rank = draw.draw(st.integers(1, 5))
    axis = draw.draw(st.integers(-rank, rank - 1))
    shape = draw.draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    wanted = [draw.draw(st.integers(0, size)) for size in shape]
    wanted[axis] = draw.draw(st.integers(0, 6))
    dtype = draw.draw(st.sampled_from([np.float32, np.float16, np.int32, np.int64, np.bool_]))
    index_type = draw.draw(st.sampled_from([np.int32, np.int64]))
    rng = np.random.default_rng(draw.draw(st.integers(0, 99)))
    data: NDArray[np.generic] = rng.integers(-9, 9, shape).astype(dtype)
    indices = rng.integers(-shape[axis], shape[axis], wanted).astype(index_type)
    have = gather_elements.reference(data, indices, axis)
    np.testing.assert_array_equal(have, by_definition(data, indices, axis), strict=True)
    model, feeds = call(data, indices, axis), {"data": data, "indices": indices}
    np.testing.assert_array_equal(run_model(model, feeds)[0], have, strict=True)
    if all(a == b for k, (a, b) in enumerate(zip(shape, wanted, strict=True)) if k != axis % rank):
        along = np.take_along_axis(data, indices.astype(np.int64), axis)
        np.testing.assert_array_equal(have, along, strict=True)
        if axis >= 0 and indices.size:  # onnx.reference 1.23 takes no others
            np.testing.assert_array_equal(run_reference(model, feeds)[0], have, strict=True)


def test_output_type_keeps_symbols() -> None:
    rule = gather_elements.output_type
    assert rule(TensorProto.FLOAT16, ("B", None, 3), TensorProto.INT32, ("B", "M", 2), 1) == (
        TensorProto.FLOAT16,
        ("B", "M", 2),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TensorProto.DOUBLE, (2,), TensorProto.INT64, (2,), 0), "data of type DOUBLE; cast it to"),
        ((TensorProto.FLOAT, (2,), TensorProto.FLOAT, (2,), 0), "indices of type FLOAT; cast them"),
        ((TensorProto.FLOAT, (2, 3), TensorProto.INT64, (2,), 0), "data of rank 2 and indices of"),
        ((TensorProto.FLOAT, (), TensorProto.INT64, (), 0), "of one rank, at least 1"),
        ((TensorProto.FLOAT, (2, 3), TensorProto.INT64, (2, 3), 2), "axis 2 of data of rank 2"),
        ((TensorProto.FLOAT, (2, 3), TensorProto.INT64, (2, 3), -3), "axis -3 of data of rank 2"),
        ((TensorProto.FLOAT, (2, 3), TensorProto.INT64, (3, 9), 1), "dimension 0 of the indices"),
    ],
)
def test_what_the_plugin_does_not_take(
    arguments: tuple[int, tuple[int, ...], int, tuple[int, ...], int], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        gather_elements.output_type(*arguments)


@pytest.mark.parametrize("index", [3, -4])
def test_indices_out_of_range(index: int) -> None:
    data = np.zeros((2, 3), np.float32)
    with pytest.raises(IndexError):
        gather_elements.reference(data, np.full((2, 1), index), 1)


@pytest.mark.parametrize(("opset", "imported"), [(9, 11), (11, 11), (13, 13), (21, 21)])
def test_function_body(opset: int, imported: int) -> None:
    (function,) = reference_functions(opset)
    assert (function.domain, function.name) == ("trt.plugins", "GatherElementsPlugin")
    assert [(o.domain, o.version) for o in function.opset_import] == [("", imported)]
    assert list(function.attribute) == ["axis", "plugin_version", "plugin_namespace"]
    (node,) = function.node
    assert (node.op_type, node.attribute[0].ref_attr_name) == ("GatherElements", "axis")
