"""Local functions under the rules of each release."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from onnx import ModelProto
from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_checks.local_functions import (
    CALL_INPUTS,
    CALL_OUTPUTS,
    INPUT_ALIAS,
    NAME_COLLISION,
    OTHER_OPSET,
    SHADOWED,
    LocalFunctions,
)
from onnx_fix.testing import run_pass
from onnx_fix_passes.inline_functions import InlineFunctions

Run = Callable[..., list[CheckFinding]]


def model(body: str, *functions: str, opset: int = 17) -> ModelProto:
    head = f'<ir_version: 10, opset_import: ["" : {opset}, "my" : 1, "other" : 1]>\n'
    text = head + f"g (float[2,3] x, float[2,3] v) => (float[2,3] y) {{ {body} }}\n"
    return parse_model(text + "\n".join(functions))


def function(name: str, rest: str, domain: str = "my", opset: int = 17) -> str:
    return f'<domain: "{domain}", opset_import: ["" : {opset}, "my" : 1]> {name} {rest}'


PLAIN = model("y = my.f(x)", function("f", "(a) => (b) { b = Neg(a) }"))
CASES: dict[str, tuple[ModelProto, str, Code, Severity]] = {
    "not read": (PLAIN, "trt-8.6", LocalFunctions.code, Severity.ERROR),
    "not read by 7.0": (PLAIN, "trt-7.0", LocalFunctions.code, Severity.ERROR),
    "one name, two bodies": (
        model(
            "z = my.f(x) y = other.f(z)",
            function("f", "(a) => (b) { b = Neg(a) }"),
            function("f", "(a) => (b) { b = Abs(a) }", "other"),
        ),
        "trt-10.3",
        NAME_COLLISION,
        Severity.SILENT,
    ),
    "a built-in of another body": (
        model("y = my.Relu(x)", function("Relu", "(a) => (b) { b = Neg(a) }")),
        "trt-10.3",
        SHADOWED,
        Severity.SILENT,
    ),
    "a built-in where functions are not read": (
        model("y = my.Relu(x)", function("Relu", "(a) => (b) { b = Neg(a) }")),
        "trt-8.6",
        SHADOWED,
        Severity.SILENT,
    ),
    "a plugin": (
        model(
            "y = my.EfficientNMS_TRT(x)",
            function("EfficientNMS_TRT", "(a) => (b) { b = Neg(a) }"),
        ),
        "trt-10.7",
        SHADOWED,
        Severity.UNKNOWN,
    ),
    "softmax of another opset": (
        model("y = my.f(x)", function("f", "(a) => (b) { b = Softmax(a) }", opset=11)),
        "trt-10.3",
        OTHER_OPSET,
        Severity.SILENT,
    ),
    "axes of another opset": (
        model(
            "y = my.f(x)",
            function(
                "f",
                "(a) => (b) { u = Unsqueeze<axes=[0]>(a) b = Squeeze<axes=[0]>(u) }",
                opset=11,
            ),
        ),
        "trt-10.3",
        OTHER_OPSET,
        Severity.UNKNOWN,
    ),
    "fewer inputs": (
        model("y = my.f(x)", function("f", "(a, c) => (b) { b = Neg(a) }")),
        "trt-10.3",
        CALL_INPUTS,
        Severity.ERROR,
    ),
    "an empty input": (
        model("y = my.f(x, , x)", function("f", "(a, c, d) => (b) { b = Add(a, d) }")),
        "trt-10.3",
        CALL_INPUTS,
        Severity.ERROR,
    ),
    "fewer outputs": (
        model("y = my.f(x)", function("f", "(a) => (b, c) { b = Neg(a) c = Abs(a) }")),
        "trt-10.3",
        CALL_OUTPUTS,
        Severity.ERROR,
    ),
    "the name of an input outside": (
        model("y = my.f(x)", function("f", "(v) => (b) { b = Neg(v) }")),
        "trt-10.3",
        INPUT_ALIAS,
        Severity.SILENT,
    ),
    "the name of a tensor outside": (
        model("w = Abs(v) y = my.f(x)", function("f", "(w) => (b) { b = Neg(w) }")),
        "trt-9.0",
        INPUT_ALIAS,
        Severity.UNKNOWN,
    ),
}
FINE: dict[str, tuple[ModelProto, str]] = {
    "read since 9.0": (PLAIN, "trt-9.0"),
    "not called": (model("y = Neg(x)", function("f", "(a) => (b) { b = Neg(a) }")), "trt-7.2"),
    "two of one body": (
        model(
            "z = my.f(x) y = other.f(z)",
            function("f", "(a) => (b) { b = Neg(a) }"),
            function("f", "(a) => (b) { b = Neg(a) }", "other"),
        ),
        "trt-10.3",
    ),
    "a built-in of the same body": (
        model("y = my.Relu(x)", function("Relu", "(a) => (b) { b = Relu(a) }")),
        "trt-10.3",
    ),
    "another opset, the same meaning": (
        model("y = my.f(x)", function("f", "(a) => (b) { b = Add(a, a) }", opset=11)),
        "trt-10.3",
    ),
    "another opset, an axis that says all": (
        model("y = my.f(x)", function("f", "(a) => (b) { b = Softmax<axis=-1>(a) }", opset=11)),
        "trt-10.3",
    ),
    "a plugin after 10.14": (
        model(
            "y = my.EfficientNMS_TRT(x)",
            function("EfficientNMS_TRT", "(a) => (b) { b = Neg(a) }"),
        ),
        "trt-10.15",
    ),
    "the bug is mended": (
        model("y = my.f(x)", function("f", "(v) => (b) { b = Neg(v) }")),
        "trt-10.8",
    ),
    "called by that very tensor": (
        model("y = my.f(v)", function("f", "(v) => (b) { b = Neg(v) }")),
        "trt-10.3",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_found_and_inlining_clears_it(run: Run, case: str) -> None:
    proto, target, code, severity = CASES[case]
    found = run(LocalFunctions, proto, target)
    assert {(f.code, f.severity) for f in found} == {(code, severity)}
    assert len(found) == (2 if code is NAME_COLLISION else 1)
    assert all(f.mended_by == "inline-functions" and f.evidence and f.source for f in found)
    fixed, _ = run_pass(InlineFunctions(), proto, target=target)
    assert run(LocalFunctions, fixed, target) == []


@pytest.mark.parametrize("case", FINE)
def test_what_the_release_reads_rightly(run: Run, case: str) -> None:
    proto, target = FINE[case]
    assert run(LocalFunctions, proto, target) == []


def test_a_name_that_a_function_nobody_calls_has_too(run: Run) -> None:
    neg, other = "(a) => (b) { b = Neg(a) }", "(a) => (b) { b = Abs(a) }"
    proto = model("y = my.f(x)", function("f", neg), function("f", other, "other"))
    for target in ("trt-9.0", "rtx-1.7"):
        (found,) = run(LocalFunctions, proto, target)
        assert (found.code, found.severity) == (NAME_COLLISION, Severity.UNKNOWN)
        assert found.mended_by is None and "remove the function" in found.mend
    (found,) = run(LocalFunctions, proto, "trt-8.6")
    assert found.code is LocalFunctions.code


def test_each_function_is_one_finding_before_9(run: Run) -> None:
    proto = model("z = my.f(x) y = my.f(z)", function("f", "(a) => (b) { b = Neg(a) }"))
    (found,) = run(LocalFunctions, proto, "trt-8.6")
    assert found.node == "z" and found.op == "my::f"
    assert "Plugin not found" in found.message


def test_calls_inside_functions_and_branches(run: Run) -> None:
    proto = model(
        "y = my.outer(x)",
        function("outer", "(a) => (b) { b = my.f(a) }"),
        function("f", "(a, c) => (b) { b = Neg(a) }"),
    )
    (found,) = run(LocalFunctions, proto, "trt-10.3")
    assert found.scope == "function my::outer" and found.code is CALL_INPUTS
    assert len(run(LocalFunctions, proto, "trt-8.6")) == 2


def test_functions_in_a_circle_are_left_to_others(run: Run) -> None:
    proto = model(
        "y = my.f(x)",
        function("f", "(a) => (b) { b = my.h(a) }"),
        function("h", "(a) => (b) { b = my.f(a) }"),
    )
    assert run(LocalFunctions, proto, "trt-10.3") == []
