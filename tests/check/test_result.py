"""The outcome of a check: verdict, order, counts, JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.result import CheckResult, worst_exit_code


def finding(severity: Severity, code: str = "OF204", **more: Any) -> CheckFinding:
    return CheckFinding(Code(code, f"name-of-{code}", "s", "m", "d"), severity, "why", "do", **more)


def result(*findings: CheckFinding) -> CheckResult:
    return CheckResult.of(source="m.onnx", target_name="trt-8.6", findings=findings)


@pytest.mark.parametrize(
    ("severities", "verdict", "code"),
    [
        ([], "ready", 0),
        ([Severity.WARNING], "ready", 0),
        ([Severity.UNKNOWN, Severity.WARNING], "not certain", 5),
        ([Severity.UNKNOWN, Severity.ERROR], "blocked", 1),
        ([Severity.SILENT], "blocked", 1),
    ],
)
def test_the_verdict_is_that_of_the_worst(
    severities: list[Severity], verdict: str, code: int
) -> None:
    made = result(*(finding(s) for s in severities))
    assert (made.verdict, made.exit_code) == (verdict, code)


def test_findings_are_ordered_by_severity_code_and_scope_and_stay_else_as_given() -> None:
    made = result(
        finding(Severity.WARNING, "OF101", node="w"),
        finding(Severity.ERROR, "OF204", node="in", scope="If_0/then_branch"),
        finding(Severity.ERROR, "OF204", node="z"),
        finding(Severity.ERROR, "OF204", node="a"),
        finding(Severity.ERROR, "OF101", node="e"),
        finding(Severity.UNKNOWN, "OF101", node="u"),
        finding(Severity.SILENT, "OF900", node="s"),
    )
    assert [f.node for f in made.findings] == ["e", "z", "a", "in", "s", "u", "w"]


def test_counts_name_every_severity() -> None:
    made = result(finding(Severity.ERROR), finding(Severity.ERROR), finding(Severity.WARNING))
    assert made.counts == {"error": 2, "silent": 0, "unknown": 0, "warning": 1}


def test_several_models_end_in_the_worst_code() -> None:
    blocked, open_, ready = (
        result(finding(Severity.ERROR)),
        result(finding(Severity.UNKNOWN)),
        result(),
    )
    assert worst_exit_code([ready, open_, blocked]) == 1
    assert worst_exit_code([ready, open_]) == 5
    assert worst_exit_code([ready]) == worst_exit_code([]) == 0


def test_to_dict_is_json_and_complete() -> None:
    made = CheckResult.of(
        source="m.onnx",
        target_name="trt-8.6",
        target_note="the default",
        findings=[finding(Severity.ERROR, node="n\n☃", op="Clip", tensor="min", message="no")],
        suppressed=1,
        baselined=2,
        stale=["error OF101 :x"],
        live={"parser": "tensorrt_rtx 1.7"},
        seconds=0.12345,
    )
    data = json.loads(json.dumps(made.to_dict()))
    [only] = data.pop("findings")
    assert only["key"] == "OF204 :n\n☃ min" and only["mended_by"] is None
    assert only["message"] == "no" and only["severity"] == "error" and only["op"] == "Clip"
    assert data.pop("tool").startswith("onnx-fix ")
    assert data == {
        "schema_version": 1,
        "source": "m.onnx",
        "target": {"name": "trt-8.6", "note": "the default"},
        "verdict": "blocked",
        "exit_code": 1,
        "counts": {"error": 1, "silent": 0, "unknown": 0, "warning": 0},
        "suppressed": 1,
        "baselined": 2,
        "stale": ["error OF101 :x"],
        "live": {"parser": "tensorrt_rtx 1.7"},
        "seconds": 0.123,
    }
