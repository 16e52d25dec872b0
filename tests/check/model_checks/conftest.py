"""How the tests of model checks run one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from onnx import ModelProto

from onnx_fix.check.finding import CheckFinding
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import as_proto

Run = Callable[..., list[CheckFinding]]


@pytest.fixture
def run() -> Run:
    """Run one check on a model (ONNX text or proto) for a target; the findings."""

    def run_one(
        check: type[ModelCheck],
        model: ModelProto | str,
        target: str = "trt-8.6",
        dims: Mapping[str, tuple[int, int, int]] | None = None,
        base_dir: Path | None = None,
    ) -> list[CheckFinding]:
        proto = as_proto(model)
        before = proto.SerializeToString(deterministic=True)
        work = Model(proto, base_dir, load_target(target))
        found = list(check().run(CheckContext(work, None, dims or {})))
        assert proto.SerializeToString(deterministic=True) == before, "the check changed the model"
        for finding in found:
            assert finding.why and finding.mend, finding
            assert finding.code.code.startswith("OF8"), finding
            assert finding.evidence or finding.severity.value == "unknown", finding
        return found

    return run_one
