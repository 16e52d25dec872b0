"""The pass ``replace-pad``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import TensorFacts
from onnx_fix_passes._gather_flat import Lengths
from onnx_fix_passes._known_elements import elements

_MODES = ("constant", "edge", "reflect")
_INPUTS_SINCE = 11
_AT_RUN_TIME = (
    "its axes are computed at run time; name them in the network, or give them with --freeze where "
    "they are an input"
)

Places: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class ReplacePad(Pass):
    """Write a Pad that the target refuses as one Gather for each padded axis.

    An element of the output stands at the place ``k - before`` of the input. Places outside are
    those of the nearest element (``edge``) or of the mirrored one (``reflect``); in mode
    ``constant`` a Where puts the value there. Pads may be computed at run time, and negative ones
    cut. An axis is left alone where both of its pads are known to be 0, also where the other pads
    are not known.

    Before:
        y = Pad (x, pads) with the last of two axes padded
    After:
        at = Range (Neg (before), Add (size, after), 1)
        near = at, but 0 where it is less, and size - 1 where it is more
        g = Gather <axis = 1> (x, near)
        y = Where (Equal (at, near), g, value)
    Exact:
        Yes, for axes that have elements: a padded axis of size 0 known at run time only fails, and
        the rewrite says so. Left alone: other modes; unknown ranks; axes known at run time only; a
        reflection further than the tensor is long.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "Pad", "the rank is known and the mode is constant, edge or reflect")
        for kind in (
            "attribute_allowed_values",
            "constant_value",
            "ignored_input",
            "input_must_be_absent",
            "input_must_be_constant",
            "padded_dims",
        )
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose Gathers for every Pad that the target refuses."""
        for node in scope.nodes("Pad"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    if has_unresolved(node, "mode", "pads", "value"):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    x, mode = node.inputs[0], attribute(node, "mode", str, "constant") or "constant"
    shape, dtype = scope.shape(x), scope.dtype(x)
    if mode not in _MODES:
        return Skip(node, f"of mode {mode}; only {', '.join(_MODES)} are written by Gather")
    if shape is None or dtype is None:
        return Skip(node, "the rank or the type of its input is not known")
    axes = list(range(len(shape)))
    if len(node.inputs) > 3 and node.inputs[3].name:
        given = scope.folded(node.inputs[3])
        if given is None:
            return Skip(node, _AT_RUN_TIME)
        axes = [int(a) % len(shape) for a in given.reshape(-1)]
    pads = _pads(scope, node)
    if pads is None or len(pads) != 2 * len(axes):
        return Skip(node, "how many pads it has is not known")
    like = TensorFacts("x", dtype, shape)
    if not scope.accepts("Gather", [like, TensorFacts("i", TensorProto.INT64, (1,))], {"axis": 0}):
        kind = TensorProto.DataType.Name(dtype)
        return Skip(node, f"{scope.target.name} takes no Gather of {kind} either")
    sites = [
        _Axis(scope, node, axis, k, pads[k], pads[k + len(axes)], len(axes))
        for k, axis in enumerate(axes)
        if not (pads[k] == 0 and pads[k + len(axes)] == 0)
    ]
    for site in sites:
        if not site.is_static and scope.opset < _INPUTS_SINCE:
            return Skip(node, f"opset {scope.opset} has no Range to count axis {site.axis} with")
        if site.size == 0:
            return Skip(node, f"axis {site.axis} has no elements to begin with")
        if mode == "reflect" and site.reaches_too_far():
            return Skip(node, f"it reflects further than axis {site.axis} is long")
    return _written(scope, node, sites, mode, len(shape), dtype)


def _pads(scope: Scope, node: gs.Node) -> list[int | None] | None:
    """The pads as far as they are known, one by one."""
    if scope.opset < _INPUTS_SINCE:
        given = attribute(node, "pads", list)
        return None if given is None else [int(p) for p in given]
    found = elements(scope, node.inputs[1])
    if found is None or found.ndim != 1:
        return None
    return [None if p is None else int(p) for p in found]


@dataclass(frozen=True)
class _Axis:
    """One padded axis: ``place`` is its number among the axes of the node, ``count`` of them."""

    scope: Scope
    node: gs.Node
    axis: int
    place: int
    before: int | None
    after: int | None
    count: int

    @property
    def size(self) -> int | None:
        shape = self.scope.shape(self.node.inputs[0]) or ()
        size = shape[self.axis]
        return size if isinstance(size, int) else None

    def only_cuts(self) -> bool:
        """Whether both pads are known to add nothing."""
        return all(p is not None and p <= 0 for p in (self.before, self.after))

    def reaches_too_far(self) -> bool:
        known = [p for p in (self.before, self.after) if p is not None]
        return self.size is not None and any(p >= self.size for p in known)

    @property
    def is_static(self) -> bool:
        """Whether size and pads are known."""
        return None not in (self.size, self.before, self.after)

    def known_places(self, mode: str) -> tuple[Places, Places]:
        """As ``places``, where all is known."""
        size, before, after = self.size or 0, self.before or 0, self.after or 0
        at = np.arange(-before, size + after)
        if mode == "reflect":
            at = size - 1 - np.abs(size - 1 - np.abs(at))
        return at, np.clip(at, 0, size - 1)

    def places(self, e: Emitter, lengths: Lengths, mode: str) -> tuple[gs.Tensor, gs.Tensor]:
        """Where the elements of the output stand, and the nearest places that there are."""
        x, zero, one = self.node.inputs[0], e.const(0), e.const(1)
        size = e.const(self.size) if self.size is not None else lengths(x, self.axis)
        start = e.const(-self.before) if self.before is not None else e("Neg", self._pad(e, 0))
        after = e.const(self.after) if self.after is not None else self._pad(e, self.count)
        at = e("Range", start, e("Add", size, after), one)
        last = e.const(self.size - 1) if self.size is not None else e("Sub", size, one)
        if mode == "reflect":
            at = e("Sub", last, e("Abs", e("Sub", last, e("Abs", at))))
        # Min and Max take integers since operator set 12 only.
        near = e("Where", e("Less", last, at), last, at)
        return at, e("Where", e("Less", near, zero), zero, near)

    def _pad(self, e: Emitter, offset: int) -> gs.Tensor:
        return e("Gather", self.node.inputs[1], e.const(self.place + offset), axis=0)


def _written(
    scope: Scope, node: gs.Node, sites: list[_Axis], mode: str, rank: int, dtype: int
) -> Rewrite:
    e = Emitter(scope)
    lengths = Lengths(e)
    result = node.inputs[0]
    inside: gs.Tensor | None = None
    for site in sites:
        if site.is_static:
            known, nearest = site.known_places(mode)
            near: gs.Tensor = e.const(nearest, np.int64)
            taken: gs.Tensor = e.const(known == nearest)
        else:
            at, near = site.places(e, lengths, mode)
            taken = e("Equal", at, near) if mode == "constant" else at
        result = e("Gather", result, near, axis=site.axis)
        if mode == "constant" and not (site.is_static and site.only_cuts()):
            trailing = [1] * (rank - 1 - site.axis)
            taken = e.reshape(taken, [-1, *trailing]) if trailing else taken
            inside = taken if inside is None else e("And", inside, taken)
    if inside is not None:
        result = e("Where", inside, result, _value(scope, e, node, dtype))
    sure = all(site.size is not None for site in sites)
    note = "" if sure else "a padded axis is taken to have at least one element"
    return e.rewrite(node, result, note=note)


def _value(scope: Scope, e: Emitter, node: gs.Node, dtype: int) -> gs.Tensor:
    if scope.opset < _INPUTS_SINCE:
        return e.const(attribute(node, "value", float, 0.0) or 0.0, dtype)
    if len(node.inputs) > 2 and node.inputs[2].name:
        return node.inputs[2]
    return e.const(0, dtype)
