"""The sizes that each operator makes of those of its inputs, and what it demands of them."""

from collections.abc import Callable, Mapping

from onnx_fix.symbolic.rules import (
    arithmetic,
    control,
    elementwise,
    generators,
    indexing,
    layout,
    products,
    reductions,
    sequences,
    windows,
)
from onnx_fix.symbolic.step import Shape, Step

Rule = Callable[[Step], list[Shape | None]]
"""The shapes of the outputs."""

SHAPES: Mapping[str, Rule] = {
    **elementwise.SHAPES,
    **layout.SHAPES,
    **products.SHAPES,
    **windows.SHAPES,
    **indexing.SHAPES,
    **reductions.SHAPES,
    **sequences.SHAPES,
    **generators.SHAPES,
    **control.SHAPES,
}

VALUES: Mapping[str, arithmetic.Follow] = arithmetic.VALUES
"""The elements of small integer tensors, from which shapes are assembled."""
