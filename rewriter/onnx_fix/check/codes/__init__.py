"""The codes of what a target may have against a node: one for every kind of finding.

Numbers are stable and never used twice: OF1xx who takes the node, OF2xx inputs and outputs, OF3xx
attributes, OF4xx element types, OF5xx ranks and shapes, OF6xx control flow and recurrent ops,
OF7xx shapes that depend on data, limits and speed. OF8xx (whole models) and OF9xx (a live parser)
stand beside the checks that give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_fix.check.codes import attributes, control, dispatch, dtypes, inputs, limits, shapes
from onnx_fix.check.finding import Code
from onnx_fix.errors import InternalError

__all__ = ["FAMILIES", "NODE_CODES", "code_of"]

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "1": "importers, plugins and functions",
        "2": "inputs and outputs",
        "3": "attributes",
        "4": "element types",
        "5": "ranks and shapes",
        "6": "control flow and recurrent ops",
        "7": "data-dependent shapes, limits and speed",
        "8": "the model as a whole",
        "9": "answers of a live parser",
    }
)
"""What the digit after ``OF`` stands for."""

NODE_CODES: Mapping[str, Code] = MappingProxyType(
    {
        **dispatch.CODES,
        **inputs.CODES,
        **attributes.CODES,
        **dtypes.CODES,
        **shapes.CODES,
        **control.CODES,
        **limits.CODES,
    }
)
"""The code of every kind of finding that ``Target.judge`` gives."""


def code_of(kind: str) -> Code:
    """The code of a kind of finding (``Finding.kind``).

    Raises:
        InternalError: the kind is new and has no code yet.
    """
    if kind not in NODE_CODES:
        raise InternalError(f"the kind '{kind}' has no code: add one to onnx_fix.check.codes")
    return NODE_CODES[kind]
