"""Write calls of local functions out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import onnx
import onnx.inliner
from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto

from onnx_fix.errors import ModelError
from onnx_fix.functions import (
    Calls,
    Key,
    called,
    default_opset,
    every_node,
    graphs_of,
    label_of,
    spelled,
)
from onnx_fix.sign import sign

_MARK = re.compile("^\x02(-?[0-9]+)\x03")
_INLINER_ERRORS = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
    RuntimeError,
    ValueError,
)


def inline(
    calls: Calls, chosen: Collection[Key], pass_name: str
) -> tuple[ModelProto, Counter[Key]]:
    """A model with every call of the chosen functions inlined, and the number of calls of each.

    ``onnx.inliner`` renames and moves the nodes. What it does not do is done before and after:
    defaults of attributes, outputs that are an input or the same tensor twice, imports of
    operator sets that only the function has, and the signature of every new node. The other
    functions stay.

    Raises:
        ModelError: a body cannot be translated to the operator set of the model.
    """
    work = _Inlining(calls, frozenset(chosen), pass_name)
    return work.run(), work.counts


def drop_foreign(model: ModelProto) -> list[str]:
    """Leave out the functions that the operator set of the model gives another meaning, and say so.
    Nobody calls them, and a model with them would be invalid."""
    calls = Calls.of(model)
    foreign = [key for key in calls.functions if calls.changed_ops(key)]
    kept = [function for key, function in calls.functions.items() if key not in foreign]
    del model.functions[:]
    model.functions.extend(kept)
    return [
        f"{spelled(key)} left out: nobody calls it, and the operator set gives it another meaning"
        for key in foreign
    ]


@dataclass
class _Inlining:
    """One run: every call gets a copy of its function, which the inliner then puts in its place."""

    calls: Calls
    chosen: frozenset[Key]
    pass_name: str
    counts: Counter[Key] = field(default_factory=Counter)
    marks: list[tuple[NodeProto, NodeProto, str]] = field(default_factory=list)
    """By number of a mark: the node of the body, its call, and what the call is labelled."""
    copies: list[FunctionProto] = field(default_factory=list)

    def run(self) -> ModelProto:
        """The model with every call of a chosen function inlined."""
        model = ModelProto()
        model.CopyFrom(self.calls.model)
        for _, node in every_node(model.graph.node):
            node.doc_string = f"\x02-1\x03{node.doc_string}"
        for path, node in tuple(every_node(model.graph.node)):
            self._call(node, f"{path}:{label_of(node)}" if path else label_of(node))
        kept = self._kept()
        changed = sorted({op for key in self.chosen for op in self.calls.changed_ops(key)})
        del model.functions[:]
        model.functions.extend(self.copies)
        try:
            result = onnx.inliner.inline_local_functions(model, convert_version=bool(changed))
        except _INLINER_ERRORS as error:
            raise ModelError(self._message(str(error), changed)) from error
        if result.functions:
            raise ModelError(self._message("their calls stay as they are", changed))
        if changed:
            self._check(result, changed)
        result.functions.extend(kept)
        self._import(result)
        self._sign(result.graph.node)
        return result

    def _message(self, error: str, changed: Sequence[str]) -> str:
        names = ", ".join(sorted(spelled(key) for key in self.chosen))
        text = f"the local functions {names} cannot be inlined: {' '.join(error.split())}"
        if changed:
            text += (
                f"; they are written for another operator set, in which {', '.join(changed)} "
                "differ: export functions and model with one opset_version"
            )
        return text

    def _check(self, model: ModelProto, changed: Sequence[str]) -> None:
        """Look at what the version converter made, which lets some nodes through unchanged."""
        context = onnx.checker.C.CheckerContext()
        context.ir_version = model.ir_version
        context.opset_imports = {o.domain: o.version for o in model.opset_import}
        for node in model.graph.node:
            try:
                onnx.checker.check_node(node, context)
            except _INLINER_ERRORS as error:
                raise ModelError(self._message(str(error), changed)) from error

    # -- before ------------------------------------------------------------------------------------

    def _call(self, node: NodeProto, label: str) -> None:
        """Make a node call a copy of its function that nobody else calls."""
        key = called(node)
        if key not in self.chosen:
            return
        self.counts[key] += 1
        copy = FunctionProto()
        copy.CopyFrom(self.calls.functions[key])
        call = NodeProto()
        call.CopyFrom(node)
        given = {a.name: a for a in copy.attribute_proto}
        given.update((a.name, a) for a in node.attribute)
        copy.name = f"{key[1]}\x02{len(self.copies)}"
        copy.ClearField("overload")
        del copy.attribute[:]
        del copy.attribute_proto[:]
        self._translate_for_free(copy, key)
        _bind(copy.node, given)
        _name_outputs(copy)
        node.op_type = copy.name
        node.ClearField("overload")
        del node.attribute[:]
        self.copies.append(copy)
        for _, inner in tuple(every_node(copy.node)):
            mark = f"\x02{len(self.marks)}\x03"
            original = NodeProto()
            original.CopyFrom(inner)
            self.marks.append((original, call, label))
            inner.doc_string = mark + inner.doc_string
            self._call(inner, f"{label}/{label_of(original)}")

    def _translate_for_free(self, copy: FunctionProto, key: Key) -> None:
        """Import the operator set of the model where no op of the body has changed since."""
        ours = default_opset(self.calls.model.opset_import)
        if ours is None or self.calls.changed_ops(key):
            return
        if default_opset(copy.opset_import) is None:
            copy.opset_import.add().version = ours
        for entry in copy.opset_import:
            if entry.domain in ("", "ai.onnx"):
                entry.version = ours

    # -- after -------------------------------------------------------------------------------------

    def _kept(self) -> list[FunctionProto]:
        """The functions that stay: those not inlined, and what they call in turn."""
        functions = self.calls.functions
        stay = [key for key in functions if key not in self.chosen]
        for key in stay:
            stay.extend(sorted(self.calls.calls_made_by(key) - set(stay)))
        return [f for key, f in functions.items() if key in stay]

    def _import(self, model: ModelProto) -> None:
        """Import the operator sets that only the inlined functions imported."""
        have = {o.domain for o in model.opset_import}
        have |= {"", "ai.onnx"} if have & {"", "ai.onnx"} else set()
        used = {node.domain for _, node in every_node(model.graph.node)}
        for key in sorted(self.chosen):
            for entry in self.calls.functions[key].opset_import:
                if entry.domain in used and entry.domain not in have:
                    have.add(entry.domain)
                    model.opset_import.add().CopyFrom(entry)

    def _sign(self, nodes: Sequence[NodeProto]) -> None:
        """Take the marks off again, and write onto every node of a body where it came from."""
        numbers = [_number(node) for node in nodes]
        following = next((n for n in reversed(numbers) if n is not None), -1)
        for node, number in zip(reversed(nodes), reversed(numbers), strict=True):
            for _, graph in graphs_of(node):
                self._sign(graph.node)
            node.doc_string = _MARK.sub("", node.doc_string)
            # The version converter makes nodes of its own, before the node that they serve.
            following = following if number is None else number
            if following < 0:
                continue
            body, call, label = self.marks[following]
            entries = {p.key: p.value for p in call.metadata_props}
            entries.update((p.key, p.value) for p in body.metadata_props)
            del node.metadata_props[:]
            for name, value in entries.items():
                entry = node.metadata_props.add()
                entry.key, entry.value = name, value
            version = self.calls.model.ir_version
            sign(node, pass_name=self.pass_name, came_from=label, ir_version=version)


def _number(node: NodeProto) -> int | None:
    match = _MARK.match(node.doc_string)
    return None if match is None else int(match.group(1))


def _bind(nodes: Iterable[NodeProto], given: dict[str, AttributeProto]) -> None:
    """Put values in the place of references to parameters; what has no value is left out."""
    for node in nodes:
        bound: list[AttributeProto] = []
        for attribute in node.attribute:
            value = AttributeProto()
            if not attribute.ref_attr_name:
                value.CopyFrom(attribute)
            elif attribute.ref_attr_name in given:
                value.CopyFrom(given[attribute.ref_attr_name])
                value.name = attribute.name
            else:
                continue
            bound.append(value)
        del node.attribute[:]
        node.attribute.extend(bound)
        for _, graph in graphs_of(node):
            _bind(graph.node, given)


def _name_outputs(function: FunctionProto) -> None:
    """Give every output of a function a tensor of its own, made by a node of the body."""
    names = set(function.input) | {n for _, node in every_node(function.node) for n in node.output}
    seen = set(function.input)
    for k, name in enumerate(function.output):
        if name in seen:
            fresh = f"{name}_{k}"
            while fresh in names:
                fresh += "_"
            names.add(fresh)
            node = function.node.add()
            node.op_type = "Identity"
            node.input.append(name)
            node.output.append(fresh)
            function.output[k] = fresh
        seen.add(function.output[k])
