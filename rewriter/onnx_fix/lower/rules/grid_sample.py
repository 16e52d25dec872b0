"""GridSample: two modes have other names before opset 20, and only images were sampled."""

from __future__ import annotations

from onnx import NodeProto

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import keep, missing, same

_PASS = "the pass replace-grid-sample (option everywhere) writes it in older ops"

_MODES = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}


def _named_modes(low: LowNode) -> list[NodeProto]:
    """20 to 16: ``linear`` was ``bilinear`` and ``cubic`` was ``bicubic``; the input had rank 4."""
    for index in (0, 1):
        rank = low.rank(index)
        if rank is not None and rank != 4:
            raise Refused(
                f"GridSample takes inputs of rank 4 alone before opset 20, not {rank}: {_PASS}"
            )
    mode = str(low.attr("mode", "linear"))
    if mode not in _MODES:
        raise Refused(f"mode {mode} of GridSample has no name before opset 20")
    return keep(low, widen=True, mode=_MODES[mode])


RULES: dict[tuple[str, int], Rule] = {
    ("GridSample", 22): same(widen=True),
    ("GridSample", 20): _named_modes,
    ("GridSample", 16): missing(_PASS),
}
