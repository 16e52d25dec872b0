"""replace-is-nan: a number equals itself, a NaN does not."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.backend.test.case.test_case import TestCase
from recorded import array

from onnx_fix.contract import Exactness
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_is_nan import ReplaceIsNaN

PASS = ReplaceIsNaN()
VALUES = np.array(
    [0, -0.0, 1, -1, 0.5, np.inf, -np.inf, np.nan, -np.nan, 1e-45, 3.4e38], np.float32
)


def is_nan(dtype: str = "float", opset: int = 13, shape: str = "[N]") -> str:
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g ({dtype}{shape} x) => (bool{shape} y) {{ y = IsNaN (x) }}"""


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0"])
@pytest.mark.parametrize("opset", [9, 10, 11, 13, 20])
def test_float(opset: int, target: str) -> None:
    after = ["Equal", "Not"] if opset >= 11 else ["Less", "Greater", "Or", "Not"]
    fixed = assert_rewrites(
        PASS,
        is_nan(opset=opset),
        after=after,
        feeds=[{"x": VALUES[:n]} for n in (len(VALUES), 8, 1, 0)],
        target=target,
    )
    view = Model(fixed, None, load_target(target))
    assert not any(s.refused(n) for s in view.scopes for n in s.graph.nodes)
    (change,) = [c for r in run_pass(PASS, is_nan(opset=opset))[1] for c in r.changes]
    assert change.exactness is Exactness.EXACT


def test_scalars() -> None:
    feeds = [{"x": v} for v in (np.array(1, np.float32), np.array(np.nan, np.float32))]
    assert_rewrites(PASS, is_nan(shape=""), after=["Equal", "Not"], feeds=feeds)


def test_half() -> None:
    feeds = {"x": np.array([0, np.nan, np.inf, 65504], np.float16)}
    fixed, _ = run_pass(PASS, is_nan("float16"))
    assert ops(fixed) in (["Equal", "Not"], ["Cast", "Equal", "Not"])
    (have,) = run_reference(fixed, feeds)
    assert have.tolist() == [False, True, False, False]


def test_half_that_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx_fix_passes._comparing_floats as module

    takes = module._takes
    monkeypatch.setattr(
        module, "_takes", lambda s, op, d, shape: d == TensorProto.FLOAT and takes(s, op, d, shape)
    )
    fixed, _ = run_pass(PASS, is_nan("float16"))
    assert ops(fixed) == ["Cast", "Equal", "Not"]
    feeds = {"x": np.array([0, np.nan, np.inf, 65504], np.float16)}
    assert run_model(fixed, feeds)[0].tolist() == [False, True, False, False]


def test_types_that_the_target_does_not_take() -> None:
    (reason,) = skip_reasons(PASS, is_nan("double"))
    assert "takes no Equal of DOUBLE either" in reason
    (reason,) = skip_reasons(PASS, is_nan("bfloat16"))
    assert "takes no Equal of BFLOAT16 either" in reason
    fixed, _ = run_pass(ReplaceIsNaN(everywhere=True), is_nan("bfloat16"), target="trt-10.3")
    feeds = {"x": np.array([0, np.nan, np.inf], ml_dtypes.bfloat16)}
    assert run_reference(fixed, feeds)[0].tolist() == [False, True, False]


def test_unknown_types() -> None:
    (reason,) = skip_reasons(
        PASS,
        """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
        g (float[N] x) => (bool[N] y) { y = my.f (x) }
        <opset_import: ["" : 14], domain: "my"> f (a) => (b) { b = IsNaN (a) }""",
    )
    assert "the element type is not known" in reason


def test_targets_that_have_it() -> None:
    assert skip_reasons(PASS, is_nan(), target="trt-8.2") == []


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[N] x) => (bool[N] y) {
      y = If (c) <
        then_branch = one () => (bool[N] t) { t = IsNaN (x) },
        else_branch = two () => (bool[N] e) { z = Neg (x) e = IsNaN (z) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        feed = {"c": np.array(way), "x": VALUES}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "IsNaN":
            continue
        fixed, _ = run_pass(PASS, case.model, target="trt-7.2")
        seen += "IsNaN" not in ops(fixed)
        for given, wanted in case.data_sets or []:
            feeds = {"x": array(given[0])}
            np.testing.assert_array_equal(run_reference(fixed, feeds)[0], array(wanted[0]))
    assert seen
