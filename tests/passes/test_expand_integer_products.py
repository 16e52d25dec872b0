"""expand-integer-products: sums of integers by floats, exact while FP32 holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from quantized_cases import TARGETS, assert_same, exactness, feeds_of, model, notes

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.expand_integer_products import ExpandIntegerProducts

PASS = ExpandIntegerProducts()


def with_constants(proto: ModelProto, **values: Any) -> ModelProto:
    proto.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in values.items())
    return proto


def integers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    info = np.iinfo(dtype)
    random = np.random.default_rng(seed)
    return random.integers(info.min, info.max + 1, shape).astype(dtype)


MATMUL_INTEGER = [
    ("uint8[N, 6] a, uint8[6, 3] b", "a, b"),
    ("uint8[N, 6] a, int8[6, 3] b, uint8 za", "a, b, za"),
    ("int8[N, 6] a, int8[6, 3] b, int8[1] za, int8[1] zb", "a, b, za, zb"),
    ("uint8[N, 6] a, int8[6, 3] b, uint8 za, int8[3] zb", "a, b, za, zb"),
    ("uint8[2, N, 6] a, uint8[2, 6, 3] b, uint8 za, uint8 zb", "a, b, za, zb"),
]


@pytest.mark.parametrize(("inputs", "given"), MATMUL_INTEGER)
@pytest.mark.parametrize("target", TARGETS)
def test_mat_mul_integer(inputs: str, given: str, target: str) -> None:
    out = "int32[2, N, 3] y" if "[2, N" in inputs else "int32[N, 3] y"
    before = model(f"({inputs}) => ({out}) {{ y = MatMulInteger ({given}) }}")
    fixed, results = run_pass(PASS, before, target=target)
    assert exactness(results) == {"EXACT"} and ops(fixed)[-2:] == ["MatMul", "Cast"]
    assert_rewrites(PASS, before, after=ops(fixed), target=target)
    assert_same(before, fixed, (5, 1))


def test_zero_points_per_row() -> None:
    """Which onnxruntime lacks."""
    before = model(
        "(uint8[4, 6] a, uint8[6, 3] b, uint8[4] za) => (int32[4, 3] y) "
        "{ y = MatMulInteger (a, b, za) }"
    )
    fixed, _ = run_pass(PASS, before, target="trt-8.6")
    feed = feeds_of(before, 1)
    wide = feed["a"].astype(np.int32) - feed["za"].astype(np.int32)[:, None]
    want = wide @ feed["b"].astype(np.int32)
    np.testing.assert_array_equal(run_reference(fixed, feed)[0], want)


@pytest.mark.parametrize(
    ("length", "exact"), [(257, True), (258, True), (259, False), ("K", False)]
)
def test_the_bound_by_sizes(length: int | str, exact: bool) -> None:
    before = model(
        f"(uint8[N, {length}] a, uint8[{length}, 2] b) => (int32[N, 2] y) "
        "{ y = MatMulInteger (a, b) }"
    )
    fixed, results = run_pass(PASS, before, target="trt-8.6")
    assert exactness(results) == {"EXACT" if exact else "ROUNDING"}
    assert ("2^24" in "".join(notes(results))) is not exact
    if isinstance(length, int):
        most = {"a": np.full((1, length), 255, np.uint8), "b": np.full((length, 2), 255, np.uint8)}
        most["b"][0] = 254
        if exact:
            assert_same_outputs(before, fixed, most)


def test_the_bound_by_weights() -> None:
    text = "(uint8[N, 4096] a) => (int32[N, 2] y) { y = MatMulInteger (a, b, za) }"
    zero = np.array(128, np.uint8)
    small = with_constants(model(text), b=integers((4096, 2), "int8") // 16, za=zero)
    fixed, results = run_pass(PASS, small, target="trt-8.6")
    assert exactness(results) == {"EXACT"} and ops(fixed) == ["Cast", "Sub", "MatMul", "Cast"]
    assert_same(small, fixed, (3, 1))
    large = with_constants(model(text), b=np.full((4096, 2), 127, np.int8), za=zero)
    assert exactness(run_pass(PASS, large, target="trt-8.6")[1]) == {"ROUNDING"}


CONVS = [
    ("", "x, w"),
    ("<pads = [1, 1, 1, 1], strides = [2, 1]>", "x, w, z"),
    ('<auto_pad = "SAME_UPPER">', "x, w, z"),
    ("<dilations = [2, 1], kernel_shape = [3, 2]>", "x, w, z"),
]


@pytest.mark.parametrize(("attrs", "given"), CONVS)
@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "rtx-1.7"])
def test_conv_integer(attrs: str, given: str, target: str) -> None:
    before = with_constants(
        model(
            f"(uint8[N, 2, 7, 6] x) => (int32[N, 3, H, W] y) "
            f"{{ y = ConvInteger {attrs} ({given}) }}"
        ),
        w=integers((3, 2, 3, 2), "uint8"),
        z=np.array(9, np.uint8),
    )
    fixed, results = run_pass(PASS, before, target=target)
    assert exactness(results) == {"EXACT"} and ops(fixed)[-2:] == ["Conv", "Cast"]
    assert_same(before, fixed, (2, 1))


def test_conv_integer_in_groups_with_zero_points_of_weights() -> None:
    before = with_constants(
        model(
            "(uint8[1, 2, 5] x) => (int32[1, 4, W] y) { y = ConvInteger <group = 2> (x, w, z, v) }"
        ),
        w=integers((4, 1, 3), "uint8"),
        z=np.array(9, np.uint8),
        v=np.array([7, 0, 255, 128], np.uint8),
    )
    fixed, results = run_pass(PASS, before, target="trt-8.6")
    assert exactness(results) == {"EXACT"}
    feed = feeds_of(before, 1)
    values = {i.name: numpy_helper.to_array(i).astype(np.int64) for i in before.graph.initializer}
    x = feed["x"].astype(np.int64) - 9
    w = values["w"] - values["v"][:, None, None]
    want = [[[(x[0, m // 2, k : k + 3] * w[m, 0]).sum() for k in range(3)] for m in range(4)]]
    np.testing.assert_array_equal(run_reference(fixed, feed)[0], np.array(want))


def q_linear_conv(
    kinds: str, *, zeros: tuple[int, int, int], bias: bool, channels: bool, opset: int = 13
) -> ModelProto:
    """QLinearConv with constant weights; ``kinds`` are the types of x, w and y."""
    x, w, y = kinds.split()
    tail = ", b" if bias else ""
    before = model(
        f"({x}[N, 2, 6, 5] x) => ({y}[N, 3, H, W] y) {{ y = QLinearConv "
        f"<pads = [1, 0, 1, 0]> (x, xs, xz, w, ws, wz, ys, yz{tail}) }}",
        opset,
    )
    count = 3 if channels else 1
    shape: tuple[int, ...] = (count,) if channels else ()
    random = np.random.default_rng(3)
    values: dict[str, Any] = {
        "xs": np.array(0.013, np.float32),
        "xz": np.array(zeros[0], x),
        "w": integers((3, 2, 3, 2), w),
        "ws": (random.random(shape) * 0.01 + 0.002).astype(np.float32),
        "wz": np.full(shape, zeros[1], w),
        "ys": np.array(0.03, np.float32),
        "yz": np.array(zeros[2], y),
    }
    if bias:
        values["b"] = np.array([1000, -70000, 3], np.int32)
    return with_constants(before, **values)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [True, False])
@pytest.mark.parametrize(
    ("kinds", "zeros"),
    [("uint8 int8 uint8", (3, 0, 77)), ("uint8 uint8 uint8", (128, 130, 0))],
)
def test_q_linear_conv(
    kinds: str, zeros: tuple[int, int, int], bias: bool, channels: bool, target: str
) -> None:
    before = q_linear_conv(kinds, zeros=zeros, bias=bias, channels=channels)
    fixed, results = run_pass(PASS, before, target=target)
    assert "Conv" in ops(fixed) and "QLinearConv" not in ops(fixed)
    assert exactness(results) == {"ROUNDING"} and notes(results) == []
    assert_same(before, fixed, (3, 1))


@pytest.mark.parametrize("channels", [True, False])
@pytest.mark.parametrize(
    ("kinds", "zeros"), [("int8 int8 int8", (0, 0, 0)), ("uint8 int8 uint8", (128, 0, 128))]
)
def test_symmetric_ones_become_layers_of_int8(
    kinds: str, zeros: tuple[int, int, int], channels: bool
) -> None:
    before = q_linear_conv(kinds, zeros=zeros, bias=True, channels=channels)
    after = ["DequantizeLinear", "DequantizeLinear", "Conv", "QuantizeLinear"]
    fixed = assert_rewrites(PASS, before, after=after, target="rtx-1.7")
    for size in (3, 1):
        feed = feeds_of(before, size)
        want, have = (run_model(m, feed)[0].astype(int) for m in (before, fixed))
        assert np.abs(want - have).max() <= 1
    shorter = ["DequantizeLinear", "Conv", "QuantizeLinear"]
    assert ops(run_pass(PASS, before, target="trt-7.2")[0]) == shorter


def q_linear_mat_mul(kind: str, zeros: tuple[int, int, int], scale: str = "float") -> ModelProto:
    before = model(
        f"({kind}[N, 5] a, {kind}[5, 3] b) => ({kind}[N, 3] y) <float one = {{0.013}}> "
        "{ y = QLinearMatMul (a, s, az, b, s, bz, t, yz) }",
        21,
    )
    kinds = np.float32 if scale == "float" else np.float16
    return with_constants(
        before,
        s=np.array(0.013, kinds),
        t=np.array(0.7, kinds),
        **{n: np.array(z, kind) for n, z in zip(("az", "bz", "yz"), zeros, strict=True)},
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("kind", "zeros"), [("uint8", (3, 200, 77)), ("int8", (3, -100, 7))])
def test_q_linear_mat_mul(kind: str, zeros: tuple[int, int, int], target: str) -> None:
    before = q_linear_mat_mul(kind, zeros)
    fixed, results = run_pass(PASS, before, target=target)
    assert exactness(results) == {"ROUNDING"} and "MatMul" in ops(fixed)
    assert_same(before, fixed, (5, 1))


def test_symmetric_matrix_products() -> None:
    before = q_linear_mat_mul("int8", (0, 0, 0))
    after = ["DequantizeLinear", "DequantizeLinear", "MatMul", "QuantizeLinear"]
    fixed = assert_rewrites(PASS, before, after=after, target="rtx-1.7")
    assert_same(before, fixed, (4, 1))


def test_scales_per_row_and_column() -> None:
    """Rows of a and y, columns of b; onnxruntime has the columns alone."""
    before = model(
        """(uint8[4, 5] a, uint8[5, 3] b, float[4] sa, float[3] sb, float[4] sy, uint8[4] z)
        => (uint8[4, 3] y) <uint8[3] bz = {1, 2, 3}, uint8[4] yz = {100, 7, 0, 50}>
        { y = QLinearMatMul (a, sa, z, b, sb, bz, sy, yz) }"""
    )
    fixed, _ = run_pass(PASS, before, target="rtx-1.7")
    feed = {**feeds_of(before, 1), "sy": np.array([999, 2000, 3000, 4000], np.float32)}
    f = {k: v.astype(np.float64) for k, v in feed.items()}
    total = (f["a"] - f["z"][:, None]) @ (f["b"] - np.array([1, 2, 3]))
    ratio = total * f["sa"][:, None] * f["sb"] / f["sy"][:, None]
    want = np.clip(np.rint(ratio) + np.array([[100], [7], [0], [50]]), 0, 255)
    np.testing.assert_array_equal(run_reference(fixed, feed)[0], want.astype(np.uint8))


def test_everything_at_run_time() -> None:
    before = model(
        """(uint8[N, 5] a, float sa, uint8 za, uint8[5, 3] b, float sb, uint8 zb, float sy,
        uint8 zy) => (uint8[N, 3] y) { y = QLinearMatMul (a, sa, za, b, sb, zb, sy, zy) }"""
    )
    for target in ("trt-7.2", "rtx-1.7"):
        fixed, _ = run_pass(PASS, before, target=target)
        for size in (5, 1):
            feed = {**feeds_of(before, size, scale=1), "sy": np.array(9000, np.float32)}
            assert_same_outputs(before, fixed, feed)


@given(
    st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.floats(2.0**-12, 1, width=32)
)
@settings(max_examples=30, deadline=None)
def test_any_zero_points(a: int, b: int, y: int, scale: float) -> None:
    before = q_linear_mat_mul("uint8", (a, b, y))
    before.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array(scale, np.float32), "t"))
    before.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(0.0131, np.float32), "s"))
    fixed, _ = run_pass(PASS, before, target="trt-8.6")
    assert_same(before, fixed, (6,))


def test_refusals() -> None:
    text = """(float8e4m3fn[N, 5] a, float s, float8e4m3fn z, float8e4m3fn[5, 3] b)
    => (float8e4m3fn[N, 3] y) { y = QLinearMatMul (a, s, z, b, s, z, s, z) }"""
    (reason,) = skip_reasons(PASS, model(text, 21), target="trt-8.6")
    assert "not INT8 or UINT8" in reason
    function = """<ir_version: 10, opset_import: ["" : 21, "my" : 1]>
    g (uint8[1, 1, 5, 5] x, uint8[1, 1, 3, 3] w) => (int32[1, 1, H, W] y) {
      y = my.f <a = 1> (x, w) }
    <opset_import: ["" : 21], domain: "my"> f <a> (x, w) => (y) """
    body = "{ y = ConvInteger <group: int = @a> (x, w) }"
    (reason,) = skip_reasons(PASS, function + body, target="trt-8.6")
    assert "parameter of the enclosing function" in reason
    (reason,) = skip_reasons(PASS, function + "{ y = ConvInteger (x, w) }", target="trt-8.6")
    assert "is not known" in reason


def test_bodies() -> None:
    before = model(
        """(bool c, uint8[N, 5] a, uint8[5, 3] b) => (int32[N, 3] y) {
        y = If (c) <then_branch = one () => (int32[N, 3] t) { t = MatMulInteger (a, b) },
                    else_branch = two () => (int32[N, 3] e) { e = MatMulInteger (a, b) }> }"""
    )
    fixed, results = run_pass(PASS, before, target="trt-8.6")
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    assert_same(before, fixed, (4,))


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    wanted_ops = {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type not in wanted_ops:
            continue
        fixed, results = run_pass(PASS, case.model, target="trt-8.6")
        assert any(r.changes for r in results), case.name
        seen += 1
        for inputs, wanted in case.data_sets or []:
            feeds: dict[str, Any] = {
                v.name: np.asarray(numpy_helper.to_array(x) if isinstance(x, TensorProto) else x)
                for v, x in zip(case.model.graph.input, inputs, strict=True)
            }
            want = wanted[0]
            want = numpy_helper.to_array(want) if isinstance(want, TensorProto) else want
            np.testing.assert_array_equal(run_reference(fixed, feeds)[0], want, case.name)
    assert seen >= 12
