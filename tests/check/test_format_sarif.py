"""SARIF: what of the schema of 2.1.0 we use, and what GitHub needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from format_cases import ODD, ODD_FINDINGS, clip, int64, rank, result
from hypothesis import given, settings

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.formats import sarif
from onnx_fix.check.result import CheckResult


def sarif_run(*results: CheckResult) -> dict[str, Any]:
    log = json.loads(sarif.render(results))
    assert set(log) == {"$schema", "version", "runs"} and log["version"] == "2.1.0"
    assert log["$schema"].endswith("/sarif-schema-2.1.0.json")
    [run] = log["runs"]
    conforms(run)
    assert isinstance(run, dict)
    return run


def conforms(run: dict[str, Any]) -> None:
    assert set(run) == {
        "tool",
        "automationDetails",
        "invocations",
        "artifacts",
        "columnKind",
        "results",
    }
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    driver = run["tool"]["driver"]
    assert set(driver) == {"name", "version", "semanticVersion", "rules"} and driver["name"]
    ids = [rule["id"] for rule in driver["rules"]]
    assert ids == sorted(set(ids))
    for rule in driver["rules"]:
        assert set(rule) == {
            "id",
            "name",
            "shortDescription",
            "fullDescription",
            "help",
            "properties",
        }
        for part in ("shortDescription", "fullDescription", "help"):
            assert set(rule[part]) == {"text"} and rule[part]["text"]
        assert all(isinstance(tag, str) for tag in rule["properties"]["tags"])
    [invocation] = run["invocations"]
    assert invocation["executionSuccessful"] is True and isinstance(invocation["exitCode"], int)
    for artifact in run["artifacts"]:
        assert set(artifact) == {"location", "roles", "properties"}
        assert artifact["roles"] == ["analysisTarget"]
    for found in run["results"]:
        assert set(found) == {
            "ruleId",
            "ruleIndex",
            "level",
            "message",
            "locations",
            "partialFingerprints",
            "properties",
        }
        assert ids[found["ruleIndex"]] == found["ruleId"]
        assert found["level"] in ("none", "note", "warning", "error")
        assert set(found["message"]) == {"text"} and found["message"]["text"]
        assert all(isinstance(v, str) for v in found["partialFingerprints"].values())
        [location] = found["locations"]
        assert set(location) <= {"physicalLocation", "logicalLocations"}
        physical = location["physicalLocation"]
        assert set(physical) == {"artifactLocation", "region"}
        assert physical["region"] == {"startLine": 1}
        artifact = physical["artifactLocation"]
        assert artifact["uri"] == run["artifacts"][artifact["index"]]["location"]["uri"]
        assert re.fullmatch(r"(?:[A-Za-z0-9._~/:-]|%[0-9A-F]{2})+", artifact["uri"])
        for logical in location.get("logicalLocations", ()):
            assert set(logical) == {"name", "fullyQualifiedName", "kind"}
            assert all(isinstance(v, str) and v for v in logical.values())


def test_sarif_levels_rules_and_places() -> None:
    run = sarif_run(
        result(
            clip(severity=Severity.SILENT), rank("r", "If_3/then_branch"), int64("n", "t"), clip()
        )
    )
    assert [(r["ruleId"], r["level"], r["properties"]["severity"]) for r in run["results"]] == [
        ("OF204", "error", "error"),
        ("OF204", "error", "silent"),
        ("OF501", "warning", "unknown"),
        ("OF402", "warning", "warning"),
    ]
    assert [r["id"] for r in run["tool"]["driver"]["rules"]] == ["OF204", "OF402", "OF501"]
    assert run["tool"]["driver"]["rules"][0]["name"] == "InputMustBeConstant"
    assert run["tool"]["driver"]["rules"][0]["properties"]["page"] == "docs/checks/OF204.md"
    assert run["invocations"][0]["exitCode"] == 1
    assert run["automationDetails"]["id"] == "onnx-fix-check/trt-8.6/"
    logical = [r["locations"][0]["logicalLocations"][0] for r in run["results"]]
    assert logical[2] == {
        "name": "r",
        "fullyQualifiedName": "If_3/then_branch/r",
        "kind": "node",
    }
    message = run["results"][0]["message"]["text"]
    assert message.startswith("Clip '/a': input 'min' is not a constant (error for trt-8.6).")
    assert "Parser: Clip min value must be an initializer!" in message
    assert message.endswith("Mended by the pass clip-to-min-max.")


def test_sarif_texts_hold_no_placeholders_and_no_links() -> None:
    found = clip(message="axis {0} of [x](y)")
    run = sarif_run(result(found, int64("n", "t")))
    texts = [r["help"]["text"] for r in run["tool"]["driver"]["rules"]]
    texts += [r["message"]["text"] for r in run["results"]]
    for text in texts:
        assert (
            not re.search(r"\{\d+\}", text.replace("{{", "").replace("}}", "")) and "](" not in text
        )
    assert "axis {{0}} of [x] (y)" in run["results"][0]["message"]["text"]
    assert run["results"][0]["properties"]["parserMessage"] == "axis {0} of [x](y)"


def test_sarif_without_findings_and_with_a_finding_nowhere() -> None:
    run = sarif_run(result())
    assert run["results"] == [] and run["tool"]["driver"]["rules"] == []
    assert run["invocations"][0]["exitCode"] == 0
    whole = sarif_run(result(clip(node="", tensor="", op="")))
    assert "logicalLocations" not in whole["results"][0]["locations"][0]
    tensor = sarif_run(result(clip(node="", op="")))
    assert tensor["results"][0]["locations"][0]["logicalLocations"][0]["kind"] == "tensor"


def fingerprints(*findings: CheckFinding) -> list[str]:
    run = sarif_run(result(*findings))
    return [r["partialFingerprints"]["primaryLocationLineHash"] for r in run["results"]]


def test_sarif_fingerprints_stay_when_other_findings_come_and_go() -> None:
    [alone] = fingerprints(clip("b"))
    assert re.fullmatch(r"[0-9a-f]{16}:1", alone)
    assert fingerprints(clip("a"), clip("b"), clip("c"))[1] == alone
    assert fingerprints(clip("b", message="said in other words")) == [alone]
    assert len(set(fingerprints(clip("b"), clip("b"), clip("a")))) == 3


def test_sarif_names_each_model_once() -> None:
    run = sarif_run(result(clip("a")), result(clip("b"), source="b.onnx"), result(clip("a")))
    uris = [a["location"]["uri"] for a in run["artifacts"]]
    assert uris == ["models/m.onnx", "b.onnx"]
    prints = [r["partialFingerprints"]["primaryLocationLineHash"][-2:] for r in run["results"]]
    assert prints == [":1", ":1", ":2"]


def test_sarif_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def uri(source: str) -> str:
        return str(sarif_run(result(source=source))["artifacts"][0]["location"]["uri"])

    assert uri("models/a b%#☃.onnx") == "models/a%20b%25%23%E2%98%83.onnx"
    assert uri("./x/../a.onnx") == "a.onnx"
    assert uri(str(here / "m.onnx")) == "m.onnx"
    assert uri(str(tmp_path / "m.onnx")).startswith("file:///")
    assert uri("../m.onnx") == "../m.onnx"
    assert uri("<ModelProto>") == "%3CModelProto%3E"


@settings(deadline=None)
@given(findings=ODD_FINDINGS, source=ODD.filter(lambda s: "\0" not in s and s.strip("/. ")))
def test_sarif_conforms_whatever_the_names(findings: list[CheckFinding], source: str) -> None:
    run = sarif_run(result(*findings, source=source))
    assert len(run["results"]) == len(findings)
    uri = run["artifacts"][0]["location"]["uri"]
    if not source.startswith("/") and ".." not in source:
        path = urlsplit(uri)
        assert path.scheme == "" and Path(unquote(path.path)) == Path(source)
