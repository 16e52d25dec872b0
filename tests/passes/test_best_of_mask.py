"""best-of-mask: keypoints by score need no list of all that pass the threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_fix import fix
from onnx_fix.testing import as_proto, assert_same_outputs, ops, run_pass, skip_reasons
from onnx_fix_passes.best_of_mask import BestOfMask

PASS = BestOfMask()
HEAD = '<ir_version: 8, opset_import: ["" : 13]> g'
MASKED = """t = Constant <value = float {0.0}> () k = Constant <value = int64[1] {4}> ()
    m = Greater (x, t) n = NonZero (m) c = Transpose <perm = [1, 0]> (n) s = GatherND (x, c)"""
KEYPOINTS = f"""{HEAD} (float[B, H, W] x) => (float[4] v, int64[4, 3] p) {{
    {MASKED} v, i = TopK (s, k) p = Gather (c, i) }}"""


def test_the_best_keypoints() -> None:
    proto = as_proto(KEYPOINTS)
    fixed, _ = run_pass(PASS, proto, target="trt-7.2")
    assert "NonZero" not in ops(fixed) and "GatherND" not in ops(fixed)
    random = np.random.default_rng(3)
    for shape in ((1, 5, 7), (3, 4, 2), (2, 1, 9)):
        x = np.abs(random.standard_normal(shape)).astype(np.float32)
        x[..., 0] *= -1
        assert_same_outputs(proto, fixed, {"x": x}, exact=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=12, max_size=12), st.sampled_from([0, 1]))
def test_ties_keep_their_order(values: list[int], largest: int) -> None:
    proto = as_proto(
        KEYPOINTS.replace("TopK (s, k)", f"TopK <largest = {largest}> (s, k)").replace(
            "0.0", "-9.0"
        )
    )
    fixed, _ = run_pass(PASS, proto, target="trt-8.2")
    assert "NonZero" not in ops(fixed)
    x = np.asarray(values, np.float32).reshape(1, 3, 4)
    assert_same_outputs(proto, fixed, {"x": x}, exact=True)


@pytest.mark.parametrize(
    ("nodes", "out"),
    [
        ("v, i = TopK (s, k) p = Gather <axis = 1> (n, i)", "int64[3, 4] p"),
        ("v, i = TopK (s, k) p = Gather (c, i)", "int64[4, 3] p"),
        (
            "end = Constant <value = int64[1] {-1}> () v, i = TopK (s, k) "
            "j = Unsqueeze (i, end) p = GatherND (c, j)",
            "int64[4, 3] p",
        ),
        ("v, i = TopK (s, k) r = GatherND (z, c) p = Gather (r, i)", "float[4] p"),
        (
            "one = Constant <value = int64 {1}> () v, i = TopK (s, k) "
            "r = Gather <axis = 1> (c, one) p = Gather (r, i)",
            "int64[4] p",
        ),
    ],
)
@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_what_is_picked(nodes: str, out: str, target: str) -> None:
    text = (
        f"{HEAD} (float[2, 3, 5] x, float[2, 3, 5] z) => (float[4] v, {out}) {{ {MASKED} {nodes} }}"
    )
    proto = as_proto(text)
    fixed, _ = run_pass(PASS, proto, target=target)
    assert "NonZero" not in ops(fixed)
    random = np.random.default_rng(1)
    x = np.abs(random.standard_normal((2, 3, 5))).astype(np.float32)
    x[0, 0] = -1
    z = random.standard_normal((2, 3, 5)).astype(np.float32)
    assert_same_outputs(proto, fixed, {"x": x, "z": z}, exact=True)


def test_a_mask_with_a_list_for_every_use() -> None:
    text = f"""{HEAD} (float[H, W] x) => (float[4] v, int64[4, 2] p) {{
        {MASKED} n2 = NonZero (m) c2 = Transpose <perm = [1, 0]> (n2)
        v, i = TopK (s, k) p = Gather (c2, i) }}"""
    proto = as_proto(text)
    fixed, _ = run_pass(PASS, proto, target="trt-7.2")
    assert "NonZero" not in ops(fixed)
    x = np.arange(1, 13, dtype=np.float32).reshape(3, 4)[::-1].copy()
    assert_same_outputs(proto, fixed, {"x": x}, exact=True)


@pytest.mark.parametrize(
    ("nodes", "outputs", "reason"),
    [
        ("v, i = TopK (s, k)", "float[4] v, int64[4] i", "an output needs the places"),
        ("v, i = TopK (s, k) p = Cast <to = 1> (i)", "float[4] v, float[4] p", "Cast 'p' needs"),
        ("v, i = TopK (s, k) p = Gather (z, i)", "float[4] v, float[4] p", "Gather 'p' needs"),
        ("v, i = TopK (s, k) p = Gather (i, k)", "float[4] v, int64[1] p", "Gather 'p' needs"),
        ("v, i = TopK (s, k) p = Gather (c, i)", "float[4] v, int64[4, 3] p, int64[N, 3] c", "all"),
        ("v, i = TopK <sorted = 0> (s, k)", "float[4] v", "any order"),
        ("j = Shape (z) v, i = TopK (s, j)", "float[4] v", "known at run time only"),
    ],
)
def test_what_is_left(nodes: str, outputs: str, reason: str) -> None:
    text = f"{HEAD} (float[2, 3, 5] x, float[Z] z) => ({outputs}) {{ {MASKED} {nodes} }}"
    (said,) = skip_reasons(PASS, as_proto(text), target="trt-7.2")
    assert reason in said


def test_a_target_with_nonzero_keeps_it() -> None:
    assert skip_reasons(PASS, as_proto(KEYPOINTS), target="trt-8.6") == []
    _, results = run_pass(PASS, as_proto(KEYPOINTS), target="trt-8.6")
    assert not any(r.changes for r in results)


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "rtx-1.7"])
def test_nothing_is_left_after_the_fix(target: str) -> None:
    """The threshold is low, so that random feeds have enough above it."""
    result = fix(as_proto(KEYPOINTS.replace("0.0", "-9.0")), target=target)
    assert result.ok and result.report.verification is not None
    assert result.report.verification.status == "equal"
