"""The pass ``replace-mod``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target.facts import TensorFacts

_SIGNED = frozenset({TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64})
_UNSIGNED = frozenset(
    {TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64}
)
_FLOATS = frozenset(
    {TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16}
)


@dataclass(frozen=True)
class ReplaceMod(Pass):
    """Write Mod by Div, Mul and Sub, or by a Mod of the other kind, where the target lacks it.

    Rules:

    1. Integers with ``fmod = 1``: what the division by the absolute value of the divisor leaves,
       which has the sign of the dividend. No step of it overflows, the lowest integer included.
    2. Integers with ``fmod = 0``: the same, and the divisor is added where the remainder is not 0
       and of the other sign. The signs of a constant divisor are not asked for at run time.
    3. Floats with ``fmod = 0``, where the target takes ``fmod = 1`` of them: that one, and the
       divisor is added likewise.
    4. Other floats: only by a constant power of two of at least 1, such as ``x % 1.0``. There the
       steps are exact, however large the quotient; with ``fmod = 0`` the last one rounds as Mod
       does.

    Before:
        y = Mod (a, b)
    After:
        m = Abs (b)
        q = Div (a, m)
        p = Mul (q, m)
        r = Sub (a, p)
        s = Add (r, b)
        other = Or (And (Less (r, 0), Greater (b, 0)), And (Greater (r, 0), Less (b, 0)))
        y = Where (other, s, r)
    Exact:
        Yes; what a division by 0 gives is nobody's promise. Left alone: other floats, because
        ``x - trunc(x / y) * y`` rounds, and is off by as much as y once the quotient is large.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("dtype", "Mod", "the numbers are floats"),
        Mends("no_importer", "Mod", "the numbers are integers, or the divisor a power of two"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a division and what it leaves for every Mod that the target refuses."""
        for node in scope.nodes("Mod"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    if has_unresolved(node, "fmod"):
        return Skip(node, "fmod is a parameter of the enclosing function; inline it first")
    a, b = node.inputs
    dtype = scope.dtype(a) or scope.dtype(b) or scope.dtype(node.outputs[0])
    if dtype is None:
        return Skip(node, "the element type is not known")
    like = TensorFacts("proposed", dtype, scope.shape(a))
    for op in ("Div", "Mul", "Sub"):
        if not scope.accepts(op, [like, like], outputs=[like]):
            kind = TensorProto.DataType.Name(dtype)
            return Skip(node, f"{scope.target.name} takes no {op} of {kind} either")
        if not _is_defined(op, scope.opset, dtype):
            kind = TensorProto.DataType.Name(dtype)
            return Skip(node, f"ONNX has no {op} of {kind} in operator set {scope.opset}")
    fmod = attribute(node, "fmod", int, 0)
    divisor = scope.folded(b)
    if dtype in _FLOATS:
        return _of_floats(scope, node, dtype, divisor, follows_divisor=not fmod)
    if dtype not in _SIGNED | _UNSIGNED:
        return Skip(node, f"ONNX has no Mod of {TensorProto.DataType.Name(dtype)}")
    return _of_integers(scope, node, dtype, divisor, follows_divisor=not fmod)


def _is_defined(op: str, opset: int, dtype: int) -> bool:
    """Whether ONNX lets an op compute numbers of a type."""
    given = onnx.defs.get_schema(op, opset, "").inputs[0].types
    name = onnx.helper.tensor_dtype_to_string(dtype).removeprefix("TensorProto.").lower()
    return f"tensor({name})" in given


def _of_integers(
    scope: Scope,
    node: gs.Node,
    dtype: int,
    divisor: NDArray[np.generic] | None,
    *,
    follows_divisor: bool,
) -> Rewrite | Skip:
    e = Emitter(scope)
    a, b = node.inputs
    if dtype in _UNSIGNED:
        return e.rewrite(node, _left(e, a, b))
    rest = _left(e, a, _absolute(scope, e, b, dtype, divisor))
    if follows_divisor:
        return _towards_divisor(e, node, rest, dtype, divisor)
    return e.rewrite(node, rest)


def _towards_divisor(
    e: Emitter, node: gs.Node, rest: gs.Tensor, dtype: int, divisor: NDArray[np.generic] | None
) -> Rewrite | Skip:
    """The remainder that has the sign of the divisor, of the one that has that of the dividend."""
    b = node.inputs[1]
    zero = e.const(0, dtype)
    below, above = None, None
    if divisor is None or (divisor > 0).any():  # type: ignore[operator]
        below = e("Less", rest, zero)
    if divisor is None or (divisor < 0).any():  # type: ignore[operator]
        above = e("Greater", rest, zero)
    if below is not None and above is not None:
        below = e("And", below, e("Greater", b, zero))
        above = e("And", above, e("Less", b, zero))
        other = e("Or", below, above)
    else:
        found = below if below is not None else above
        if found is None:
            return Skip(node, "its divisor is 0, or it has none")
        other = found
    return e.rewrite(node, e("Where", other, e("Add", rest, b), rest))


def _absolute(
    scope: Scope, e: Emitter, b: gs.Tensor, dtype: int, divisor: NDArray[np.generic] | None
) -> gs.Tensor:
    if divisor is not None:
        return e.const(np.abs(divisor), dtype) if (divisor < 0).any() else b  # type: ignore[operator]
    if scope.accepts("Abs", [b], outputs=[b]):
        return e("Abs", b)
    return e("Max", b, e("Sub", e.const(0, dtype), b))


def _left(e: Emitter, a: gs.Tensor, b: gs.Tensor) -> gs.Tensor:
    """What is left of ``a`` once it is divided by ``b``, towards zero."""
    return e("Sub", a, e("Mul", e("Div", a, b), b))


def _of_floats(
    scope: Scope,
    node: gs.Node,
    dtype: int,
    divisor: NDArray[np.generic] | None,
    *,
    follows_divisor: bool,
) -> Rewrite | Skip:
    e = Emitter(scope)
    a, b = node.inputs
    if follows_divisor and scope.accepts("Mod", [a, b], {"fmod": 1}, [a]):
        return _towards_divisor(e, node, e("Mod", a, b, fmod=1), dtype, divisor)
    if divisor is None or not _is_power_of_two(divisor):
        return Skip(
            node,
            "a remainder of floats is exact only by a constant power of two of at least 1; where "
            "they are whole numbers, cast them to integers in the network",
        )
    quotient = e("Div", a, b)
    down, up = e("Floor", quotient), e("Ceil", quotient)
    whole = e("Where", e("Less", quotient, e.const(0, dtype)), up, down)
    rest = e("Sub", a, e("Mul", whole, b))
    if follows_divisor:
        return _towards_divisor(e, node, rest, dtype, divisor)
    return e.rewrite(node, rest)


def _is_power_of_two(divisor: NDArray[np.generic]) -> bool:
    values = np.abs(divisor.astype(np.float64))
    mantissa, _ = np.frexp(values)
    return bool(np.isfinite(values).all() and (mantissa == 0.5).all() and (values >= 1).all())
