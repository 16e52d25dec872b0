"""The pass ``unname-dims``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnx import ModelProto

from onnx_fix.contract import ModelPass, Stage, Transformed
from onnx_fix.dim_names import placeholders, shared_placeholders
from onnx_fix.model import Model
from onnx_fix.target import Target
from onnx_fix.target.trtexec import behaves


@dataclass(frozen=True)
class UnnameDims(ModelPass):
    """Takes names such as ``?`` off dims of inputs, where the target would make them one size.

    Since 8.5 the parser gives dims their names, and dims of one name have one size in the engine.
    PaddlePaddle calls every dim that it does not know ``?``: height and width of an image then have
    to be equal.

    Before:
        main (float[N, 3, ?, ?] x)
    After:
        main (float[N, 3, , ] x)

    Exact: yes. The dims have no name afterwards, and the model takes the shapes that it was meant
        for.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.INLINE

    def due(self, model: Model) -> bool:
        names = behaves(model.target.release, "one_symbol_one_size")
        return names and bool(shared_placeholders(model.proto))

    def transform(self, model: ModelProto, target: Target) -> Transformed:
        """One line for every name that goes."""
        shared = shared_placeholders(model)
        copy = ModelProto()
        copy.CopyFrom(model)
        for _, _, dim in placeholders(copy):
            if dim.dim_param in shared:
                dim.ClearField("dim_param")
        lines = [f"{', '.join(places)}: no longer called '{n}'" for n, places in shared.items()]
        return Transformed(copy, tuple(lines))
