"""The pass ``replace-top-k``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes import _top_k_forms as forms

_TIES = "equals are taken to come out of the target's TopK by lower index, as ONNX says"


@dataclass(frozen=True)
class ReplaceTopK(Pass):
    """Write TopK with a K, an order and a type that the target takes.

    Rules:

    1. ``largest = 0``, where it is ignored: the largest of the negated data, negated.
    2. A K that folds to a constant becomes one. A K known at run time only, where the target wants
       a constant: all of an axis of static length, or as many as K is bounded by
       (``min(1000, size)``), and the first K of these. Data that may be shorter is made longer
       with minus infinities.
    3. A K beyond the target's limit: several TopK in turn. Between them the elements that were
       taken are struck out.
    4. Integers, where they are refused: as float32 where they were cast from a type of 16 bits or
       less. Else each element is compared with all others of a static length, and TopK sorts how
       many come before it, numbers without a tie.
    5. A K whose own length is not known, where the target wants it: reshaped to one element.

    Before:
        values, indices = TopK <largest = 0> (x, 5000)
    After:
        t = Neg (x)
        v1, i1 = TopK (t, 3840)
        v = last of v1;  i = last of i1
        left = Or (Less (t, v), And (Equal (t, v), Greater (positions, i)))
        v2, i2 = TopK (Where (left, t, -infinity), 1160)
        values = Neg (Concat (v1, v2));  indices = Concat (i1, i2)
    Exact:
        Yes; equals come by lower index as long as the target's TopK gives them so, which rule 3
        relies on, and the padding of rule 2. Rule 4 relies on nothing. In rule 3 minus infinity
        and the lowest finite number count as equals where a row holds both, unless the data is
        seen to hold no infinity (Sigmoid, Softmax, Clip). Rows with NaNs have no order in ONNX.
        Left alone: a run-time K without a bound; integers of a dynamic length; ``sorted = 0`` in
        rules 2 (but for a K that folds), 3 and 4, since there is no order to compare with.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("ignored_attribute", "TopK", "the attribute is largest"),
        Mends(
            "input_must_be_constant",
            "TopK",
            "the axis is of static length or K is bounded by a constant",
        ),
        Mends("max_value", "TopK", "K is constant and the data floating-point"),
        Mends("dtype_refused", "TopK", "the length is static or the numbers are of 16 bits"),
        Mends("static_shape_only", "TopK"),
    )

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("TopK"):
            verdict = scope.judge(node)
            if verdict.status == "supported":
                continue
            kinds = {f.kind for f in verdict.findings if f.refuses or f.in_doubt}
            if kinds & {m.kind for m in self.mends}:
                yield self._site(scope, node, kinds)

    def _site(self, scope: Scope, node: gs.Node, kinds: set[str]) -> Rewrite | Skip:
        if has_unresolved(node, "axis", "largest", "sorted", "k"):
            return Skip(node, "an attribute is a parameter of the function; inline it first")
        x = node.inputs[0]
        shape, dtype = scope.shape(x), scope.dtype(x)
        if shape is None:
            return self._unknown(scope, node, kinds)
        if dtype is None:
            return Skip(node, "the element type of its input is not known")
        axis = attribute(node, "axis", int, -1)
        axis = -1 if axis is None else axis
        if not -len(shape) <= axis < len(shape):
            return Skip(node, f"its axis {axis} does not exist in a tensor of rank {len(shape)}")
        site = forms.Site(
            scope,
            node,
            x,
            dtype,
            shape,
            axis % len(shape),
            _constant_k(scope, node),
            bool(attribute(node, "largest", int, 1)),
            attribute(node, "sorted", int),
        )
        if dtype in forms.INTEGERS and "dtype_refused" in kinds:
            return _integers(site)
        if kinds == {"static_shape_only"}:
            return self._unknown(scope, node, kinds)
        return _floats(site)

    def _unknown(self, scope: Scope, node: gs.Node, kinds: set[str]) -> Rewrite | Skip:
        """Without a rank: only K is reshaped."""
        if kinds != {"static_shape_only"}:
            return Skip(node, "the rank of its input is not known")
        e = Emitter(scope)
        values, indices = e.many(
            "TopK", 2, node.inputs[0], e.reshape(node.inputs[1], [1]), **dict(node.attrs)
        )
        return _done(e, node, values, indices, "")


def _constant_k(scope: Scope, node: gs.Node) -> int | None:
    if len(node.inputs) < 2:
        return attribute(node, "k", int)
    value = scope.folded(node.inputs[1])
    return int(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


def _done(e: Emitter, node: gs.Node, values: gs.Tensor, indices: gs.Tensor, note: str) -> Rewrite:
    pairs = [
        (old, new) for old, new in zip(node.outputs, (values, indices), strict=False) if old.name
    ]
    return e.rewrite(node, pairs, note=note)


_UNSORTED = (
    "its order is left open (sorted = 0), so that what several nodes make could not be compared "
    "with it: export with sorted = 1"
)


def _no_bound(site: forms.Site, most: int) -> Skip:
    name = site.node.inputs[1].name
    return Skip(
        site.node,
        f"K is known at run time only, and neither a static axis nor a constant in '{name}' "
        f"bounds it by {most}: fix the axis, or make K a constant (--freeze, where it is an input)",
    )


def _integers(site: forms.Site) -> Rewrite | Skip:
    e = Emitter(site.scope)
    most = forms.most_that_fits(site, forms.FLOAT)
    if forms.is_narrow(site.scope, site.data):
        x = e.cast(site.data, forms.FLOAT)
        made = _of_floats(e, replace(site, dtype=forms.FLOAT), x, most)
        if isinstance(made, Skip):
            return made
        (values, indices), note = made
        return _done(e, site.node, e.cast(values, site.dtype), indices, note)
    reason = _UNSORTED if site.sorted == 0 else forms.reason_against_ranks(site, most)
    if reason:
        return Skip(site.node, reason)
    if site.count is not None:
        values, indices = forms.ranked(e, site, site.count)
        return _done(e, site.node, values, indices, "")
    if site.length is None or site.length > most:
        return _no_bound(site, most)
    values, indices = forms.ranked(e, site, site.length)
    k = e.reshape(site.node.inputs[1], [1])
    first = [e.slice(t, [0], k, [site.axis]) for t in (values, indices)]
    return _done(e, site.node, first[0], first[1], "")


def _floats(site: forms.Site) -> Rewrite | Skip:
    most = forms.most_that_fits(site)
    if not most:
        name = TensorProto.DataType.Name(site.dtype)
        return Skip(site.node, f"{site.scope.target.name} has no TopK of {name}")
    e = Emitter(site.scope)
    made = _of_floats(e, site, site.data, most)
    if isinstance(made, Skip):
        return made
    (values, indices), note = made
    return _done(e, site.node, values, indices, note)


def _of_floats(
    e: Emitter, site: forms.Site, x: gs.Tensor, most: int
) -> tuple[forms.Results, str] | Skip:
    """Always of the largest, so that every target reads it alike."""
    note = ""
    steps: int | None = site.length if site.count is None else site.count
    if site.count is None and (steps is None or steps > most):
        steps = forms.bound(site.scope, site.node.inputs[1])
        others = [d for a, d in enumerate(site.shape) if a != site.axis]
        if steps is None or steps > most or not all(isinstance(d, int) for d in others):
            return _no_bound(site, most)
        note = _TIES
    if site.sorted == 0 and (site.count is None or site.count > most):
        return Skip(site.node, _UNSORTED)
    if steps is not None and steps > most:
        reason = forms.reason_against_parts(site, most)
        if reason:
            return Skip(site.node, reason)
    if not site.largest:
        x = e("Neg", x)
    if site.count is None:
        assert steps is not None
        values, indices = forms.cut(e, site, x, steps)
    elif site.count <= most:
        values, indices = forms.top(e, site, x, site.count)
    else:
        floored = not site.largest or forms.may_be_lowest(site.scope, x)
        values, indices = forms.parts(e, site, x, most, floored=floored)
        note = _TIES
        if floored:
            note += "; infinities and the last finite number count as equals in a row of both"
    if not site.largest:
        values = e("Neg", values)
    return (values, indices), note
