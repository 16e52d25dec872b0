"""remove-optionals: what is asked of an optional is known."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.fold_if import FoldIf
from onnx_fix_passes.remove_optionals import RemoveOptionals
from onnx_fix_passes.remove_sequences import RemoveSequences

PASS = RemoveOptionals()


def text(signature: str, body: str, opset: int = 18) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]> g {signature} {{ {body} }}'


X = [{"x": np.arange(n, dtype=np.float32)} for n in (3, 1, 0)]


@pytest.mark.parametrize("opset", [15, 18])
def test_an_optional_with_an_element(opset: int) -> None:
    before = text(
        "(float[N] x) => (float[N] y, bool h)",
        "o = Optional (x) h = OptionalHasElement (o) e = OptionalGetElement (o) y = Neg (e)",
        opset,
    )
    fixed = assert_rewrites(PASS, before, after=["Identity", "Neg"], feeds=X)
    assert run_model(fixed, X[0])[1].dtype == bool


def test_what_is_no_optional_at_all() -> None:
    before = text(
        "(float[N] x) => (float[N] y, bool h, bool s)",
        "h = OptionalHasElement (x) e = OptionalGetElement (x) q = SequenceConstruct (x) "
        "s = OptionalHasElement (q) y = Neg (e)",
    )
    fixed, _ = run_pass(PASS, before)
    assert ops(fixed) == ["Identity", "Identity", "Neg"]
    for feed in X:
        want = [np.negative(feed["x"]), np.asarray(True), np.asarray(True)]
        for have, wanted in zip(run_model(fixed, feed), want, strict=True):
            np.testing.assert_array_equal(have, wanted)


def test_an_optional_with_a_sequence() -> None:
    before = text(
        "(float[N] x) => (float[N] y)",
        "k = Constant <value = int64 {0}> () q = SequenceConstruct (x) o = Optional (q) "
        "e = OptionalGetElement (o) y = SequenceAt (e, k)",
        15,
    )
    fixed, _ = run_pass([PASS, RemoveSequences()], before)
    assert ops(fixed) == ["Identity"]
    for feed in X:
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


def test_optionals_without_an_element_and_the_if_on_them() -> None:
    body = (
        "NONE h = OptionalHasElement (o) y = If (h) < "
        "then_branch = t () => (float[N] a) { b = OptionalGetElement (o) a = Add (x, b) }, "
        "else_branch = f () => (float[N] c) { c = Neg (x) } >"
    )
    kind = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["N"])
    model = onnx.parser.parse_model(
        text(
            "(float[N] x) => (float[N] y)",
            body.replace("NONE ", "")
            .replace("OptionalHasElement (o)", "OptionalHasElement (x)")
            .replace("OptionalGetElement (o)", "OptionalGetElement (x)"),
            15,
        )
    )
    for node in (model.graph.node[0], model.graph.node[1].attribute[0].g.node[0]):
        node.input[0] = "o"
    model.graph.node.insert(0, onnx.helper.make_node("Optional", [], ["o"], type=kind))
    fixed, results = run_pass([PASS, FoldIf(everywhere=True)], model)
    assert ops(fixed) == ["Neg"]
    for feed in X:
        assert_same_outputs(model, fixed, feed)
    reasons = {s.reason for r in results for s in r.skipped}
    assert any("has no element" in reason for reason in reasons)


def test_an_omitted_input() -> None:
    model = onnx.parser.parse_model(
        text("(float[N] x) => (float[N] y, bool h)", "h = OptionalHasElement (x) y = Neg (x)")
    )
    del model.graph.node[0].input[:]
    fixed, _ = run_pass(PASS, model)
    assert ops(fixed) in (["Neg", "Identity"], ["Identity", "Neg"])
    assert not run_model(fixed, X[0])[1]


@pytest.mark.parametrize(
    ("signature", "body", "reason"),
    [
        (
            "(optional(float[N]) o) => (float[N] y)",
            "y = OptionalGetElement (o)",
            "comes from outside",
        ),
        ("(optional(float[N]) o) => (bool y)", "y = OptionalHasElement (o)", "comes from outside"),
        ("(float[N] x) => (optional(float[N]) o)", "o = Optional (x)", "leaves the graph"),
    ],
)
def test_what_is_left_alone(signature: str, body: str, reason: str) -> None:
    reasons = skip_reasons(PASS, text(signature, body))
    assert len(reasons) == 1 and reason in reasons[0]
