"""The pass ``freeze-dims``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from onnx import ModelProto

from onnx_fix.contract import Exactness, ModelPass, Stage, Transformed
from onnx_fix.model import Model
from onnx_fix.static_dims import sizes_of, with_static
from onnx_fix.target import Target
from onnx_fix.verify.symbols import symbols


@dataclass(frozen=True)
class FreezeDims(ModelPass):
    """Makes dynamic dims of inputs numbers, where an option gives their sizes.

    Sizes that are known decide conditions, shapes and lengths that TensorRT wants at build time,
    and what they decide is folded by the passes that follow.

    Before:
        main (float[B, N, 8] x) => (float[B, 2*N, 8] y)
    After:
        main (float[1, N, 8] x) => (float[1, 2*N, 8] y), with B = 1

    A size is given to a symbol, wherever it stands, or to INPUT:AXIS, and then to the symbol that
    stands there. Arithmetic over symbols that have sizes is computed.

    Exact: no. The model takes fewer shapes, and computes what the original does at these, which is
        how it is compared.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.INLINE

    static: dict[str, int] | None = None
    """Sizes, by symbol or by ``INPUT:AXIS``."""

    def fixed_dims(self, model: ModelProto) -> Mapping[str, int]:
        return sizes_of(model, self.static or {})

    def due(self, model: Model) -> bool:
        return bool(self._left(model.proto))

    def transform(self, model: ModelProto, target: Target) -> Transformed:
        """One line for every symbol that goes."""
        left = self._left(model)
        if not left:
            return Transformed(model)
        sizes = sizes_of(model, left)
        return Transformed(
            with_static(model, sizes),
            tuple(f"dim {symbol} is {number}" for symbol, number in sizes.items()),
            exactness=Exactness.CONTRACT,
            asked_by="static",
        )

    def _left(self, model: ModelProto) -> dict[str, int]:
        """What is asked for and not yet so; inputs may have become constants."""
        where = symbols(model)
        free = set(where)
        for p in (place for places in where.values() for place in places):
            free |= {f"{p.input}:{p.axis}", f"{p.input}:{p.axis - p.rank}"}
        return {name: number for name, number in (self.static or {}).items() if name in free}
