"""Calls of local functions, written out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnx import ModelProto

from onnx_fix.contract import Mends, ModelPass, Stage, Transformed
from onnx_fix.functions import Calls, spelled
from onnx_fix.inlining import inline
from onnx_fix.model import Model
from onnx_fix.target import Target
from onnx_fix_passes._function_calls import faults


@dataclass(frozen=True)
class InlineFunctions(ModelPass):
    """Replace calls of local functions by the nodes of the functions, where the target needs it.

    Rules:

    1. TensorRT before 9.0 reads no functions: every call is inlined.
    2. Later releases read them with faults. A function is inlined where one applies to it: another
       function has the same name in another domain or overload; a built-in op (or, from 10.7 on, a
       stock plugin) has its name; its operator set differs from the model's in one of its ops;
       a call leaves out an input or output; one of its inputs is called as a tensor outside
       is (before 10.8); functions and subgraphs stand more than 24 deep (from 11.0 on). So is a
       function that calls such a one.

    ``onnx.inliner`` renames and moves the nodes. What it does not do is done before and after:
    defaults of attributes, outputs that are an input or the same tensor twice, imports of
    operator sets that only the function has, and the signature of every new node.

    Before:
        y = my.relu2 <scale = 2.0> (x)
    After:
        s = Constant <value_float = 2.0> ()
        r = Relu (x)
        y = Mul (r, s)
    Exact:
        Yes. Where a function is written for another operator set and an op of it has changed,
        the version converter of onnx translates the body; what it cannot translate is an error.
        Functions that are never called, and those that the target reads rightly, stay as they are.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.INLINE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("domain_ignored", "*", "the model defines the op as a function", "call"),
    )

    always: bool = False
    """Inline every call, whatever the target does with functions."""

    def due(self, model: Model) -> bool:
        """Whether there are functions."""
        return bool(model.proto.functions)

    def transform(self, model: ModelProto, target: Target) -> Transformed:
        """The model with its calls inlined, and one line for every function inlined.

        Raises:
            ModelError: functions call each other in a circle, or a body cannot be translated to
                the operator set of the model.
        """
        if not model.functions:
            return Transformed(model)
        calls = Calls.of(model)
        if not calls.order:
            return Transformed(model)
        if self.always:
            chosen = dict.fromkeys(calls.order, "as the option 'always' asks")
        else:
            chosen = faults(calls, target)
        if not chosen:
            return Transformed(model)
        inlined, counts = inline(calls, chosen, self.name)
        lines = (
            f"{spelled(key)} inlined ({counts[key]} call{'s' * (counts[key] > 1)}): {why}"
            for key, why in chosen.items()
        )
        return Transformed(inlined, tuple(lines))
