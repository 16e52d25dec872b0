"""Matrix products, contractions and attention."""

from __future__ import annotations

from onnx_fix.symbolic.size import Size
from onnx_fix.symbolic.step import Shape, Step


def _matmul(step: Step) -> list[Shape | None]:
    # The integer forms have zero points between and after the matrices.
    second = 3 if step.node.op == "QLinearMatMul" else 1
    a, b = step.shape(0), step.shape(second)
    if not a or not b:
        return [step.opaque()]
    step.same(a[-1], b[-2] if len(b) > 1 else b[0])
    head = step.broadcast(a[:-2], b[:-2])
    if head is None:
        return [None]
    return [head + (a[-2:-1] if len(a) > 1 else ()) + (b[-1:] if len(b) > 1 else ())]


def _gemm(step: Step) -> list[Shape | None]:
    a, b = step.shape(0), step.shape(1)
    if a is None or b is None or len(a) != 2 or len(b) != 2:
        return [step.opaque()]
    if step.number("transA", 0):
        a = a[::-1]
    if step.number("transB", 0):
        b = b[::-1]
    step.same(a[1], b[0])
    if step.has(2):
        step.broadcast((a[0], b[1]), step.shape(2))
    return [(a[0], b[1])]


def _einsum(step: Step) -> list[Shape | None]:
    equation = step.text("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    shapes = [step.shape(k) for k in range(len(step.node.inputs))]
    if "." in equation or not arrow or len(terms) != len(shapes):
        return [step.opaque()]
    sizes: dict[str, Size] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if shape is None or len(shape) != len(term):
            return [step.opaque()]
        for letter, dim in zip(term, shape, strict=True):
            sizes[letter] = step.wider(sizes[letter], dim) if letter in sizes else dim
    return [tuple(step.now(sizes[letter]) for letter in right)]


def _attention(step: Step) -> list[Shape | None]:
    q, k, v = step.shape(0), step.shape(1), step.shape(2)
    if q is None or k is None or v is None or len({len(q), len(k), len(v)}) != 1:
        return [step.opaque(n) for n in range(len(step.node.outputs))]
    step.same(k[-2], v[-2])
    if len(q) == 4:
        step.same(q[-1], k[-1])
        shapes: list[Shape | None] = [(*q[:3], v[3])]
    else:
        heads, kv_heads = step.number("q_num_heads", 1), step.number("kv_num_heads", 1)
        shapes = [(*q[:2], v[2] // kv_heads * heads)]
    return shapes + [step.opaque(n) for n in range(1, len(step.node.outputs))]


SHAPES = {
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Attention": _attention,
}
