"""How operator sets are imported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from onnx import helper
from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.opset_imports import (
    REPEATED_IMPORT,
    SINGLE_IMPORT,
    OpsetImports,
)

Run = Callable[..., list[CheckFinding]]


def imports(
    run: Run, target: str, *pairs: tuple[str, int], op: str = "Neg", domain: str = ""
) -> list[CheckFinding]:
    model = parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    )
    model.graph.node[0].op_type, model.graph.node[0].domain = op, domain
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(d, v) for d, v in pairs)
    return run(OpsetImports, model, target)


@pytest.mark.parametrize("target", ["trt-7.0", "trt-8.2"])
def test_the_long_spelling_beside_another_domain(run: Run, target: str) -> None:
    (found,) = imports(run, target, ("ai.onnx", 13), ("my", 1))
    assert found.code is OpsetImports.code and found.severity is Severity.ERROR


def test_where_it_does_no_harm(run: Run) -> None:
    assert imports(run, "trt-8.4", ("ai.onnx", 13), ("my", 1)) == []
    assert imports(run, "rtx-1.7", ("ai.onnx", 13), ("my", 1)) == []
    assert imports(run, "trt-7.0", ("ai.onnx", 13)) == []
    assert imports(run, "trt-7.0", ("", 13), ("my", 1)) == []


def test_one_domain_in_two_versions(run: Run) -> None:
    (found,) = imports(run, "trt-8.6", ("", 13), ("ai.onnx", 17))
    assert found.code is REPEATED_IMPORT and found.severity is Severity.UNKNOWN
    assert imports(run, "trt-8.6", ("", 13), ("ai.onnx", 13)) == []


def test_a_single_import_counts_for_all(run: Run) -> None:
    (found,) = imports(run, "trt-10.3", ("com.microsoft", 1), op="Gelu", domain="com.microsoft")
    assert found.code is SINGLE_IMPORT and "com.microsoft::Gelu" in found.why
    (found,) = imports(run, "rtx-1.7", ("com.microsoft", 1), op="Gelu", domain="com.microsoft")
    assert imports(run, "trt-10.3", ("my", 1), op="Own", domain="my") == []
    pairs = (("com.microsoft", 1), ("", 17))
    assert imports(run, "trt-10.3", *pairs, op="Gelu", domain="com.microsoft") == []
