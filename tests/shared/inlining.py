"""What the tests of inline-functions ask of a model."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from onnx_fix.testing import as_proto, run_pass
from onnx_fix_passes.inline_functions import InlineFunctions

HEAD = '<ir_version: 10, opset_import: ["" : 18, "my" : 1]>'
X = np.array([-1.5, 0.0, 2.0, 7.25], np.float32)


def inlined(text: str | ModelProto, target: str = "trt-7.2", *, always: bool = False) -> ModelProto:
    """The model after the pass: no calls left, and a second run changes nothing."""
    fixed, results = run_pass(InlineFunctions(always=always), text, target=target)
    assert results[0].changes
    assert not results[-1].changes
    return fixed


def unchanged(text: str | ModelProto, target: str) -> None:
    """The pass leaves the model alone."""
    before = as_proto(text)
    after, results = run_pass(InlineFunctions(), before, target=target)
    assert after == before
    assert not any(r.changes for r in results)


def reasons(text: str | ModelProto, target: str) -> list[str]:
    """The change lines, which say why."""
    _, results = run_pass(InlineFunctions(), text, target=target)
    return [c.old[0] for c in results[0].changes]
