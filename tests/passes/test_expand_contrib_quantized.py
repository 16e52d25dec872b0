"""expand-contrib-quantized: the quantised ops of onnxruntime's domain in ops of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper
from quantized_cases import exactness, feeds_of, model

from onnx_fix.testing import assert_rewrites, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.expand_contrib_quantized import ExpandContribQuantized

PASS = ExpandContribQuantized()
DOMAIN = ', "com.microsoft" : 1'
SCALES = "float s = {0.05}, float t = {0.07}"


def of(nodes: str, inputs: str, out: str = "[N, 4]", kind: str = "uint8", opset: int = 13) -> Any:
    zeros = f"{kind} z = {{9}}, {kind} w = {{77}}"
    text = f"({inputs}) => ({kind}{out} y) <{SCALES}, {zeros}> {{ y = com.microsoft.{nodes} }}"
    return model(text.replace("KIND", kind), opset, DOMAIN)


def assert_near(before: ModelProto, fixed: ModelProto, sizes: tuple[int, ...] = (40, 1)) -> None:
    """At most one level apart, and that in few places: onnxruntime scales in another order."""
    for size in sizes:
        feed = feeds_of(before, size, seed=size)
        want, have = (run_model(m, feed)[0].astype(np.int64) for m in (before, fixed))
        assert want.shape == have.shape and np.abs(want - have).max(initial=0) <= 1
        assert (want != have).mean() <= 0.1 if want.size > 8 else True


X = "KIND[N, 4] x"
AB = "KIND[N, 4] a, KIND[4] b"
IMAGE = "KIND[1, 2, N, 4] x"
FORMS = [
    ("QLinearAdd (a, s, z, b, t, w, s, w)", AB, "[N, 4]", "Add", 2),
    ("QLinearMul (a, s, z, b, t, w, s, w)", AB, "[N, 4]", "Mul", 2),
    ("QLinearSigmoid (x, s, z, t, w)", X, "[N, 4]", "Sigmoid", 1),
    ("QLinearLeakyRelu <alpha = 0.2> (x, s, z, t, w)", X, "[N, 4]", "LeakyRelu", 1),
    ("QLinearSoftmax <axis = -1, opset = 13> (x, s, z, t, z)", X, "[N, 4]", "Softmax", 1),
    ("QLinearGlobalAveragePool (x, s, z, t, w)", IMAGE, "[1, 2, 1, 1]", "GlobalAveragePool", 1),
    (
        "QLinearAveragePool <kernel_shape = [2, 2], pads = [1, 1, 0, 0]> (x, s, z, t, w)",
        IMAGE,
        "[1, 2, N, 4]",
        "AveragePool",
        1,
    ),
    ("QLinearConcat <axis = 0> (s, w, a, s, z, b, t, w)", "KIND[N, 4] a, KIND[2, 4] b", "[M, 4]",
     "Concat", 2),
    ("QLinearWhere (c, a, s, z, b, t, w, s, w)", "bool[4] c, " + AB, "[N, 4]", "Where", 2),
]  # fmt: skip


OWN_STEPS = ("Add", "Mul")


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize(("nodes", "inputs", "out", "op", "count"), FORMS)
def test_forms(nodes: str, inputs: str, out: str, op: str, count: int, kind: str) -> None:
    before = of(nodes, inputs, out, kind)
    fixed, results = run_pass(PASS, before, target="rtx-1.7")
    assert exactness(results) == {"ROUNDING"} and op in ops(fixed)
    if op in OWN_STEPS:
        assert ops(fixed)[-3:] == ["Round", "Clip", "Cast"]
    else:
        assert ops(fixed) == ["DequantizeLinear"] * count + [op, "QuantizeLinear"]
    assert_rewrites(PASS, before, after=ops(fixed), target="rtx-1.7")
    assert_near(before, fixed)


@pytest.mark.parametrize(("nodes", "inputs", "out", "op", "count"), FORMS)
def test_symmetric_forms(nodes: str, inputs: str, out: str, op: str, count: int) -> None:
    before = of(nodes, inputs, out, "int8")
    for tensor in before.graph.initializer:
        if tensor.name in "zw":
            tensor.CopyFrom(numpy_helper.from_array(np.array(0, np.int8), tensor.name))
    after = ["DequantizeLinear"] * count + [op, "QuantizeLinear"]
    assert_near(before, assert_rewrites(PASS, before, after=after, target="rtx-1.7"))


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize(
    "scales", [(0.02, 0.02, 0.04), (0.05, 0.025, 0.1), (0.0345, 0.0227, 0.0345)]
)
def test_every_pair_of_numbers(kind: str, op: str, scales: tuple[float, ...]) -> None:
    """Many sums of these scales are in the middle of two levels."""
    info = np.iinfo(kind)
    both = np.meshgrid(*[np.arange(info.min, info.max + 1)] * 2)
    a, b = (one.reshape(-1).astype(kind) for one in both)
    before = model(
        f"({kind}[N] a, {kind}[N] b) => ({kind}[N] y) <{kind} z = {{3}}, {kind} w = {{6}}> "
        f"{{ y = com.microsoft.QLinear{op} (a, s, z, b, t, w, u, z) }}",
        13,
        DOMAIN,
    )
    for name, scale in zip("stu", scales, strict=True):
        array = np.array(scale * (0.02 if name == "u" and op == "Mul" else 1), np.float32)
        before.graph.initializer.append(numpy_helper.from_array(array, name))
    for target in ("trt-7.2", "rtx-1.7"):
        fixed, _ = run_pass(PASS, before, target=target)
        feed = {"a": a, "b": b}
        want, have = (run_model(m, feed)[0].astype(int) for m in (before, fixed))
        assert np.abs(want - have).max() <= 1 and (want != have).mean() <= 1e-3


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize(("meant", "opset"), [(11, 11), (13, 13), (11, 13), (13, 12)])
def test_softmax_along_the_last_axis_of_either_meaning(axis: int, meant: int, opset: int) -> None:
    before = of(f"QLinearSoftmax <axis = {axis}, opset = {meant}> (x, s, z, t, z)", X, opset=opset)
    fixed, _ = run_pass(PASS, before, target="rtx-1.7")
    assert ops(fixed) == ["DequantizeLinear", "Softmax", "QuantizeLinear"]
    assert_near(before, fixed)


def gemm(
    kind: str, zeros: tuple[int, int], attrs: str, *, bias: bool, out: bool, columns: bool
) -> ModelProto:
    result = kind if out else "float"
    tail = ", t, yz" if out else ""
    a = "[5, N]" if "transA" in attrs else "[N, 5]"
    middle = ", c" if bias else ', ""' if out else ""
    before = model(
        f"({kind}{a} a) => ({result}[N, 3] y) {{ y = com.microsoft.QGemm "
        f"{attrs} (a, s, az, b, bs, bz{middle}{tail}) }}",
        13,
        DOMAIN,
    )
    random = np.random.default_rng(2)
    info = np.iinfo(kind)
    shape = (3, 5) if "transB" in attrs else (5, 3)
    values: dict[str, Any] = {
        "s": np.array(0.05, np.float32),
        "az": np.array(zeros[0], kind),
        "b": random.integers(info.min, info.max + 1, shape).astype(kind),
        "bs": np.full((3,) if columns else (), 0.03, np.float32),
        "bz": np.full((3,) if columns else (), zeros[0], kind),
        "c": np.array([1000, -3, 70000], np.int32),
        "t": np.array(0.6, np.float32),
        "yz": np.array(zeros[1], kind),
    }
    used = set(before.graph.node[0].input)
    for k, v in values.items():
        if k in used:
            before.graph.initializer.append(numpy_helper.from_array(v, k))
    return before


@pytest.mark.parametrize("attrs", ["", "<transB = 1, alpha = 0.5>", "<transA = 1>"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("out", [True, False])
def test_gemm(attrs: str, bias: bool, out: bool) -> None:
    before = gemm("uint8", (9, 77), attrs, bias=bias, out=out, columns=False)
    fixed, _ = run_pass(PASS, before, target="rtx-1.7")
    assert "MatMulInteger" in ops(fixed) and "QGemm" not in ops(fixed)
    for size in (7, 1):
        feed = feeds_of(before, size)
        want, have = (run_model(m, feed)[0] for m in (before, fixed))
        np.testing.assert_allclose(have.astype(float), want.astype(float), 1e-6)


@pytest.mark.parametrize("columns", [True, False])
def test_symmetric_gemm_becomes_a_layer_of_int8(columns: bool) -> None:
    before = gemm("int8", (0, 0), "<transB = 1>", bias=True, out=True, columns=columns)
    after = ["DequantizeLinear", "DequantizeLinear", "MatMul", "Add", "QuantizeLinear"]
    fixed = assert_rewrites(PASS, before, after=after, target="rtx-1.7")
    assert_near(before, fixed)


def test_refusals() -> None:
    text = "QLinearGlobalAveragePool <channels_last = 1> (x, s, z, t, w)"
    (reason,) = skip_reasons(PASS, of(text, IMAGE, "[1, 2, 1, 1]"), target="rtx-1.7")
    assert "channels stand last" in reason
    text = "QLinearSoftmax <axis = 0, opset = 11> (x, s, z, t, z)"
    (reason,) = skip_reasons(PASS, of(text, X), target="rtx-1.7")
    assert "operator set 11" in reason
    (reason,) = skip_reasons(PASS, of("QLinearSigmoid (x, s, z, t, w)", X, opset=9))
    assert "operator set 10" in reason
    assert skip_reasons(PASS, of("QLinearReduceMax (x, s, z, t, w)", X)) == []


def test_bodies() -> None:
    before = model(
        f"""(bool c, uint8[N, 4] a) => (uint8[N, 4] y) <{SCALES}, uint8 z = {{9}}> {{
        y = If (c) <then_branch = one () => (uint8[N, 4] u) {{
            u = com.microsoft.QLinearAdd (a, s, z, a, s, z, t, z) }},
        else_branch = two () => (uint8[N, 4] e) {{ e = Identity (a) }}> }}""",
        13,
        DOMAIN,
    )
    fixed, results = run_pass(PASS, before, target="rtx-1.7")
    assert [c.scope for r in results for c in r.changes] == ["y/then_branch"]
    feed = {**feeds_of(before, 4), "c": np.array(True)}
    want, have = (run_model(m, feed)[0].astype(int) for m in (before, fixed))
    assert np.abs(want - have).max() <= 1
