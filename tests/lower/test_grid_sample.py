"""GridSample before it existed: gathered and weighed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from onnx_fix.lower import lower
from onnx_fix.testing import run_model

Refusal = Callable[[str, int], str]


def model_of(opset: int, x: str, grid: str, attributes: str, kind: str = "float") -> ModelProto:
    rank = x.count(",") + 1
    out = ",".join("ABCDE"[:rank])
    return onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["": {opset}]>
        g ({kind}[{x}] x, {kind}[{grid}] grid) => ({kind}[{out}] y)
        {{ y = GridSample<{attributes}>(x, grid) }}"""
    )


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["linear", "nearest", "cubic"]),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 5), st.integers(1, 5)),
    st.integers(0, 2**16),
    st.sampled_from([16, 20]),
)
def test_what_is_sampled(
    mode: str,
    padding: str,
    aligned: int,
    volume: bool,
    known: bool,
    sizes: tuple[int, int, int, int],
    seed: int,
    opset: int,
) -> None:
    volume = volume and mode != "cubic"
    n, c, h, w = sizes
    spatial = [3, h, w] if volume else [h, w]
    if volume:
        opset = 20
    name = mode if opset == 20 or mode == "nearest" else f"bi{mode}"
    attributes = f'mode = "{name}", padding_mode = "{padding}", align_corners = {aligned}'
    out = [2, 4, 3] if volume else [4, 3]
    shape = ",".join(map(str, [n, c, *spatial])) if known else ",".join("NCDHW"[: 2 + len(spatial)])
    grid = ",".join([str(n) if known else "N", *"UVW"[: len(out)], str(len(out))])
    model = model_of(opset, shape, grid, attributes)
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, c, *spatial)).astype(np.float32)
    g = random.uniform(-2.6, 2.6, (n, *out, len(out))).astype(np.float32)
    # The middle, the corners and the borders.
    g.reshape(-1, len(out))[:4] = np.array([[0.0], [1.0], [-1.0], [-1.0 + 1 / w]])
    want = run_model(model, {"x": x, "grid": g})[0].astype(float)
    for target in (15, 11, 9):
        done = lower(model, target)
        assert not done.refusals and done.rounds
        onnx.checker.check_model(done.model, full_check=True)
        have = run_model(done.model, {"x": x, "grid": g})[0].astype(float)
        np.testing.assert_allclose(have, want, rtol=2e-4, atol=2e-5)


def test_half_precision_goes_through_float() -> None:
    model = model_of(16, "2,3,4,5", "2,6,7,2", "align_corners = 1", "float16")
    done = lower(model, 11)
    assert not done.refusals
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 3, 4, 5)).astype(np.float16)
    g = random.uniform(-1, 1, (2, 6, 7, 2)).astype(np.float16)
    wide = model_of(16, "2,3,4,5", "2,6,7,2", "align_corners = 1")
    wanted = run_model(wide, {"x": x.astype(np.float32), "grid": g.astype(np.float32)})[0]
    (have,) = run_model(done.model, {"x": x, "grid": g})
    assert have.dtype == np.float16
    np.testing.assert_array_equal(have, wanted.astype(np.float16))


def test_what_is_not_written_out(refusal: Refusal) -> None:
    whole = model_of(16, "1,1,2,2", "1,1,1,2", 'mode = "nearest"')
    whole.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    whole.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    assert "int32" in lower(whole, 15).refusals[0].reason
    volume = model_of(20, "1,1,2,2,2", "1,1,1,1,3", 'mode = "cubic"')
    assert "not defined" in lower(volume, 19).refusals[0].reason
    unknown = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 16, "my": 1]>
        g (float[1] a) => (float[A,B,C,D] y) {
            x = my.Op(a)  g = my.Op(a)  y = GridSample(x, g) }"""
    )
    assert "not known" in lower(unknown, 15).refusals[0].reason
