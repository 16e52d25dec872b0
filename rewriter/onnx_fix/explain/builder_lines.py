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
    KnownLine(
        "gpu of the engine",
        "The engine cannot run on this GPU, which has compute capability ",
        "error",
        "the engine was not built for this GPU; the line lists those that it was built for (None: "
        "it was built for the GPU at hand, and TensorRT-RTX does not support that one)",
        "build it for this GPU (--compute-capability) where TensorRT-RTX supports it, and "
        "otherwise run it on one of the list, or take TensorRT itself; 1.7 builds for 7.5, 8.0, "
        "8.6, 8.9, 12.0 and 12.1",
        "TensorRT-RTX 1.7 on an H100",
        more=r"(?P<what>[\d.]+\d)[^\n]*",
    ),
    KnownLine(
        "plugin formats",
        "could not find any supported formats consistent with input/output data types",
        "error",
        "a plugin takes the tensors of its node in none of the types and formats that are possible "
        "there, or not in the types that were asked for (--inputIOFormats, --precisionConstraints)",
        "compare the types of its inputs and outputs in the model with those that the plugin "
        "takes, and put a Cast where they differ; ask for no type that it does not take",
        "issue threads of NVIDIA/TensorRT",
    ),
    KnownLine(
        "own plugin",
        "GatherElementsPlugin::",
        "error",
        "the plugin of onnx-fix refuses what it was given, and the line says why",
        "INT8 of different scales: give data and output one dynamic range, or keep the layer out "
        "of INT8; an unknown layout: build the engine anew with this library; ranks, axis, types "
        "or sizes: the model is at fault, and onnxruntime refuses it, too",
        "the plugin's own sources",
        more=r"\w+: (?P<what>[^\n]{1,300})",
    ),
)
"""Like `onnx_fix.explain.lines.KNOWN_LINES`, and looked for before them."""
