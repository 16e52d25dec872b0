"""The pass ``unfreeze-shapes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from onnx_fix.contract import Exactness, ModelPass, Stage, Transformed
from onnx_fix.model import Model


@dataclass(frozen=True)
class UnfreezeShapes(ModelPass):
    """Makes dims of inputs symbols, and sizes of what an exporter had made numbers.

    Before:
        main (float[1, 48, 64] x): y = Reshape(x, [1, 48, 4, 16]); z = Add(y, arange of 48)
    After:
        main (float[1, n0, 64] x): y = Reshape(x, [1, -1, 4, 16]); z = Add(y, Range(0, n0, 1))

    Sizes are followed from the inputs to every node. A number that meets a size it must equal for
    the model to run at all is that size (a dim of Add, Concat or MatMul, a factor of a Reshape); a
    number that no dim was at the export is a constant; of another export (``also``) the numbers
    that differ are expressions of its dims, and those that do not are constants. What has more
    than one explanation is asked for, and nothing is written. Tables (positions, masks, zeros,
    anchor grids) are computed where a rule gives every number of theirs; tables that follow none
    keep the model from being made dynamic.

    Exact: no. The inputs have more shapes. At the sizes of each export the model computes what that
        export does, which is how it is compared; at others it runs.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.INLINE

    dynamic: dict[str, str] | None = None
    """Symbols for dims of inputs, by ``INPUT:AXIS``."""
    also: tuple[str, ...] = ()
    """Files with exports of the same network at other sizes."""
    assume: dict[str, str | int] | None = None
    """What numbers are, by place as the questions spell it; ``constants`` for all that is open."""
    declared: bool = False
    """Also free the dims that the model declares dynamic, where numbers hold them to one size."""

    def adds_dims(self) -> bool:
        return bool(self.dynamic) or self.declared

    def sizes_that_run(self, model: Model) -> Mapping[str, int]:
        """The sizes that the numbers hold."""
        if not self.declared:
            return {}
        # Here and below, since passes are loaded to be listed, too.
        from onnx_fix.unfreeze.declared import frozen

        found = frozen(model)
        return {} if found is None else {s: n for s, n in found.at.items() if s.isidentifier()}

    def other_exports(self) -> Sequence[str]:
        return self.also

    def due(self, model: Model) -> bool:
        return bool(self.dynamic) or self.declared

    def made_of(self, model: Model) -> Transformed | None:
        """One line for every operand that a size is put back into.

        Raises:
            UsageError: the options do not fit the model, or more must be said of it.
            ModelError: the model cannot be made dynamic, and why.
        """
        if not (self.dynamic or self.declared):
            return None
        from onnx_fix.unfreeze.job import Request, unfreeze

        wanted = Request(self.dynamic or {}, self.also, self.assume or {}, self.declared)
        made = unfreeze(model, wanted)
        if made is None:
            return None
        dims = ", ".join(f"{place} is {symbol}" for place, symbol in wanted.dynamic.items())
        return Transformed(
            made.model,
            (*([f"inputs are dynamic: {dims}"] if dims else ()), *made.lines),
            skipped=made.skipped,
            exactness=Exactness.CONTRACT,
            asked_by="dynamic" if self.dynamic else "declared",
        )
