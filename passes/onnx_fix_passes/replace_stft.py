"""The pass ``replace-stft``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.lower.rules.signals import stft
from onnx_fix.scope import Scope
from onnx_fix_passes._by_rule import by_rule


@dataclass(frozen=True)
class ReplaceStft(Pass):
    """Write STFT as a Conv along the signal, or as a product of its frames.

    Before:
        y = STFT <onesided = 1> (x, step, window, length)
    After:
        f = Conv <strides = [step]> (Transpose (x), kernels);
        y = Transpose (Reshape (f))
    Exact:
        Rounding only: the kernels are the window times cosines and sines, computed in float64 and
        rounded once. The signal may be of any length. A window that is computed at run time, and
        float64, take the frames one by one (Gather), times the window, in a MatMul. Left alone: a
        frame_step or frame_length that is computed at run time, where the known shapes allow more
        than one; kernels of more than 2^22 elements.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "STFT", "frame_step and frame_length are constant"),
        Mends(
            "input_must_be_constant",
            "STFT",
            "frame_step and frame_length are constant, or known from the shapes",
        ),
        Mends("real_input_only", "STFT", "frame_step and frame_length are constant"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("STFT"):
            if self.everywhere or scope.refused(node):
                yield by_rule(scope, node, stft, exactness=Exactness.ROUNDING)
