"""The pass ``replace-pooling``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.lower.node import LowNode, Refused
from onnx_fix.lower.rules.pooling import Windows, window_average, window_norm, windows_of
from onnx_fix.scope import Scope
from onnx_fix.target import TensorFacts
from onnx_fix_passes._by_rule import by_rule, is_taken, low_node
from onnx_fix_passes._max_windows import greatest, positions, short_axes

_INTEGERS = frozenset({TensorProto.INT8, TensorProto.UINT8})
_KNOWN = "the rank is known, and so is the padding"


@dataclass(frozen=True)
class ReplacePooling(Pass):
    """Write a pool that the target refuses with the windows that it has.

    Rules:

    1. MaxPool whose Indices nobody reads: without them.
    2. MaxPool of INT8 and UINT8: as FLOAT, which holds and orders them.
    3. MaxPool with dilations: axis by axis, the Max of as many slices as the kernel is long.
    4. MaxPool with Indices: the same slices; where a later one is greater, its position wins. The
       position in the plane is sliced along with the numbers, and that of the plane is added.
    5. AveragePool with dilations: a Conv with a kernel of ones sums the windows, and the sums are
       divided by how many elements each window has.
    6. LpPool with another p than 1 and 2, with dilations, or where the target has none: the same
       sums, of the absolute values to the power p, and the root of that.

    Before:
        y = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (x)
    After:
        a = Slice <axis 3> (x, 0, -2)
        b = Slice <axis 3> (x, 2, end)
        m = Max (a, b)
        c = Slice <axis 2> (m, 0, -2)
        d = Slice <axis 2> (m, 2, end)
        y = Max (c, d)
    Exact:
        The greatest elements and where they are: yes, for numbers that are not NaN (runtimes do
        not agree on these). Averages and norms round otherwise. Left alone: padding that depends on
        sizes that are not known; averages and norms with strides along an axis that may be shorter
        than a window; and SAME_UPPER and SAME_LOWER with dilations, on which runtimes do
        not agree.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("attribute_allowed_values", "AveragePool", _KNOWN),
        Mends("attribute_allowed_values", "LpPool", _KNOWN),
        Mends("ignored_attribute", "LpPool", _KNOWN),
        Mends("no_importer", "LpPool", _KNOWN),
        Mends("attribute_allowed_values", "MaxPool", _KNOWN),
        Mends("outputs_max", "MaxPool", _KNOWN),
        Mends("uint8_io", "MaxPool", "the target casts UINT8"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose other windows for every pool that the target refuses for its own."""
        for node in scope.nodes("AveragePool", "LpPool", "MaxPool"):
            against = [f for f in scope.judge(node).findings if f.refuses or f.in_doubt]
            if any(f.kind in ("kernel_rank", "spatial_dims") for f in against):
                continue
            if against or self.everywhere:
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x = node.inputs[0]
    rank = scope.rank(x)
    low = low_node(scope, node, scope.opset + 1)
    if rank is None or low is None:
        return Skip(node, "the rank of its input is not known")
    if not 3 <= rank <= 5:
        return Skip(node, f"{scope.target.name} has no windows for an input of rank {rank}")
    if node.op == "MaxPool":
        return _max_pool(scope, node, low)
    if not is_taken(scope, x):
        return Skip(node, f"{scope.target.name} does not take '{x.name}' for its type")
    try:
        short = short_axes(scope.shape(x) or (), windows_of(low))
    except Refused as refused:
        return Skip(node, str(refused))
    if short:
        axes = ", ".join(str(axis + 2) for axis in short)
        return Skip(
            node,
            f"a window may not fit along axis {axes}, where runtimes count one still; "
            "fix the dim (--static), or pad by the window less one",
        )
    rule = window_average if node.op == "AveragePool" else window_norm
    return by_rule(scope, node, rule, exactness=Exactness.ROUNDING)


def _max_pool(scope: Scope, node: gs.Node, low: LowNode) -> Rewrite | Skip:
    x, dtype = node.inputs[0], scope.dtype(node.inputs[0])
    if dtype is None:
        return Skip(node, "the element type of its input is not known")
    e = Emitter(scope)
    indices = node.outputs[1] if len(node.outputs) > 1 and node.outputs[1].name else None
    if indices is not None and not (scope.consumers(indices) or scope.is_output(indices)):
        indices = None
    narrow = dtype in _INTEGERS
    if narrow and not scope.accepts("Cast", [x], {"to": int(TensorProto.FLOAT)}):
        return Skip(node, f"{scope.target.name} does not take '{x.name}' for its type")
    work = TensorFacts("x", int(TensorProto.FLOAT if narrow else dtype), scope.shape(x))
    wide = e.cast(x, TensorProto.FLOAT) if narrow else x
    kept = {k: v for k, v in node.attrs.items() if k != "storage_order"}
    changed = narrow or len(node.outputs) > 1
    if changed and indices is None and scope.accepts("MaxPool", [work], kept):
        result = e("MaxPool", wide, **kept)
        return e.rewrite(node, e.cast(result, dtype) if narrow else result)
    if not scope.accepts("Identity", [work], outputs=[work]):
        return Skip(node, f"{scope.target.name} does not take '{x.name}' for its type")
    try:
        windows = windows_of(low)
        column_major = low.attr("storage_order", 0) == 1
    except Refused as refused:
        return Skip(node, str(refused))
    since = _since(scope, x, windows, indexed=indices is not None)
    if scope.opset < since:
        return Skip(node, f"its slices need opset {since}; raise the operator set of the model")
    where = None
    if indices is not None:
        where = positions(e, x, len(windows.kernel) + 2, column_major=column_major)
    best, place = greatest(e, wide, int(work.dtype or 0), scope.shape(x) or (), windows, where)
    pairs: list[tuple[gs.Tensor, gs.Tensor]] = []
    if node.outputs[0].name:
        pairs.append((node.outputs[0], e.cast(best, dtype) if narrow else best))
    if indices is not None and place is not None:
        pairs.append((indices, place))
    return e.rewrite(node, pairs)


def _since(scope: Scope, x: gs.Tensor, windows: Windows, *, indexed: bool) -> int:
    """The operator set that has what the slices need: Where, steps of Slice, Range."""
    if indexed and not all(isinstance(d, int) for d in scope.shape(x) or ()):
        return 11
    if any(step != 1 for step in windows.strides):
        return 10
    return 9 if indexed else 1
