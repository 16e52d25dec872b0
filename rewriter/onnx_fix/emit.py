"""Write the nodes of a rewrite, in the spelling of the model's operator set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto

from onnx_fix.contract import Body, Exactness, New, Padded, Port, Rewrite
from onnx_fix.scope import Scope

_AXES_INPUT_SINCE = {
    "Squeeze": 13,
    "Unsqueeze": 13,
    "ReduceSum": 13,
    "ReduceL1": 18,
    "ReduceL2": 18,
    "ReduceLogSum": 18,
    "ReduceLogSumExp": 18,
    "ReduceMax": 18,
    "ReduceMean": 18,
    "ReduceMin": 18,
    "ReduceProd": 18,
    "ReduceSumSquare": 18,
}
"""The operator set in which ``axes`` became an input (ONNX operator changelog)."""


class Emitter:
    """Collects the new nodes of one rewrite.

    Calling it makes one node: ``y = e("MatMul", a, b)``. Tensors may be given as arrays, which
    become constants. ``None`` stands for an omitted optional input. Nothing enters the graph
    before the engine applies the ``Rewrite``.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.opset = scope.opset
        self._new: list[New] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], gs.Constant] = {}

    def __call__(
        self, op: str, *inputs: gs.Tensor | ArrayLike | None, domain: str = "", **attrs: object
    ) -> gs.Variable:
        """One node with one output, which is returned. Attributes that are None are left out."""
        return self.many(op, 1, *inputs, domain=domain, **attrs)[0]

    def many(
        self,
        op: str,
        count: int,
        *inputs: gs.Tensor | ArrayLike | None,
        domain: str = "",
        **attrs: object,
    ) -> tuple[gs.Variable, ...]:
        """One node with ``count`` outputs."""
        outputs = tuple(gs.Variable(f"{op}:{k}") for k in range(count))
        given = tuple(self._tensor(t) for t in inputs)
        while given and not given[-1].name:
            given = given[:-1]
        kept = {k: v for k, v in attrs.items() if v is not None}
        self._new.append(New(op, given, outputs, kept, domain))
        return outputs

    def _tensor(self, tensor: gs.Tensor | ArrayLike | None) -> gs.Tensor:
        if tensor is None:
            return gs.Variable.empty()
        return tensor if isinstance(tensor, gs.Tensor) else self.const(np.asarray(tensor))

    def const(
        self, value: ArrayLike, dtype: int | np.dtype[np.generic] | type | None = None
    ) -> gs.Constant:
        """A constant; equal ones are made once per rewrite.

        ``dtype`` is a numpy dtype or a ``TensorProto.DataType`` number; Python integers become
        int64 and Python floats float32 where it is not given.
        """
        if isinstance(dtype, int):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(dtype)
        array: NDArray[np.generic] = np.asarray(value, dtype=dtype)
        if dtype is None and not isinstance(value, np.ndarray | np.generic):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = gs.Constant(
                "constant", np.ascontiguousarray(array).reshape(array.shape)
            )
        return self._constants[key]

    def ints(self, values: Sequence[int]) -> gs.Constant:
        """A 1-D int64 constant."""
        return self.const(np.asarray(values, dtype=np.int64).reshape(-1))

    # -- spelling that depends on the operator set ---------------------------------------------

    def _with_axes(
        self, op: str, x: gs.Tensor, axes: Sequence[int], keepdims: int | None = None
    ) -> gs.Variable:
        if self.opset >= _AXES_INPUT_SINCE[op]:
            return self(op, x, self.ints(axes), keepdims=keepdims)
        return self(op, x, axes=[int(a) for a in axes], keepdims=keepdims)

    def unsqueeze(self, x: gs.Tensor, axes: Sequence[int]) -> gs.Tensor:
        """Insert dims of size 1; ``axes`` count in the result. No axes: ``x`` itself."""
        return self._with_axes("Unsqueeze", x, axes) if axes else x

    def squeeze(self, x: gs.Tensor, axes: Sequence[int]) -> gs.Tensor:
        """Remove dims of size 1. No axes: ``x`` itself."""
        return self._with_axes("Squeeze", x, axes) if axes else x

    def reduce(
        self, op: str, x: gs.Tensor, axes: Sequence[int], *, keepdims: bool = False
    ) -> gs.Tensor:
        """``ReduceSum`` and its kin over the given axes. No axes: ``x`` itself."""
        return self._with_axes(op, x, axes, keepdims=int(keepdims)) if axes else x

    def transpose(self, x: gs.Tensor, perm: Sequence[int]) -> gs.Tensor:
        """Reorder dims. The identical order: ``x`` itself."""
        return x if list(perm) == list(range(len(perm))) else self("Transpose", x, perm=list(perm))

    def reshape(self, x: gs.Tensor, shape: gs.Tensor | Sequence[int]) -> gs.Variable:
        """Reshape to a 1-D int64 tensor or fixed sizes (0 copies a dim, -1 takes the rest)."""
        wanted = shape if isinstance(shape, gs.Tensor) else self.ints(shape)
        # TensorRT 8.0 to 8.4 has no default for allowzero (since opset 14).
        needs = not self.scope.accepts("Reshape", [x, wanted], {})
        return self("Reshape", x, wanted, allowzero=0 if needs and self.opset >= 14 else None)

    def shape(self, x: gs.Tensor) -> gs.Variable:
        """All sizes of ``x``: int64, 1-D."""
        return self("Shape", x)

    def dim(self, x: gs.Tensor, axis: int) -> gs.Tensor:
        """One size of ``x`` (of known rank when ``axis`` is negative): int64 of shape (1,).

        A constant where the size is known. Shape's own start and end are not used: releases before
        10.0 ignore them.
        """
        shape = self.scope.shape(x) if x.name and not self._is_new(x) else None
        if shape is not None:
            axis = axis % len(shape)
            known = shape[axis]
            if isinstance(known, int):
                return self.ints([known])
        return self("Gather", self.shape(x), self.ints([axis]), axis=0)

    def _is_new(self, x: gs.Tensor) -> bool:
        return any(x is out for new in self._new for out in new.outputs)

    def slice(
        self,
        x: gs.Tensor,
        starts: gs.Tensor | Sequence[int],
        ends: gs.Tensor | Sequence[int],
        axes: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> gs.Variable:
        """Cut along some axes; starts and ends may be run-time tensors of opset 10 or later."""
        plain = steps is None or all(s == 1 for s in steps)
        if self.opset < 10 and plain:
            if isinstance(starts, gs.Tensor) or isinstance(ends, gs.Tensor):
                raise ValueError("Slice takes run-time bounds since opset 10 only")
            return self("Slice", x, starts=list(starts), ends=list(ends), axes=list(axes))
        given = [v if isinstance(v, gs.Tensor) else self.ints(v) for v in (starts, ends)]
        step = None if steps is None else self.ints(steps)
        return self("Slice", x, *given, self.ints(axes), step)

    def concat(self, parts: Sequence[gs.Tensor], axis: int) -> gs.Tensor:
        """Join along an axis. One part: the part itself."""
        return parts[0] if len(parts) == 1 else self("Concat", *parts, axis=axis)

    def cast(self, x: gs.Tensor, dtype: int) -> gs.Variable:
        """Convert to a ``TensorProto.DataType``."""
        return self("Cast", x, to=int(dtype))

    def loop(
        self,
        rounds: int,
        states: Sequence[tuple[gs.Tensor, Port]],
        body: Callable[[Emitter], tuple[Sequence[Port], Sequence[Port]]],
    ) -> tuple[gs.Variable, ...]:
        """A Loop of a fixed number of rounds: the last states, then the gathered outputs.

        Args:
            rounds: How many; there is no earlier end.
            states: What each state starts from, and what it is called inside.
            body: Writes one round, and says which tensors are the next states, and which are
                gathered along a new first axis. It may read whatever stands before the Loop.
        """
        inner = Emitter(self.scope)
        inner._constants = self._constants
        number = Port(gs.Variable("round"), TensorProto.INT64, ())
        going = Port(gs.Variable("going"), TensorProto.BOOL, ())
        on = inner("Identity", going.tensor)
        following, gathered = body(inner)
        inputs = (number, going, *(port for _, port in states))
        outputs = (Port(on, TensorProto.BOOL, ()), *following, *gathered)
        made = Body(inputs, tuple(inner._new), outputs)
        starts = [start for start, _ in states]
        count = len(states) + len(gathered)
        often, yes = np.asarray(rounds, np.int64), np.asarray(True)
        return self.many("Loop", count, often, yes, *starts, body=made)

    # -- the result ----------------------------------------------------------------------------

    def rewrite(
        self,
        old: gs.Node | Sequence[gs.Node],
        results: gs.Tensor | Sequence[tuple[gs.Tensor, gs.Tensor]],
        *,
        exactness: Exactness = Exactness.EXACT,
        note: str = "",
        asked_by: str | None = None,
        adds: Sequence[tuple[str, gs.Tensor]] = (),
        padded: Sequence[Padded] = (),
    ) -> Rewrite:
        """The rewrite of ``old`` into what was written so far.

        ``results`` pairs old outputs with new tensors; a single tensor stands for the first output
        of the first old node.
        """
        nodes = (old,) if isinstance(old, gs.Node) else tuple(old)
        if isinstance(results, gs.Tensor):
            results = [(nodes[0].outputs[0], results)]
        return Rewrite(
            nodes,
            tuple(self._new),
            tuple(results),
            exactness,
            note,
            asked_by,
            tuple(adds),
            tuple(padded),
        )
