"""The process in which TensorRT looks at a model.

It may crash, hang or eat the memory: `onnx_fix.check.live` starts it, gives it a time limit and
reads what it wrote. The request is one JSON object on stdin, the answers are JSON objects on
stdout, one a line, each with an ``event``: ``ready``, ``parsed``, ``built``, ``failed``. What
TensorRT itself prints to stdout goes to stderr. Where the request names a progress file, it always
holds what is being done, at which node, and the peak memory so far.

Only the standard library, `onnx_fix.worker_parts` and TensorRT are imported.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_fix.worker_parts import (
    MESSAGE_LIMIT,
    TEXT_LIMIT,
    Answers,
    Messages,
    Progress,
    add_python_plugins,
    errors_of,
    guard,
    load_plugins,
    logger_of,
    parse,
)


def profile_of(
    builder: Any, network: Any, ranges: Mapping[str, Sequence[Any]]
) -> tuple[Any, list[str]]:
    """The optimisation profile of the dynamic inputs, and what it lacks.

    ``ranges`` gives for each input and axis a list of three sizes, the name of the dim, or None.
    """
    profile, lacking, dynamic = builder.create_optimization_profile(), [], False
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        if tensor.is_shape_tensor:
            lacking.append(f"the values of '{tensor.name}', which decides shapes")
            continue
        shape = list(tensor.shape)
        if -1 not in shape:
            continue
        dynamic = True
        known = list(ranges.get(tensor.name, ())) + [None] * len(shape)
        sizes: list[list[int]] = []
        for axis, size in enumerate(shape):
            given = known[axis] if size == -1 else [size] * 3
            if not isinstance(given, list):
                where = f"axis {axis} of '{tensor.name}'"
                named = isinstance(given, str)
                lacking.append(
                    f"the range of {given}" if named else f"the range of {where}, which has no name"
                )
                given = [1, 1, 1]
            sizes.append(given)
        low, usual, high = ([sizes[axis][k] for axis in range(len(shape))] for k in range(3))
        if not lacking:
            profile.set_shape(tensor.name, low, usual, high)
    return (profile if dynamic else None), lacking


def build(trt: Any, builder: Any, network: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Build an engine and throw it away; how it went."""
    profile, lacking = profile_of(builder, network, request["ranges"])
    if lacking:
        return {"built": None, "lacking": list(dict.fromkeys(lacking))[:MESSAGE_LIMIT]}
    config = builder.create_builder_config()
    notes = []
    if hasattr(trt, "ComputeCapability") and hasattr(config, "set_compute_capability"):
        # TensorRT-RTX builds for a capability that is named, without a GPU.
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    if request["fp16"]:
        if hasattr(trt.BuilderFlag, "FP16"):
            config.set_flag(trt.BuilderFlag.FP16)
        else:
            notes.append("this release takes precision from the types in the model: no fp16 flag")
    if profile is not None and config.add_optimization_profile(profile) < 0:
        return {"built": False, "notes": notes}
    if hasattr(builder, "build_serialized_network"):
        engine = builder.build_serialized_network(network, config)
    else:
        engine = builder.build_engine(network, config)
    return {"built": engine is not None, "notes": notes}


def work(request: Mapping[str, Any], answers: Answers, progress: Progress) -> None:
    """Load, parse and build, and say how each went."""
    messages = Messages()
    trt: Any = importlib.import_module(request["package"])
    log = logger_of(trt, messages, progress.node)
    answers.say("ready", version=str(trt.__version__))
    progress.phase("starting")
    failed = load_plugins(trt, log, request["plugins"])
    in_python = add_python_plugins(trt, request["python_plugins"])
    try:
        builder = trt.Builder(log)
    except (TypeError, RuntimeError) as error:
        # Without a GPU the constructor of the classic TensorRT returns nothing.
        answers.say("failed", text=str(error)[:TEXT_LIMIT], messages=messages.take())
        return
    flag = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, log)
    progress.phase("parsing")
    start = time.perf_counter()
    taken = parse(parser, request["model"], request["data_path"])
    answers.say(
        "parsed",
        ok=taken,
        errors=errors_of(parser),
        outputs=network.num_outputs,
        plugins_failed=failed,
        python_plugins=in_python,
        messages=messages.take(),
        seconds=time.perf_counter() - start,
    )
    if not (taken and request["build"] and network.num_outputs):
        return
    progress.phase("building")
    start = time.perf_counter()
    facts = build(trt, builder, network, request)
    seconds = time.perf_counter() - start
    answers.say("built", **facts, messages=messages.take(), seconds=seconds)


def main() -> None:
    """Answer one request and end the process."""
    request = json.load(sys.stdin)
    answers = Answers()
    guard(request["seconds"])
    progress = Progress(request["progress"])
    progress.phase("loading")
    try:
        work(request, answers, progress)
    except Exception as error:  # the boundary of the process: every fault becomes an answer
        text = f"{type(error).__name__}: {error}"
        answers.say("failed", text=text[:TEXT_LIMIT], messages=[])
    # Destructors of native objects may crash, and have nothing to say any more.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
