"""fold-if: the branch that is taken, where constants or static sizes say which."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.fold_if import FoldIf

PASS = FoldIf()
ALWAYS = FoldIf(everywhere=True)

SQUEEZE = """
    s = Shape (x) k = Constant <value = int64 {K}> () d = Gather (s, k)
    one = Constant <value = int64 {1}> () c = Equal (d, one)
    y = If (c) <
        then_branch = t () => (float[A] a) {
            ax = Constant <value = int64[1] {K}> () a = Squeeze (x, ax) },
        else_branch = e () => (float[B, C] b) { b = Identity (x) }
    >
"""


def squeeze(shape: str, axis: int, output: str, opset: int = 13) -> str:
    body = SQUEEZE.replace("K", str(axis))
    if opset < 13:
        body = body.replace("Squeeze (x, ax)", f"Squeeze <axes = [{axis}]> (x)")
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g (float[{shape}] x) => (float[{output}] y) {{ {body} }}"""


def data(*shape: int) -> dict[str, NDArray[np.generic]]:
    return {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("target", ["trt-7.2", "trt-10.3"])
def test_a_size_that_is_static(opset: int, target: str) -> None:
    before = squeeze("N, 1", 1, "P", opset)
    after = ["Constant", "Squeeze"]
    feeds = [data(n, 1) for n in (4, 1, 0)]
    assert_rewrites(PASS, before, after=after, feeds=feeds, target=target)
    other = squeeze("N, 3", 1, "P, Q", opset)
    # onnxruntime does not load the original: its other branch is wrong for this size.
    fixed = assert_rewrites(PASS, other, after=["Identity"], target=target)
    for n in (4, 1, 0):
        np.testing.assert_array_equal(run_model(fixed, data(n, 3))[0], data(n, 3)["x"])


def test_targets_that_take_it() -> None:
    assert skip_reasons(PASS, squeeze("N, 1", 1, "P"), target="trt-8.2") == []


def test_a_size_that_is_not_known_stays() -> None:
    for shape in ("N, M", "N, N"):
        assert skip_reasons(ALWAYS, squeeze(shape, 1, "P, Q")) == []


COMPARED = """<ir_version: 8, opset_import: ["" : 16]>
g (float[N, 3] x) => (float[N, 3] y) {
    s = Shape (x) k = Constant <value = int64 {1}> () d = Gather (s, k)
    n = Constant <value = int64 {NUMBER}> ()
    CONDITION
    y = If (c) <
        then_branch = t () => (float[N, 3] a) { a = Neg (x) },
        else_branch = e () => (float[N, 3] b) { b = Abs (x) }
    >
}"""


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize(
    "condition",
    [
        "c = Equal (d, n)",
        "c = Less (d, n)",
        "c = LessOrEqual (d, n)",
        "c = Greater (d, n)",
        "c = GreaterOrEqual (d, n)",
        "e = Equal (d, n) c = Not (e)",
        "e = Less (d, n) h = Greater (d, n) c = Or (e, h)",
        "e = LessOrEqual (d, n) h = GreaterOrEqual (d, n) c = And (e, h)",
        "e = Sub (d, n) c = Cast <to = 9> (e)",
        "e = Cast <to = 9> (n) h = Cast <to = 7> (e) c = Equal (h, k)",
        "r = Shape (s) w = Constant <value = int64[1] {2}> () c = Equal (r, w)",
    ],
)
def test_conditions(condition: str, number: int) -> None:
    text = COMPARED.replace("CONDITION", condition).replace("NUMBER", str(number))
    fixed, _ = run_pass(PASS, text)
    assert "If" not in ops(fixed) and ops(fixed)[-1] in ("Neg", "Abs")
    assert_same_outputs(onnx.parser.parse_model(text), fixed, data(4, 3))


def test_conditions_of_what_is_not_known() -> None:
    for condition in ("c = Greater (q, n)", "e = Equal (q, n) c = Not (e)"):
        text = COMPARED.replace("CONDITION", "z = Sub (k, k) q = Gather (s, z) " + condition)
        assert skip_reasons(PASS, text.replace("NUMBER", "3")) == []


def test_constant_conditions() -> None:
    for value in (0, 1):
        text = f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[N] x) => (float[N] y, float[N] z) <float[1] w = {{3.0}}> {{
            k = Constant <value = bool {{{value}}}> ()
            y, z = If (k) <
                then_branch = t () => (float[N] a, float[N] b) <float[1] own = {{2.0}}> {{
                    m = Mul (x, own) a = Add (m, w) b = Identity (m) }},
                else_branch = e () => (float[N] a, float[N] b) {{
                    m = Neg (x) a = Identity (m) b = Identity (m) }}
            >
        }}"""
        after = ["Mul", "Add", "Identity"] if value else ["Neg", "Identity", "Identity"]
        assert_rewrites(ALWAYS, text, after=after, feeds=[data(3), data(0)], target="trt-10.3")
        # An If of a constant is taken.
        assert skip_reasons(PASS, text) == []


def test_a_branch_that_passes_a_tensor_on_twice() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x) => (float[N] p, float[N] z) {
        k = Constant <value = bool {1}> ()
        y, z = If (k) <
            then_branch = t () => (float[N] a, float[N] a) { a = Neg (x) },
            else_branch = e () => (float[N] b, float[N] d) { b = Abs (x) d = Abs (x) }
        >
        p = Relu (y)
    }"""
    before = onnx.parser.parse_model(text)
    fixed, _ = run_pass(ALWAYS, before)
    assert "If" not in ops(fixed)
    (x,) = data(3).values()
    p, z = run_model(fixed, {"x": x})
    np.testing.assert_array_equal(z, np.multiply(x, -1))
    np.testing.assert_array_equal(p, np.maximum(z, 0))


def test_a_branch_that_is_not_taken_and_refused() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N, M] x) => (float[P, Q] y) {
        k = Constant <value = bool {1}> ()
        y = If (k) <
            then_branch = t () => (float[N, M] a) { a = Neg (x) },
            else_branch = e () => (float[P, Q] b) { n = NonZero (x) b = Cast <to = 1> (n) }
        >
    }"""
    assert_rewrites(PASS, text, after=["Neg"], feeds=[data(2, 3)], target="trt-7.2")


NESTED = """<ir_version: 8, opset_import: ["" : 13]>
g (bool c, float[N] x) => (float[N] y) {
    k = Constant <value = bool {1}> ()
    y = If (k) <
        then_branch = t () => (float[N] a) {
            a = If (INNER) <
                then_branch = t2 () => (float[N] p) { p = Neg (x) },
                else_branch = e2 () => (float[N] q) { q = Abs (x) }
            >
        },
        else_branch = e () => (float[N] b) { b = Exp (x) }
    >
}"""


def test_nested() -> None:
    before = onnx.parser.parse_model(NESTED.replace("INNER", "k"))
    fixed, _ = run_pass(ALWAYS, before)
    assert ops(fixed) == ["Neg"]
    assert_same_outputs(before, fixed, {**data(3), "c": np.array(False)})
    (reason,) = skip_reasons(ALWAYS, NESTED.replace("INNER", "c"))
    want = "the branch that is taken has an inner graph: the condition 'c' of an If is known at run"
    assert reason == f"{want} time only"


def test_what_one_if_gives_decides_another() -> None:
    """The first If is taken by the target; the second is not, and rests on it."""
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N, 1] x, int64[4] n) => (float[P] y) {
        k = Constant <value = int64 {4}> () one = Constant <value = int64 {1}> ()
        size = Size (n) c = Equal (size, k)
        d = If (c) < then_branch = a () => (int64 p) { p = Identity (one) },
                     else_branch = b () => (int64 q) { q = Identity (k) } >
        f = Equal (d, one)
        y = If (f) < then_branch = t () => (float[A] r) {
                         ax = Constant <value = int64[1] {1}> () r = Squeeze (x, ax) },
                     else_branch = e () => (float[B, C] s) { s = Identity (x) } >
    }"""
    fixed, _ = run_pass(PASS, text, target="trt-10.3")
    assert "If" not in ops(fixed) and "Squeeze" in ops(fixed)
    before = onnx.parser.parse_model(text)
    for n in (3, 0):
        feed = {**data(n, 1), "n": np.arange(4)}
        assert_same_outputs(before, fixed, feed)


def test_a_loop_inside_the_branch() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x) => (float[N] y) {
        k = Constant <value = bool {1}> () m = Constant <value = int64 {2}> ()
        y = If (k) <
            then_branch = t () => (float[N] a) {
                a = Loop (m, k, x) < body = b (int64 i, bool c, float[N] s) =>
                    (bool d, float[N] r) { d = Identity (c) r = Mul (s, x) } > },
            else_branch = e () => (float[N] b) { b = Abs (x) } >
    }"""
    feeds = [data(3), data(0)]
    assert_rewrites(ALWAYS, text, after=["Mul", "Mul"], feeds=feeds, target="trt-10.3")


def test_inside_a_loop() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (int64 trips, float[2, N] x) => (float[2, N] y) {
        go = Constant <value = bool {1}> () s = Shape (x) z = Constant <value = int64 {0}> ()
        y = Loop (trips, go, x) <body = b
            (int64 k, bool c, float[2, N] old) => (bool d, float[2, N] next) {
                d = Identity (c) n = Gather (s, z) two = Constant <value = int64 {2}> ()
                q = Equal (n, two)
                next = If (q) <
                    then_branch = t () => (float[2, N] p) { p = Add (old, x) },
                    else_branch = e () => (float[2, N] r) { r = Neg (old) }
                >
            }
        >
    }"""
    before = onnx.parser.parse_model(text)
    fixed, results = run_pass(ALWAYS, before)
    assert [c.scope for r in results for c in r.changes] == ["y/body"]
    for trips in (0, 1, 3):
        assert_same_outputs(before, fixed, {**data(2, 3), "trips": np.array(trips)})


def test_functions() -> None:
    text = """<ir_version: 10, opset_import: ["" : 16, "my" : 1]>
    g (float[N] x) => (float[N] y) { y = my.f <m = 0.5> (x) }
    <opset_import: ["" : 16], domain: "my">
    f <m> (a) => (b) {
        k = Constant <value = bool {1}> ()
        b = If (k) <
            then_branch = t () => (float[N] p) { p = LeakyRelu <alpha: float = @m> (a) },
            else_branch = e () => (float[N] q) { q = Abs (a) }
        >
    }"""
    (reason,) = skip_reasons(ALWAYS, text)
    assert "a parameter of the enclosing function; inline it" in reason


def test_weights_of_a_branch_that_share_a_name() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x) => (float[N] y) {
        k = Constant <value = bool {1}> ()
        u = If (k) <
            then_branch = t () => (float[N] p) <float[1] w = {2.0}> { m = Mul (x, w) p = Neg (m) },
            else_branch = e () => (float[N] q) { q = Abs (x) }
        >
        y = If (k) <
            then_branch = t2 () => (float[N] p) <float[1] w = {3.0}> { m = Mul (u, w) p = Exp (m) },
            else_branch = e2 () => (float[N] q) { q = Abs (u) }
        >
    }"""
    fixed = assert_rewrites(ALWAYS, text, after=["Mul", "Neg", "Mul", "Exp"], feeds=[data(3)])
    assert len({t.name for t in fixed.graph.initializer}) == 2


def test_onnx_node_tests_stay(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "If":
            continue
        fixed, results = run_pass(ALWAYS, case.model)
        assert not any(r.changes for r in results) and fixed == case.model
        seen += 1
    assert seen >= 3
