"""The elements of the small integer tensors from which exporters assemble shapes.

They are followed as arrays of sizes, so that NumPy says what indexing and rearranging does.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from onnx import TensorProto

from onnx_fix.symbolic.size import Size, largest, size, smallest
from onnx_fix.symbolic.step import MOST, Step, Values, values_of

_INTEGERS = (TensorProto.INT64, TensorProto.INT32)

Follow = Callable[[Step], Values | None]


def _shape(step: Step) -> Values | None:
    shape = step.shape()
    part = slice(step.number("start", 0), step.node.attrs.get("end"))
    return None if shape is None else values_of(shape[part])


def _size(step: Step) -> Values | None:
    shape = step.shape()
    return None if shape is None else values_of([prod(shape, start=size(1))]).reshape(())


def _same(step: Step) -> Values | None:
    return step.values(0)


def _cast(step: Step) -> Values | None:
    return step.values(0) if step.number("to", 0) in _INTEGERS else None


def _gather(step: Step) -> Values | None:
    data, index = step.values(0), step.array(1)
    if data is None or index is None or index.dtype.kind not in "iu":
        return None
    try:
        found = np.take(data, index.astype(np.int64), axis=step.number("axis", 0))
    except (IndexError, ValueError):
        return None
    # NumPy gives the element itself for a scalar.
    return found if isinstance(found, np.ndarray) else values_of([found]).reshape(())


def _slice(step: Step) -> Values | None:
    data = step.values(0)
    if data is None:
        return None
    starts, ends = step.ints("starts"), step.ints("ends")
    axes = step.ints("axes")
    steps = None
    if starts is None:
        starts, ends = step.numbers(1), step.numbers(2)
        axes = step.numbers(3) if step.has(3) else None
        steps = step.numbers(4) if step.has(4) else None
    if starts is None or ends is None:
        return None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cut = [slice(None)] * data.ndim
    for axis, start, end, stride in zip(axes, starts, ends, steps, strict=True):
        # The most negative number stands for "past the first element" when the step is negative.
        last = None if stride < 0 and end < -data.shape[axis] else end
        cut[axis] = slice(start, last, stride)
    return data[tuple(cut)]


def _concat(step: Step) -> Values | None:
    given = step.all_values()
    if given is None or sum(p.size for p in given) > MOST:
        return None
    try:
        return np.concatenate(given, axis=step.number("axis", 0))
    except (IndexError, ValueError):
        return None


def _reshaped(step: Step) -> Values | None:
    """Reshape, Squeeze, Unsqueeze and Flatten: the elements stay in order."""
    data, out = step.values(0), step.owner.shapes.get(id(step.node.outputs[0]))
    if data is None or out is None:
        return None
    numbers = [step.hint(d) for d in out]
    if any(n is None for n in numbers) or prod(n or 0 for n in numbers) != data.size:
        return None
    return data.reshape([n or 0 for n in numbers])


def _transpose(step: Step) -> Values | None:
    data = step.values(0)
    return None if data is None else data.transpose(step.ints("perm"))


def _binary(op: Callable[[Size, Size], Size | None]) -> Follow:
    def follow(step: Step) -> Values | None:
        given = step.all_values()
        if given is None or len(given) != 2:
            return None
        a, b = given
        try:
            left, right = np.broadcast_arrays(a, b)
        except ValueError:
            return None
        found = [op(x, y) for x, y in zip(left.reshape(-1), right.reshape(-1), strict=True)]
        known = [v for v in found if v is not None]
        return values_of(known).reshape(left.shape) if len(known) == len(found) else None

    return follow


def _divide(x: Size, y: Size) -> Size | None:
    if y == 0:
        return None
    if x.number is not None and y.number is not None:
        # ONNX divides integers towards zero.
        sign = 1 if (x.number < 0) == (y.number < 0) else -1
        return size(sign * (abs(x.number) // abs(y.number)))
    return x // y


def _mod(x: Size, y: Size) -> Size | None:
    return None if y == 0 else x % y


def _reduced(op: str) -> Follow:
    def follow(step: Step) -> Values | None:
        data = step.values(0)
        if data is None or data.ndim != 1:
            return None
        found = prod(data, start=size(1)) if op == "*" else sum(data, start=size(0))
        return values_of([found]).reshape((1,) if step.number("keepdims", 1) else ())

    return follow


def _constant_of_shape(step: Step) -> Values | None:
    length = step.value(0)
    if length is None or len(length) != 1:
        return None
    # What is assembled into a shape has the length of a rank, which is no size.
    number = step.hint(length[0])
    if number is None or number > 16 or not _reads_as_shape(step):
        return None
    fill = step.node.attrs.get("value")
    array = step.owner.model.value(fill, limit=1) if fill is not None else None
    if array is None or array.dtype.kind not in "iu":
        return None
    step.same(length[0], number)
    return values_of([size(int(array.reshape(-1)[0]))] * number)


def _reads_as_shape(step: Step) -> bool:
    """Whether an integer vector goes into what exporters write around a shape operand."""
    readers = step.owner.model.consumers(step.node.outputs[0])
    return bool(readers) and all(
        r.op in ("Mul", "Equal", "Where", "Expand", "Concat", "Reshape") for r in readers
    )


def _where(step: Step) -> Values | None:
    given = step.all_values()
    if given is None:
        return None
    try:
        cond, x, y = np.broadcast_arrays(*given)
    except ValueError:
        return None
    flat = cond.reshape(-1)
    if any(c.number is None for c in flat):
        return None
    picked = [
        a if c.number else b for c, a, b in zip(flat, x.reshape(-1), y.reshape(-1), strict=True)
    ]
    return values_of(picked).reshape(cond.shape)


def _equal(step: Step) -> Values | None:
    """1 and 0 where they are certain. A size is never negative."""

    def one(x: Size, y: Size) -> Size | None:
        if x == y:
            return size(1)
        if x.number is not None and y.number is not None:
            return size(0)
        for whole, number in ((x, y), (y, x)):
            if number.number is not None and number.number < 0 and len(whole.terms) == 1:
                step.owner.solver.pin(whole)
                return size(0)
        return None

    return _binary(one)(step)


def _range(step: Step) -> Values | None:
    given = [step.numbers(k) for k in range(3)]
    if any(g is None or len(g) != 1 for g in given):
        return None
    start, limit, delta = (g[0] for g in given if g)
    if delta == 0 or abs((limit - start) // delta) > MOST:
        return None
    return values_of([size(v) for v in range(start, limit, delta)])


VALUES: dict[str, Follow] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": _same,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _reshaped,
    "Reshape": _reshaped,
    "Flatten": _reshaped,
    "Squeeze": _reshaped,
    "Transpose": _transpose,
    "Add": _binary(lambda x, y: x + y),
    "Sub": _binary(lambda x, y: x - y),
    "Mul": _binary(lambda x, y: x * y),
    "Div": _binary(_divide),
    "Mod": _binary(_mod),
    "Max": _binary(largest),
    "Min": _binary(smallest),
    "Equal": _equal,
    "Where": _where,
    "ConstantOfShape": _constant_of_shape,
    "ReduceProd": _reduced("*"),
    "ReduceSum": _reduced("+"),
    "Range": _range,
}
