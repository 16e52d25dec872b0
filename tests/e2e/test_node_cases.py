"""Every ONNX backend node test still gives its recorded outputs after the fix."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.reference import ReferenceEvaluator
from recorded import array

from onnx_fix import fix
from onnx_fix.api import reference_functions
from onnx_fix.testing import run_model


def with_plugins(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    if any(o.domain == "trt.plugins" for o in model.opset_import):
        copy.functions.extend(reference_functions(copy.opset_import[0].version))
    return copy


Arrays = list[NDArray[np.generic]]
Feeds = dict[str, NDArray[np.generic]]

_LACKS = ("NOT_IMPLEMENTED", "opset", "INVALID_GRAPH", "MLDataType")
"""What onnxruntime says where it lacks a kernel, as it does for many of the newest ops."""


def by_reference(model: ModelProto, feeds: Feeds) -> Arrays:
    return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, feeds)]


def original_outputs(model: ModelProto, feeds: Feeds) -> tuple[Arrays, bool]:
    """The outputs, and whether onnxruntime gave them."""
    try:
        return run_model(model, feeds), True
    except Exception:
        return by_reference(model, feeds), False


def fixed_outputs(model: ModelProto, feeds: Feeds, original_ran: bool) -> Arrays:
    try:
        return run_model(model, feeds)
    except Exception as error:
        if original_ran and not any(word in str(error) for word in _LACKS):
            raise
        return by_reference(model, feeds)


def is_tensor_case(case: TestCase) -> bool:
    return case.model is not None and all(
        v.type.HasField("tensor_type") and v.type.tensor_type.elem_type != TensorProto.STRING
        for v in (*case.model.graph.input, *case.model.graph.output)
    )


def problem(
    have: list[NDArray[np.generic]], want: list[NDArray[np.generic]], case: TestCase
) -> str:
    """How outputs differ from the recorded ones; empty where they do not."""
    for mine, theirs in zip(have, want, strict=True):
        if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
            return f"{mine.dtype}{mine.shape} instead of {theirs.dtype}{theirs.shape}"
        a, b = mine.astype(np.float64), theirs.astype(np.float64)
        if not np.allclose(a, b, rtol=case.rtol, atol=max(case.atol, 1e-6), equal_nan=True):
            return f"{a} instead of {b}"
    return ""


def frozen(model: ModelProto, given: list[object]) -> ModelProto:
    """The model with all inputs but the first as initializers, as exporters write axes."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for value, recorded in list(zip(model.graph.input, given, strict=False))[1:]:
        copy.graph.initializer.append(numpy_helper.from_array(array(recorded), value.name))
        copy.graph.input.remove(value)
    return copy


def check(model: ModelProto, case: TestCase, target: str) -> bool:
    """Fix a model and compare with the recorded outputs; whether anything was changed."""
    before = model.SerializeToString(deterministic=True)
    result = fix(model, target=target, verify=False)
    assert model.SerializeToString(deterministic=True) == before, case.name
    if result.unchanged:
        assert result.model == model, case.name
        return False
    fixed = with_plugins(result.model)
    names = [v.name for v in fixed.graph.input]
    for given, wanted in case.data_sets or []:
        feeds = dict(zip(names, (array(g) for g in given), strict=False))
        recorded = [array(w) for w in wanted]
        have, ran = original_outputs(model, feeds)
        if problem(have, recorded, case):
            continue  # neither runtime gives what the test records, whatever we do
        assert not problem(fixed_outputs(fixed, feeds, ran), recorded, case), case.name
    return True


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6"])
def test_recorded_outputs_survive(node_cases: list[TestCase], target: str) -> None:
    changed: set[str] = set()
    faults: list[str] = []
    for case in node_cases:
        if not is_tensor_case(case) or case.model is None:
            continue
        models = [case.model]
        if len(case.model.graph.input) > 1 and not case.model.graph.initializer and case.data_sets:
            models.append(frozen(case.model, list(case.data_sets[0][0])))
        for model in models:
            try:
                if check(model, case, target):
                    changed.update(n.op_type for n in case.model.graph.node)
            except Exception as error:
                faults.append(f"{case.name}: {type(error).__name__}: {error}"[:300])
    assert not faults, "\n".join(faults)
    if target == "trt-7.2":
        assert {"CumSum", "GatherElements", "Clip", "LpNormalization"} <= changed


def dynamic(model: ModelProto) -> ModelProto:
    """The model with a symbol for every size but those of vectors of integers, which may be axes or
    sizes themselves."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        kind = value.type.tensor_type
        steers = kind.elem_type in (TensorProto.INT32, TensorProto.INT64)
        if not (steers and len(kind.shape.dim) <= 1):
            for number, dim in enumerate(kind.shape.dim):
                dim.dim_param = f"{value.name}_{number}"
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-10.3", "rtx-1.7"])
def test_recorded_outputs_survive_where_no_size_is_known(
    node_cases: list[TestCase], target: str
) -> None:
    faults: list[str] = []
    changed = 0
    for case in node_cases:
        if not is_tensor_case(case) or case.model is None:
            continue
        try:
            changed += check(dynamic(case.model), case, target)
        except Exception as error:
            faults.append(f"{case.name}: {type(error).__name__}: {error}"[:300])
    assert not faults, "\n".join(faults)
    assert changed > 300
