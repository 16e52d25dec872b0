"""What a target does wrong with calls of local functions."""

from __future__ import annotations

from onnx import FunctionProto, NodeProto

from onnx_fix.functions import Calls, Key, label_of, spelled
from onnx_fix.target import Target
from onnx_fix.target.data import Release, read

DEEPEST = 24
"""Functions, If and Loop may stand inside each other this deep (from TensorRT 11.0 on)."""


def faults(calls: Calls, target: Target) -> dict[Key, str]:
    """The functions that a target reads wrongly or not at all, each with the reason.

    A function that calls such a one is among them, for its body has to be written anew.
    """
    release = f"TensorRT {target.release}"
    if not target.reads_functions:
        return dict.fromkeys(calls.order, f"{release} does not read functions")
    if calls.depth() > DEEPEST and _holds(target, "nested"):
        why = f"functions and subgraphs stand inside each other more than {DEEPEST} deep"
        return dict.fromkeys(calls.order, why)
    found: dict[Key, str] = {}
    names = [key[1] for key in calls.order]
    for key in calls.order:
        changed = calls.changed_ops(key)
        if names.count(key[1]) > 1 and _holds(target, "keyed_by_name"):
            found[key] = f"{release} tells functions by name alone, and two have this one"
        elif target.has_importer(key[1]) and _holds(target, "builtin_shadows_function"):
            found[key] = f"{release} takes the built-in {key[1]} in its place"
        elif key[1] in target.plugins and _plugins_first(target):
            found[key] = f"{release} takes the plugin {key[1]} in its place"
        elif changed and _holds(target, "function_opset_ignored"):
            found[key] = f"{release} reads {', '.join(changed)} with the opset of the model"
    for key, node, outside in calls.sites():
        why = _fault_of_call(node, calls.functions[key], outside, target)
        if why:
            found.setdefault(key, f"{release} {why}")
    for key in calls.order:
        inner = next((k for k in sorted(calls.calls_made_by(key)) if k in found), None)
        if inner is not None:
            found.setdefault(key, f"it calls {spelled(inner)}, which is inlined")
    return {key: found[key] for key in calls.order if key in found}


def _fault_of_call(
    node: NodeProto, function: FunctionProto, outside: frozenset[str], target: Target
) -> str:
    label = label_of(node)
    if len(node.input) != len(function.input) and _holds(target, "input_count_must_match"):
        return f"wants every input of a call to be given, and '{label}' leaves one out"
    if "" in node.input and _holds(target, "empty_input_fails"):
        return f"takes no empty input of a call, and '{label}' has one"
    missing = len(node.output) != len(function.output) or "" in node.output
    if missing and _holds(target, "outputs_all_named"):
        return f"wants every output of a call to be named, and '{label}' leaves one out"
    if _holds(target, "input_name_alias_bug"):
        for formal, actual in zip(function.input, node.input, strict=False):
            if formal in outside and formal != actual:
                return f"mistakes the input '{formal}' for the tensor of that name outside"
    return ""


def _holds(target: Target, fact: str) -> bool:
    if fact == "nested":
        entry = next(e for e in read("facts")["general"] if e["id"] == "nesting")
    else:
        entry = next(e for e in read("plugins")["local_functions"] if e["id"] == fact)
    return Release.named(target.release).within(entry)


def _plugins_first(target: Target) -> bool:
    release = Release.named(target.release)
    for entry in read("plugins")["dispatch_order"]:
        if release.within(entry) and "local function" in entry["order"]:
            before = entry["order"][: entry["order"].index("local function")]
            return any(step.startswith("plugin if a local function") for step in before)
    return False
