"""Element types of inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from onnx import helper
from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.binding_types import BINDING_REFUSED, BindingTypes

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'


def pair(dtype: str) -> str:
    return HEAD + f"g ({dtype}[2] x) => ({dtype}[2] y) {{ y = Identity(x) }}"


@pytest.mark.parametrize(
    ("dtype", "target", "narrowed"),
    [
        ("int64", "trt-7.0", True),
        ("int64", "trt-8.6", True),
        ("int64", "trt-9.0", False),
        ("int64", "rtx-1.7", False),
        ("double", "trt-8.0", True),
        ("double", "rtx-1.7", True),
        ("double", "trt-7.2", False),
        ("int32", "trt-7.2", False),
        ("float", "trt-7.2", False),
    ],
)
def test_types_that_the_engine_narrows(run: Run, dtype: str, target: str, narrowed: bool) -> None:
    found = run(BindingTypes, pair(dtype), target)
    assert [f.tensor for f in found] == (["x", "y"] if narrowed else [])
    assert all(f.code is BindingTypes.code and f.severity is Severity.WARNING for f in found)


def test_containers_are_no_bindings(run: Run) -> None:
    model = HEAD + (
        "g (seq(float[2]) x, optional(float[2]) o, int64 i) => (float[2] y, seq(float[2]) z)"
        " { y = SequenceAt(x, i) z = Identity(x) }"
    )
    x, o, z = run(BindingTypes, model, "trt-10.3")
    assert (x.code, x.severity, x.tensor) == (BINDING_REFUSED, Severity.ERROR, "x")
    assert "Failed to convert ONNX date type" in x.message and "sequence" in x.why
    assert o.tensor == "o" and "optional" in o.why
    assert (z.tensor, z.severity) == ("z", Severity.UNKNOWN)


@pytest.mark.parametrize(
    ("declared", "target", "refused"),
    [
        ("uint16[2]", "trt-10.3", True),
        ("string[2]", "rtx-1.7", True),
        ("double[2]", "trt-7.2", True),
        ("uint8[2]", "trt-8.4", True),
        ("uint8[2]", "trt-8.5", False),
        ("bfloat16[2]", "trt-8.6", True),
        ("bfloat16[2]", "trt-9.0", False),
        ("float[1,1,1,1,1,1,1,1,2]", "trt-10.3", True),
        ("float[1,1,1,1,1,1,1,2]", "trt-10.3", False),
    ],
)
def test_an_input_that_no_node_reads(run: Run, declared: str, target: str, refused: bool) -> None:
    model = HEAD + f"g (float[2] x, {declared} u) => (float[2] y) {{ y = Neg(x) }}"
    found = [f for f in run(BindingTypes, model, target) if f.code is BINDING_REFUSED]
    assert [(f.tensor, f.severity) for f in found] == ([("u", Severity.ERROR)] * refused)


def test_what_a_node_reads_is_judged_with_the_node(run: Run) -> None:
    assert run(BindingTypes, pair("uint16"), "trt-10.3") == []
    model = parse_model(pair("uint16"))
    model.graph.output[0].CopyFrom(helper.make_empty_tensor_value_info("y"))
    assert run(BindingTypes, model, "trt-10.3") == []


def test_initializers_among_the_inputs_are_no_bindings(run: Run) -> None:
    model = (
        '<ir_version: 3, opset_import: ["" : 9]>\n'
        "g (float[2] x, int64[1] s) => (float[2] y) <int64[1] s = {2}> { y = Reshape(x, s) }"
    )
    assert run(BindingTypes, model, "trt-7.2") == []
