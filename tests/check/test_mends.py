"""What a pass claims to clear, it clears: the finding goes, and the numbers stay."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from claims import all_cases
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from onnx_fix.api import reference_functions
from onnx_fix.check.codes import code_of
from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.node_findings import node_findings
from onnx_fix.model import Model
from onnx_fix.registry import default_order, get
from onnx_fix.target import load_target
from onnx_fix.testing import Feeds, as_proto, run_model, run_pass

Key = tuple[str, str, str]

CASES = all_cases()

CLAIMS: list[Key] = [
    (cls.name, claim.kind, claim.op) for cls in default_order() for claim in cls.mends
]


def test_every_claim_has_a_case_and_every_case_a_claim() -> None:
    assert set(CLAIMS) == set(CASES)
    assert len(set(CLAIMS)) == len(CLAIMS), "a claim is made twice"


def findings(model: ModelProto, target: str) -> list[CheckFinding]:
    return list(node_findings(Model(model, None, load_target(target))))


def against(model: ModelProto, case: Any, kind: str, op: str) -> list[CheckFinding]:
    """The findings of a kind (any but warnings, for ``*``) at the ops that the case is about."""
    mine = {op} if op != "*" else set(case.ops)
    return [
        found
        for found in findings(model, case.target)
        if found.op.rpartition("::")[2] in mine
        and found.severity is not Severity.WARNING
        and (kind == "*" or found.code == code_of(kind))
    ]


@pytest.mark.parametrize("key", CLAIMS, ids=["-".join(k).replace("*", "any") for k in CLAIMS])
def test_a_claim_is_kept(key: Key) -> None:
    name, kind, op = key
    case = CASES[key]
    before = as_proto(case.model)
    found = against(before, case, kind, op)
    assert found, "the model does not have the finding"
    assert {f.mended_by for f in found} == {case.first or name}
    after, _ = run_pass(get(name)(), before, target=case.target)
    assert against(after, case, kind, op) == []
    left = Counter(f.code.code for f in findings(after, case.target) if f.blocks)
    had = Counter(f.code.code for f in findings(before, case.target) if f.blocks)
    assert not left - had, "the pass makes findings of its own"
    twin = before if case.twin is None else as_proto(case.twin)
    for feed in case.inputs():
        for want, have in zip(run(twin, feed, case), run(after, feed, case), strict=True):
            assert want.shape == have.shape and want.dtype == have.dtype
            np.testing.assert_allclose(
                have.astype(np.float64), want.astype(np.float64), case.tolerance, case.tolerance
            )


def run(model: ModelProto, feed: Feeds, case: Any) -> list[NDArray[Any]]:
    whole = ModelProto()
    whole.CopyFrom(model)
    if any(node.domain == "trt.plugins" for node in whole.graph.node):
        opset = next(o.version for o in whole.opset_import if o.domain == "")
        whole.functions.extend(reference_functions(opset))
    if case.by_reference:
        return [np.asarray(v) for v in ReferenceEvaluator(whole).run(None, dict(feed))]
    return run_model(whole, feed)
