"""ReplaceInstanceNormalization: scale and bias of run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.testing import as_proto, assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_instance_normalization import ReplaceInstanceNormalization

PASS = ReplaceInstanceNormalization()
Shape = tuple[int | str | None, ...]


def model_of(
    x: Shape | None,
    *,
    opset: int = 11,
    dtype: str = "float32",
    channels: int | None = 3,
    **attrs: Any,
) -> ModelProto:
    """One node whose scale and bias are inputs."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    given = [helper.make_tensor_value_info("x", kind, x)]
    given += [helper.make_tensor_value_info(n, kind, [channels]) for n in "sb"]
    node = helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"], name="norm", **attrs)
    graph = helper.make_graph([node], "g", given, [helper.make_tensor_value_info("y", kind, x)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def feeds_of(*shape: int, dtype: str = "float32") -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(3)
    of = {"x": shape, "s": (3,), "b": (3,)}
    return {k: (rng.standard_normal(v) * 2 + 1).astype(dtype) for k, v in of.items()}


@pytest.mark.parametrize("opset", [9, 11, 13])
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_the_node_keeps_doing_what_it_does(opset: int, epsilon: float) -> None:
    model = model_of(("N", 3, "H", "W"), opset=opset, epsilon=epsilon)
    fixed, _ = run_pass(PASS, model)
    assert ops(fixed).count("InstanceNormalization") == 1 and ops(fixed)[-1] == "Add"
    for shape in ((1, 3, 2, 2), (2, 3, 5, 1), (0, 3, 2, 2)):
        assert_same_outputs(model, fixed, feeds_of(*shape), exact=False, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (model_of(("N", None, "H", "W"), channels=None), (2, 3, 4, 5)),
        (model_of(("N", 3, "D", "H", "W")), (2, 3, 4, 5, 2)),
    ],
    ids=["channels", "volume"],
)
def test_its_definition(model: ModelProto, shape: tuple[int, ...]) -> None:
    fixed, _ = run_pass(PASS, model)
    assert "InstanceNormalization" not in ops(fixed) and ops(fixed).count("ReduceMean") == 2
    assert_same_outputs(model, fixed, feeds_of(*shape), exact=False, rtol=1e-4, atol=1e-5)


def test_half_precision_is_defined_in_float32() -> None:
    model = model_of((2, 3, 4, 5, 2), dtype="float16")
    fixed, _ = run_pass(PASS, model)
    feeds = feeds_of(2, 3, 4, 5, 2, dtype="float16")
    (have,) = run_model(fixed, feeds)
    wide = {k: v.astype(np.float32) for k, v in feeds.items()}
    (want,) = run_model(model_of((2, 3, 4, 5, 2)), wide)
    assert have.dtype == np.float16
    np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), 5e-3, 5e-3)


def test_what_the_target_takes_is_left_alone() -> None:
    model = model_of(("N", 3, "H", "W"))
    after, results = run_pass(PASS, model, target="trt-10.3")
    assert after == model and not any(r.changes or r.skipped for r in results)


def test_refusals_say_why() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N,3,4,4] x, float[3] s, int64[R] t) => (float[A,B,C,D] y) {
        r = Reshape (x, t) u = InstanceNormalization (r, s, s) v = Shape (u)
        w = Reshape (u, v) y = Reshape (w, t) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "rank" in reason
    text = """<ir_version: 8, opset_import: ["" : 13, "own" : 1]>
    g (float[1,2,4,4] x, float[2] s) => (float[1,2,4,4] y) { y = own.norm <e = 0.5> (x, s) }
    <opset_import: ["" : 13], domain: "own">
    norm <e> (v, k) => (z) { z = InstanceNormalization <epsilon: float = @e> (v, k, k) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "inline it first" in reason


def test_inside_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[N,3,H,W] x, float[3] s) => (float[N,3,H,W] y) {
        y = If (c) <
            then_branch = then () => (float[N,3,H,W] a) { a = InstanceNormalization (x, s, s) },
            else_branch = other () => (float[N,3,H,W] b) { b = Neg (x) }
        >
    }"""
    model = as_proto(text)
    fixed, results = run_pass(PASS, model)
    assert sum(len(r.changes) for r in results) == 1
    for c in (True, False):
        feeds = {k: v for k, v in feeds_of(2, 3, 4, 5).items() if k != "b"} | {"c": np.asarray(c)}
        assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=1e-5)


def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or ops(case.model) != ["InstanceNormalization"]:
            continue
        fixed, results = run_pass(PASS, case.model)
        assert any(r.changes for r in results)
        for inputs, outputs in case.data_sets or []:
            names = [i.name for i in case.model.graph.input]
            (have,) = run_model(fixed, dict(zip(names, map(np.asarray, inputs), strict=True)))
            want = np.asarray(outputs[0]).astype(np.float64)
            np.testing.assert_allclose(have.astype(np.float64), want, 1e-4, 1e-5)
        seen += 1
    assert seen == 2
