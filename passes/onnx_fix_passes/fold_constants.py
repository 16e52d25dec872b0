"""The pass ``fold-constants``."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.scope import Scope, is_standard

_SAME_EVERYWHERE = frozenset(
    {
        "Abs",
        "Add",
        "Cast",
        "Concat",
        "ConstantOfShape",
        "Equal",
        "Expand",
        "Gather",
        "Identity",
        "Mul",
        "Neg",
        "Not",
        "Reshape",
        "Shape",
        "Slice",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)
"""Ops that move data or round as IEEE 754 asks: every implementation gives the same bits."""

_ITEM_BYTES = 16
"""No ONNX element is larger (complex128)."""


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Turn what is computed from constants alone into initializers.

    Before: `a = Constant <value = float {1.0}> ()  b = Neg (a)  y = Clip (x, b)`
    After: `y = Clip (x, b)` with an initializer `b`
    Exact: yes; onnxsim evaluates with the kernels of onnxruntime. Small expressions of ops that
    give the same bits everywhere, and those that onnxruntime has no kernel for, are left to
    ``onnx.reference``, which loads in a tenth of the time.
    Since: 0.1

    By default only what helps the target is folded:

    1. a tensor that the target wants to be constant and that is computed from constants;
    2. the result of a node that the target refuses, where it depends on constants alone.

    An Identity of an initializer is replaced by the initializer, without reading it. The shape of a
    tensor whose sizes are all fixed counts as a constant. Declared dims, and names of inputs and
    outputs, never change. Random numbers, subgraphs and initializers that a caller may override are
    left alone.
    """

    stage: ClassVar[Stage] = Stage.FOLD
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("*", "*", "it depends on small constants alone", "constants"),
    )

    everywhere: bool = False
    """Fold all constant expressions, not only those the target needs folded."""

    limit_mib: float = 16.0
    """Largest tensor that is read or made, in MiB; larger ones stay expressions."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a constant for every wanted tensor."""
        roots = [(n, t, _behind_identities(scope, t)) for n, t in self._roots(scope)]
        computed = [(n, t) for n, t, source in roots if source is None]
        for node, tensor, source in roots:
            # An output of the graph that is a constant has to stay an Identity of it.
            if source is not None and scope.consumers(tensor):
                yield Rewrite((node,), (), ((tensor, source),))
        cones: list[tuple[gs.Tensor, list[gs.Node]]] = []
        ready: list[tuple[gs.Node, gs.Tensor]] = []
        values: dict[str, NDArray[np.generic]] = {}
        for node, tensor in computed:
            cone = self._cone(scope, tensor)
            if isinstance(cone, str):
                yield Skip(node, cone)
                continue
            ready.append((node, tensor))
            # Function bodies have no shapes, and onnxsim wants one for every output.
            simple = scope.rank(tensor) is None or all(n.op in _SAME_EVERYWHERE for n in cone)
            small = scope.folded(tensor) if simple else None
            if small is not None:
                values[tensor.name] = small
            elif scope.rank(tensor) is not None:
                cones.append((tensor, cone))
        if cones:
            values.update(self._evaluate(scope, cones))
        by_node: dict[int, list[tuple[gs.Node, gs.Tensor]]] = {}
        for node, tensor in ready:
            by_node.setdefault(id(node), []).append((node, tensor))
        for pairs in by_node.values():
            node = pairs[0][0]
            missing = [t.name for _, t in pairs if t.name not in values]
            if missing:
                yield Skip(node, f"onnxsim does not evaluate '{missing[0]}'")
            elif any(values[t.name].nbytes > self._limit for _, t in pairs):
                yield Skip(node, f"the result is larger than limit_mib = {self.limit_mib:g}")
            else:
                replaces = tuple((t, gs.Constant("folded", values[t.name])) for _, t in pairs)
                yield Rewrite((node,), (), replaces)

    def forecast(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """The nodes that would become constants, without evaluating them."""
        for node, tensor in self._roots(scope):
            if _behind_identities(scope, tensor) is not None:
                if scope.consumers(tensor):
                    yield Rewrite((node,), (), ())
                continue
            cone = self._cone(scope, tensor)
            yield Skip(node, cone) if isinstance(cone, str) else Rewrite((node,), (), ())

    @property
    def _limit(self) -> float:
        return self.limit_mib * 2**20

    def _roots(self, scope: Scope) -> Iterator[tuple[gs.Node, gs.Tensor]]:
        """Nodes with the outputs of theirs that should be constants."""
        seen: set[int] = set()

        def once(tensor: gs.Tensor) -> Iterator[tuple[gs.Node, gs.Tensor]]:
            node = scope.producer(tensor)
            if node is None or id(tensor) in seen or scope.model.scope_of(node) is not scope:
                return
            seen.add(id(tensor))
            for out in node.outputs:
                if out.name and (scope.consumers(out) or scope.is_output(out)):
                    seen.add(id(out))
                    yield node, out

        for node in scope.nodes():
            outputs = [t for t in node.outputs if t.name]
            foldable = bool(outputs) and scope.constness(outputs[0]) == "foldable"
            if self.everywhere:
                if foldable and any(self._leaves(scope, t) for t in outputs):
                    yield from once(outputs[0])
                continue
            verdict = scope.judge(node)
            if foldable:
                if verdict.status == "refused":
                    yield from once(outputs[0])
                continue
            names = {f.tensor for f in verdict.findings if f.foldable}
            for tensor in node.inputs:
                if tensor.name in names and scope.constness(tensor) == "foldable":
                    yield from once(tensor)

    @staticmethod
    def _leaves(scope: Scope, tensor: gs.Tensor) -> bool:
        """Whether somebody who is not constant reads the tensor."""
        return scope.is_output(tensor) or any(
            any(o.name and scope.constness(o) == "runtime" for o in n.outputs)
            for n in scope.consumers(tensor)
        )

    def _cone(self, scope: Scope, tensor: gs.Tensor) -> list[gs.Node] | str:
        """The nodes that compute a tensor, inputs first, or why it is not to be computed."""
        order: list[gs.Node] = []
        seen: set[int] = set()
        stack: list[tuple[gs.Tensor, bool]] = [(tensor, False)]
        while stack:
            top, done = stack.pop()
            if self._too_large(scope, top):
                return f"'{top.name}' may be larger than limit_mib = {self.limit_mib:g}"
            node = scope.producer(top)
            if node is None or (id(node) in seen and not done):
                continue
            if done:
                order.append(node)
                continue
            seen.add(id(node))
            stack.append((top, True))
            if not _is_size_of_runtime(scope, node):
                stack.extend((t, False) for t in node.inputs if t.name)
        return order

    def _too_large(self, scope: Scope, tensor: gs.Tensor) -> bool:
        shape = scope.shape(tensor)
        if shape is None or not all(isinstance(d, int) for d in shape):
            maker = scope.producer(tensor)
            if maker is not None and maker.op == "Range":
                length = scope.model.range_length(maker)
                return length is None or length * _ITEM_BYTES > self._limit
            return maker is not None and maker.op in ("ConstantOfShape", "Expand", "Range", "Tile")
        sizes = [d for d in shape if isinstance(d, int)]
        return math.prod(sizes) * _item_bytes(scope.dtype(tensor)) > self._limit

    def _evaluate(
        self, scope: Scope, wanted: list[tuple[gs.Tensor, list[gs.Node]]]
    ) -> dict[str, NDArray[np.generic]]:
        import onnxsim

        model, alias = _constant_model(scope, wanted)
        with _quiet():
            simplified, _ = onnxsim.simplify(
                model, check_n=0, perform_optimization=False, skip_shape_inference=True
            )
        values = {
            t.name: np.asarray(numpy_helper.to_array(t)) for t in simplified.graph.initializer
        }
        for node in simplified.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                values[node.output[0]] = np.asarray(numpy_helper.to_array(node.attribute[0].t))
        for tensor, _ in wanted:
            name = alias.get(tensor.name, tensor.name)
            value = values[name] if name in values else scope.folded(tensor)
            if value is not None:
                values[tensor.name] = value
        return values


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what onnxsim prints, from C++ too, about nodes that onnxruntime has no kernel for."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for number in (*kept, nowhere):
            os.close(number)


def _item_bytes(dtype: int | None) -> int:
    if dtype is None or dtype == TensorProto.STRING:
        return _ITEM_BYTES
    return int(np.dtype(helper.tensor_dtype_to_np_dtype(dtype)).itemsize)


def _behind_identities(scope: Scope, tensor: gs.Tensor) -> gs.Tensor | None:
    """The initializer that a tensor is an Identity of, through any number of them."""
    node = scope.producer(tensor)
    found: gs.Tensor | None = None
    while node is not None and node.op == "Identity" and is_standard(node):
        found = node.inputs[0]
        node = scope.producer(found)
    return found if isinstance(found, gs.Constant) else None


def _is_size_of_runtime(scope: Scope, node: gs.Node) -> bool:
    """Whether a node that is constant gives sizes of a tensor that is not."""
    return bool(node.op in ("Shape", "Size") and scope.constness(node.inputs[0]) == "runtime")


def _constant_model(
    scope: Scope, wanted: list[tuple[gs.Tensor, list[gs.Node]]]
) -> tuple[ModelProto, dict[str, str]]:
    """A model without inputs that computes the wanted tensors, and where Identities lead.

    onnxsim stops at an Identity of a computed constant, so they are left out.
    """
    alias: dict[str, str] = {}
    nodes: dict[int, NodeProto] = {}
    initializers: dict[str, TensorProto] = {}
    for _, cone in wanted:
        for node in cone:
            if id(node) in nodes:
                continue
            if _is_size_of_runtime(scope, node):
                value = scope.folded(node.outputs[0])
                assert value is not None, node.name
                initializers[node.outputs[0].name] = numpy_helper.from_array(
                    value, node.outputs[0].name
                )
                continue
            if node.op == "Identity":
                source = node.inputs[0].name
                alias[node.outputs[0].name] = alias.get(source, source)
            proto = NodeProto()
            origin = scope.model.origin(node)
            assert origin is not None, node.name
            proto.CopyFrom(origin)
            del proto.input[:]
            proto.input.extend(alias.get(t.name, t.name) for t in node.inputs)
            if node.op != "Identity":
                nodes[id(node)] = proto
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant) and tensor.name not in initializers:
                    value = scope.constant(tensor, limit=None)
                    assert value is not None, tensor.name
                    initializers[tensor.name] = numpy_helper.from_array(value, tensor.name)
    outputs = [
        helper.make_tensor_value_info(
            alias.get(t.name, t.name), scope.dtype(t) or TensorProto.UNDEFINED, scope.shape(t)
        )
        for t, _ in {alias.get(t.name, t.name): (t, c) for t, c in wanted}.values()
    ]
    graph = helper.make_graph(
        list(nodes.values()), "constants", [], outputs, list(initializers.values())
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", scope.opset)])
    model.ir_version = min(onnx.IR_VERSION, max(scope.model.proto.ir_version, 4))
    return model, alias
