"""Dynamic inputs and their profile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.dynamic_inputs import PROFILE_DOES_NOT_FIT, DynamicInputs

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 13]>\n'
MODEL = HEAD + "g (float[B,3,H] x, float[2] z) => (float[B,3,H] y) { y = Add(x, x) }"


@pytest.mark.parametrize("target", ["trt-7.0", "trt-8.6", "trt-11.5"])
def test_the_options_are_spelled_out(run: Run, target: str) -> None:
    (found,) = run(DynamicInputs, MODEL, target)
    assert found.code is DynamicInputs.code and found.severity is Severity.WARNING
    assert "B, H" in found.why
    for option in ("--minShapes", "--optShapes", "--maxShapes"):
        assert f"{option}=x:<B>x3x<H>" in found.mend
    assert "z:" not in found.mend and "trtexec" in found.mend


def test_rtx_has_a_tool_and_a_message_of_its_own(run: Run) -> None:
    (found,) = run(DynamicInputs, MODEL, "rtx-1.7")
    assert "tensorrt_rtx --minShapes" in found.mend and found.evidence == "probe"
    assert "no optimization profile has been defined" in found.message


def test_values_that_decide_sizes_need_a_range_too(run: Run) -> None:
    model = HEAD + "g (float[4] x, int64[2] s) => (float[A,B] y) { [cut] y = Reshape(x, s) }"
    (found,) = run(DynamicInputs, model)
    assert found.why.startswith("the values of s decide sizes (at Reshape cut)")
    assert "--minShapes=s:<value>x<value> --optShapes=" in found.mend
    (found,) = run(DynamicInputs, model.replace("float[4]", "float[N]"))
    assert "range is given for N; the values of s" in found.why
    assert "--minShapes=x:<N>,s:<value>x<value> " in found.mend
    fed = HEAD + "g (float[4] x, int64[1] i) => (float[1] y) { y = Gather(x, i) }"
    assert run(DynamicInputs, fed) == []


def test_a_profile_for_all_dims_leaves_nothing(run: Run) -> None:
    assert run(DynamicInputs, MODEL, dims={"B": (1, 2, 4), "H": (8, 8, 8)}) == []


def test_part_of_a_profile_is_written_into_the_options(run: Run) -> None:
    (found,) = run(DynamicInputs, MODEL, dims={"B": (1, 2, 4)})
    assert "range is given for H:" in found.why
    assert "--minShapes=x:1x3x<H> --optShapes=x:2x3x<H> --maxShapes=x:4x3x<H>" in found.mend


def test_unnamed_dims_and_names_with_a_colon(run: Run) -> None:
    model = HEAD + "g (float[?,2] x) => (float[?,2] y) { y = Neg(x) }"
    from onnx.parser import parse_model

    proto = parse_model(model)
    proto.graph.input[0].name = "x:0"
    proto.graph.node[0].input[0] = "x:0"
    (found,) = run(DynamicInputs, proto)
    assert "--minShapes='x:0':<x:0[0]>x2" in found.mend
    assert run(DynamicInputs, proto, dims={"x:0[0]": (1, 1, 1)}) == []


def test_a_static_model_and_initializers_among_the_inputs_need_none(run: Run) -> None:
    assert run(DynamicInputs, HEAD + "g (float[2] x) => (float[2] y) { y = Neg(x) }") == []
    old = '<ir_version: 3, opset_import: ["" : 9]>\n'
    old += "g (float[2] x, float[N] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"
    assert run(DynamicInputs, old) == []


def test_a_dim_that_follows_from_others_needs_no_range(run: Run) -> None:
    from onnx.parser import parse_model

    proto = parse_model(MODEL)
    proto.graph.input[1].type.tensor_type.shape.dim[0].dim_param = "2*B"
    assert run(DynamicInputs, proto, dims={"B": (1, 1, 1), "H": (1, 1, 1)}) == []


def test_an_unknown_symbol_is_an_error_with_a_hint(run: Run) -> None:
    dims = {"B": (1, 1, 1), "H": (1, 1, 1), "Batch": (1, 1, 1), "h": (1, 1, 1)}
    unknown, other = run(DynamicInputs, MODEL, dims=dims)
    assert unknown.code is PROFILE_DOES_NOT_FIT and unknown.severity is Severity.ERROR
    assert unknown.tensor == "Batch" and "B, H" in unknown.mend
    assert other.tensor == "h"


@pytest.mark.parametrize("sizes", [(4, 2, 8), (1, 9, 8), (-1, 2, 3)])
def test_a_range_out_of_order_is_an_error(run: Run, sizes: tuple[int, int, int]) -> None:
    (found,) = run(DynamicInputs, MODEL, dims={"B": sizes, "H": (0, 1, 2)})
    assert found.code is PROFILE_DOES_NOT_FIT and found.tensor == "B"
