"""InlineFunctions on releases that read functions, with faults."""

from __future__ import annotations

import pytest
from inlining import HEAD, X, inlined, reasons, unchanged

from onnx_fix.testing import as_proto, assert_same_outputs, ops

PLAIN = (
    HEAD
    + """
g (float[N] x) => (float[N] y) { y = my.clean (x) }
<domain: "my", opset_import: ["" : 18]> clean (x0) => (y0) { y0 = Neg (x0) }"""
)


@pytest.mark.parametrize("target", ["trt-9.0", "trt-10.3", "trt-11.1", "rtx-1.7"])
def test_functions_without_fault_are_left_alone(target: str) -> None:
    unchanged(PLAIN, target)
    assert ops(inlined(PLAIN, target, always=True)) == ["Neg"]


FAULTY = {
    "takes the built-in Relu in its place": PLAIN.replace("clean", "Relu"),
    "two have this one": PLAIN.replace(
        "y = my.clean (x)", "b = my.clean (x) y = your.clean (b)"
    ).replace('"my" : 1]', '"my" : 1, "your" : 1]', 1)
    + '<domain: "your", opset_import: ["" : 18]> clean (x1) => (y1) { y1 = Abs (x1) }',
    "with the opset of the model": PLAIN.replace(
        '["" : 18]> clean (x0) => (y0) { y0 = Neg (x0) }',
        '["" : 11]> clean (x0) => (y0) { y0 = ReduceSum <axes = [0], keepdims = 0> (x0) }',
    ).replace("(float[N] y)", "(float y)"),
    "leaves one out": PLAIN.replace("clean (x0)", "clean (x0, extra)"),
    "takes no empty input": PLAIN.replace("clean (x0)", "clean (x0, extra)").replace(
        "my.clean (x)", 'my.clean (x, "")'
    ),
    "every output of a call": PLAIN.replace("(y0) {", "(y0, z0) { z0 = Abs (x0)"),
}


@pytest.mark.parametrize("reason", sorted(FAULTY))
@pytest.mark.parametrize("target", ["trt-9.0", "trt-10.3", "rtx-1.7"])
def test_faults_of_releases_that_read_functions(reason: str, target: str) -> None:
    lines = reasons(FAULTY[reason], target)
    assert lines
    assert all(reason in line for line in lines)
    fixed = inlined(FAULTY[reason], target)
    assert not any(n.domain for n in fixed.graph.node)


def test_input_named_like_a_tensor_outside() -> None:
    text = PLAIN.replace("y = my.clean (x)", "x0 = Abs (x) y = my.clean (x)")
    for target in ("trt-9.0", "trt-10.7"):
        assert "mistakes the input 'x0'" in reasons(text, target)[0]
    unchanged(text, "trt-10.8")
    unchanged(PLAIN.replace("x0", "x"), "trt-10.3")


def test_same_meaning_at_another_opset_is_no_fault() -> None:
    unchanged(PLAIN.replace('["" : 18]> clean', '["" : 17]> clean'), "trt-10.3")


def test_callers_of_a_faulty_function_are_inlined_too() -> None:
    text = (
        HEAD
        + """ g (float[N] x) => (float[N] y, float[N] z) { y = my.outer (x) z = my.clean (x) }
    <domain: "my", opset_import: ["" : 18]> Relu (x0) => (y0) { y0 = Neg (x0) }
    <domain: "my", opset_import: ["" : 18]> clean (x1) => (y1) { y1 = Neg (x1) }
    <domain: "my", opset_import: ["" : 18, "my" : 1]> outer (x2) => (y2) {
      t2 = my.Relu (x2)
      y2 = my.clean (t2)
    }"""
    )
    assert reasons(text, "trt-10.3") == [
        "my::Relu inlined (1 call): TensorRT 10.3 takes the built-in Relu in its place",
        "my::outer inlined (1 call): it calls my::Relu, which is inlined",
    ]
    fixed = inlined(text, "trt-10.3")
    assert [(n.domain, n.op_type) for n in fixed.graph.node] == [
        ("", "Neg"),
        ("my", "clean"),
        ("my", "clean"),
    ]
    assert [f.name for f in fixed.functions] == ["clean"]
    assert_same_outputs(as_proto(text), fixed, {"x": X})


def test_deep_nesting() -> None:
    bodies = [
        f"""<domain: "my", opset_import: ["" : 18, "my" : 1]> f{k} (x{k}) => (y{k}) {{
        y{k} = {f"my.f{k + 1} (x{k})" if k < 24 else f"Neg (x{k})"} }}"""
        for k in range(25)
    ]
    text = HEAD + " g (float[N] x) => (float[N] y) { y = my.f0 (x) }" + "\n".join(bodies)
    unchanged(text, "trt-10.3")
    assert len(reasons(text, "trt-11.0")) == 25
    assert ops(inlined(text, "trt-11.0")) == ["Neg"]
