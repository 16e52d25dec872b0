"""LpNormalization, and the chain that ``torch.nn.functional.normalize`` is exported as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, TypeInfo, attribute, has_unresolved
from onnx_fix_passes._reductions import FLOATS, Reducer, axes_of, in_float, keeps_dims, normalized

_NO_WAY = (
    "the target reads the axes of no reduction at this opset; export with opset 17 or lower, "
    "or lower the opset of the model"
)


@dataclass(frozen=True)
class Normalize(Pass):
    """Write a normalization by its 1-norm or 2-norm in ops that the target takes.

    Rules:

    1. LpNormalization: the norm, a Div, and 0 where the norm is 0, which is what ONNX asks for
       since opset 22 and onnxruntime does at any opset.
    2. ``x / expand(clip(norm(x), eps))``, as both exporters of PyTorch write ``F.normalize``, where
       the target refuses one of the nodes or computes something else: the norm is written anew
       unless the target takes its nodes, Clip becomes Max, and an Expand to the shape of ``x``
       goes, since Div broadcasts. The norm may be ReduceL2, ReduceL1, Sqrt of ReduceSumSquare,
       Sqrt of ReduceSum of ``x * x`` or of ``x ** 2``, or ReduceSum of Abs; the bound a Clip or a
       Max.

    The norm is ReduceL2 (ReduceL1) where the target takes it, else Sqrt of ReduceSum of ``x * x``
    (ReduceSum of Abs), for half precision in float32.

    Before:
        n = ReduceL2 <axes = [1]> (x)
        c = Clip (n, eps, )
        s = Shape (x)
        d = Expand (c, s)
        y = Div (x, d)
    After:
        n = ReduceL2 <axes = [1]> (x)
        c = Max (n, eps)
        y = Div (x, c)
    Exact:
        Rounding only where the norm is written anew, else yes. The epsilon is kept. An infinite
        norm stays infinite in Max, as Clip is defined; onnxruntime's Clip without an upper bound
        makes it the largest finite number. Left alone: chains that the target takes as they stand,
        and chains whose Clip has an upper bound.
    Since: 0.1
    """

    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "LpNormalization", "the element type is floating-point"),
        Mends("dtype", "LpNormalization", "the element type is floating-point"),
        *(
            Mends("ignored_input", op, "it is the norm that a tensor is divided by")
            for op in ("ReduceL1", "ReduceL2", "ReduceSum", "ReduceSumSquare")
        ),
    )

    everywhere: bool = False
    """Also rewrite LpNormalization where the target takes it, and chains with an Expand."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose other nodes for every normalization that the target refuses."""
        for node in scope.nodes("LpNormalization", "Div"):
            if node.op == "LpNormalization":
                if self.everywhere or scope.judge(node).status != "supported":
                    yield _of_op(scope, node)
                continue
            chain = _chain(scope, node)
            if chain is not None:
                site = _of_chain(scope, chain, self.everywhere)
                if site is not None:
                    yield site


def _of_op(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x = node.inputs[0]
    if has_unresolved(node, "axis", "p"):
        return Skip(node, "an attribute comes from a function parameter: inline it")
    known = TypeInfo(scope.dtype(x), scope.shape(x))
    if known.dtype not in FLOATS:
        return Skip(node, f"the element type of '{x.name}' is not known")
    p = attribute(node, "p", int, 2)
    if p not in (1, 2):
        return Skip(node, f"p is {p}; ONNX allows 1 and 2")
    axes = normalized([attribute(node, "axis", int, -1) or 0], known.shape)
    e = Emitter(scope)
    wide = (
        TensorProto.FLOAT
        if known.dtype in (TensorProto.FLOAT16, TensorProto.BFLOAT16)
        else known.dtype
    )
    r = Reducer(e, TypeInfo(wide, known.shape), axes, True)

    def body(data: gs.Tensor) -> gs.Tensor | None:
        norm = _norm(r, p, data)
        if norm is None:
            return None
        quotient = e("Div", data, norm)
        zero = e.const(0.0, wide)
        if scope.opset >= 11:
            return e("Where", e("Equal", norm, zero), zero, quotient)
        # Equal takes no floating-point numbers yet. Mul keeps a norm that is NaN.
        return e("Where", e("Greater", norm, zero), quotient, e("Mul", norm, zero))

    result = in_float(e, x, known.dtype, body)
    if result is None:
        return Skip(node, _NO_WAY)
    return e.rewrite(node, result, exactness=Exactness.ROUNDING)


def _norm(r: Reducer, p: int | None, x: gs.Tensor) -> gs.Tensor | None:
    op = f"ReduceL{p}"
    if r.takes(op):
        return r.direct(op, x)
    return r.l1(x) if p == 1 else r.l2(x)


# -- the chain ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chain:
    """``root`` divides ``x`` by its bounded norm; ``expand`` may be missing."""

    root: gs.Node
    x: gs.Tensor
    expand: gs.Node | None
    bound: gs.Node
    least: gs.Tensor | float
    norm: tuple[gs.Node, ...]
    p: int
    axes: tuple[int, ...]


def _chain(scope: Scope, root: gs.Node) -> _Chain | None:
    if len(root.inputs) != 2:
        return None
    x, divisor = root.inputs
    node = scope.producer(divisor)
    expand = None
    if node is not None and node.op == "Expand" and len(node.inputs) == 2:
        expand, node = node, scope.producer(node.inputs[0])
    if node is None or node.op not in ("Clip", "Max"):
        return None
    bounded = _bounded(scope, node)
    if bounded is None:
        return None
    tensor, least = bounded
    found = _norm_of(scope, tensor)
    if found is None or found[0] is not x:
        return None
    _, nodes, p, reduction = found
    axes = axes_of(scope, reduction)
    if not axes or not keeps_dims(reduction) or has_unresolved(reduction, "axes", "keepdims"):
        return None
    return _Chain(root, x, expand, node, least, nodes, p, axes)


def _bounded(scope: Scope, node: gs.Node) -> tuple[gs.Tensor, gs.Tensor | float] | None:
    """The tensor that a Clip or Max bounds from below alone, and the bound."""
    if node.op == "Max":
        if len(node.inputs) != 2:
            return None
        for tensor, least in (node.inputs, reversed(node.inputs)):
            if scope.constness(least) != "runtime" and scope.shape(least) in ((), (1,)):
                return tensor, least
        return None
    if not node.inputs or has_unresolved(node, "min", "max"):
        return None
    if scope.opset < 11:
        least, most = node.attrs.get("min"), node.attrs.get("max")
        if not isinstance(least, float) or (most is not None and most < np.finfo(np.float32).max):
            return None
        return node.inputs[0], least
    if len(node.inputs) < 2 or not node.inputs[1].name:
        return None
    if len(node.inputs) > 2 and node.inputs[2].name:
        return None
    return node.inputs[0], node.inputs[1]


def _norm_of(
    scope: Scope, tensor: gs.Tensor
) -> tuple[gs.Tensor, tuple[gs.Node, ...], int, gs.Node] | None:
    """What a tensor is the norm of, the nodes of the norm, p, and the reduction among them."""
    node = scope.producer(tensor)
    if node is None or not node.inputs:
        return None
    if node.op in ("ReduceL1", "ReduceL2"):
        return node.inputs[0], (node,), int(node.op[-1]), node
    if node.op == "ReduceSum":
        inner = scope.producer(node.inputs[0])
        if inner is None or inner.op != "Abs":
            return None
        return inner.inputs[0], (inner, node), 1, node
    if node.op != "Sqrt":
        return None
    reduction = scope.producer(node.inputs[0])
    if reduction is None:
        return None
    if reduction.op == "ReduceSumSquare":
        return reduction.inputs[0], (reduction, node), 2, reduction
    inner = scope.producer(reduction.inputs[0]) if reduction.op == "ReduceSum" else None
    if inner is None or not _squares(scope, inner):
        return None
    return inner.inputs[0], (inner, reduction, node), 2, reduction


def _squares(scope: Scope, node: gs.Node) -> bool:
    if len(node.inputs) != 2:
        return False
    if node.op == "Mul":
        return node.inputs[0] is node.inputs[1]
    if node.op != "Pow":
        return False
    exponent = scope.constant(node.inputs[1])
    return exponent is not None and exponent.size == 1 and bool((exponent == 2).all())


def _of_chain(scope: Scope, chain: _Chain, everywhere: bool) -> Rewrite | Skip | None:
    """A rewrite where a node of the chain is refused (``everywhere``: where an Expand can go)."""
    bad_norm = any(scope.refused(node) for node in chain.norm)
    bad_bound = scope.refused(chain.bound)
    bad_expand = chain.expand is not None and scope.refused(chain.expand)
    needless = chain.expand is not None and _is_needless(scope, chain.expand, chain.x)
    if not (bad_norm or bad_bound or bad_expand or (everywhere and needless)):
        return None
    e = Emitter(scope)
    bounded = chain.bound.outputs[0]
    if bad_norm or bad_bound:
        norm: gs.Tensor | None = chain.norm[-1].outputs[0]
        dtype = scope.dtype(chain.x)
        if dtype not in FLOATS and (bad_norm or isinstance(chain.least, float)):
            return Skip(chain.root, f"the element type of '{chain.x.name}' is not known")
        if bad_norm:
            norm = _new_norm(e, chain, int(dtype or 0))
        if norm is None:
            return Skip(chain.root, _NO_WAY)
        least = chain.least
        bounded = e(
            "Max", norm, e.const(least, int(dtype or 0)) if isinstance(least, float) else least
        )
    if chain.expand is not None and not needless:
        if bad_expand:
            return Skip(
                chain.root, f"'{chain.expand.inputs[1].name}' may not be the shape of the data"
            )
        bounded = e("Expand", bounded, chain.expand.inputs[1])
    exactness = Exactness.ROUNDING if bad_norm else Exactness.EXACT
    return e.rewrite(chain.root, e("Div", chain.x, bounded), exactness=exactness)


def _new_norm(e: Emitter, chain: _Chain, dtype: int) -> gs.Tensor | None:
    shape = e.scope.shape(chain.x)
    axes = normalized(chain.axes, shape)
    direct = Reducer(e, TypeInfo(dtype, shape), axes, True)
    if direct.takes(f"ReduceL{chain.p}"):
        return direct.direct(f"ReduceL{chain.p}", chain.x)
    wide = TensorProto.FLOAT if direct.half else dtype
    r = Reducer(e, TypeInfo(wide, shape), axes, True)
    return in_float(e, chain.x, dtype, lambda data: _norm(r, chain.p, data))


def _is_needless(scope: Scope, expand: gs.Node, x: gs.Tensor) -> bool:
    """Whether an Expand gives exactly the shape of ``x``, to which Div broadcasts anyway."""
    shape = scope.producer(expand.inputs[1])
    if shape is not None and shape.op == "Shape" and shape.inputs[0] is x:
        return not ({"start", "end"} & set(shape.attrs))
    wanted, have = scope.shape(expand.outputs[0]), scope.shape(x)
    return wanted is not None and wanted == have and None not in wanted
