"""Which inputs of a node test a user would freeze: those that a release wants as constants."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from lowering_cases import as_feed
from onnx import ModelProto

from onnx_fix.api import FixResult
from onnx_fix.model import Model
from onnx_fix.scope import Scope
from onnx_fix.target import Target

_MOST_NODES = 64
_VALUES_UNREAD = frozenset({"Shape", "Size"})


def freeze(test: Any, result: FixResult) -> dict[str, np.ndarray[Any, Any]]:
    """The recorded values of inputs that feed a place that must be constant, or that a pass wants
    as constants.

    ``result`` is what comes of a fix without them, which does away with many such places. An input
    stays where the data sets disagree about it, and all stay where none would be left.
    """
    model: ModelProto = test.model
    named = {
        name
        for _, skipped in result.report.skipped
        if "--freeze" in skipped.reason
        for name in re.findall("'([^']+)'", skipped.reason)
    }
    asked = wanted(result.model, result.report.target, named)
    found: dict[str, np.ndarray[Any, Any]] = {}
    for place, port in enumerate(model.graph.input):
        if port.name not in asked:
            continue
        given = [as_feed(recorded[place]) for recorded, _ in test.data_sets or []]
        arrays = [value for value in given if isinstance(value, np.ndarray)]
        same = len(arrays) == len(given) and all(np.array_equal(a, arrays[0]) for a in arrays)
        if arrays and same:
            found[port.name] = arrays[0]
    return found if len(found) < len(model.graph.input) else {}


def wanted(model: ModelProto, target: Target, named: set[str]) -> set[str]:
    """The network inputs whose values rest in a place that must be constant, or in one of the
    tensors named."""
    work = Model(model, None, target)
    names = {found for name in named for found in behind(work.main, name)}
    for scope in work.scopes:
        for node in scope.nodes():
            for finding in scope.judge(node).findings:
                steers = finding.kind == "input_must_be_constant" or "rest on" in finding.why
                if steers and (finding.refuses or finding.in_doubt):
                    names |= behind(scope, finding.tensor)
    return names


def behind(scope: Scope, name: str) -> set[str]:
    """The network inputs that a tensor is computed from, sizes left out."""
    tensor = scope.tensors.get(name)
    left: list[gs.Tensor] = [] if tensor is None else [tensor]
    seen: set[int] = set()
    names: set[str] = set()
    while left and len(seen) < _MOST_NODES:
        current = left.pop()
        if id(current) in seen or not current.name:
            continue
        seen.add(id(current))
        node = scope.producer(current)
        if node is not None:
            left += [] if node.op in _VALUES_UNREAD else node.inputs
        elif not isinstance(current, gs.Constant) and scope.model.is_input(current):
            names.add(str(current.name))
    return names
