"""Shape, Reshape, Gather, DepthToSpace and ConstantOfShape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from onnx_fix.lower import lower
from onnx_fix.testing import run_model

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]


@pytest.mark.parametrize(
    "bounds", [(0, 2), (1, 99), (-2, -1), (-99, 1), (2, 1), (None, 2), (1, None)]
)
@pytest.mark.parametrize("opset", [14, 9])
def test_a_part_of_the_shape(
    bounds: tuple[int | None, int | None], opset: int, check: Check
) -> None:
    given_ = [f"{n} = {b}" for n, b in zip(("start", "end"), bounds, strict=True) if b is not None]
    text = f"""<ir_version: 8, opset_import: ["": 15]> g (float[A,B,C] x) => (int64[D] y)
        {{y = Shape<{", ".join(given_)}>(x)}}"""
    check(text, opset, [{"x": np.zeros((2, 0, 3), np.float32)}], want=["Shape", "Slice"])


def reshape(sizes: str, rank: int) -> str:
    """A Reshape whose shape is computed at run time."""
    out = ",".join(f"D{i}" for i in range(rank))
    return f"""<ir_version: 8, opset_import: ["": 14]>
        g (float[{sizes}] x, int64[{rank}] s) => (float[{out}] y)
        {{y = Reshape<allowzero = 1>(x, s)}}"""


def test_allowzero_matters_to_empty_inputs_only(check: Check) -> None:
    feeds = [{"x": np.ones((2, 3), np.float32), "s": np.array([3, -1])}]
    check(reshape("2,3", 2), 13, feeds, want=["Reshape"])


SHAPES = [
    *((shape, target) for shape in [(2, 6), (12, 1)] for target in [(3, 4), (-1, 2), (12, 1)]),
    *((shape, target) for shape in [(0, 3), (2, 0)] for target in [(0, 0), (5, 0), (0, 7)]),
]


@pytest.mark.parametrize(("shape", "target"), SHAPES)
def test_zeros_of_a_shape_known_at_run_time(
    shape: tuple[int, ...], target: tuple[int, ...], check: Check
) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for opset in (13, 10):
        check(reshape("N,M", 2), opset, [{"x": x, "s": np.array(target)}], runtimes=["onnxruntime"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
)
def test_any_zeros(before: list[int], after: list[int]) -> None:
    if int(np.prod(before)) != int(np.prod(after)):
        before = [int(np.prod(after)), 1]
    text = reshape(",".join(f"S{i}" for i in range(len(before))), len(after))
    model = onnx.parser.parse_model(text)
    x = np.arange(np.prod(before), dtype=np.float32).reshape(before)
    have = run_model(lower(model, 13).model, {"x": x, "s": np.array(after)})[0]
    np.testing.assert_array_equal(have, x.reshape(after))


@pytest.mark.parametrize("target", ["0, 5", "3, 0, 2", "0, 0"])
def test_zeros_of_a_constant_shape(target: str, check: Check) -> None:
    rank = target.count(",") + 1
    out = ",".join(f"D{i}" for i in range(rank))
    text = f"""<ir_version: 8, opset_import: ["": 14]> g (float[N,3] x) => (float[{out}] y)
        <int64[{rank}] s = {{{target}}}> {{y = Reshape<allowzero = 1>(x, s)}}"""
    feeds = [{"x": np.zeros((0, 3), np.float32)}]
    check(text, 13, feeds, runtimes=["onnxruntime"])


def test_a_size_that_is_copied_from_its_own_place_needs_nothing(check: Check) -> None:
    text = """<ir_version: 8, opset_import: ["": 14]> g (float[N,2,3] x) => (float[N,6] y)
        <int64[1] six = {6}, int64[1] zero = {0}> {
            all = Shape(x)
            n = Gather(all, zero)
            s = Concat<axis = 0>(n, six)
            y = Reshape<allowzero = 1>(x, s)
        }"""
    feeds = [{"x": np.ones((n, 2, 3), np.float32)} for n in (2, 1, 0)]
    check(text, 13, feeds, want=["Shape", "Gather", "Concat", "Reshape"], runtimes=["onnxruntime"])


def gather(indices: str, constants: str = "", sizes: str = "N,5") -> str:
    return f"""<ir_version: 8, opset_import: ["": 11]> g (float[{sizes}] x{indices})
        => (float[A,B] y) {constants} {{y = Gather<axis = 1>(x, i)}}"""


@pytest.mark.parametrize("kind", ["int32", "int64"])
@pytest.mark.parametrize("sizes", ["N,5", "N,M"])
def test_indices_from_the_back(kind: str, sizes: str, check: Check) -> None:
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    constants = f"<{kind}[3] i = {{-1, 0, -5}}>"
    after = check(gather("", constants, sizes), 10, [{"x": x}, {"x": x[:0]}])
    assert (len(after.graph.node) == 2) == (sizes == "N,5")
    text = gather(f", {kind}[K] i", sizes=sizes)
    check(text, 9, [{"x": x, "i": np.array(i, kind)} for i in ([-1, 2, 4], [-5], [])])


def test_indices_from_the_front_are_left_alone(check: Check) -> None:
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    check(gather("", "<int64[2] i = {1, 0}>"), 9, [{"x": x}], want=["Gather"])


def test_depth_to_space_by_columns(check: Check, refusal: Refusal) -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[N,C,2,3] x) => (float[A,B,4,6] y)
        {y = DepthToSpace<blocksize = 2, mode = "CRD">(x)}"""
    x = np.arange(2 * 8 * 6, dtype=np.float32).reshape(2, 8, 2, 3)
    check(text.replace("C,2", "8,2"), 9, [{"x": x}], want=["Gather", "DepthToSpace"])
    assert "number is not known" in refusal(text, 10)


def test_constants_of_newer_types_are_refused(check: Check, refusal: Refusal) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (int64[1] s) => (KIND[N] y)
        {y = ConstantOfShape<value = KIND[1] {1}>(s)}"""
    check(text.replace("KIND", "int32"), 9, [{"s": np.array([3])}], want=["ConstantOfShape"])
    assert "bfloat16" in refusal(text.replace("KIND", "bfloat16"), 19)
