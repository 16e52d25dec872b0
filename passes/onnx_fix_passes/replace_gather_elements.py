"""GatherElements for releases that lack it, or that take it with restrictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import TensorFacts
from onnx_fix_passes._gather_flat import Lengths, Site, from_front, known_indices, write_gather
from onnx_fix_plugins import gather_elements as plugin

_OUTRIGHT = frozenset({"no_importer", "static_shape_only"})
_MENDABLE = frozenset({"negative_indices_unsupported", "dtype_refused"})
_BOOL_STANDS_FOR = (TensorProto.INT32, TensorProto.FLOAT)
"""Types that hold 0 and 1 exactly, in the order in which they are tried in place of BOOL."""


@dataclass(frozen=True)
class ReplaceGatherElements(Pass):
    """GatherElements (torch.gather) becomes a plugin node or plain Gather nodes.

    Rules, the first that holds:

    1. Where the target has a layer for the node but refuses its BOOL data, or does not count
       negative indices from the end, GatherElements stays: the data goes through INT32 and back,
       and indices that may be negative are counted from the front. Indices are left alone where
       ArgMax, TopK, NonZero, Shape or constants show that none is negative.
    2. With ``form: plugin``: one GatherElementsPlugin node, where the target looks for plugins and
       the plugin takes the element type.
    3. Otherwise plain Gather. Where all rows ask for the same indices (an index expanded along the
       other axes, or other axes of size 1), one Gather along the axis. Else a Gather from the
       flattened data at positions that are computed from Shape where sizes are not static.

    Before:
        y = GatherElements<axis = 1>(data, indices)
    After:
        y = trt.plugins.GatherElementsPlugin<axis = 1, plugin_version = "1",
        plugin_namespace = "">(data, indices)
        or, with form: gather, data of (2, N) and indices of (2, M):
        flat = Reshape(data, [-1])
        wrapped = Where(Less(indices, 0), Add(indices, N), indices)
        y = Gather<axis = 0>(flat, Add(wrapped, Mul([[0], [1]], N)))
    Exact:
        Yes: elements are only moved. Left alone: nodes that the target takes; data of 2^31
        elements or more where the target computes positions in INT32; an axis that is a parameter
        of the enclosing function; for plain Gather, data of unknown rank.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    without_plugins: ClassVar[Mapping[str, object]] = MappingProxyType({"form": "gather"})
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("dtype_refused", "GatherElements"),
        Mends("negative_indices_unsupported", "GatherElements", "the shapes are known"),
        Mends("no_importer", "GatherElements", "the plugin or Gather takes its data"),
        Mends("static_shape_only", "GatherElements", "the plugin or Gather takes its data"),
    )

    form: Literal["plugin", "gather"] = "plugin"
    """``plugin``: a node for the plugin that onnx-fix ships; ``gather``: stock layers alone."""

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("GatherElements"):
            against = {f.kind for f in scope.judge(node).findings if f.refuses or f.in_doubt}
            if self.everywhere or against & _OUTRIGHT:
                yield self._replace(scope, node)
            elif against & _MENDABLE:
                site = _mend(scope, node)
                if site is not None:
                    yield site

    def _replace(self, scope: Scope, node: gs.Node) -> Rewrite | Skip:
        if has_unresolved(node, "axis"):
            return Skip(node, "its axis is a parameter of the enclosing function; inline it first")
        if self.form == "gather":
            return _by_gather(scope, node)
        return _by_plugin(scope, node)


# -- rule 1 ---------------------------------------------------------------------------------------


def _mend(scope: Scope, node: gs.Node) -> Rewrite | Skip | None:
    """Keep the node, and change what the target has against its inputs; None if that is nothing."""
    kinds = {f.kind for f in scope.judge(node).findings}
    data, indices = node.inputs
    data_type = scope.dtype(data)
    e = Emitter(scope)
    stand_in: int | None = None
    if "dtype_refused" in kinds:
        if data_type is None:
            return Skip(node, "the element type of its data is not known; BOOL would be refused")
        stand_in = _stand_in(scope, "GatherElements", [indices])
        if data_type != TensorProto.BOOL or stand_in is None:
            return Skip(node, _no_type(scope, "GatherElements", data_type))
    counted: gs.Tensor = indices
    if "negative_indices_unsupported" in kinds:
        site = _site(scope, node)
        index_type = scope.dtype(indices)
        if isinstance(site, Skip) or index_type is None:
            return Skip(node, "the shapes are not known, and negative indices would be misread")
        before = known_indices(site, indices)
        after = from_front(Lengths(e), site, before, index_type)
        if after is not before:
            counted = after if isinstance(after, gs.Tensor) else e.const(after, index_type)
    if stand_in is None and counted is indices:
        return None
    if stand_in is not None:
        data = e.cast(data, stand_in)
    result: gs.Tensor = e("GatherElements", data, counted, axis=attribute(node, "axis", int, 0))
    if stand_in is not None:
        result = e.cast(result, TensorProto.BOOL)
    return e.rewrite(node, result)


def _stand_in(scope: Scope, op: str, more: list[gs.Tensor]) -> int | None:
    """The type in whose place the target takes BOOL data in ``op``."""
    for dtype in _BOOL_STANDS_FOR:
        if scope.accepts(op, [TensorFacts("x", dtype, (2,)), *more]):
            return dtype
    return None


def _no_type(scope: Scope, op: str, dtype: int) -> str:
    return f"{scope.target.name} takes no {TensorProto.DataType.Name(dtype)} data in {op}"


# -- rule 2 ---------------------------------------------------------------------------------------


def _by_plugin(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    data = node.inputs[0]
    axis = attribute(node, "axis", int, 0) or 0
    rank = scope.rank(data) or scope.rank(node.inputs[1])
    attrs = plugin.attributes(axis % rank if rank else axis)
    names = scope.target.dtype_names
    dtype = scope.dtype(data)
    taken = dtype is None or names[dtype] in {names[d] for d in plugin.DATA_TYPES}
    if not taken or not scope.accepts(plugin.OP, node.inputs, attrs):
        why = f"is no use on {scope.target.name}" if taken else "does not take this element type"
        return _by_gather(scope, node, note=f"plain Gather, since {plugin.OP} {why}")
    e = Emitter(scope)
    result = e(plugin.OP, *node.inputs, domain=plugin.DOMAIN, **attrs)
    note = f"needs the plugin {plugin.OP}: onnx-fix plugins build compiles its library"
    return e.rewrite(node, result, note=note)


# -- rule 3 ---------------------------------------------------------------------------------------


def _by_gather(scope: Scope, node: gs.Node, note: str = "") -> Rewrite | Skip:
    site = _site(scope, node)
    if isinstance(site, Skip):
        return site
    if site.too_large():
        return Skip(node, "positions in the flattened data do not fit INT32, which the target uses")
    dtype = scope.dtype(site.data)
    wanted = dtype
    if not scope.accepts("Gather", [TensorFacts("x", dtype), TensorFacts("i", TensorProto.INT64)]):
        if dtype == TensorProto.BOOL:
            wanted = _stand_in(scope, "Gather", [])
        if dtype is None or wanted is None or wanted == dtype:
            return Skip(node, _no_type(scope, "Gather", dtype or TensorProto.UNDEFINED))
    elif dtype is None and not _takes_bool(scope):
        return Skip(node, "the element type of its data is not known; BOOL would be refused")
    e = Emitter(scope)
    data = site.data
    if wanted is not None and wanted != dtype:
        data = e.cast(data, wanted)
    result = write_gather(e, site, data, wanted)
    if wanted is not None and wanted != dtype:
        result = e.cast(result, TensorProto.BOOL)
    return e.rewrite(node, result, note=note)


def _takes_bool(scope: Scope) -> bool:
    return scope.accepts("Gather", [TensorFacts("x", TensorProto.BOOL), TensorFacts("i")])


def _site(scope: Scope, node: gs.Node) -> Site | Skip:
    data, indices = node.inputs
    # The output is of the shape of the indices, and both inputs are of one rank (ONNX operator
    # specification), so any of the three tells the rank.
    data_shape, index_shape = scope.shape(data), scope.shape(indices)
    if index_shape is None:
        index_shape = scope.shape(node.outputs[0])
    rank = next((len(s) for s in (data_shape, index_shape) if s is not None), None)
    if rank is None:
        return Skip(node, "the rank of its data is not known")
    data_shape = data_shape if data_shape is not None else (None,) * rank
    index_shape = index_shape if index_shape is not None else (None,) * rank
    axis = attribute(node, "axis", int, 0) or 0
    if rank == 0 or not -rank <= axis < rank or len(data_shape) != len(index_shape):
        return Skip(node, "its shapes and its axis do not fit together; onnxruntime refuses it too")
    return Site(scope, data, indices, data_shape, index_shape, axis % rank)
