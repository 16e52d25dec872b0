"""quantize-symmetrically: UINT8 around 128 becomes INT8 around 0, all that hangs together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper
from quantized_cases import assert_same, exactness, model, refused_ops

from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass
from onnx_fix_passes.quantize_symmetrically import QuantizeSymmetrically

PASS = QuantizeSymmetrically()
CONSTANTS = "float s = {0.37}, float t = {0.5}, uint8 z = {128}"
LAST = "y = DequantizeLinear (m, t, z)"


def between(nodes: str, shape: str = "N, 4", out: str = "N, 4", more: str = "") -> ModelProto:
    """Nodes between Q and DQ of zero point 128."""
    return model(
        f"(float[{shape}] x) => (float[{out}] y) <{CONSTANTS}{more}> "
        f"{{ q = QuantizeLinear (x, s, z) {nodes} }}"
    )


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7"])
def test_pairs(target: str) -> None:
    before = between("y = DequantizeLinear (q, t, z) ")
    fixed = assert_rewrites(
        PASS, before, after=["QuantizeLinear", "DequantizeLinear"], target=target
    )
    assert exactness(run_pass(PASS, before, target=target)[1]) == {"EXACT"}
    assert refused_ops(fixed, target) == []
    assert_same(before, fixed)
    x = np.resize(np.arange(-300, 300, dtype=np.float32) * np.float32(0.185), (150, 4))
    assert_same_outputs(before, fixed, {"x": x})


MOVES = [
    ("m = MaxPool <kernel_shape = [2, 2]> (q)", "1, 1, N, 4", "1, 1, M, 3", "", ["MaxPool"]),
    ("m = Transpose (q)", "N, 4", "4, N", "", ["Transpose"]),
    ("r = Reshape (q, k) m = Concat <axis = 0> (r, r)", "N, 4", "M", ", int64[1] k = {-1}",
     ["Reshape", "Concat"]),
    ("p = QuantizeLinear (x, t, z) m = Concat <axis = 1> (q, p)", "N, 4", "N, 8", "",
     ["QuantizeLinear", "Concat"]),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "shape", "out", "more", "names"), MOVES)
def test_moves(nodes: str, shape: str, out: str, more: str, names: list[str]) -> None:
    before = between(f"{nodes} {LAST}", shape, out, more)
    after = ["QuantizeLinear", *names, "DequantizeLinear"]
    fixed = assert_rewrites(PASS, before, after=after, target="rtx-1.7")
    assert refused_ops(fixed, "rtx-1.7") == []
    assert_same(before, fixed, (5, 2))


def test_weights_and_slices() -> None:
    before = model(
        """(float[N, 3] x) => (float[N, 3] y)
        <float[3] s = {1, 2, 0.5}, uint8[3] z = {128, 128, 128}, uint8[3] w = {0, 128, 255}> {
        d = DequantizeLinear <axis = 0> (w, s, z) y = Mul (x, d) }"""
    )
    fixed = assert_rewrites(PASS, before, after=["DequantizeLinear", "Mul"], target="rtx-1.7")
    (weights,) = (i for i in fixed.graph.initializer if list(i.dims) == [3] and i.data_type == 3
                  and numpy_helper.to_array(i).any())  # fmt: skip
    assert numpy_helper.to_array(weights).tolist() == [-128, 0, 127]
    assert_same(before, fixed)


def test_output_dtype_goes() -> None:
    before = model(
        f"""(float[N] x) => (float[N] y) <{CONSTANTS}> {{
        q = QuantizeLinear <output_dtype = 2> (x, s, z) y = DequantizeLinear (q, t, z) }}""",
        21,
    )
    fixed, _ = run_pass(PASS, before, target="rtx-1.7")
    assert not fixed.graph.node[0].attribute and refused_ops(fixed, "rtx-1.7") == []
    assert_same(before, fixed)


LEFT = [
    "a = Cast <to = 1> (q) y = Neg (a)",
    "m = Add (q, q) y = DequantizeLinear (m, s, z)",
    "y = DequantizeLinear (q, s, o)",
    "m = Identity (q) y = DequantizeLinear (m, s, o)",
    "m = Concat <axis = 1> (q, v) y = DequantizeLinear (m, s, z)",
]


@pytest.mark.parametrize("nodes", LEFT)
def test_what_does_not_hang_together_in_128(nodes: str) -> None:
    before = model(
        f"(float[N, 4] x, uint8[N, 4] v) => (float[N, M] y) <{CONSTANTS}, uint8 o = {{127}}> "
        f"{{ q = QuantizeLinear (x, s, z) {nodes} }}"
    )
    assert run_pass(PASS, before, target="rtx-1.7")[0] == before


def test_outputs_and_bodies_keep_their_type() -> None:
    before = model(
        f"""(float[N] x) => (float[N] y, uint8[N] q) <{CONSTANTS}> {{
        q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }}"""
    )
    assert run_pass(PASS, before, target="rtx-1.7")[0] == before
    inner = model(
        f"""(bool c, float[N] x) => (float[N] y) <{CONSTANTS}> {{ q = QuantizeLinear (x, s, z)
        y = If (c) <then_branch = one () => (float[N] u) {{ u = DequantizeLinear (q, s, z) }},
                    else_branch = two () => (float[N] e) {{ e = Neg (x) }}> }}"""
    )
    assert run_pass(PASS, inner, target="rtx-1.7")[0] == inner
    body = model(
        f"""(bool c, float[N] x) => (float[N] y) <{CONSTANTS}> {{
        y = If (c) <then_branch = one () => (float[N] u) {{
            q = QuantizeLinear (x, s, z) u = DequantizeLinear (q, s, z) }},
                    else_branch = two () => (float[N] e) {{ e = Neg (x) }}> }}"""
    )
    fixed, results = run_pass(PASS, body, target="rtx-1.7")
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch"}
    x = np.array([1, -50, 3.3], np.float32)
    assert_same_outputs(body, fixed, {"c": np.array(True), "x": x})


def test_zero_points_at_run_time_and_parameters() -> None:
    before = model(
        """(float[N] x, uint8 z) => (float[N] y) <float s = {0.37}> {
        q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"""
    )
    assert run_pass(PASS, before, target="rtx-1.7")[0] == before
    text = """<ir_version: 10, opset_import: ["" : 13, "my" : 1]>
    g (float[N] x, float s, uint8 z) => (float[N] y) { y = my.f <a = 1> (x, s, z) }
    <opset_import: ["" : 13], domain: "my"> f <a> (x, s, z) => (y) {
    q = QuantizeLinear <axis: int = @a> (x, s, z) y = DequantizeLinear (q, s, z) }"""
    assert not any(r.changes for r in run_pass(PASS, text, target="rtx-1.7")[1])


def test_one_that_the_target_does_not_take_is_left_to_others() -> None:
    """A constant without dims, which TensorRT-RTX does not take as INT8."""
    before = model(
        f"""(float[N] x) => (float[N] y) <{CONSTANTS}, uint8 w = {{7}}> {{
        d = DequantizeLinear (w, s, z) y = Mul (x, d) }}"""
    )
    assert run_pass(PASS, before, target="rtx-1.7")[0] == before
    assert ops(run_pass(PASS, before, target="trt-8.6")[0]) == ["DequantizeLinear", "Mul"]


@given(st.lists(st.floats(-1e4, 1e4, width=32), max_size=15), st.floats(2.0**-9, 9, width=32))
@settings(max_examples=40, deadline=None)
def test_any_numbers(values: list[float], scale: float) -> None:
    text = """(float[N] x, float s) => (float[N] y) <uint8 z = {128}> {
    q = QuantizeLinear (x, s, z) m = Identity (q) y = DequantizeLinear (m, s, z) }"""
    before = model(text)
    fixed, _ = run_pass(PASS, before, target="trt-8.6")
    assert fixed != before
    feed = {"x": np.array(values, np.float32), "s": np.array(scale, np.float32)}
    assert_same_outputs(before, fixed, feed)
