"""Inputs without a declared shape."""

from __future__ import annotations

from collections.abc import Callable

from onnx import TensorProto, helper
from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.shapeless_inputs import ShapelessInputs

Run = Callable[..., list[CheckFinding]]
MODEL = '<ir_version: 8, opset_import: ["" : 13]> g (float[] x) => (float[] y) { y = Neg(x) }'


def test_a_missing_shape_is_read_as_a_scalar(run: Run) -> None:
    model = parse_model(MODEL)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    (found,) = run(ShapelessInputs, model, "rtx-1.7")
    assert found.severity is Severity.SILENT and found.tensor == "x"
    (found,) = run(ShapelessInputs, model, "trt-8.6")
    assert found.severity is Severity.UNKNOWN


def test_scalars_and_symbols_are_declared(run: Run) -> None:
    model = parse_model(MODEL)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, []))
    assert run(ShapelessInputs, model, "rtx-1.7") == []
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"]))
    assert run(ShapelessInputs, model, "rtx-1.7") == []
