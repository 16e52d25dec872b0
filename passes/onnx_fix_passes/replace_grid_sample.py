"""GridSample as ops that every release has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes._grid_sample_forms import POSITIONS_INT32, Mode, Padding, Site, Writer

_MODES: dict[str, Mode] = {
    "bicubic": "cubic",
    "bilinear": "linear",
    "cubic": "cubic",
    "linear": "linear",
    "nearest": "nearest",
}
"""The spellings of operator set 16 and of 20; onnxruntime reads both in either."""

_DEFAULT_MODE = "linear"
"""Since operator set 20; the default before, ``bilinear``, is the same mode."""

_PADDINGS: dict[str, Padding] = {
    "border": "border",
    "reflection": "reflection",
    "zeros": "zeros",
}
_FLOATS = frozenset(
    {
        int(TensorProto.BFLOAT16),
        int(TensorProto.DOUBLE),
        int(TensorProto.FLOAT),
        int(TensorProto.FLOAT16),
    }
)


@dataclass(frozen=True)
class ReplaceGridSample(Pass):
    """Replaces GridSample where the target lacks it or misreads it, by Gathers of pixels.

    1. A target that has GridSample but does not know that mode ``bilinear`` is called ``linear``
       since operator set 20: the attribute, which has its default value, is left out. Mode
       ``cubic`` has no such way out and takes form 2; a pipeline file that runs ``lower-opset``
       first keeps the node, since below operator set 20 ``cubic`` is ``bicubic``.
    2. Otherwise the data become a table of pixels (Transpose, Flatten). From the grid come the
       numbers of the rows to take, and their weights: 1 row for mode nearest, 4 for linear (8 in
       a volume), 16 for cubic. Where places outside count as zeros, the data get a rim of zeros
       (Pad), so that every number of a row is inside the table, whatever the grid holds. Sizes
       that are not known at build time are read from Shape; with a batch of 1 there is no offset
       of the image.

    Before:
        y = GridSample <mode = "linear", padding_mode = "border"> (x, grid)
    After:
        table = Flatten <axis = 3> (Transpose <perm = [0, 2, 3, 1]> (x));
        place = (grid + 1) * sizes / 2 - 1 / 2; low = Floor (place);
        r00 ... r11: rows numbered by low and low + 1, held inside the data;
        sum = Gather (table, r00) * w00 + ... + Gather (table, r11) * w11;
        y = Transpose <perm = [0, 3, 1, 2]> (sum)
    Exact:
        Form 1 changes nothing. In form 2 mode nearest takes the pixels that onnxruntime takes,
        halves going to the even pixel; the other modes add in another order (rounding only).
        Places and weights are computed in float32, and so are sums of float16 and bfloat16, which
        are rounded once at the end, as onnxruntime does. Data or a grid of DOUBLE make all of it
        DOUBLE. Coordinates that are NaN, infinite or 2^63 pixels away count as the lower border
        (-1), as in onnxruntime. Places beyond 2^23 pixels in float32 have no fraction left: ONNX
        says nothing of them, and onnxruntime's linear mode then loses its weights, where this
        rewrite takes the pixel at the border (or, for reflection, some pixel). Left alone: nodes
        that the target takes; ranks that are not known; cubic in a volume, which ONNX does not
        have; data that are no floats; attributes that are parameters of the enclosing function.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "GridSample", "the rank is known and the data are floats")
        for kind in ("attribute_value_misread", "no_importer", "rank")
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("GridSample"):
            if self.everywhere or scope.refused(node):
                yield (None if self.everywhere else _respelled(scope, node)) or _rewrite(
                    scope, node
                )


def _respelled(scope: Scope, node: gs.Node) -> Rewrite | None:
    """The node without its mode, where that is the default and all that the target misreads."""
    if attribute(node, "mode", str) != _DEFAULT_MODE:
        return None
    kept = {k: v for k, v in node.attrs.items() if k != "mode"}
    if has_unresolved(node, *kept) or not scope.accepts("GridSample", node.inputs, kept):
        return None
    e = Emitter(scope)
    return e.rewrite(node, e("GridSample", *node.inputs, **kept))


def _rewrite(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    site = _site(scope, node)
    if isinstance(site, Skip):
        return site
    e = Emitter(scope)
    result = Writer(e, site).write()
    exact = site.mode == "nearest" and site.padding != "reflection"
    exactness = Exactness.EXACT if exact else Exactness.ROUNDING
    return e.rewrite(node, result, exactness=exactness)


def _site(scope: Scope, node: gs.Node) -> Site | Skip:
    if has_unresolved(node, "mode", "padding_mode", "align_corners"):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    data, grid = node.inputs[:2]
    shapes = [scope.shape(t) for t in (data, grid, node.outputs[0])]
    rank = next((len(shape) for shape in shapes if shape is not None), None)
    if rank is None:
        return Skip(
            node,
            "the rank of its input is not known: give the inputs of the model their shapes, and "
            "inline the function around the node if there is one",
        )
    if rank not in (4, 5) or any(s is not None and len(s) != rank for s in shapes):
        return Skip(
            node, "its data and grid have to be of one rank, 4 or 5; onnxruntime refuses it"
        )
    spelled = attribute(node, "mode", str, _DEFAULT_MODE) or ""
    mode, padding = _MODES.get(spelled), attribute(node, "padding_mode", str, "zeros") or ""
    if mode is None or padding not in _PADDINGS:
        return Skip(node, f"ONNX has no mode {spelled} with padding {padding}")
    if mode == "cubic" and rank == 5:
        return Skip(node, "ONNX has mode cubic for images alone, not for data of rank 5")
    types = [scope.dtype(data), scope.dtype(grid)]
    if types[0] is None or types[1] is None:
        return Skip(node, "the element types of its data and grid are not known")
    for dtype in types:
        if dtype not in _FLOATS:
            name = TensorProto.DataType.Name(dtype or 0)
            return Skip(node, f"{name} is not sampled here: cast data and grid to FLOAT first")
    site = Site(
        scope,
        data,
        grid,
        shapes[0] if shapes[0] is not None else (None,) * rank,
        mode,
        _PADDINGS[padding],
        bool(attribute(node, "align_corners", int, 0)),
        types[0],
        types[1],
    )
    narrow = scope.target.dtype_names[TensorProto.INT64] == "INT32"
    if narrow and site.pixels() >= POSITIONS_INT32:
        return Skip(
            node, "its data have too many pixels to be counted in INT32, as the target does"
        )
    return site
