"""``--format sarif``: SARIF 2.1.0 (OASIS, Errata 01), for GitHub code scanning and other viewers.

One run for all models, as GitHub takes one run per tool and category. What GitHub asks beyond the
standard is there as well: a ``region`` (an ONNX file has no lines, so all results stand on line 1)
and the fingerprint ``primaryLocationLineHash``, by which it tells results apart.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any
from urllib.parse import quote

from onnx_fix import __version__
from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.formats.grouping import PAGES, Results, relative_path
from onnx_fix.check.result import CheckResult, worst_exit_code
from onnx_fix.check.text import visible

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

LEVELS = {
    Severity.ERROR: "error",
    Severity.SILENT: "error",
    Severity.UNKNOWN: "warning",
    Severity.WARNING: "warning",
}

_EXITS = {0: "ready", 1: "blocked", 5: "not certain"}


def render(results: Results, *, verbose: int = 0) -> str:
    """One SARIF log with one run. ``verbose`` changes nothing: all is there."""
    codes = {f.code.code: f.code for result in results for f in result.findings}
    rules = {code: index for index, code in enumerate(sorted(codes))}
    # A model that is given twice is one artifact, as the schema asks for unique ones.
    models = {_uri(result.source): result for result in results}
    indices = {uri: index for index, uri in enumerate(models)}
    found: list[dict[str, Any]] = []
    seen: Counter[tuple[str, str]] = Counter()
    for result in results:
        uri = _uri(result.source)
        artifact = {"uri": uri, "index": indices[uri]}
        for finding in result.findings:
            digest = _digest(finding, result.target_name)
            seen[uri, digest] += 1
            fingerprint = f"{digest}:{seen[uri, digest]}"
            found.append(_result(finding, result, rules, artifact, fingerprint))
    code = worst_exit_code(results)
    targets = sorted({result.target_name for result in results})
    run = {
        "tool": {
            "driver": {
                "name": "onnx-fix",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(codes[name]) for name in rules],
            }
        },
        "automationDetails": {"id": f"onnx-fix-check/{'+'.join(targets)}/"},
        "invocations": [
            {"executionSuccessful": True, "exitCode": code, "exitCodeDescription": _EXITS[code]}
        ],
        "artifacts": [
            {
                "location": {"uri": uri},
                "roles": ["analysisTarget"],
                "properties": {
                    "target": result.target_name,
                    "verdict": result.verdict,
                    "suppressed": result.suppressed,
                    "baselined": result.baselined,
                    "staleBaselineLines": list(result.stale),
                },
            }
            for uri, result in models.items()
        ],
        "columnKind": "unicodeCodePoints",
        "results": found,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _rule(code: Code) -> dict[str, Any]:
    page = f"{PAGES}/{code.code}.md"
    help_text = "\n\n".join(part for part in (code.meaning, code.mend, f"See {page}.") if part)
    return {
        "id": code.code,
        "name": "".join(word.capitalize() for word in code.name.split("-")),
        "shortDescription": {"text": _literal(code.summary or code.name)},
        "fullDescription": {"text": _literal(code.meaning or code.summary or code.name)},
        "help": {"text": _literal(help_text)},
        # helpUri must be absolute (SARIF 3.49.12); the page comes with the source.
        "properties": {"tags": ["onnx", "tensorrt"], "page": page},
    }


def _result(
    finding: CheckFinding,
    result: CheckResult,
    rules: dict[str, int],
    artifact: dict[str, Any],
    fingerprint: str,
) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": artifact, "region": {"startLine": 1}}
    }
    named = _logical(finding)
    if named is not None:
        location["logicalLocations"] = [named]
    return {
        "ruleId": finding.code.code,
        "ruleIndex": rules[finding.code.code],
        "level": LEVELS[finding.severity],
        "message": {"text": _literal(_message(finding, result.target_name))},
        "locations": [location],
        "partialFingerprints": {
            "onnxFixFinding/v1": fingerprint,
            "primaryLocationLineHash": fingerprint,
        },
        "properties": {
            "severity": finding.severity.value,
            "target": result.target_name,
            "op": finding.op,
            "tensor": finding.tensor,
            "parserMessage": finding.message,
            "evidence": finding.evidence,
            "source": finding.source,
            "mendedBy": finding.mended_by,
            "origin": finding.origin,
        },
    }


def _logical(finding: CheckFinding) -> dict[str, str] | None:
    name = finding.node or finding.tensor
    if not name:
        return None
    full = f"{finding.scope}/{name}" if finding.scope else name
    return {
        "name": name,
        "fullyQualifiedName": full,
        "kind": "node" if finding.node else "tensor",
    }


def _message(finding: CheckFinding, target: str) -> str:
    where = " ".join(part for part in (finding.op, f"'{visible(finding.node)}'") if part)
    head = f"{where}: {finding.why}" if finding.node else finding.why
    parts = [
        f"{head.rstrip('.') or finding.code.summary} ({finding.severity.value} for {target}).",
        f"Parser: {finding.message}" if finding.message else "",
        finding.mend,
        f"Mended by the pass {finding.mended_by}." if finding.mended_by else "",
    ]
    return "\n".join(part for part in parts if part)


def _literal(text: str) -> str:
    """A text in which nothing is a placeholder (SARIF 3.11.5) or an embedded link (3.11.6)."""
    return text.replace("{", "{{").replace("}", "}}").replace("](", "] (")


def _digest(finding: CheckFinding, target: str) -> str:
    """16 hexadecimal digits that stay as long as the finding does, whatever becomes of others."""
    data = f"{target}\n{finding.key}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:16]


def _uri(path: str) -> str:
    """A relative reference where the model lies below the working directory, else ``file:``."""
    relative = relative_path(path)
    if relative.is_absolute():
        return relative.as_uri()
    text = quote(relative.as_posix(), safe="/")
    return text or "."
