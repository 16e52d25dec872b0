"""Constants that half precision cannot hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.half_constants import HalfConstants

Run = Callable[..., list[CheckFinding]]


def model(body: str, opset: int = 13, dtype: str = "float") -> str:
    head = f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
    return head + f"g ({dtype}[2,3] x, bool[2,3] m) => ({dtype}[2,3] y) {{ {body} }}"


EPSILON = "e = Constant<value=float{1e-12}>() "
UNDERFLOWS = {
    "added": EPSILON + "n = ReduceL2<axes=[1]>(x) d = Add(n, e) y = Div(x, d)",
    "maximum": EPSILON + "n = ReduceL2<axes=[1]>(x) d = Max(n, e) y = Div(x, d)",
    "clip and expand": EPSILON
    + "n = ReduceL2<axes=[1]>(x) c = Clip(n, e, ) s = Shape(x) d = Expand(c, s) y = Div(x, d)",
    "square root": EPSILON + "q = Mul(x, x) a = Add(q, e) r = Sqrt(a) y = Div(x, r)",
    "reciprocal": EPSILON + "a = Add(x, e) y = Reciprocal(a)",
    "logarithm": EPSILON + "a = Add(x, e) y = Log(a)",
    "power": EPSILON + "h = Constant<value=float{-0.5}>() a = Add(x, e) y = Pow(a, h)",
    "a copy": EPSILON + "u = Identity(e) a = Add(x, u) y = Log(a)",
    "divided by": EPSILON + "y = Div(x, e)",
    "by attribute": "e = Constant<value_float=1e-12>() a = Add(x, e) y = Log(a)",
}
OVERFLOWS = {
    "masked": "e = Constant<value=float{-1e9}>() w = Where(m, x, e) y = Softmax<axis=1>(w)",
    "lowest": "e = Constant<value=float{-3.4e38}>() w = Add(x, e) y = Softmax<axis=1>(w)",
    "made": "s = Shape(x) e = ConstantOfShape<value=float[1]{1e9}>(s) y = Mul(x, e)",
    "one of many": "e = Constant<value=float[3]{1.0,2.0,-65520.0}>() y = Mul(x, e)",
}
HOLDS = {
    "a larger epsilon": "e = Constant<value=float{1e-6}>() a = Add(x, e) y = Log(a)",
    "the smallest subnormal": "e = Constant<value=float{5.96e-8}>() a = Add(x, e) y = Log(a)",
    "zero": "e = Constant<value=float{0.0}>() a = Add(x, e) y = Log(a)",
    "not divided by": EPSILON + "y = Add(x, e)",
    "the numerator": EPSILON + "a = Add(x, e) y = Div(a, x)",
    "an upper bound": EPSILON + "a = Clip(x, , e) y = Log(a)",
    "one small among others": "e = Constant<value=float[3]{1.0,1e-12,2.0}>() "
    "a = Add(x, e) y = Log(a)",
    "a bound": "e = Constant<value=float{1e9}>() y = Min(x, e)",
    "a bound of clip": "e = Constant<value=float{1e9}>() y = Clip(x, , e)",
    "compared": "e = Constant<value=float{1e9}>() c = Less(x, e) y = Cast<to=1>(c)",
    "the largest half": "e = Constant<value=float{65504.0}>() y = Add(x, e)",
}


@pytest.mark.parametrize("case", UNDERFLOWS)
def test_an_epsilon_that_vanishes(run: Run, case: str) -> None:
    opset = 13 if case != "by attribute" else 12
    (found,) = run(HalfConstants, model(UNDERFLOWS[case], opset))
    assert found.severity is Severity.WARNING
    assert "if built with --fp16: 1e-12 becomes 0" in found.why


@pytest.mark.parametrize("case", OVERFLOWS)
def test_a_number_that_becomes_infinite(run: Run, case: str) -> None:
    (found,) = run(HalfConstants, model(OVERFLOWS[case]))
    assert "becomes infinite" in found.why and found.why.startswith("if built with --fp16")


@pytest.mark.parametrize("case", HOLDS)
def test_what_half_holds_or_does_not_matter(run: Run, case: str) -> None:
    assert run(HalfConstants, model(HOLDS[case])) == []


def test_numpy_agrees_about_the_limits() -> None:
    with np.errstate(over="ignore"):
        assert np.float16(2.0**-25) == 0 and np.float16(np.nextafter(2.0**-25, 1)) != 0
        assert np.isinf(np.float16(65520.0)) and np.float16(65519.0) == 65504


def test_what_to_do_depends_on_the_release(run: Run) -> None:
    text = model(UNDERFLOWS["maximum"])
    (found,) = run(HalfConstants, text, "trt-8.4")
    assert "--precisionConstraints=obey --layerPrecisions=d:fp32,y:fp32" in found.mend
    (found,) = run(HalfConstants, text, "trt-8.2")
    assert "--precisionConstraints" in found.mend and "--layerPrecisions" not in found.mend
    (found,) = run(HalfConstants, text, "trt-7.2")
    assert "build without --fp16" in found.mend and "Constraints" not in found.mend
    assert len(run(HalfConstants, text, "trt-10.16")) == 1
    assert run(HalfConstants, text, "trt-11.0") == []
    assert run(HalfConstants, text, "rtx-1.7") == []


def test_one_finding_names_all_readers(run: Run) -> None:
    body = "e = Constant<value=float{-1e9}>() a = Where(m, x, e) b = Where(m, a, e) y = Exp(b)"
    (found,) = run(HalfConstants, model(body))
    assert "'Where a', 'Where b'" in found.why


def test_initializers_doubles_and_what_is_not_read(run: Run) -> None:
    def with_weight(value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> list[CheckFinding]:
        kind = "double" if value.dtype == np.float64 else "float"
        proto = parse_model(model("y = Mul(x, w)", dtype=kind))
        proto.graph.initializer.append(numpy_helper.from_array(value, "w"))
        return run(HalfConstants, proto)

    assert len(with_weight(np.array([1e9], np.float32))) == 1
    assert len(with_weight(np.array([1e9], np.float64))) == 1
    assert with_weight(np.array([np.inf], np.float32)) == []
    assert with_weight(np.array([], np.float32).reshape(0, 3)) == []
    assert with_weight(np.full((4097, 1), 1e9, np.float32)) == []


def test_inside_a_branch_and_a_function(run: Run) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 13, "my" : 1]>\n'
        "g (bool c, float[2] x) => (float[2] y) { y = If(c) <"
        " then_branch = t () => (float[2] o) {"
        " e = Constant<value=float{1e-12}>() a = Add(x, e) o = Log(a) },"
        " else_branch = e () => (float[2] p) { p = my.f(x) } > }\n"
        '<domain: "my", opset_import: ["" : 13]> f (v) => (w)'
        " { e = Constant<value=float{-1e9}>() w = Add(v, e) }"
    )
    found = run(HalfConstants, text, "trt-10.3")
    assert [f.scope for f in found] == ["y/then_branch", "function my::f"]
