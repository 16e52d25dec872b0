"""Operators that arrange elements anew."""

from __future__ import annotations

from math import prod

from onnx_fix.symbolic.size import Size, size
from onnx_fix.symbolic.step import Shape, Step, normalized

_MOST_TERMS = 256
"""Products that would have more terms are not followed."""


def _is_long(shape: Shape) -> bool:
    return prod(len(dim.terms) for dim in shape) > _MOST_TERMS


def _reshape(step: Step) -> list[Shape | None]:
    data = step.shape()
    wanted = step.value(1) if step.opset >= 5 else _attribute(step)
    if data is None:
        return [None]
    if wanted is None:
        return [step.opaque()]
    out: list[Size] = []
    rest = None
    for k, dim in enumerate(wanted):
        if dim == 0 and not step.number("allowzero", 0):
            if k >= len(data):
                return [step.opaque()]
            dim = data[k]
        elif dim == -1:
            rest, dim = k, size(1)
        out.append(dim)
    if _is_long(data) or _is_long(tuple(out)):
        return [tuple(d if k != rest else step.fresh(0, k) for k, d in enumerate(out))]
    total = prod(data, start=size(1))
    others = prod(out, start=size(1))
    if rest is not None:
        exact = step.now(total).exact(step.now(others))
        out[rest] = exact if exact is not None else step.fresh(0, rest)
        others = others * out[rest]
    if 0 not in (step.hint(total), step.hint(others)):
        step.same(total, others)
    return [tuple(out)]


def _attribute(step: Step) -> Shape | None:
    shape = step.ints("shape")
    if shape is None:
        return None
    return tuple(step.attribute("shape", k, number) for k, number in enumerate(shape))


def _flatten(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return [None]
    axis = normalized(step.number("axis", 1), len(data))
    if _is_long(data):
        return [step.opaque()]
    return [(prod(data[:axis], start=size(1)), prod(data[axis:], start=size(1)))]


def _transpose(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return [None]
    perm = step.ints("perm") or list(reversed(range(len(data))))
    return [tuple(data[p] for p in perm)] if len(perm) == len(data) else [step.opaque()]


def _squeeze(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return [step.opaque()]
    axes = step.axes(1)
    if axes is None and step.has(1):
        return [step.opaque()]
    if axes is None:
        return [tuple(d for d in data if step.hint(d) != 1)]
    gone = {normalized(a, len(data)) for a in axes}
    return [tuple(d for k, d in enumerate(data) if k not in gone)]


def _unsqueeze(step: Step) -> list[Shape | None]:
    data, axes = step.shape(), step.axes(1)
    if data is None or axes is None:
        return [step.opaque()]
    rank = len(data) + len(axes)
    new = {normalized(a, rank) for a in axes}
    left = iter(data)
    return [tuple(size(1) if k in new else next(left) for k in range(rank))]


def _concat(step: Step) -> list[Shape | None]:
    shapes = [step.shape(k) for k in range(len(step.node.inputs))]
    known = [s for s in shapes if s is not None]
    if len(known) < len(shapes) or not known or len({len(s) for s in known}) != 1:
        return [step.opaque()]
    rank = len(known[0])
    axis = normalized(step.number("axis", 1), rank)
    out = list(known[0])
    for shape in known[1:]:
        for k in range(rank):
            out[k] = out[k] + shape[k] if k == axis else step.same(out[k], shape[k])
    return [tuple(out)]


def _split(step: Step) -> list[Shape | None]:
    data = step.shape()
    count = len(step.node.outputs)
    if data is None:
        return [step.opaque(k) for k in range(count)]
    axis = normalized(step.number("axis", 0), len(data))
    sizes: Shape | None = None
    given = step.ints("split")
    if given is not None:
        sizes = tuple(step.attribute("split", k, number) for k, number in enumerate(given))
    elif step.has(1):
        sizes = step.value(1)
        if sizes is None:
            return [step.opaque(k) for k in range(count)]
    if sizes is None:
        each = -(-data[axis] // count)
        sizes = (each,) * (count - 1) + (data[axis] - each * (count - 1),)
    if len(sizes) != count:
        return [step.opaque(k) for k in range(count)]
    step.owner.solver.later(sum(sizes, start=size(0)), data[axis], step.label)
    return [(*data[:axis], part, *data[axis + 1 :]) for part in sizes]


def _expand(step: Step) -> list[Shape | None]:
    return [step.broadcast(step.shape(0), step.value(1)) or step.opaque()]


def _tile(step: Step) -> list[Shape | None]:
    data, repeats = step.shape(), step.value(1)
    if data is None or repeats is None or len(data) != len(repeats):
        return [step.opaque()]
    return [tuple(d * r for d, r in zip(data, repeats, strict=True))]


def _depth_to_space(step: Step) -> list[Shape | None]:
    data, block = step.shape(), step.number("blocksize", 1)
    if data is None or len(data) != 4:
        return [step.opaque()]
    n, c, h, w = data
    if step.node.op == "DepthToSpace":
        return [(n, c // (block * block), h * block, w * block)]
    return [(n, c * (block * block), h // block, w // block)]


SHAPES = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Expand": _expand,
    "Tile": _tile,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _depth_to_space,
}
