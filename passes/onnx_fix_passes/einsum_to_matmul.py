"""Einsum nodes that the target does not take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import TensorFacts
from onnx_fix_passes._einsum_letters import Equation, EquationError, bind
from onnx_fix_passes._einsum_plan import PlanError, plan
from onnx_fix_passes._einsum_program import Prices, Program, Step

_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_FLOATS = _HALF | {TensorProto.FLOAT, TensorProto.DOUBLE}
_NARROW = frozenset({TensorProto.INT8, TensorProto.INT16, TensorProto.UINT8, TensorProto.UINT16})

_HAS_FORM = "the target takes products and sums of the element type"


@dataclass(frozen=True)
class EinsumToMatMul(Pass):
    """Write an Einsum by MatMul, Transpose and the like.

    The equation is planned on its labels, and the plan of the fewest nodes is written. Rules, in
    this order:

    1. Where the target has Einsum and refuses only the spelling (upper case letters, an ellipsis),
       Einsum stays, with other letters and the output written out.
    2. A label that one term has twice: the diagonal, by Gather from the flattened axes where the
       size is known, else by Where with a mask made of Range.
    3. A label of one operand that is not in the output: ReduceSum.
    4. Two operands and a label to sum: MatMul. The other labels are rows, columns, or batch axes
       that broadcast. Several labels to sum are merged by a Reshape with constant sizes (or
       Flatten); where the sizes cannot be written as constants, all but one are summed by
       ReduceSum after the product.
    5. Two operands and no such label, or no label of one operand alone, or numbers that the target
       does not take in MatMul (integers): Mul, then ReduceSum.
    6. More than two operands: two at a time, in the order that opt_einsum finds.

    Before:
        s = Einsum <equation = "bdhn,bdhm->bhnm"> (q, k)

    After:
        q1 = Transpose <perm = [0, 2, 3, 1]> (q)
        k1 = Transpose <perm = [0, 2, 1, 3]> (k)
        s = MatMul (q1, k1)

    Exact:
        Transpositions, diagonals and products of two operands are exact: nothing is multiplied by
        0 or 1 to select it, so Inf and NaN stay where they are. Sums and products of more than two
        floating-point operands are rounded in another order; integers are exact unless they
        overflow, which ONNX leaves open (the ReduceSum of onnxruntime adds int64 in double, so it
        is exact up to 2**53). A label may have size 1 in one operand and n in another: as a batch
        axis it broadcasts, and a summed one that is known to be 1 is taken out of that operand.
        Where the sizes of a summed label are not known to be equal they are taken as equal and a
        note says so: a MatMul of other sizes fails, it does not compute something else. Labels are
        merged only if at most one of them is in doubt, for the same reason. The diagonal over two
        sizes not known to be equal assumes that the model is valid: Einsum takes no others. Left
        alone: malformed equations, an ellipsis over an unknown rank, an equation that is a
        parameter of a function, and 8- and 16-bit integers where sums are due, which neither
        MatMul nor ReduceSum takes.

    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND

    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("broadcast", "Einsum", _HAS_FORM),
        Mends("dtype", "Einsum", _HAS_FORM),
        Mends("equation_characters", "Einsum", _HAS_FORM),
        Mends("equation_feature", "Einsum", _HAS_FORM),
        Mends("no_importer", "Einsum", _HAS_FORM),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes; none is respelled then."""

    unproved_sizes: Literal["assume-equal", "skip"] = "assume-equal"
    """What to do where the sizes of a label that two operands share and that is summed are not
    known to be equal: take them as equal, or leave the node alone unless a form without that
    assumption costs no more memory than the operands."""

    merge_by_minus_one: bool = False
    """Also merge axes by a Reshape to -1 where a size beside it is dynamic. That takes less memory
    than summing after the product, and fails on tensors of no elements."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """One rewrite or skip for every Einsum that the target does not surely take."""
        for node in scope.nodes("Einsum"):
            if self.everywhere or scope.judge(node).status != "supported":
                yield self._site(scope, node)

    def _site(self, scope: Scope, node: gs.Node) -> Rewrite | Skip:
        if has_unresolved(node, "equation"):
            return Skip(node, "the equation is a parameter of the function")
        text = attribute(node, "equation", str)
        if text is None:
            return Skip(node, "the node has no equation")
        try:
            equation = bind(text, [scope.rank(t) for t in node.inputs])
            if not self.everywhere:
                respelled = _respell(scope, node, equation)
                if respelled is not None:
                    return respelled
            return self._decompose(scope, node, equation)
        except (EquationError, PlanError) as error:
            return Skip(node, str(error))

    def _decompose(self, scope: Scope, node: gs.Node, equation: Equation) -> Rewrite | Skip:
        dtype = next((d for d in map(scope.dtype, node.inputs) if d is not None), None)
        prices = self._prices(scope, dtype)
        if isinstance(prices, str):
            return Skip(node, prices)
        program = plan(equation, [scope.shape(t) for t in node.inputs], prices)
        problem = _problem(scope, program, dtype)
        if problem and not self.everywhere:
            return Skip(node, problem)
        if dtype in _NARROW and (problem := _undefined(scope, program, dtype)):
            return Skip(node, problem)
        e = Emitter(scope)
        tensors = list(node.inputs)
        for step in program.steps:
            made = _write(e, step, [tensors[k] for k in step.inputs], dtype)
            if made is None:
                return Skip(node, "its element type is not known, and the zeros of a mask need one")
            tensors.append(made)
        floats = dtype is None or dtype in _FLOATS
        rounds = floats and (program.rounds or len(equation.terms) > 2)
        return e.rewrite(
            node,
            tensors[program.result],
            exactness=Exactness.ROUNDING if rounds else Exactness.EXACT,
            note="; ".join(dict.fromkeys(program.assumed)),
        )

    def _prices(self, scope: Scope, dtype: int | None) -> Prices | str:
        """What the plan may use; a reason where nothing will do."""
        x = TensorFacts("x", dtype=dtype, shape=(None, None))
        matmul = scope.accepts("MatMul", [x, x])
        if not matmul and not scope.accepts("Mul", [x, x]):
            if not self.everywhere:
                return f"the target takes neither MatMul nor Mul of {_named(dtype)}"
            matmul = dtype in _FLOATS
        axes = True
        if scope.opset >= 13 and dtype is not None:
            value = np.array([1], dtype=np.int64)
            one = TensorFacts("axes", TensorProto.INT64, (1,), "initializer", lambda: value)
            axes = all(
                scope.accepts(op, [x, one]) or not scope.accepts(op, [x], _OLD.get(op))
                for op in ("ReduceSum", "Unsqueeze")
            )
        return Prices(
            matmul=matmul,
            half=dtype in _HALF,
            axes=axes,
            assume=self.unproved_sizes == "assume-equal",
            merge=self.merge_by_minus_one,
        )


_OLD: dict[str, dict[str, object]] = {"Unsqueeze": {"axes": [1]}}


def _respell(scope: Scope, node: gs.Node, equation: Equation) -> Rewrite | None:
    """The same Einsum in lower case and without ellipsis, where the target surely takes that."""
    text = equation.text()
    if text is None or text == attribute(node, "equation", str):
        return None
    facts = scope.facts(node)
    if scope.target.judge(replace(facts, attributes={"equation": text})).status != "supported":
        return None
    e = Emitter(scope)
    return e.rewrite(node, e("Einsum", *node.inputs, equation=text))


def _problem(scope: Scope, program: Program, dtype: int | None) -> str:
    """Why the target does not take a plan for its element type; empty if it does."""
    x = TensorFacts("x", dtype=dtype, shape=(None, None))
    ops = {step.op for step in program.steps}
    if "ReduceSum" in ops and not scope.accepts("ReduceSum", [x]):
        return f"the target takes no ReduceSum of {_named(dtype)}"
    if "Mul" in ops and not scope.accepts("Mul", [x, x]):
        return f"the target takes no Mul of {_named(dtype)}"
    return ""


def _undefined(scope: Scope, program: Program, dtype: int | None) -> str:
    """Why ONNX has no such plan for narrow integers; empty if it does."""
    ops = {step.op for step in program.steps}
    if ops & {"ReduceSum", "MatMul"}:
        return f"ONNX defines neither MatMul nor ReduceSum of {_named(dtype)}"
    if "Mul" in ops and scope.opset < 14:
        return f"ONNX defines no Mul of {_named(dtype)} before opset 14"
    return ""


def _named(dtype: int | None) -> str:
    return "this element type" if dtype is None else onnx.TensorProto.DataType.Name(dtype)


def _write(e: Emitter, step: Step, given: list[gs.Tensor], dtype: int | None) -> gs.Tensor | None:
    """The nodes of one step; None where the element type must be known for it."""
    x, numbers = given[0], step.numbers
    if step.op == "Transpose":
        return e.transpose(x, numbers)
    if step.op == "Reshape":
        return e.reshape(x, numbers)
    if step.op == "Flatten":
        return e("Flatten", x, axis=numbers[0])
    if step.op == "Unsqueeze":
        return e.unsqueeze(x, numbers)
    if step.op == "Squeeze":
        return e.squeeze(x, numbers)
    if step.op == "Take":
        return e("Gather", x, e.const(numbers[1]), axis=numbers[0])
    if step.op == "Pick":
        axis, count, stride = numbers
        return e("Gather", x, e.ints([k * stride for k in range(count)]), axis=axis)
    if step.op == "ReduceSum":
        return e.reduce("ReduceSum", x, numbers) if numbers else e("ReduceSum", x, keepdims=0)
    if step.op == "SumByOnes":
        return None if dtype is None else e("MatMul", x, e.const(np.ones(numbers[0]), dtype))
    if step.op == "KeepDiagonal":
        return None if dtype is None else _keep_diagonal(e, x, numbers, dtype)
    return e(step.op, *given)


def _keep_diagonal(e: Emitter, x: gs.Tensor, numbers: tuple[int, ...], dtype: int) -> gs.Tensor:
    """Zero everywhere but where the indices along two axes are equal."""
    first, second, rank = numbers
    size = e("Gather", e.shape(x), e.const(first), axis=0)
    index = e("Range", e.const(0), size, e.const(1))
    rows = e.unsqueeze(index, range(1, rank - first))
    columns = e.unsqueeze(index, range(1, rank - second))
    return e("Where", e("Equal", rows, columns), x, e.const(0, dtype))
