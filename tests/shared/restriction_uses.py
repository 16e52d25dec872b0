"""Uses of ops that run into restrictions, and that just miss them, as models.

They stand in ``tests/target/restriction_cases.txt``, whose head says how they are written.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnx_fix.model import Model
from onnx_fix.target import NodeFacts, load_target
from onnx_fix.target.data import main_line, read
from onnx_fix.target.dtypes import NAMES

TABLE = Path(__file__).parents[1] / "target" / "restriction_cases.txt"
ENTRIES = {entry["id"]: entry for entry in read("restrictions")}
NUMBERS = {name: number for number, name in NAMES.items()}
NOWHERE = "nowhere"

_INPUT = re.compile(r"^(const:|fold:)?(\w+)\[(.*?)\](?:=(.*))?$")
_ATTRIBUTE = re.compile(r"^(\w+)=(.*)$")


def _graph(text: str) -> Any:
    return onnx.parser.parse_graph(text)


_BODY = "body (int64 i, bool c, float[1] s) => (bool c2, float[1] s2)"
LITERALS: dict[str, Any] = {
    "KEEPS": _graph(_BODY + " { c2 = Identity(c) s2 = Neg(s) }"),
    "OWN_TEST": _graph(_BODY + " { c2 = Not(c) s2 = Neg(s) }"),
    "COUNTS": _graph(
        "body (int64 i, bool c, float[A, 2] s) => (bool c2, float[A, 2] s2)"
        " <float most = {20}, float one = {1}>"
        " { s2 = Add(s, one) t = ReduceMax<keepdims = 0>(s2) c2 = Less(t, most) }"
    ),
    "SWAPS": _graph(
        "body (int64 i, bool c, float[A, 2] s, float[A, 2] t)"
        " => (bool c2, float[A, 2] t2, float[A, 2] s2)"
        " { c2 = Not(c) t2 = Neg(t) s2 = Identity(s) }"
    ),
    "BLIND": _graph(_BODY + " <bool c2 = {1}> { s2 = Neg(s) }"),
    "GROWS": _graph(
        "body (int64 i, bool c, float[1] s) => (bool c2, float[2] s2)"
        " { c2 = Identity(c) s2 = Concat<axis = 0>(s, s) }"
    ),
    "SCANS": _graph(
        "body (int64 i, bool c, float[1] s) => (bool c2, float[1] s2, float[1] o)"
        " { c2 = Identity(c) s2 = Neg(s) o = Abs(s) }"
    ),
    "STATELESS": _graph("body (int64 i, bool c) => (bool c2) { c2 = Identity(c) }"),
    "PASSES": _graph("body (float[4] s) => (float[4] s2) { s2 = Neg(s) }"),
    "LEFT": _graph("left () => (float[4] t) <float[4] x = {1, 2, 3, 4}> { t = Neg(x) }"),
    "SAME_NAME": _graph("right () => (float[4] t) <float[4] w = {1, 2, 3, 4}> { t = Abs(w) }"),
    "OTHER_NAME": _graph("right () => (float[4] u) <float[4] w = {1, 2, 3, 4}> { u = Abs(w) }"),
    "OTHER_SIZE": _graph("right () => (float[3] u) <float[3] w = {1, 2, 3}> { u = Abs(w) }"),
    "OTHER_RANK": _graph("right () => (float[1,2] u) <float[1,2] w = {1, 2}> { u = Abs(w) }"),
    "TENSOR": helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]),
    "BYTES": helper.make_tensor("t", TensorProto.INT8, [1], [1]),
}


@dataclass(frozen=True)
class Case:
    """One line of the table, for one entry."""

    entry: str
    hit: str
    miss: str

    @property
    def op(self) -> str:
        return self.entry.split(".")[0]

    @property
    def releases(self) -> list[str]:
        """The first and the last release that the entry holds for."""
        entry = ENTRIES[self.entry]
        return list(dict.fromkeys([entry["since"], entry["until"] or main_line()[-1]]))

    @property
    def outside(self) -> list[str]:
        """The releases just before and just after its interval."""
        entry, order = ENTRIES[self.entry], main_line()
        if entry["since"] not in order:
            return [order[0], order[-1]]
        first, until = order.index(entry["since"]), entry["until"]
        last = len(order) - 1 if until is None else order.index(until)
        beside = [*order[max(first - 1, 0) : first], *order[last + 1 : last + 2]]
        return beside + list(entry.get("not_on", ()))


def _cases() -> Iterator[Case]:
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        entry, _, uses = line.partition(": ")
        hit, miss = uses.split(" | ")
        match = re.match(r"^\{(.*)\}(.*)$", entry)
        for op in match.group(1).split("|") if match else [""]:
            yield Case(op + (match.group(2) if match else entry), hit, miss)


CASES = list(_cases())


class Use:
    """A use of an op as the table writes it, built into a model."""

    def __init__(self, op: str, text: str) -> None:
        self._ports: list[Any] = []
        self._weights: list[TensorProto] = []
        self._nodes: list[NodeProto] = []
        self._results: list[Any] = []
        self._inside = ""
        inputs: list[str] = []
        outputs: list[str] = []
        attributes: dict[str, Any] = {}
        before: dict[str, Any] = {}
        opset = 17
        for token in text.split():
            attribute = _ATTRIBUTE.match(token)
            if token.startswith("first:"):
                key, _, value = token[6:].partition("=")
                before = {key: ast.literal_eval(value)}
            elif token.startswith("in:"):
                self._inside = token[3:]
            elif token.startswith("@"):
                opset = int(token[1:])
            elif token.startswith("->"):
                outputs.append(self._output(token[2:], len(outputs)))
            elif attribute:
                value = attribute.group(2)
                literal = LITERALS[value[1:]] if value[0] == "$" else ast.literal_eval(value)
                attributes[attribute.group(1)] = literal
            else:
                inputs.append(self._input(token, len(inputs)))
        outputs = outputs or [self._output("", 0)]
        if before:
            earlier = {**attributes, **before}
            self._nodes.append(helper.make_node(op, inputs, ["earlier"], "first", **earlier))
            self._results.append(helper.make_empty_tensor_value_info("earlier"))
        self._nodes.append(helper.make_node(op, inputs, outputs, "judged", **attributes))
        graph = helper.make_graph(self._nodes, "g", self._ports, self._results, self._weights)
        imports = [helper.make_opsetid("", opset)]
        self.model = helper.make_model(graph, opset_imports=imports, ir_version=11)

    def _input(self, token: str, place: int) -> str:
        if token == "-":
            return ""
        match = _INPUT.match(token)
        assert match is not None, token
        how, dtype, dims, values = match.groups()
        number, name = NUMBERS[dtype], f"x{place}"
        shape = [int(size) if size.isdigit() else size for size in dims.split(",") if size]
        if not how:
            self._ports.append(helper.make_tensor_value_info(name, number, shape))
            return name
        count = 1
        for size in shape:
            count *= int(size)
        held = [float(v) for v in values.split(",")] if values else [0.0] * count
        kind = helper.tensor_dtype_to_np_dtype(number)
        weights = numpy_helper.from_array(_array(held, kind, shape), name)
        self._weights.append(weights)
        if how == "const:":
            return name
        self._nodes.append(helper.make_node("Identity", [name], [f"{name}_folds"]))
        return f"{name}_folds"

    def _output(self, text: str, place: int) -> str:
        if text == "-":
            return ""
        name = f"y{place}"
        self._results.append(helper.make_empty_tensor_value_info(name))
        return name

    def facts(self, release: str) -> NodeFacts:
        """The node as a check of the model for the release sees it."""
        model = Model(self.model, None, load_target(release))
        node = next(n for n in model.main.graph.nodes if n.name == "judged")
        facts = model.main.facts(node)
        return replace(facts, scope=f"outer/{self._inside}") if self._inside else facts


def _array(values: list[float], kind: Any, shape: list[Any]) -> Any:
    return np.array(values).astype(kind).reshape(shape)
