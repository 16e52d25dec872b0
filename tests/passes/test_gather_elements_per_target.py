"""GatherElements at the releases that take it with restrictions, and what is left alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass, skip_reasons
from onnx_fix_passes.replace_gather_elements import ReplaceGatherElements

PLUGIN = ReplaceGatherElements()
GATHER = ReplaceGatherElements(form="gather")


def gather_text(
    data: str,
    indices: str,
    axis: int,
    *,
    dtype: str = "float",
    index_type: str = "int64",
    opset: int = 13,
    values: str = "",
) -> ModelProto:
    """One GatherElements; its indices are an initializer where ``values`` are given."""
    kind = f"{index_type}[{indices}]"
    given = f", {kind} i" if not values else ""
    weights = f"<{kind} i = {{{values}}}>" if values else ""
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g ({dtype}[{data}] x{given}) => ({dtype}[{indices}] y) {weights} {{
            y = GatherElements <axis = {axis}> (x, i)
        }}"""
    )


def feeds_of(
    dtype: type = np.float32, index_type: type = np.int64
) -> dict[str, NDArray[np.generic]]:
    """Data of (2, 5) and indices of (2, 7) along axis 1, half of them negative."""
    rng = np.random.default_rng(0)
    x = rng.integers(-1, 1, (2, 5)) if dtype is bool else rng.permutation(10).reshape(2, 5)
    return {"x": x.astype(dtype), "i": rng.integers(-5, 5, (2, 7)).astype(index_type)}


@pytest.mark.parametrize("target", ["trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7"])
@pytest.mark.parametrize("pass_", [PLUGIN, GATHER])
def test_left_alone_where_the_target_takes_it(target: str, pass_: ReplaceGatherElements) -> None:
    before = gather_text("B,N", "B,M", 1)
    fixed, results = run_pass(pass_, before, target=target)
    assert fixed.SerializeToString() == before.SerializeToString()
    assert not any(r.skipped for r in results)


def test_bool_data_at_8_2_keeps_the_layer() -> None:
    assert_rewrites(
        PLUGIN,
        gather_text("B,N", "B,M", 1, dtype="bool"),
        after=["Cast", "GatherElements", "Cast"],
        target="trt-8.2",
        feeds=[feeds_of(bool)],
    )


def test_8_0_static_shapes_keep_the_layer_with_indices_counted_from_the_front() -> None:
    assert_rewrites(
        PLUGIN,
        gather_text("2,5", "2,7", 1),
        after=["Add", "Less", "Where", "GatherElements"],
        target="trt-8.0",
        feeds=[feeds_of()],
    )
    assert_rewrites(
        PLUGIN,
        gather_text("2,5", "2,7", 1, dtype="bool", index_type="int32"),
        after=["Add", "Less", "Where", "Cast", "GatherElements", "Cast"],
        target="trt-8.0",
        feeds=[feeds_of(bool, np.int32)],
    )


def test_8_0_constant_indices() -> None:
    fixed = assert_rewrites(
        PLUGIN,
        gather_text("2,5", "2,2", 1, values="-1, 0, 2, -5"),
        after=["GatherElements"],
        target="trt-8.0",
        feeds=[{"x": feeds_of()["x"]}],
    )
    assert numpy_helper.to_array(fixed.graph.initializer[0]).tolist() == [[4, 0], [2, 0]]
    before = gather_text("2,5", "2,2", 1, values="4, 0, 2, 0")
    assert run_pass(PLUGIN, before, target="trt-8.0")[0] == before


@pytest.mark.parametrize(
    "made",
    [
        "i = ArgMax <axis = 1, keepdims = 1> (x)",
        "one = Constant <value = int64[1] {1}> () v, t = TopK (x, one) i = Identity (t)",
        "a = ArgMin <axis = 1> (x) three = Constant <value = int64 {3}> () i = Min (a, three)",
        "c = Cast <to = 7> (x) zero = Constant <value = int64 {0}> () m = Max (c, zero) "
        "s = Constant <value = int64[1] {1}> () z = Constant <value = int64[1] {0}> () "
        "i = Slice (m, z, s, s)",
    ],
    ids=["ArgMax", "TopK", "Min of ArgMin", "Max with zero"],
)
def test_8_0_indices_known_to_count_from_the_front(made: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[2,5] x) => (float[2,1] y) {{ {made} y = GatherElements <axis = 1> (x, i) }}"""
    before = onnx.parser.parse_model(text)
    fixed, results = run_pass(PLUGIN, before, target="trt-8.0")
    assert not any(r.changes or r.skipped for r in results)
    assert fixed == before


@pytest.mark.parametrize(
    "made",
    [
        "c = Cast <to = 7> (x) s = Constant <value = int64[1] {1}> () "
        "z = Constant <value = int64[1] {0}> () i = Slice (c, z, s, s)",
        "a = ArgMax <axis = 1> (x) one = Constant <value = int64 {1}> () i = Sub (a, one)",
        "a = ArgMax <axis = 1> (x) one = Constant <value = int64 {-1}> () i = Mul (a, one)",
        "a = ArgMax <axis = 1> (x) m = Constant <value = int64 {-2}> () i = Min (a, m)",
    ],
    ids=["Cast", "Sub", "Mul by -1", "Min with -2"],
)
def test_8_0_indices_that_may_be_negative(made: str) -> None:
    before = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[2,5] x) => (float[2,1] y) {{ {made} y = GatherElements <axis = 1> (x, i) }}"""
    )
    fixed, _ = run_pass(PLUGIN, before, target="trt-8.0")
    assert ops(fixed)[-2:] == ["Where", "GatherElements"]
    x = np.random.default_rng(0).uniform(-4, 4, (2, 5)).astype(np.float32)
    assert_same_outputs(before, fixed, {"x": x})


def test_nonzero_needs_no_wrapping() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[N] x) => (float[K] y) {
            n = NonZero (x)
            flat = Constant <value = int64[1] {-1}> ()
            i = Reshape (n, flat)
            y = GatherElements (x, i)
        }"""
    )
    after = ["NonZero", "Constant", "Reshape", "Gather"]
    feeds = [{"x": np.array(x, np.float32)} for x in ([0, 2, 0, 3], [0, 0], [])]
    assert_rewrites(GATHER, before, after=after, feeds=feeds)


def test_8_0_wrapped_for_another_size_is_wrapped_again() -> None:
    """Where(i < 0, i + 2, i) still holds negative values for an axis of size 5."""
    text = """<ir_version: 8, opset_import: ["" : 13]>
        g (float[2,5] x, int64[2,3] k) => (float[2,3] y) {{
            n = Constant <value = int64 {{{size}}}> ()
            zero = Constant <value = int64 {{0}}> ()
            less = Less (k, zero)
            sum = Add (n, k)
            i = Where (less, sum, k)
            y = GatherElements <axis = 1> (x, i)
        }}"""
    for size, wheres in ((5, 1), (2, 2)):
        before = onnx.parser.parse_model(text.format(size=size))
        fixed, _ = run_pass(PLUGIN, before, target="trt-8.0")
        assert Counter(ops(fixed))["Where"] == wheres
        feeds = {"x": feeds_of()["x"], "k": np.array([[-3, 0, 1], [-5 + size, -1, -size]])}
        assert_same_outputs(before, fixed, feeds)


def test_8_0_dynamic_shapes_get_the_plugin() -> None:
    fixed, _ = run_pass(PLUGIN, gather_text("B,5", "B,7", 1), target="trt-8.0")
    assert ops(fixed) == ["GatherElementsPlugin"]


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0", "trt-8.2", "trt-8.4"])
@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("dtype", ["float", "bool"])
def test_new_nodes_are_taken(target: str, opset: int, dtype: str) -> None:
    for data, indices, axis in (
        ("B,N,4", "B,M,4", 1),
        ("2,3,5", "2,3,7", 2),
        ("N", "M", 0),
        ("1,8,N", "1,8,M", 2),
    ):
        before = gather_text(data, indices, axis, dtype=dtype, opset=opset)
        for pass_ in (PLUGIN, GATHER, ReplaceGatherElements(form="gather", everywhere=True)):
            fixed, _ = run_pass(pass_, before, target=target)
            main = Model(fixed, None, load_target(target)).main
            for node in main.graph.nodes:
                assert not main.refused(node), (node.op, main.judge(node))


# -- left alone, with a reason -------------------------------------------------------------------


def test_refusals() -> None:
    large = gather_text("65536,32768", "2,2", 0)
    (reason,) = skip_reasons(GATHER, large)
    assert "do not fit INT32" in reason
    (reason,) = skip_reasons(GATHER, gather_text("4", "2", 0, dtype="string"))
    assert reason == "trt-7.2 takes no STRING data in Gather"
    unknown = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[N] d, int64[M] k, int64[R] s) => (float[P] y) {
            x = Reshape (d, s)
            i = Reshape (k, s)
            g = GatherElements <axis = 1> (x, i)
            flat = Constant <value = int64[1] {-1}> ()
            y = Reshape (g, flat)
        }"""
    )
    (reason,) = skip_reasons(GATHER, unknown)
    assert reason == "the rank of its data is not known"
    assert ops(run_pass(PLUGIN, unknown)[0])[:3] == ["Reshape", "Reshape", "GatherElementsPlugin"]


def test_axis_of_the_enclosing_function() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13, "my" : 1]>
        g (float[B,N] x, int64[B,M] i) => (float[B,M] y) { y = my.pick <axis = 1> (x, i) }
        <domain: "my", opset_import: ["" : 13]>
        pick <axis> (x, i) => (y) { y = GatherElements <axis: int = @axis> (x, i) }"""
    )
    assert skip_reasons(PLUGIN, before) == [
        "its axis is a parameter of the enclosing function; inline it first"
    ]
