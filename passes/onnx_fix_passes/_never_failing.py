"""Nodes that compute something whatever their inputs hold, so that they may run unasked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from onnx import NodeProto, TensorProto, helper

from onnx_fix.op_names import BROADCASTING, REDUCTIONS
from onnx_fix.scope import STANDARD_DOMAINS
from onnx_fix_passes._body_flattening import Flat
from onnx_fix_passes._body_rounds import Shape

_ALWAYS = frozenset(
    {
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "BitwiseNot",
        "Ceil",
        "Celu",
        "Constant",
        "Cos",
        "Cosh",
        "Dropout",
        "Elu",
        "Erf",
        "Exp",
        "Flatten",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "IsInf",
        "IsNaN",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "Mish",
        "Neg",
        "Not",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shape",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Size",
        "Softmax",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Transpose",
    }
)
"""Ops that take any tensor that their types allow."""

_DIVIDING = frozenset({"Div", "Mod", "Pow"})
_BROADCAST = BROADCASTING - _DIVIDING - {"PRelu"}
_REDUCING = frozenset(REDUCTIONS)
_FLOATS = frozenset(
    {TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16}
)


def may_fail(flat: Flat, node: NodeProto) -> bool:
    """Whether a node may fail for values or sizes that its inputs may have."""
    if (node.domain or "") not in STANDARD_DOMAINS:
        return True
    if node.op_type in _ALWAYS:
        return False
    shapes = [flat.shape(name) for name in node.input if name]
    known = [shape for shape in shapes if shape is not None]
    if node.op_type in _BROADCAST:
        return len(known) < len(shapes) or not _broadcasts(known)
    if node.op_type in _DIVIDING:
        return len(known) < len(shapes) or not _broadcasts(known) or not _divides(flat, node)
    if node.op_type in _REDUCING:
        return not known or any(not isinstance(d, int) or d == 0 for d in known[0])
    rule = _RULES.get(node.op_type)
    return rule is None or not rule(flat, node)


def same(left: object, right: object) -> bool:
    """Whether two dims are surely equal."""
    return left is not None and left == right


def _attribute(node: NodeProto, name: str, default: object = None) -> object:
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def _broadcasts(shapes: Sequence[Shape]) -> bool:
    rank = max(map(len, shapes), default=0)
    for k in range(1, rank + 1):
        dims = [shape[-k] for shape in shapes if len(shape) >= k]
        dims = [d for d in dims if d != 1]
        if len(dims) > 1 and not all(same(dims[0], d) for d in dims[1:]):
            return False
    return True


def _divides(flat: Flat, node: NodeProto) -> bool:
    """Floats divide by anything; integers by constants other than zero and minus one, which
    overflows."""
    if all(flat.dtype(name) in _FLOATS for name in node.input):
        return node.op_type != "Mod" or _attribute(node, "fmod", 0) == 1
    if node.op_type == "Pow":
        return False
    divisor = flat.constants.get(node.input[1])
    return divisor is not None and not ((divisor == 0) | (divisor == -1)).any()


def _cast(flat: Flat, node: NodeProto) -> bool:
    to = _attribute(node, "to")
    return flat.dtype(node.input[0]) not in (0, TensorProto.STRING) and to != TensorProto.STRING


def _concat(flat: Flat, node: NodeProto) -> bool:
    shapes = [flat.shape(name) for name in node.input]
    axis = _attribute(node, "axis")
    first = shapes[0]
    if first is None or not isinstance(axis, int):
        return False
    for shape in shapes[1:]:
        if shape is None or len(shape) != len(first):
            return False
        pairs = enumerate(zip(first, shape, strict=True))
        if not all(same(a, b) for k, (a, b) in pairs if k != axis % len(first)):
            return False
    return True


def _axes(flat: Flat, node: NodeProto) -> list[int] | None:
    given = _attribute(node, "axes")
    if isinstance(given, Sequence):
        return [int(a) for a in given]
    value = flat.constants.get(node.input[1]) if len(node.input) > 1 else None
    return None if value is None else [int(a) for a in value.reshape(-1)]


def _squeeze(flat: Flat, node: NodeProto) -> bool:
    shape, axes = flat.shape(node.input[0]), _axes(flat, node)
    if shape is None or axes is None:
        return False
    return all(-len(shape) <= a < len(shape) and shape[a] == 1 for a in axes)


def _unsqueeze(flat: Flat, node: NodeProto) -> bool:
    return _axes(flat, node) is not None


def _slice(flat: Flat, node: NodeProto) -> bool:
    return all(name in flat.constants for name in node.input[1:] if name)


def _gather(flat: Flat, node: NodeProto) -> bool:
    shape, indices = flat.shape(node.input[0]), flat.constants.get(node.input[1])
    axis = _attribute(node, "axis", 0)
    if not shape or indices is None or not isinstance(axis, int):
        return False
    size = shape[axis]
    places = [int(n) for n in indices.reshape(-1)]
    return isinstance(size, int) and all(-size <= n < size for n in places)


def _reshape(flat: Flat, node: NodeProto) -> bool:
    shape, target = flat.shape(node.input[0]), flat.constants.get(node.input[1])
    if shape is None or target is None or _attribute(node, "allowzero", 0):
        return False
    left, wanted = list(shape), [int(n) for n in target.reshape(-1)]
    copied = [k for k, n in enumerate(wanted) if n == 0]
    if any(k >= len(shape) for k in copied):
        return False
    rest = -1 in wanted
    if rest and any(not isinstance(shape[k], int) or shape[k] == 0 for k in copied):
        return False
    left = [d for k, d in enumerate(shape) if k not in copied]
    numbers = [d for d in left if isinstance(d, int)]
    size = math.prod(n for n in wanted if n > 0)
    if rest:
        return math.prod(numbers) % size == 0
    return len(numbers) == len(left) and math.prod(numbers) == size


def _matmul(flat: Flat, node: NodeProto) -> bool:
    a, b = (flat.shape(name) for name in node.input)
    if not a or not b:
        return False
    inner = b[-2] if len(b) > 1 else b[-1]
    return same(a[-1], inner) and _broadcasts([a[:-2], b[:-2]])


def _gemm(flat: Flat, node: NodeProto) -> bool:
    a, b = flat.shape(node.input[0]), flat.shape(node.input[1])
    if a is None or b is None:
        return False
    a = a[::-1] if _attribute(node, "transA", 0) else a
    b = b[::-1] if _attribute(node, "transB", 0) else b
    if not same(a[1], b[0]):
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    c = flat.shape(node.input[2])
    if c is None or len(c) > 2:
        return False
    ends = zip(reversed(c), (b[1], a[0]), strict=False)
    return all(d == 1 or same(d, wanted) for d, wanted in ends)


def _conv(flat: Flat, node: NodeProto) -> bool:
    x, w = flat.shape(node.input[0]), flat.shape(node.input[1])
    out = flat.shape(node.output[0])
    group = _attribute(node, "group", 1)
    if x is None or w is None or out is None or not isinstance(group, int):
        return False
    channels, each = x[1], w[1]
    if not isinstance(channels, int) or not isinstance(each, int) or channels != each * group:
        return False
    return all(isinstance(d, int) and d > 0 for d in out[2:])


def _batch_norm(flat: Flat, node: NodeProto) -> bool:
    x = flat.shape(node.input[0])
    if x is None or len(x) < 2 or len(node.output) > 1:
        return False
    return all(flat.shape(name) == (x[1],) and x[1] is not None for name in node.input[1:])


def _clip(flat: Flat, node: NodeProto) -> bool:
    return all(flat.shape(name) == () for name in node.input[1:] if name)


_RULES: dict[str, Callable[[Flat, NodeProto], bool]] = {
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
}
