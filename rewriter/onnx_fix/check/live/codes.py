"""OF9xx: what an installed parser or builder says, and where it and the facts differ."""

from __future__ import annotations

from onnx_fix.check.finding import Code

REFUSED = Code(
    "OF901",
    "live-parser-refuses",
    "the installed parser refuses the model",
    "The parser of the TensorRT on this machine was given the model and gave this error. The "
    "same call in a build ends in the same way. It may stop at the first node it refuses, so "
    "nodes after that one are not cleared by the silence.",
    "Mend the node that is named, or export without its op, then check again: there may be more.",
)
BUILD_FAILED = Code(
    "OF902",
    "live-build-fails",
    "the parser takes the model, and the builder makes no engine",
    "The network was complete, and the builder found no way to run a part of it, or a shape that "
    "contradicts another, for the profile that was given. The message is the first one of the "
    "builder that says something about the model.",
    "Look at the layer that is named; where none is, halve the model until the build goes through. "
    "Try another profile, since a size in it may be what is refused.",
)
CRASHED = Code(
    "OF903",
    "live-parser-crashes",
    "the process of the installed parser ended without an answer",
    "The parser or builder runs in a process of its own, and that process died: of a signal, of "
    "lack of memory, or of an answer that makes no sense. A build of this model in an application "
    "would take the application with it.",
    "Look at the node that is named: it is the one the parser had come to. Try a later patch "
    "release, and report the model to NVIDIA.",
)
TIMED_OUT = Code(
    "OF904",
    "live-parser-timed-out",
    "the installed parser or builder did not end within the time limit",
    "The process was stopped with everything it had started. Nothing follows for the model: it "
    "may be slow to build, or the parser may never end.",
    "Raise the time limit; where parsing alone takes so long, look at the node that is named.",
)
UNUSABLE = Code(
    "OF905",
    "live-parser-unusable",
    "the installed TensorRT cannot be asked on this machine",
    "The package is there, and cannot be loaded or started: a library is missing, or it is the "
    "classic TensorRT, whose builder wants a GPU and a driver even to parse. TensorRT-RTX needs "
    "neither.",
    "Check on a machine with a GPU, install TensorRT-RTX (pip install 'onnx-fix[rtx]'), or use "
    "the facts alone with --live off.",
)
TAKEN = Code(
    "OF906",
    "live-takes-what-facts-refuse",
    "the installed parser takes a node that the facts call refused",
    "The facts of onnx-fix about this very release say that the node is refused, and the "
    "installed parser or builder took it. Either a patch release has mended it or the facts are "
    "wrong. The finding from the facts is kept beside this one.",
    "Trust the installed TensorRT for builds with exactly this release, and report the "
    "difference to onnx-fix. `--ignore` takes the other finding out.",
)
UNFORESEEN = Code(
    "OF907",
    "live-refuses-what-facts-allow",
    "the installed parser or builder refuses what the facts have nothing against",
    "The facts of onnx-fix about this very release name no reason to refuse, and the installed "
    "TensorRT refused. A check without it would have called this model ready.",
    "Trust the installed TensorRT, and report the message and the node to onnx-fix.",
)
WARNED = Code(
    "OF908",
    "live-parser-warning",
    "the installed parser or builder logs a warning",
    "The model is taken. The message is one that trtexec would print, too.",
    "Most warnings need nothing. Look up the text with `onnx-fix explain`.",
)
PLUGIN = Code(
    "OF909",
    "live-plugin-not-loaded",
    "a plugin library is not loaded in the installed TensorRT",
    "The node is to be run by a plugin, and its creator is not registered in the process that "
    "parses, so the parser stops there. That says nothing about the node or those after it.",
    "Build the plugin's library for this TensorRT and hand it to the live parser, as to trtexec "
    "with --staticPlugins.",
)
NOT_TRIED = Code(
    "OF910",
    "live-build-not-tried",
    "an engine was to be built, and the profile is not complete",
    "The builder needs the smallest, usual and largest size of each dynamic axis of the inputs, "
    "and the values of inputs that decide shapes. Without them no engine was tried.",
    "Give the range of each symbolic dim (`--dims N=MIN:OPT:MAX`); give axes a name at export "
    "(dynamic_axes, dynamic_shapes); make inputs that decide shapes constants.",
)
PYTHON_PLUGIN = Code(
    "OF911",
    "live-plugin-in-python",
    "a plugin in Python stood in for a plugin library",
    "The model has nodes of a plugin whose library was not given, and onnx-fix has a plugin of "
    "that name in Python. The installed parser or builder was asked with that one, so its answer "
    "holds for the nodes with the plugin in place.",
    "Build the plugin's library for the TensorRT that runs the engine, and load it there.",
)

LIVE_CODES: tuple[Code, ...] = (
    REFUSED, BUILD_FAILED, CRASHED, TIMED_OUT, UNUSABLE, TAKEN, UNFORESEEN, WARNED, PLUGIN,
    NOT_TRIED, PYTHON_PLUGIN,
)  # fmt: skip
"""All codes of this package, in order of their numbers."""
