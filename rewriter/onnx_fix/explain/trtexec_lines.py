"""Lines in which trtexec refuses its own command line, before or after the model is read."""

from __future__ import annotations

from onnx_fix.explain.lines import KnownLine

_OPTIONS = "samples/common/sampleOptions.cpp in NVIDIA/TensorRT"
_ENGINES = "samples/common/sampleEngines.cpp in NVIDIA/TensorRT"
_LINT = "onnx-fix trtexec MODEL --lint 'THE COMMAND' names what is wrong in it"
_MAKE = "onnx-fix trtexec MODEL --profile RANGES prints a command with all of them"


def _line(
    name: str, starts: str, meaning: str, mend: str, source: str, more: str = ""
) -> KnownLine:
    return KnownLine(name, starts, "error", meaning, mend, source, more)


TRTEXEC_LINES: tuple[KnownLine, ...] = (
    _line(
        "unknown input",
        "Cannot find input tensor with name",
        "a name in --minShapes, --optShapes, --maxShapes or --shapes is no input of the model",
        f"take the names from the model; {_LINT}",
        _ENGINES,
        more=r'(?: "(?P<what>[^"\n]*)")?',
    ),
    _line(
        "static model",
        "Static model does not take explicit shapes",
        "shapes are given, and no input of the model is dynamic",
        "leave --minShapes, --optShapes, --maxShapes and --shapes out, or export the model with "
        "dynamic axes",
        _ENGINES,
    ),
    _line(
        "bounds",
        "Must specify only --optShapes or all of --minShapes, --optShapes, --maxShapes",
        "one or two of the three options are missing, which releases before 8.5 refuse",
        f"give all three, or --optShapes alone; {_MAKE}",
        _OPTIONS,
    ),
    _line(
        "shapes outside profile",
        "Multiple --minShapes/--optShapes/--maxShapes without --profile are not allowed",
        "one of the three options is given twice, or does not follow its --profile=K directly",
        "list all inputs in one option, separated by commas; write the three of a profile right "
        "after its --profile=K",
        _OPTIONS,
    ),
    _line(
        "same profile",
        "Optimization profile index cannot be the same",
        "two --profile options have one number",
        "number them from 0, each once",
        _OPTIONS,
    ),
    _line(
        "missing profile",
        "Found invalid or missing shape spec at profile index",
        "a number of --profile is left out, or its shapes do not follow it directly",
        "number profiles from 0 without a gap, each followed by its three options",
        _OPTIONS,
        more=r"(?: (?P<what>\d+))?",
    ),
    _line(
        "invalid profile",
        "Required optimization profile is invalid",
        "the shapes of some input are not in order (min <= opt <= max), are of another rank, or "
        "change a dim that the model fixes",
        _LINT,
        _ENGINES,
    ),
    _line(
        "one symbol, two sizes",
        "Input dimensions with this name have different constant values",
        "the shapes of the profile give one symbol of the model two sizes",
        "give every input with that symbol the same size; with --profile SYMBOL=MIN:OPT:MAX "
        "onnx-fix trtexec does so",
        "a live TensorRT-RTX 1.7",
    ),
    _line(
        "shape text",
        "conversion failure: failed to parse minShapes/optShapes/maxShapes",
        "a list of shapes is not of the form NAME:AxBxC,NAME:AxB",
        _LINT,
        _OPTIONS,
    ),
    _line(
        "batch of onnx",
        "The --batch and --maxBatch flags should not be used when the input model is ONNX",
        "the batch of an ONNX model is a dim of its inputs like any other",
        "give the shapes of the inputs instead (--optShapes)",
        _OPTIONS,
    ),
    _line(
        "batch with shapes",
        "Explicit batch or dynamic shapes enabled with implicit",
        "--batch and --maxBatch are for networks with an implicit batch, which no ONNX model makes",
        "leave --batch and --maxBatch out",
        _OPTIONS,
    ),
    _line(
        "no model",
        "Model missing or format not recognized",
        "no --onnx=FILE was given; a space in the place of the equal sign is not taken",
        "write --onnx=FILE",
        _OPTIONS,
    ),
    _line(
        "load and save",
        "Incompatible load and save engine options selected",
        "--loadEngine and --saveEngine exclude each other",
        "leave one of the two",
        _OPTIONS,
    ),
    _line(
        "memory pool",
        "Unknown memory pool: ",
        "--memPoolSize names a pool that the release does not have",
        "write --memPoolSize=workspace:MIB",
        _OPTIONS,
        more=r"(?P<what>\S+)",
    ),
    _line(
        "int8 and fp8",
        "Invalid usage, fp8 and int8 aren't allowed to be enabled together",
        "--int8 and --fp8 exclude each other",
        "leave one of the two; QuantizeLinear nodes in the model say which layer has which type",
        _OPTIONS,
    ),
    _line(
        "engine not saved",
        "Saving engine to file failed",
        "the engine was built and its file could not be written",
        "check the folder of --saveEngine, its rights, and the room on the disk",
        _ENGINES,
    ),
)
