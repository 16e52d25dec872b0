"""Well-known lines of trtexec and the builder that are not messages of the ONNX parser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Severity = Literal["error", "warning", "harmless", "unknown"]

_IMPORTER = "the parser's source (onnx/onnx-tensorrt)"
_THREADS = "issue threads of NVIDIA/TensorRT"
_SEED = "the engineering notes this project started from"
_PROBE = "a live TensorRT-RTX 1.7 parser"
_API = "NVIDIA's TensorRT documentation"


@dataclass(frozen=True)
class KnownLine:
    """One kind of line. ``starts`` is fixed text that every such line holds; ``more`` is a pattern
    that must follow it (group ``what`` is what the line is about)."""

    name: str
    starts: str
    severity: Severity
    meaning: str
    mend: str
    source: str
    more: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds such lines."""
        return re.compile(re.escape(self.starts) + self.more)


_LESS_PRECISION = (
    "drop --fp16 (and --best) and build again; if that works, keep the layers at fault in FP32, "
    "or convert the model to mixed precision"
)
_MORE_MEMORY = (
    "give the builder more: --workspace=MIB up to TensorRT 9.3, --memPoolSize=workspace:MIB since "
    "8.4; or lower the largest shapes of the profile"
)
_PROFILE = (
    "give --minShapes, --optShapes and --maxShapes for every dynamic input, with the input names "
    "and ranks of the model"
)
_LOOK_ABOVE = "look at the messages before it"

KNOWN_LINES: tuple[KnownLine, ...] = (
    KnownLine(
        "int64 weights",
        "Your ONNX model has been generated with INT64 weights",
        "harmless",
        "releases before 9.0 have no INT64: weights and shapes are read as INT32",
        "nothing, unless values beyond 2^31 matter",
        _IMPORTER,
    ),
    KnownLine(
        "int32 clamp",
        "One or more weights outside the range of INT32 was clamped",
        "harmless",
        "an INT64 constant does not fit INT32 and was cut to its ends; exporters write the largest "
        "INT64 for 'up to the end' in Slice, and cut it means the same",
        "nothing for ends of Slice; check constants that are real numbers of that size",
        _IMPORTER,
    ),
    KnownLine(
        "float clamp",
        "One or more weights outside the range of FLOAT was clamped",
        "warning",
        "a DOUBLE constant does not fit FP32 and was cut",
        "check the constant: a mask value or a limit survives this, a computed one may not",
        _IMPORTER,
    ),
    KnownLine(
        "int64 binding",
        "has Int64 binding",
        "harmless",
        "since 9.0 INT64 inputs and outputs are INT64 in the engine",
        "allocate the buffer of that input or output with 8 bytes for an element",
        _IMPORTER,
    ),
    KnownLine(
        "illegal memory access",
        "illegal memory access",
        "error",
        "a kernel, often an FP16 one or one of a plugin, touched memory that is not its own",
        _LESS_PRECISION + "; with a plugin, run compute-sanitizer on trtexec",
        f"{_SEED}; {_THREADS}",
    ),
    KnownLine(
        "invalid memory access",
        "nvalid memory access",
        "error",
        "the process touched memory that is not its own, mostly in a kernel of lower precision",
        _LESS_PRECISION,
        _SEED,
    ),
    KnownLine(
        "core dumped",
        "core dumped",
        "error",
        "the process died; whatever was printed before it is not the reason by itself",
        _LESS_PRECISION + "; or the plugin library at hand was built for another TensorRT",
        _SEED,
    ),
    KnownLine(
        "segmentation fault",
        "Segmentation fault",
        "error",
        "the process died; whatever was printed before it is not the reason by itself",
        _LESS_PRECISION + "; or the plugin library at hand was built for another TensorRT",
        _SEED,
    ),
    KnownLine(
        "out of memory",
        "out of memory",
        "error",
        "the GPU has too little free memory for the build or the engine",
        "free the GPU (nvidia-smi), lower the largest shapes of the profile or the workspace",
        _API,
    ),
    KnownLine(
        "OutOfMemory",
        "OutOfMemory",
        "error",
        "the GPU has too little free memory for the build or the engine",
        "free the GPU (nvidia-smi), lower the largest shapes of the profile or the workspace",
        _API,
    ),
    KnownLine(
        "workspace",
        "do not have sufficient workspace memory",
        "warning",
        "faster kernels were left out because they need more workspace",
        _MORE_MEMORY,
        _API,
    ),
    KnownLine(
        "requested workspace",
        "insufficient memory on requested size",
        "warning",
        "a kernel was left out because it needs more workspace than is allowed or free",
        _MORE_MEMORY,
        _THREADS,
    ),
    KnownLine(
        "no implementation",
        "Could not find any implementation for node ",
        "error",
        "no kernel computes this layer (or this fusion of layers) with the types, shapes and "
        "workspace at hand",
        _MORE_MEMORY + "; build without --fp16/--int8 to see whether the precision is the reason",
        _THREADS,
        more=r"(?P<what>[^\n]{1,300}?)(?=\.\)|\.\s|\.$| due to|\)\s*$|$)",
    ),
    KnownLine(
        "operand types",
        "must have same input types",
        "error",
        "the operands of one layer have different element types; before 11.0 mostly an FP16 or "
        "INT64 tensor beside another, where the exporter left out a Cast",
        "cast one operand in the network, so that both have one type, and export again",
        _PROBE,
    ),
    KnownLine(
        "layer type",
        "requires inputs with type",
        "error",
        "the layer that the op becomes has no implementation for this element type",
        "cast to FLOAT or INT32 before the node and back after it, where the values allow it",
        _PROBE,
    ),
    KnownLine(
        "driver",
        "CUDA driver version is insufficient for CUDA runtime version",
        "warning",
        "there is no CUDA driver, or one older than TensorRT needs; parsing goes on without it",
        "update the driver, or run where there is a GPU",
        _PROBE,
    ),
    KnownLine(
        "broadcast",
        "broadcast dimensions must be conformable",
        "error",
        "the operands of an elementwise op have shapes that do not broadcast, in the sizes that "
        "TensorRT infers",
        "compare the shapes with those that onnxruntime computes; dims frozen at export time are "
        "the usual reason",
        _THREADS,
    ),
    KnownLine(
        "reshape volume",
        "reshape changes volume",
        "error",
        "a Reshape does not keep the number of elements, in the sizes that TensorRT infers",
        "look for sizes frozen at export time in the shape that the node is given",
        _PROBE,
    ),
    KnownLine(
        "no profile",
        "no optimization profile has been defined",
        "error",
        "the model has dynamic inputs, and no range was given for them",
        _PROFILE,
        _THREADS,
    ),
    KnownLine(
        "profile of input",
        "Dynamic dimensions required for input: ",
        "error",
        "the profile leaves out a dynamic input, or misspells its name",
        _PROFILE,
        _THREADS,
        more=r"(?P<what>[^,\n]+)",
    ),
    KnownLine(
        "no output",
        "Network must have at least one output",
        "error",
        "parsing failed before, and the program went on to build the empty network",
        _LOOK_ABOVE + ": the parser's own error is the reason",
        _THREADS,
    ),
    KnownLine(
        "unknown option",
        "Unknown option: ",
        "error",
        "trtexec of this release does not know the flag, and any unknown flag ends the run",
        "onnx-fix trtexec MODEL --lint 'THE COMMAND' says what replaces it; onnx-fix targets OLD "
        "NEW lists the flags that came and went between two releases",
        "samples/common/sampleOptions.cpp in NVIDIA/TensorRT",
        more=r"(?P<what>\S+)",
    ),
    KnownLine(
        "tf32",
        "TF32 is not supported by this device",
        "harmless",
        "the GPU is older than Ampere: FP32 is computed as FP32",
        "nothing",
        _API,
    ),
    KnownLine(
        "linked library",
        "TensorRT was linked against ",
        "warning",
        "another version of a CUDA library is loaded than TensorRT was built with",
        "install the library that the line names; kernels may fail or be slow until then",
        _THREADS,
        more=r"(?P<what>[^\n]{1,60}?)(?= but loaded|\n|$)",
    ),
    KnownLine(
        "lazy loading",
        "CUDA lazy loading is not enabled",
        "harmless",
        "more GPU memory is used than need be",
        "set CUDA_MODULE_LOADING=LAZY",
        _API,
    ),
    KnownLine(
        "newer IR",
        "ONNX model has a newer ir_version",
        "harmless",
        "no release refuses a model for its IR version",
        "nothing, as long as no message of the parser follows",
        _IMPORTER,
    ),
    KnownLine(
        "determined at build time",
        "Tensor DataType is determined at build time",
        "harmless",
        "the type of an inner tensor was set and is not binding",
        "nothing",
        _API,
    ),
    KnownLine(
        "deprecated flag",
        " flag has been deprecated",
        "warning",
        "trtexec still takes the flag, and a later release will not",
        "use the flag that the line names",
        "samples/common/sampleOptions.cpp in NVIDIA/TensorRT",
    ),
    KnownLine(
        "weak precision",
        "Subnormal FP16 values detected",
        "warning",
        "weights are so small that FP16 keeps few of their digits",
        "keep the layer in FP32, or scale the weights",
        _API,
    ),
    KnownLine(
        "fp16 range",
        "less than smallest positive FP16 Subnormal value detected",
        "warning",
        "weights become zero in FP16",
        "keep the layer in FP32, or scale the weights",
        _API,
    ),
    KnownLine(
        "missing external data",
        "Failed to open file: ",
        "error",
        "a file of external weights is not where the model says",
        "run trtexec where the file lies, keep it beside the model, or store the weights inline",
        _IMPORTER,
        more=r"(?P<what>[^\n]*)",
    ),
    KnownLine(
        "not onnx",
        "Failed to parse ONNX model from file",
        "error",
        "the file cannot be read as ONNX: it is missing, truncated or something else",
        "check the path and the file (onnx-fix check FILE names what is wrong with it)",
        _IMPORTER,
    ),
    KnownLine(
        "engine of other version",
        "The engine plan file is not compatible with this version of TensorRT",
        "error",
        "an engine runs only on the release that built it",
        "build the engine again, or build it with --versionCompatible (since 8.6)",
        _API,
    ),
    KnownLine(
        "weights of initializer",
        "convertOnnxWeights(initializer, &weights",
        "error",
        "an initializer has an element type that the release does not take, or its external data "
        "cannot be read",
        "the line before it says which; cast the initializer, or put the data file beside the "
        "model",
        _IMPORTER,
    ),
    KnownLine(
        "missing input",
        "tensors().count(inputName)",
        "error",
        "a node reads a tensor that nothing before it makes: nodes out of order, an initializer "
        "that could not be read, or an omitted input that the release does not know",
        "onnx-fix MODEL -o FIXED sorts the nodes and says what is missing",
        _IMPORTER,
    ),
)
"""Every line is looked for by its ``starts``; the first in the table wins where two overlap."""

ECHOES: tuple[str, ...] = (
    "Failed to parse onnx file",
    "Parsing model failed",
    "Failed to create engine",
    "Engine could not be created",
    "Engine creation failed",
    "Engine set up failed",
    "Failed to create engine from model",
    "Network validation failed",
    "Building engine failed",
    "&&&& FAILED",
    "While parsing node number",
    "--- Begin node ---",
    "--- End node ---",
    "Completed parsing of ONNX file",
    "Could not parse ONNX correctly",
    "In function ",
    "Failed to parse the ONNX file",
    "[TRT] [E] ModelImporter.cpp:",
)
"""Lines that look like errors and only say that one happened."""
