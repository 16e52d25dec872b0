"""What a release has against the nodes of a model, one by one."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs

from onnx_fix.check.codes import code_of
from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.mending import Mended, Mending
from onnx_fix.model import Model
from onnx_fix.scope import Scope
from onnx_fix.target import Finding

_SILENT = frozenset({"wrong_result", "changes_shape"})
_NOT_FOUND = frozenset({"no_importer", "unknown_plugin"})


def severity_of(finding: Finding) -> Severity:
    """How bad a finding of a target is.

    ``UNKNOWN`` where the node does not show enough to tell, or nobody knows the effect. Effects
    that neither stop a build nor change numbers are warnings, whether certain or not.
    """
    if finding.in_doubt:
        return Severity.UNKNOWN
    if not finding.refuses:
        return Severity.WARNING
    return Severity.SILENT if finding.effect in _SILENT else Severity.ERROR


def node_findings(model: Model) -> Iterator[CheckFinding]:
    """Everything that the target of a model has against its nodes, in execution order.

    Bodies of functions are judged only where the target reads functions. That a call has no
    importer is no finding: where functions are not read, the check of local functions says so.
    """
    mending = Mending(model)
    for scope in model.scopes:
        if scope.kind == "function" and not model.target.reads_functions:
            continue
        judged = [
            (node, finding)
            for node in scope.graph.nodes
            if model.alive(node)
            for finding in scope.judge(node).findings
            if not (finding.kind in _NOT_FOUND and mending.is_call(node))
        ]
        mending.prepare(scope, ((n, f) for n, f in judged if f.refuses or f.in_doubt))
        for node, finding in judged:
            yield _of_node(mending, scope, node, finding)


def _of_node(mending: Mending, scope: Scope, node: gs.Node, finding: Finding) -> CheckFinding:
    code, severity = code_of(finding.kind), severity_of(finding)
    # The passes act on what a target refuses or may refuse; a warning is left to the user.
    mended = Mended(None) if severity is Severity.WARNING else mending.of(scope, node, finding)
    return CheckFinding(
        code=code,
        severity=severity,
        why=finding.why,
        mend=_mend(code, severity, mended) + ("" if mended.by else _by_table(node, finding)),
        scope=finding.scope,
        node=finding.node,
        op=f"{node.domain}::{node.op}" if node.domain else node.op,
        tensor=finding.tensor,
        message=finding.message,
        evidence=finding.evidence,
        source=finding.source,
        mended_by=mended.by,
    )


def _mend(code: Code, severity: Severity, mended: Mended) -> str:
    if mended.by is not None:
        return f"`onnx-fix fix` clears it by the pass {mended.by}"
    if severity is Severity.WARNING:
        return code.mend
    if mended.reason:
        return f"no pass ({mended.reason}). {code.mend}"
    return f"no pass. {code.mend}"


def _by_table(node: gs.Node, finding: Finding) -> str:
    """What the table of plugins that ships with onnx-fix has for an op that nobody takes."""
    if finding.kind not in _NOT_FOUND:
        return ""
    from onnx_fix.plugin_table import shipped

    key = (node.domain or "", node.op)
    known = [e for e in shipped() if key in e.keys and not e.is_standard]
    if not known:
        return ""
    if known[0].by:
        return f" Or {known[0].by} writes it in ops."
    named = ", or ".join(dict.fromkeys(e.known_as for e in known))
    return (
        f" Or write `plugins: [{{use: {known[0].name}}}]` in a pipeline file, and `onnx-fix fix` "
        f"puts {named} in its place."
    )
