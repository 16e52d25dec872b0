"""Well-known lines of the builder: what is wrong with shapes, the profile, or what is asked."""

from __future__ import annotations

from onnx_fix.explain.lines import KnownLine

_PROBE = "a live TensorRT-RTX 1.7 builder"
_FROZEN = (
    "compare the shapes with those that onnxruntime computes; sizes frozen at export time and "
    "dims that belong together but have different ranges in the profile are the usual reasons"
)

BUILDER_LINES: tuple[KnownLine, ...] = (
    KnownLine(
        "profile contradicts",
        "violate shape constraints: ",
        "error",
        "with the sizes of the profile that the line names (kMIN, kOPT or kMAX) the model does not "
        "work out: shapes do not fit together at this layer",
        "change these sizes of the profile to ones that the model runs with: try them in "
        "onnxruntime; look for sizes frozen at export time",
        _PROBE,
        more=r"\w+ (?P<what>[^:\n]{1,300}): [^\n]*",
    ),
    KnownLine(
        "profile inconsistent",
        "values are not self-consistent. ",
        "warning",
        "the engine is built, and a run with the sizes of the profile that the line names (kMIN "
        "or kMAX) fails at this tensor: they are outside of what the model can do",
        "choose a larger smallest size, or a smaller largest one, with which the model runs",
        _PROBE,
        more=r"(?P<what>[^:\n]{1,300}): [^\n]*",
    ),
    KnownLine(
        "elementwise shapes",
        "IElementWiseLayer ",
        "error",
        "the operands of this layer have sizes that do not broadcast, for every size that the "
        "profile allows",
        _FROZEN,
        _PROBE,
        more=r"(?P<what>[^:\n]{1,300}): [^\n]*dimensions not compatible for elementwise[^\n]*",
    ),
    KnownLine(
        "product shapes",
        "IMatrixMultiplyLayer ",
        "error",
        "the matrices of this layer have sizes that cannot be multiplied, for every size that the "
        "profile allows",
        _FROZEN,
        _PROBE,
        more=r"(?P<what>[^:\n]{1,300}): [^\n]*mismatching dimensions[^\n]*",
    ),
    KnownLine(
        "lean runtime",
        "Unable to load library: libnvinfer_lean",
        "error",
        "a version compatible engine carries the lean runtime, and its library is not installed",
        "install the lean runtime of the same release, or build without --version-compatible",
        _PROBE,
        more=r"[^\n]*",
    ),
    KnownLine(
        "current capability",
        "Cuda Runtime (In generateForCurrent",
        "error",
        "the engine is to be for the GPU at hand, and there is none, or its driver is too old",
        "name the GPUs to build for, such as --compute-capability 8.6 8.9, or build where the GPU "
        "is",
        _PROBE,
        more=r"[^\n]*",
    ),
)
"""Like `onnx_fix.explain.lines.KNOWN_LINES`, and looked for before them."""
