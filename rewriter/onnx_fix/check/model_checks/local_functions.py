"""Local functions: what a release does with the definitions that a model brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from onnx import FunctionProto, NodeProto

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._definitions import differs
from onnx_fix.check.model_checks._facts import function_rule, holds, listed, release_of, source
from onnx_fix.errors import ModelError
from onnx_fix.functions import Calls, Key, called, default_opset, every_node, label_of
from onnx_fix.functions import spelled as _spelled
from onnx_fix.scope import STANDARD_DOMAINS
from onnx_fix.target.data import read

_REMOVE = "remove the function that no node calls from the model's functions"
_INLINE = "`onnx-fix fix` clears it by the pass inline-functions, which writes the calls out"
_PAGE = "Inline the function: `onnx-fix fix` does it by the pass inline-functions."

NAME_COLLISION = Code(
    "OF821",
    "function-name-collision",
    "two functions have one name in different domains or overloads",
    "TensorRT keeps functions by name alone, so one body serves the calls of both, without a "
    "message.",
    _PAGE,
)
SHADOWED = Code(
    "OF822",
    "function-shadowed",
    "a function has the name of a built-in op or plugin, which is taken in its place",
    "The parser asks its own importers first and looks at the name only (my::Relu with the body "
    "Neg became Relu), and from 10.7 to 10.14 registered plugins as well. The body of the "
    "function is never read.",
    _PAGE,
)
OTHER_OPSET = Code(
    "OF823",
    "function-opset-ignored",
    "the body of a function is read by the opset of the model in place of its own",
    "A function imports operator sets of its own, which the parser does not look at. Nodes whose "
    "definition changed between the two opsets are read wrongly or fail.",
    _PAGE,
)
CALL_INPUTS = Code(
    "OF824",
    "function-call-inputs",
    "a call of a function leaves out an input",
    "ONNX lets a call leave out trailing inputs, or name them ''. The parser asks for as many as "
    "the function declares, each with a name.",
    _PAGE,
)
CALL_OUTPUTS = Code(
    "OF825",
    "function-call-outputs",
    "a call of a function leaves out an output",
    "ONNX lets a call leave outputs unnamed. The parser asks for all of them by name.",
    _PAGE,
)
INPUT_ALIAS = Code(
    "OF826",
    "function-input-alias",
    "an input of a function has the name of another tensor outside",
    "Up to 10.7 the body then reads the tensor outside in place of what the call passes; the log "
    "has a warning, the engine computes something else.",
    _PAGE,
)


class LocalFunctions(ModelCheck):
    """The functions that the graph calls, against the rules of the release."""

    code: ClassVar[Code] = Code(
        "OF820",
        "functions-not-read",
        "the model defines functions, and the release does not read them",
        "Before 9.0 the parser looks at the nodes of the graph alone. A call of a function is an "
        "op it does not know: it is looked up as a plugin, and the import fails.",
        _PAGE,
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """Findings for each function or call that the release reads wrongly."""
        if not context.proto.functions:
            return
        try:
            calls = Calls.of(context.proto)
        except ModelError:
            # Functions that call each other in a circle have no meaning in ONNX either.
            return
        first: dict[Key, tuple[str, NodeProto]] = {}
        for path, node in _every_call(context, calls):
            first.setdefault(called(node), (path, node))
        for key in calls.order:
            path, node = first[key]
            for code, severity, why, rule in self._of_function(context, calls, key):
                yield _finding(context, code, severity, why, rule, path, node)
        if context.target.reads_functions:
            for path, node in _every_call(context, calls):
                for code, severity, why, rule, tensor in _of_call(context, calls, node):
                    yield _finding(context, code, severity, why, rule, path, node, tensor)

    def _of_function(
        self, context: CheckContext, calls: Calls, key: Key
    ) -> Iterator[tuple[Code, Severity, str, Mapping[str, Any]]]:
        name, function = _spelled(key), calls.functions[key]
        builtin = context.target.has_importer(key[1])
        if builtin:
            # A call in a domain of its own is doubted by the judge of nodes already.
            other = _other_op(function)
            if other or key[0] in STANDARD_DOMAINS:
                why = f"the built-in {key[1]} is taken in place of the function {name}"
                why += f", whose body is {other}" if other else ""
                severity = Severity.SILENT if other else Severity.UNKNOWN
                yield SHADOWED, severity, why, function_rule("builtin_shadows_function")
            return
        if not context.target.reads_functions:
            why = f"the function {name} is not read: its calls are looked up as plugins"
            plugin = key[1] in context.target.plugins
            if plugin:
                why = f"the plugin {key[1]} is taken in place of the function {name}"
            severity = Severity.UNKNOWN if plugin else Severity.ERROR
            yield SHADOWED if plugin else self.code, severity, why, function_rule("unsupported")
            return
        if key[1] in context.target.plugins and _plugins_first(context):
            why = f"the plugin {key[1]} is taken in place of the function {name} if registered"
            yield SHADOWED, Severity.UNKNOWN, why, function_rule("builtin_shadows_function")
        yield from _collision(calls, key)
        mine, ours = default_opset(function.opset_import), context.model.opset
        if mine is not None and mine != ours:
            changed = {
                n.op_type
                for _, n in every_node(function.node)
                if n.domain in STANDARD_DOMAINS and differs(n, mine, ours)
            }
            if changed:
                why = f"{name} is written for opset {mine} and read by opset {ours}, where "
                why += f"{listed(sorted(changed))} has another meaning"
                severity = Severity.SILENT if "Softmax" in changed else Severity.UNKNOWN
                yield OTHER_OPSET, severity, why, function_rule("function_opset_ignored")


def _every_call(context: CheckContext, calls: Calls) -> Iterator[tuple[str, NodeProto]]:
    """The calls in the graph and in the functions that it reaches, with the path of the scope."""
    bodies = [("", context.proto.graph.node)]
    bodies += [(f"function {_spelled(key)}", calls.functions[key].node) for key in calls.order]
    for path, nodes in bodies:
        for inner, node in every_node(nodes, path):
            if called(node) in calls.functions:
                yield inner, node


def _other_op(function: FunctionProto) -> str:
    """The op of the body if it is one node of another op than the name says, else ''."""
    if len(function.node) != 1:
        return ""
    node = function.node[0]
    same = node.op_type == function.name
    return "" if same or node.domain not in STANDARD_DOMAINS else node.op_type


def _collision(calls: Calls, key: Key) -> Iterator[tuple[Code, Severity, str, Mapping[str, Any]]]:
    function = calls.functions[key]
    others = [
        other
        for other in calls.functions
        if other != key and other[1] == key[1] and not _same_body(function, calls.functions[other])
    ]
    if others:
        # Which of two bodies is kept is not known: with both called, one of the calls is wrong.
        both = any(other in calls.order for other in others)
        why = f"{_spelled(key)} and {listed(map(_spelled, others))} have one name, and the release "
        why += "keeps one body for it"
        severity = Severity.SILENT if both else Severity.UNKNOWN
        yield NAME_COLLISION, severity, why, function_rule("keyed_by_name")


def _same_body(one: FunctionProto, other: FunctionProto) -> bool:
    def core(function: FunctionProto) -> FunctionProto:
        bare = FunctionProto()
        bare.CopyFrom(function)
        for field in ("domain", "overload", "doc_string", "metadata_props", "value_info"):
            bare.ClearField(field)
        return bare

    return core(one) == core(other)


def _of_call(
    context: CheckContext, calls: Calls, node: NodeProto
) -> Iterator[tuple[Code, Severity, str, Mapping[str, Any], str]]:
    function = calls.functions[called(node)]
    if context.target.has_importer(function.name):
        return
    label = label_of(node)
    count, empty = function_rule("input_count_must_match"), function_rule("empty_input_fails")
    if len(node.input) != len(function.input):
        if holds(context, count):
            why = f"'{label}' gives {len(node.input)} of {len(function.input)} inputs"
            yield CALL_INPUTS, Severity.ERROR, why, count, ""
    elif "" in node.input and holds(context, empty):
        why = f"'{label}' leaves the input '{function.input[list(node.input).index('')]}' empty"
        yield CALL_INPUTS, Severity.ERROR, why, empty, ""
    named = function_rule("outputs_all_named")
    missing = len(node.output) < len(function.output) or "" in node.output
    if missing and holds(context, named):
        why = f"'{label}' does not name all {len(function.output)} outputs"
        yield CALL_OUTPUTS, Severity.ERROR, why, named, ""
    alias = function_rule("input_name_alias_bug")
    if holds(context, alias):
        graph = context.proto.graph
        sure = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        anywhere = sure | {name for _, n in every_node(graph.node) for name in n.output}
        for formal, actual in zip(function.input, node.input, strict=False):
            if formal in anywhere and formal != actual:
                why = f"the body reads its input '{formal}' from the tensor of that name outside"
                severity = Severity.SILENT if formal in sure else Severity.UNKNOWN
                yield INPUT_ALIAS, severity, why, alias, formal


def _plugins_first(context: CheckContext) -> bool:
    """Whether a registered plugin is taken before a function of its name."""
    for entry in read("plugins")["dispatch_order"]:
        if release_of(context).within(entry) and "local function" in entry["order"]:
            before = entry["order"][: entry["order"].index("local function")]
            return any(step.startswith("plugin if a local function") for step in before)
    return False


def _finding(
    context: CheckContext,
    code: Code,
    severity: Severity,
    why: str,
    rule: Mapping[str, Any],
    path: str,
    node: NodeProto,
    tensor: str = "",
) -> CheckFinding:
    # A function that nobody calls is not inlined, and stays in the way of another of its name.
    by_pass = code is not NAME_COLLISION or severity is Severity.SILENT
    return CheckFinding(
        code=code,
        severity=severity,
        why=why,
        mend=_INLINE if by_pass else _REMOVE,
        scope=path,
        node=label_of(node),
        op=f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
        tensor=tensor,
        message=str(rule.get("message", "")),
        evidence=str(rule.get("evidence", "source")),
        source=source(context, rule),
        mended_by="inline-functions" if by_pass else None,
    )
