"""How a model imports operator sets, and what the parser makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import general_fact, holds, listed, source
from onnx_fix.scope import STANDARD_DOMAINS

SINGLE_IMPORT = Code(
    "OF816",
    "version-of-other-domain",
    "the only operator set imported is not the default one, and its version counts for all nodes",
    "Where a model imports one operator set, the parser uses its version for every node, whatever "
    "the domain. A node that a built-in importer takes by its name is then read by the rules of an "
    "opset that has the other domain's number, usually 1.",
    "Import the default operator set as well (domain '', the opset whose rules are meant).",
)
REPEATED_IMPORT = Code(
    "OF817",
    "default-domain-imported-twice",
    "the default operator set is imported twice, in different versions",
    "'' and 'ai.onnx' are one domain. ONNX allows one version of it; which of the two a parser "
    "takes is not defined.",
    "Remove one of the two imports.",
)


class OpsetImports(ModelCheck):
    """The list of imports of the model."""

    code: ClassVar[Code] = Code(
        "OF815",
        "default-domain-spelling",
        "the default operator set is imported as 'ai.onnx' beside another one",
        "Up to 8.2 the parser looks the default domain up by the empty name wherever a model "
        "imports two operator sets or more, and fails where it is spelled 'ai.onnx'. The two "
        "spellings mean the same in ONNX.",
        "Write the domain of that import as '' (opset_import[i].domain = '').",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """At most one finding for each kind of fault."""
        imports = context.proto.opset_import
        default = [o for o in imports if o.domain in STANDARD_DOMAINS]
        spelling = general_fact("domain_spelling")
        spelled_out = len(imports) > 1 and default and all(o.domain for o in default)
        if spelled_out and holds(context, spelling):
            yield CheckFinding(
                code=self.code,
                severity=Severity.ERROR,
                why=f"{len(imports)} operator sets are imported, and the default one is spelled "
                "'ai.onnx', which the release does not find",
                mend="write the domain of that import as ''",
                evidence=str(spelling["evidence"]),
                source=source(context, spelling),
            )
        if len({o.version for o in default}) > 1:
            versions = ", ".join(str(o.version) for o in default)
            yield CheckFinding(
                code=REPEATED_IMPORT,
                severity=Severity.UNKNOWN,
                why=f"the default operator set is imported in the versions {versions}; which one "
                "the release takes is not known",
                mend="remove one of the two imports",
            )
        if len(imports) == 1 and not default:
            taken = [n for n in context.proto.graph.node if context.target.has_importer(n.op_type)]
            if taken:
                fact = general_fact("single_opset_import")
                names = dict.fromkeys(f"{n.domain}::{n.op_type}" for n in taken)
                yield CheckFinding(
                    code=SINGLE_IMPORT,
                    severity=Severity.WARNING,
                    why=f"only '{imports[0].domain}' is imported: its version "
                    f"{imports[0].version} counts as the opset of {listed(names)}",
                    mend="import the default operator set as well",
                    evidence=str(fact["evidence"]),
                    source=source(context, fact),
                )
