"""The pass ``remove-optionals``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, is_standard
from onnx_fix_passes._sequence_contents import MAKERS

_OPS = ("OptionalGetElement", "OptionalHasElement")

Held = tuple[Literal["element"], gs.Tensor] | Literal["nothing"] | str


@dataclass(frozen=True)
class RemoveOptionals(Pass):
    """Write what is asked of an optional as what it is, where it is known what it holds.

    TensorRT has no optionals. Exporters write them for arguments that may be None.

    1. OptionalHasElement becomes a constant: true for an Optional with an input, and for what is a
       tensor or sequence itself; false for an Optional without one, and where the input is omitted.
    2. OptionalGetElement becomes what was put into the Optional.

    Before:
        o = Optional (x)  h = OptionalHasElement (o)
        y = If (h) <then_branch = (OptionalGetElement (o)), else_branch = (zero)>
    After:
        y = If (true) <then_branch = (x), else_branch = (zero)>
    Exact:
        Yes. Left alone: optionals that are inputs or outputs of the model or come from an If or
        Loop; the element of an optional that has none.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.FOLD
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends("no_importer", op, "it is known whether the optional has an element")
        for op in ("Optional", *_OPS)
    )

    everywhere: bool = False
    """Also remove optionals on a target that takes them."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose an answer for every question."""
        for node in scope.nodes("Optional", *_OPS):
            if not (self.everywhere or scope.refused(node)):
                continue
            if node.op == "Optional":
                if scope.is_output(node.outputs[0]):
                    yield Skip(node, "the optional leaves the graph; give out what it holds")
                continue
            held = _held(scope, node.inputs[0] if node.inputs else None)
            if isinstance(held, tuple):
                e = Emitter(scope)
                has = node.op == "OptionalHasElement"
                yield e.rewrite(node, e.const(np.asarray(True)) if has else held[1])
            elif held != "nothing":
                yield Skip(node, held)
            elif node.op == "OptionalHasElement":
                e = Emitter(scope)
                yield e.rewrite(node, e.const(np.asarray(False)))
            else:
                yield Skip(node, "the optional has no element; nothing can be taken out of it")


def _held(scope: Scope, tensor: gs.Tensor | None) -> Held:
    """What an optional holds, or why that is not known."""
    while tensor is not None and tensor.name:
        if isinstance(tensor, gs.Constant) or scope.dtype(tensor) is not None:
            return ("element", tensor)
        node = scope.producer(tensor)
        if node is None:
            return (
                f"the optional '{tensor.name}' comes from outside; pass what it holds, or leave "
                "the argument out"
            )
        if is_standard(node) and node.op == "Optional":
            if not node.inputs or not node.inputs[0].name:
                return "nothing"
            return ("element", node.inputs[0])
        if is_standard(node) and node.op in MAKERS:
            return ("element", tensor)
        if not is_standard(node) or node.op != "Identity":
            return f"the optional comes from {node.op}; it is known once that is gone"
        tensor = node.inputs[0]
    return "nothing"
