"""The forms in which ``replace-top-k`` writes a TopK."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, is_standard
from onnx_fix.target import Dim, TensorFacts

FLOAT = int(TensorProto.FLOAT)
FLOATS = frozenset({FLOAT, int(TensorProto.FLOAT16), int(TensorProto.BFLOAT16)})
_LOWEST = {
    FLOAT: -3.4028234663852886e38,
    int(TensorProto.FLOAT16): -65504.0,
    int(TensorProto.BFLOAT16): -3.3895313892515355e38,
}
"""The lowest finite numbers."""
INTEGERS = frozenset({int(TensorProto.INT32), int(TensorProto.INT64)})
_NARROW = frozenset(
    {
        TensorProto.BOOL,
        TensorProto.INT8,
        TensorProto.INT16,
        TensorProto.UINT8,
        TensorProto.UINT16,
    }
)
"""Types of which each whole number is exact in float32."""

_STORED = 1 << 12
"""Positions of up to this many elements are stored, more are computed."""
_COMPARED = 1 << 26
"""Up to this many comparisons are made."""
_MOST_PARTS = 64

_IN_ORDER = frozenset(
    {
        "Cast",
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Max",
        "ReduceMax",
        "Reshape",
        "Slice",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops whose outputs are elements of the first input, or greater."""
_BOUNDED = frozenset(
    {"Abs", "Elu", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Softsign"}
    | {"Sqrt", "Tanh"}
)
"""Ops without an output of minus infinity."""


@dataclass(frozen=True)
class Site:
    """A TopK: its data, its K (a tensor, or the attribute of old operator sets), its shapes."""

    scope: Scope
    node: gs.Node
    data: gs.Tensor
    dtype: int
    shape: tuple[Dim, ...]
    axis: int
    count: int | None
    """K, where it is known at build time."""
    largest: bool
    sorted: int | None

    @property
    def rank(self) -> int:
        """The number of dims."""
        return len(self.shape)

    @property
    def length(self) -> int | None:
        """The length of the axis, where it is static."""
        size = self.shape[self.axis]
        return size if isinstance(size, int) else None


Results: TypeAlias = tuple[gs.Tensor, gs.Tensor]


def fits(site: Site, count: int, dtype: int | None = None) -> bool:
    """Whether the target takes a TopK of ``count``."""
    k = TensorFacts("k", int(TensorProto.INT64), (1,), "initializer", lambda: np.asarray([count]))
    shape = tuple(None if a == site.axis else d for a, d in enumerate(site.shape))
    data = TensorFacts("x", site.dtype if dtype is None else dtype, shape)
    return site.scope.accepts("TopK", [data, k], {"axis": site.axis})


def most_that_fits(site: Site, dtype: int | None = None) -> int:
    """The largest K that the target takes, 0 for none; found by halving."""
    low, high = 0, 1
    while fits(site, high, dtype) and high < 1 << 20:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(site, middle, dtype) else (low, middle)
    return low


def top(e: Emitter, site: Site, x: gs.Tensor, count: int) -> Results:
    """A TopK of the largest with a constant K."""
    return _two(e, site, x, count, site.axis)


def _two(e: Emitter, site: Site, x: gs.Tensor, count: int, axis: int) -> Results:
    if e.opset < 10:
        values, indices = e.many("TopK", 2, x, axis=axis, k=count)
    else:
        values, indices = e.many("TopK", 2, x, e.ints([count]), axis=axis, sorted=site.sorted)
    return values, indices


# -- a K that is known at run time only ------------------------------------------------------------


def bound(scope: Scope, k: gs.Tensor, left: int = 16) -> int | None:
    """A number that K never exceeds, as in ``min(1000, size)``; None where none is seen."""
    value = scope.folded(k)
    if value is not None and value.size:
        return int(value.max())
    node = scope.producer(k)
    if node is None or left <= 0 or not is_standard(node):
        return None
    if node.op in ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"):
        return bound(scope, node.inputs[0], left - 1)
    parts = node.inputs if node.op == "Min" else []
    if node.op == "ReduceMin":
        maker = scope.producer(node.inputs[0])
        if maker is not None and maker.op == "Concat" and is_standard(maker):
            parts = maker.inputs
    found = [bound(scope, t, left - 4) for t in parts]
    return min((n for n in found if n is not None), default=None)


def cut(e: Emitter, site: Site, x: gs.Tensor, most: int) -> Results:
    """The first K of a TopK of ``most``; x is made longer where it may be shorter."""
    if site.length != most:
        shape = [most if a == site.axis else d for a, d in enumerate(site.shape)]
        filler = np.full([int(d) for d in shape if isinstance(d, int)], -np.inf)
        x = e.concat([x, e.const(filler, site.dtype)], site.axis)
    values, indices = top(e, site, x, most)
    k = e.reshape(site.node.inputs[1], [1])
    return (
        e.slice(values, [0], k, [site.axis]),
        e.slice(indices, [0], k, [site.axis]),
    )


# -- a K that is too large -------------------------------------------------------------------------


def reason_against_parts(site: Site, most: int) -> str:
    """Why a K beyond ``most`` is not written as several; empty where it is."""
    if site.dtype not in FLOATS:
        name = TensorProto.DataType.Name(site.dtype)
        return (
            f"K is more than {most}, and {name} has no value below all others to strike elements "
            "out with: cast the data to FLOAT where its numbers are smaller than 2**24"
        )
    if site.count is None or site.count > most * _MOST_PARTS:
        return f"K is more than {_MOST_PARTS} times {most}"
    if site.scope.opset < 11 and not _is_stored(site):
        return "numbering its elements needs Range: export with operator set 11"
    real = TensorFacts("x", site.dtype, site.shape)
    for op in ("Less", "Equal"):
        if not site.scope.accepts(op, [real, real]):
            return f"{site.scope.target.name} takes no {op} of this element type"
    return ""


def _is_stored(site: Site) -> bool:
    return site.length is not None and site.length <= _STORED


def may_be_lowest(scope: Scope, x: gs.Tensor, left: int = 16) -> bool:
    """Whether some element may be minus infinity, whatever the inputs of the model hold."""
    value = scope.folded(x)
    if value is not None:
        return bool(np.any(np.isneginf(value.astype(np.float32))))
    node = scope.producer(x)
    if node is None or left <= 0 or not is_standard(node):
        return True
    if node.op in _BOUNDED:
        return False
    if node.op == "Clip":
        low = node.inputs[1] if len(node.inputs) > 1 and node.inputs[1].name else None
        known = None if low is None else scope.folded(low)
        return not (
            "min" in node.attrs
            or (known is not None and not np.any(np.isneginf(known.astype(np.float64))))
        )
    if node.op == "Cast" and scope.dtype(node.inputs[0]) in INTEGERS | _NARROW:
        return False
    if node.op not in _IN_ORDER:
        return True
    given = node.inputs if node.op in ("Concat", "Max") else node.inputs[:1]
    return any(may_be_lowest(scope, t, left - 1 if len(given) == 1 else left - 4) for t in given)


def parts(e: Emitter, site: Site, x: gs.Tensor, most: int, *, floored: bool) -> Results:
    """Several TopK after another, each without what the ones before it took.

    What is left after a part is less than its last value, or equal to it and behind its last index.
    Elements taken are struck out with minus infinity; with ``floored`` those of the data stand at
    the lowest finite number meanwhile.
    """
    assert site.count is not None
    least = e.const(_LOWEST[site.dtype], site.dtype)
    gone = e.const(np.asarray(-np.inf), site.dtype)
    whole = x
    if floored:
        x = e("Where", e("Less", x, least), least, x)
    place = _positions(e, site, x)
    values: list[gs.Tensor] = []
    indices: list[gs.Tensor] = []
    rest: gs.Tensor = x
    for done in range(0, site.count, most):
        value, index = top(e, site, rest, min(most, site.count - done))
        values.append(value)
        indices.append(index)
        if done + most >= site.count:
            break
        last = e.slice(value, [most - 1], [most], [site.axis])
        at = e.slice(index, [most - 1], [most], [site.axis])
        behind = e("And", e("Equal", x, last), e("Greater", place, at))
        rest = e("Where", e("Or", e("Less", x, last), behind), x, gone)
    found = e.concat(values, site.axis)
    if floored:
        smallest = e.reduce("ReduceMin", whole, [site.axis], keepdims=True)
        found = e("Where", e("Equal", found, least), smallest, found)
    return found, e.concat(indices, site.axis)


def _positions(e: Emitter, site: Site, x: gs.Tensor) -> gs.Tensor:
    tail = [1] * (site.rank - 1 - site.axis)
    if site.length is not None and site.length <= _STORED:
        return e.const(np.arange(site.length, dtype=np.int64).reshape(-1, *tail))
    zero, one = np.asarray(0, np.int64), np.asarray(1, np.int64)
    size: gs.Tensor
    if site.length is not None:
        size = e.const(np.asarray(site.length, np.int64))
    else:
        size = e("Gather", e.shape(x), np.asarray(site.axis, np.int64), axis=0)
    line = e("Range", zero, size, one)
    return e.reshape(line, [-1, *tail]) if tail else line


# -- integers --------------------------------------------------------------------------------------


def is_narrow(scope: Scope, x: gs.Tensor) -> bool:
    """Whether whole numbers were cast from a type that float32 holds."""
    maker = scope.producer(x)
    if maker is None or maker.op != "Cast" or not is_standard(maker):
        return False
    return scope.dtype(maker.inputs[0]) in _NARROW


def reason_against_ranks(site: Site, most: int) -> str:
    """Why integers are not compared with each other; empty where they are."""
    name = TensorProto.DataType.Name(site.dtype)
    hint = "cast the data to FLOAT where its numbers are smaller than 2**24"
    if not site.length:
        if site.length == 0:
            return "its axis has no elements"
        return (
            f"{name} of a length known at run time only cannot be ranked: "
            f"fix the dim (--static), or {hint}"
        )
    if site.count is not None and site.count > most:
        return f"K is more than {most}, and the data is {name}: {hint}"
    known = math.prod(d for d in site.shape if isinstance(d, int))
    if known * site.length > _COMPARED:
        return f"comparing all {site.length} elements of {name} takes too much memory: {hint}"
    like = TensorFacts("x", site.dtype, (1,))
    for op in ("Greater", "Equal"):
        if not site.scope.accepts(op, [like, like]):
            return f"{site.scope.target.name} takes no {op} of {name}"
    if not (_others_are(site, 1) or _gathers(site) or _others_are(site, None)):
        return f"{name} of several rows needs a batch that is known at build time: {hint}"
    return ""


def _others_are(site: Site, size: int | None) -> bool:
    others = [d for a, d in enumerate(site.shape) if a != site.axis]
    return all(isinstance(d, int) and (size is None or d == size) for d in others)


def _gathers(site: Site) -> bool:
    data = TensorFacts("x", site.dtype, site.shape)
    index = TensorFacts("i", int(TensorProto.INT64), (None,) * site.rank)
    return site.scope.accepts("GatherElements", [data, index], {"axis": site.axis})


def ranked(e: Emitter, site: Site, count: int) -> Results:
    """How many elements come before each one, which TopK then sorts; equals by lower index.

    The ranks differ, so that no tie is left to the target.
    """
    size = site.length
    assert size is not None
    order = [a for a in range(site.rank) if a != site.axis] + [site.axis]
    back = [order.index(a) for a in range(site.rank)]
    last = site.rank - 1
    rows = e.transpose(site.data, order)
    # Reshape, since Squeeze and Unsqueeze of newer operator sets are misread by old releases.
    same = [0] * last
    this, other = e.reshape(rows, [*same, size, 1]), e.reshape(rows, [*same, 1, size])
    earlier = e.const(np.tri(size, size, -1, dtype=bool))
    before = e("Greater" if site.largest else "Less", other, this)
    tied = e("And", e("Equal", other, this), earlier)
    truth = e.cast(e("Or", before, tied), FLOAT)
    # A product with minus ones is the sum over the other elements, negated, in any operator set.
    falling = e.reshape(e("MatMul", truth, -np.ones((size, 1), np.float32)), [*same, size])
    _, index = _two(e, replace(site, sorted=None), falling, count, last)
    return e.transpose(_picked(e, site, rows, index), back), e.transpose(index, back)


def _picked(e: Emitter, site: Site, rows: gs.Tensor, index: gs.Tensor) -> gs.Tensor:
    """The elements of the rows at the indices of each."""
    last = site.rank - 1
    if _others_are(site, 1):
        return e("Gather", e.reshape(rows, [-1]), index, axis=0)
    if _gathers(site):
        return e("GatherElements", rows, index, axis=last)
    size = site.length or 0
    others = [d for a, d in enumerate(site.shape) if a != site.axis and isinstance(d, int)]
    starts = np.arange(math.prod(others), dtype=np.int64) * size
    return e("Gather", e.reshape(rows, [-1]), e("Add", index, starts.reshape(*others, 1)), axis=0)
