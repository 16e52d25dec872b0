"""Findings and results that the tests of the output formats print."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.result import CheckResult

CLIP = Code("OF204", "input-must-be-constant", "An input must be constant.", "It {0} reads.", "Fix")
INT64 = Code("OF402", "int64-narrowed", "INT64 becomes INT32.", "See [a](b).", "Nothing.")
RANK = Code("OF501", "rank-unknown", "The rank is not known.", "Meaning.", "Give a shape.")


def clip(node: str = "/a", tensor: str = "min", **more: Any) -> CheckFinding:
    fields: dict[str, Any] = {
        "code": CLIP,
        "severity": Severity.ERROR,
        "why": f"input '{tensor}' is not a constant",
        "mend": "clip-to-min-max makes Min and Max of it",
        "node": node,
        "tensor": tensor,
        "op": "Clip",
        "message": "Clip min value must be an initializer!",
        "evidence": "source",
        "source": "onnx-tensorrt 8.6",
        "mended_by": "clip-to-min-max",
    }
    return CheckFinding(**{**fields, **more})


def int64(node: str, tensor: str, op: str = "Gather") -> CheckFinding:
    return CheckFinding(
        INT64,
        Severity.WARNING,
        f"'{tensor}' is narrowed",
        "Nothing.",
        node=node,
        tensor=tensor,
        op=op,
    )


def rank(node: str = "r", scope: str = "") -> CheckFinding:
    return CheckFinding(
        RANK,
        Severity.UNKNOWN,
        "the rank is not known",
        "Give a shape.",
        node=node,
        scope=scope,
        op="X",
    )


def result(*findings: CheckFinding, source: str = "models/m.onnx", **more: Any) -> CheckResult:
    return CheckResult.of(source=source, target_name="trt-8.6", findings=findings, **more)


ODD = st.one_of(
    st.text(max_size=10),
    st.text(st.sampled_from("%:,\r\n[]{}()\\ \x1b\u202e#☃/*'\"`ab:smile"), max_size=14),
)
ODD_FINDINGS = st.lists(
    st.builds(clip, node=ODD, tensor=ODD, scope=ODD, op=ODD, message=ODD, why=ODD, mend=ODD),
    max_size=5,
)
