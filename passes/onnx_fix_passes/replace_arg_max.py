"""The pass ``replace-arg-max``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix.target import TensorFacts

_STEPS: dict[int, tuple[int, ...]] = {
    TensorProto.INT8: (),
    TensorProto.UINT8: (),
    TensorProto.INT16: (),
    TensorProto.UINT16: (),
    TensorProto.INT32: (1 << 16,),
    TensorProto.INT64: (1 << 22, 1 << 22),
}
"""By what numbers of a type are divided until each digit is exact in float32."""

_NARROW = frozenset(
    {
        TensorProto.BOOL,
        TensorProto.FLOAT16,
        TensorProto.INT8,
        TensorProto.INT16,
        TensorProto.UINT8,
        TensorProto.UINT16,
    }
)
"""Types of which each whole number is exact in float32."""

_BEYOND = float(1 << 23)
"""More than any digit."""


@dataclass(frozen=True)
class ReplaceArgMax(Pass):
    """Write ArgMax and ArgMin of integers, and of the last of equals, as the target has them.

    Rules:

    1. Integers, where they are refused: as float32. Numbers of 32 and 64 bits are taken apart into
       digits that float32 holds, high ones first; what is behind in one digit is out of the race
       for the next. One Cast is enough where the numbers were cast from a type of 16 bits or less.
    2. ``select_last_index``, where it is ignored: the first of the reversed tensor, counted from
       the end.

    Before:
        y = ArgMax <axis = 1> (x) with x of int32
    After:
        high = Div (x, 65536)
        low = Sub (x, Mul (high, 65536))
        most = ReduceMax <axes = [1]> (Cast (high))
        race = Where (Less (Cast (high), most), -8388608, Cast (low))
        y = ArgMax <axis = 1> (race)
    Exact:
        Yes. Left alone: types that the target does not divide; a length known at run time only
        with a negative axis of a tensor of unknown rank.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("dtype_refused", "ArgMax"),
        Mends("dtype_refused", "ArgMin"),
        Mends("ignored_attribute", "ArgMax"),
        Mends("ignored_attribute", "ArgMin"),
    )

    everywhere: bool = False
    """Also rewrite integers and ``select_last_index`` where the target takes them."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose floats for integers that are refused, then a reversal for the last of equals."""
        for node in scope.nodes("ArgMax", "ArgMin"):
            kinds = {f.kind for f in scope.judge(node).findings if f.refuses or f.in_doubt}
            if has_unresolved(node, "axis", "keepdims", "select_last_index"):
                if kinds or self.everywhere:
                    yield Skip(node, "an attribute is a parameter of the function; inline it first")
                continue
            dtype = scope.dtype(node.inputs[0])
            if dtype in _STEPS and ("dtype_refused" in kinds or self.everywhere):
                yield _as_floats(scope, node, dtype)
            elif attribute(node, "select_last_index", int, 0) and (
                "ignored_attribute" in kinds or self.everywhere
            ):
                yield _reversed(scope, node)


# -- integers --------------------------------------------------------------------------------------


def _as_floats(scope: Scope, node: gs.Node, dtype: int) -> Rewrite | Skip:
    e = Emitter(scope)
    x = node.inputs[0]
    steps = () if _was_narrow(scope, x) else _STEPS[dtype]
    like = TensorFacts("x", dtype, scope.shape(x))
    real = TensorFacts("y", TensorProto.FLOAT, scope.shape(x))
    for op in ("Div", "Mul", "Sub") if steps else ():
        if not scope.accepts(op, [like, like], outputs=[like]):
            return Skip(node, f"{scope.target.name} takes no {op} of this element type either")
    if not scope.accepts("Cast", [like], {"to": int(TensorProto.FLOAT)}, [real]):
        return Skip(node, f"{scope.target.name} casts no {TensorProto.DataType.Name(dtype)}")
    axis = attribute(node, "axis", int, 0) or 0
    largest = node.op == "ArgMax"
    race: gs.Tensor | None = None
    for digit in _digits(e, x, dtype, steps):
        value = e.cast(digit, TensorProto.FLOAT)
        if race is None:
            race = value
            continue
        best = e.reduce("ReduceMax" if largest else "ReduceMin", race, [axis], keepdims=True)
        behind = e("Less" if largest else "Greater", race, best)
        race = e("Where", behind, e.const(-_BEYOND if largest else _BEYOND), value)
    assert race is not None
    return e.rewrite(node, e(node.op, race, **_kept(node)))


def _was_narrow(scope: Scope, x: gs.Tensor) -> bool:
    maker = scope.producer(x)
    if maker is None or maker.op != "Cast" or not is_standard(maker):
        return False
    return scope.dtype(maker.inputs[0]) in _NARROW


def _digits(e: Emitter, x: gs.Tensor, dtype: int, steps: tuple[int, ...]) -> list[gs.Tensor]:
    """The digits of whole numbers, the highest first; each has the sign of the number."""
    low: list[gs.Tensor] = []
    for step in steps:
        by = e.const(step, dtype)
        high = e("Div", x, by)
        low.insert(0, e("Sub", x, e("Mul", high, by)))
        x = high
    return [x, *low]


def _kept(node: gs.Node, *without: str) -> dict[str, Any]:
    names = ("axis", "keepdims", "select_last_index")
    return {n: int(node.attrs[n]) for n in names if n in node.attrs and n not in without}


# -- the last of equals ----------------------------------------------------------------------------


def _reversed(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    e = Emitter(scope)
    x = node.inputs[0]
    shape = scope.shape(x)
    axis = attribute(node, "axis", int, 0) or 0
    if axis < 0 and shape is not None:
        axis += len(shape)
    known = shape[axis] if shape is not None and 0 <= axis < len(shape) else None
    if isinstance(known, int):
        back = np.arange(known - 1, -1, -1)
        turned = e("Gather", x, e.ints(back.tolist()), axis=axis)
        last: gs.Tensor = e.const(known - 1)
    elif axis < 0:
        return Skip(node, "its axis is negative, and the rank of its input is not known")
    else:
        turned = e.slice(x, [-1], [-(2**31) + 1], [axis], [-1])
        last = e("Sub", e("Gather", e.shape(x), e.const(axis), axis=0), e.const(1))
    first = e(node.op, turned, **_kept(node, "select_last_index"))
    return e.rewrite(node, e("Sub", last, first))
