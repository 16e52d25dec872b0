"""Clip with bounds or element types that the target refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, elem_type, has_unresolved
from onnx_fix.target import NodeFacts, TensorFacts, Verdict

_BOUNDS_ARE_INPUTS_SINCE = 11
_BROADCASTING_SINCE = 8
_OUR_KINDS = frozenset(
    {
        "bounds_dtype",
        "dtype",
        "dtype_refused",
        "input_must_be_constant",
        "optional_input_must_be_present",
    }
)
_INTEGERS = frozenset(elem_type(np.dtype(kind + size)) for kind in "iu" for size in "1248")
_MOST = float(np.finfo(np.float32).max)
"""The defaults of the attributes of opset 6 are this and its negative, and mean no bound."""


@dataclass(frozen=True)
class ClipToMinMax(Pass):
    """A Clip that the target refuses becomes one that it takes, or Max and Min.

    Rules, the first that holds:

    1. A Clip without bounds is its input.
    2. Where that is enough for the target, Clip stays: bounds that are computed from constants
       become initializers, and an omitted max is left off the list of inputs.
    3. Otherwise (bounds known at run time only, element types that the layer for Clip does not
       take) Max and Min, the bounds standing second. A bound of one element in a higher rank than
       x is made a scalar.

    Before:
        y = Clip(x, low, high)
    After:
        t = Max(x, low)
        y = Min(t, high)
    Exact:
        Yes. Clip is Min(Max(x, min), max) by its ONNX definition, so all is max where min > max,
        and a NaN in x or in a bound gives NaN. Two things ONNX leaves to the implementation:
        onnxruntime ignores a bound that is NaN, where the definition and Max and Min do not; and
        with one bound left out it gives the largest finite number for an infinite x on the open
        side, where the definition's function body, onnx.reference and this rewrite keep the
        infinity. Left alone: nodes that the target takes; bounds of more than one element;
        bounds that are parameters of the enclosing function.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("bounds_dtype", "Clip"),
        Mends("dtype", "Clip", "Max and Min of the element type are taken"),
        Mends("dtype_refused", "Clip", "Max and Min of the element type are taken"),
        Mends("input_must_be_constant", "Clip"),
        Mends("optional_input_must_be_present", "Clip"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Clip"):
            facts = _facts(scope, node)
            if self.everywhere:
                yield _rewrite(scope, node, facts, keep=False)
            elif _against(scope.target.judge(facts)):
                yield _rewrite(scope, node, facts, keep=True)


def _against(verdict: Verdict) -> bool:
    return any(f.kind in _OUR_KINDS and (f.refuses or f.in_doubt) for f in verdict.findings)


def _facts(scope: Scope, node: gs.Node) -> NodeFacts:
    """What is known of the node; x and its bounds are of one type, so each tells that of all."""
    facts = scope.facts(node)
    dtype = next((t.dtype for t in (*facts.inputs, *facts.outputs) if t.name and t.dtype), None)
    if dtype is None and scope.opset < _BOUNDS_ARE_INPUTS_SINCE:
        # Clip of these opsets is of floats alone, and none of them is refused.
        dtype = elem_type(np.float32)
    typed = tuple(replace(t, dtype=dtype) if t.name else t for t in facts.inputs)
    return replace(facts, inputs=typed)


def _rewrite(scope: Scope, node: gs.Node, facts: NodeFacts, *, keep: bool) -> Rewrite | Skip:
    if scope.opset < _BOUNDS_ARE_INPUTS_SINCE:
        return _of_attributes(scope, node, facts)
    e = Emitter(scope)
    x = node.inputs[0]
    bounds: list[gs.Tensor | None] = [
        t if t.name else None for t in (*node.inputs[1:3], *(gs.Variable.empty(),) * 2)
    ][:2]
    if all(b is None for b in bounds):
        return e.rewrite(node, x)
    for k, bound in enumerate(bounds):
        shape = scope.shape(bound) if bound is not None else None
        if shape is not None and any(isinstance(d, int) and d != 1 for d in shape):
            return Skip(node, "a bound has more than one element; ONNX asks for a scalar")
        value = scope.folded(bound) if bound is not None and _foldable(scope, bound) else None
        if value is not None:
            bounds[k] = e.const(value.reshape(()))
    if keep:
        kept = _kept(scope, e, node, facts, bounds)
        if kept is not None:
            return kept
    return _min_max(scope, e, node, facts, bounds)


def _foldable(scope: Scope, bound: gs.Tensor) -> bool:
    return scope.constness(bound) == "foldable"


# -- rule 2 ----------------------------------------------------------------------------------------


def _kept(
    scope: Scope, e: Emitter, node: gs.Node, facts: NodeFacts, bounds: list[gs.Tensor | None]
) -> Rewrite | None:
    """A Clip of the mended bounds, where the target takes that one and not the original."""
    inputs = [facts.inputs[0]]
    for k, bound in enumerate(bounds, start=1):
        if bound is None:
            inputs.append(TensorFacts(""))
        elif bound is not node.inputs[k]:
            inputs.append(TensorFacts("bound", facts.inputs[k].dtype, (), "initializer"))
        else:
            inputs.append(facts.inputs[k])
    while not inputs[-1].name:
        inputs.pop()
    same = len(inputs) == len(node.inputs) and all(
        a is b for a, b in zip(inputs[1:], facts.inputs[1:], strict=True)
    )
    if same or _against(scope.target.judge(replace(facts, inputs=tuple(inputs)))):
        return None
    return e.rewrite(node, e("Clip", node.inputs[0], *bounds))


# -- rule 3 ----------------------------------------------------------------------------------------


def _min_max(
    scope: Scope, e: Emitter, node: gs.Node, facts: NodeFacts, bounds: list[gs.Tensor | None]
) -> Rewrite | Skip:
    x = facts.inputs[0]
    for op, bound in zip(("Max", "Min"), bounds, strict=True):
        if bound is not None and not scope.accepts(op, [x, TensorFacts("bound", x.dtype, ())]):
            return Skip(node, f"{scope.target.name} does not take {op} of this element type either")
    result: gs.Tensor = node.inputs[0]
    for op, bound in zip(("Max", "Min"), bounds, strict=True):
        if bound is not None:
            result = e(op, result, _as_scalar(scope, e, bound, x))
    one_sided = any(b is None for b in bounds) and x.dtype not in _INTEGERS
    note = "an infinite x stays infinite on the side without a bound" if one_sided else ""
    return e.rewrite(node, result, note=note)


def _as_scalar(scope: Scope, e: Emitter, bound: gs.Tensor, x: TensorFacts) -> gs.Tensor:
    """A bound that cannot raise the rank of x."""
    value = None if scope.constness(bound) == "runtime" else scope.constant(bound)
    if value is not None:
        return bound if value.ndim == 0 else e.const(value.reshape(()))
    rank = scope.rank(bound)
    if rank == 0 or (x.shape is not None and len(x.shape) >= (1 if rank is None else rank)):
        return bound
    return e.reshape(bound, [])


# -- opset 6 to 10 ---------------------------------------------------------------------------------


def _of_attributes(scope: Scope, node: gs.Node, facts: NodeFacts) -> Rewrite | Skip:
    """Bounds that are attributes, which every release takes: only when asked for."""
    dtype = facts.inputs[0].dtype
    if scope.opset < _BROADCASTING_SINCE:
        return Skip(node, f"Max and Min of opset {scope.opset} do not broadcast a bound")
    if has_unresolved(node, "min", "max"):
        return Skip(node, "a bound is a parameter of the enclosing function; inline it first")
    if scope.dtype(node.inputs[0]) is None or dtype is None:
        return Skip(node, "the element type is not known")
    e = Emitter(scope)
    low, high = attribute(node, "min", float, -_MOST), attribute(node, "max", float, _MOST)
    bounds = [
        None if given is None or given == default else e.const(given, dtype)
        for given, default in ((low, -_MOST), (high, _MOST))
    ]
    if all(b is None for b in bounds):
        return e.rewrite(node, node.inputs[0])
    return _min_max(scope, e, node, facts, bounds)
