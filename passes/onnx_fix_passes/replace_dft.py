"""The pass ``replace-dft``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.lower.node import since
from onnx_fix.lower.rules.signals import dft
from onnx_fix.scope import Scope
from onnx_fix_passes._by_rule import by_rule


@dataclass(frozen=True)
class ReplaceDft(Pass):
    """Write DFT as products with matrices of cosines and sines.

    Before:
        y = DFT <axis = 1> (x)
    After:
        re = Gather (x, 0); im = Gather (x, 1), the axis of the transform last;
        y = Concat (re @ cosines + im @ sines, im @ cosines - re @ sines)
    Exact:
        Rounding only: the matrices are computed in float64 and rounded once. Half precision goes
        through float32. An inverse has the factor 1 / length in its matrices; the inverse of a
        one-sided spectrum counts the mirrored half in them. An axis that is computed at run time
        chooses between the transforms along each, where all give the same shape. Left alone: an
        axis of unknown size; a dft_length that is computed at run time and that no known shape
        tells; data of which it is not known whether they are complex; matrices of more than 2^22
        elements, such as that of a transform of 4096.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "DFT", "the size of the axis is known, and not above 2048"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("DFT"):
            if self.everywhere or scope.refused(node):
                at = since("DFT", scope.opset) or 0
                rule = partial(dft, axis_input=at >= _AXIS_INPUT)
                yield by_rule(scope, node, rule, exactness=Exactness.ROUNDING)


_AXIS_INPUT = 20
"""The operator set in which the axis became an input."""
