"""The process in which TensorRT builds an engine.

It may crash, hang or eat the memory: `onnx_fix.building.attempt` starts it, gives it limits and
reads what it wrote. The request is one JSON object on stdin, the answers are JSON objects on
stdout, one a line, each with an ``event``: ``ready``, ``unsupported``, ``parsed``, ``lacking``,
``progress``, ``built``, ``written``, ``failed``. What TensorRT itself prints goes to stderr.

One code path for the classic TensorRT from 8.5 on and for TensorRT-RTX: what a release has is seen
from its module, never from its number.

Only the standard library, `onnx_fix.worker_parts` and TensorRT are imported.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_fix.worker_parts import (
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

PROGRESS_EVERY = 0.1
"""Seconds between two reports of progress, those of the outermost phases aside."""
OUTER = 2
"""Phases that are nested less deeply are always reported."""
CHUNK = 64 * 2**20
"""Bytes that are written at once."""

HALF = {"fp16": "FP16", "bf16": "BF16"}
"""The flag of the builder that a precision wants."""


def capability_name(text: str) -> str:
    """``8.6`` is SM86, ``12.0`` is SM120, ``current`` the GPU at hand."""
    return "CURRENT" if text == "current" else "SM" + text.replace(".", "")


def unsupported(trt: Any, config: Any, request: Mapping[str, Any]) -> list[str]:
    """What is asked for and this TensorRT has no means for, in words for a person."""
    found = []
    has_half = hasattr(trt.BuilderFlag, "FP16")
    precision = request["precision"]
    if precision in HALF and not hasattr(trt.BuilderFlag, HALF[precision]):
        if has_half:
            found.append(f"precision {precision}: it has no such flag (fp16 it has)")
        else:
            found.append(
                f"precision {precision}: it takes the types from the model and has no flag that "
                f"lowers them. Convert the model itself to {precision} (at export, or with a "
                "conversion tool), then build it as it is"
            )
    if precision == "fp32" and not has_half and set(request["needs"]) & {"FP16", "BF16"}:
        found.append(
            "precision fp32: it takes the types from the model, and the model has 16-bit tensors. "
            "Convert the model itself to float32, then build it as it is"
        )
    if request["optimization_level"] is not None and not hasattr(
        config, "builder_optimization_level"
    ):
        found.append("an optimization level: it has none (TensorRT has them since 8.6)")
    if request["version_compatible"] and not hasattr(trt.BuilderFlag, "VERSION_COMPATIBLE"):
        found.append("a version compatible engine: it makes none (TensorRT does since 8.6)")
    if request["compute_capabilities"]:
        if not hasattr(config, "set_compute_capability"):
            found.append(
                "compute capabilities: it builds for the GPU at hand only; TensorRT-RTX builds "
                "ahead of time"
            )
        else:
            known = [n for n in dir(trt.ComputeCapability) if n.startswith("SM")]
            for text in request["compute_capabilities"]:
                if not hasattr(trt.ComputeCapability, capability_name(text)):
                    has = ", ".join(sorted((f"{n[2:-1]}.{n[-1]}" for n in known), key=float))
                    found.append(f"compute capability {text}: it builds for {has}")
    return found


def network_flags(trt: Any, request: Mapping[str, Any]) -> int:
    """How the network is created: with the types of the model where that is what is asked."""
    kinds = trt.NetworkDefinitionCreationFlag
    flags = 0
    if hasattr(kinds, "EXPLICIT_BATCH"):
        flags |= 1 << int(kinds.EXPLICIT_BATCH)
    # Where the builder has no flags for types, every network is strongly typed anyway.
    if typed_by_model(trt, request) and hasattr(trt.BuilderFlag, "FP16"):
        flags |= 1 << int(kinds.STRONGLY_TYPED)
    return flags


def typed_by_model(trt: Any, request: Mapping[str, Any]) -> bool:
    """Whether the types of the model are binding, so that no flag may lower or raise them."""
    if not hasattr(trt.BuilderFlag, "FP16"):
        return True
    has = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    return has and request["precision"] == "as-is"


def set_precision(
    trt: Any, config: Any, network: Any, request: Mapping[str, Any], notes: list[str]
) -> None:
    """The flags for types: what was asked, and what the model itself cannot do without."""
    if typed_by_model(trt, request):
        return
    wanted = set(request["needs"])
    if request["precision"] in HALF:
        wanted.add(HALF[request["precision"]])
    if request["precision"] == "fp32":
        wanted -= {"FP16", "BF16"}
    for name in sorted(wanted):
        if hasattr(trt.BuilderFlag, name):
            config.set_flag(getattr(trt.BuilderFlag, name))
        else:
            notes.append(f"the model has {name} tensors, and this release has no flag for them")
    if request["fp32_layers"] is not None:
        keep_in_fp32(trt, config, network, frozenset(request["fp32_layers"]))


def keep_in_fp32(trt: Any, config: Any, network: Any, layers: Collection[int]) -> None:
    """Have some layers compute in FP32 although the builder may lower precision."""
    # Asks what can be done and dies of nothing else: strict types went with 8.2.
    for name in ("OBEY_PRECISION_CONSTRAINTS", "STRICT_TYPES"):
        if hasattr(trt.BuilderFlag, name):
            config.set_flag(getattr(trt.BuilderFlag, name))
            break
    for k in layers:
        layer = network.get_layer(k)
        floats = [
            i
            for i in range(layer.num_outputs)
            if layer.get_output(i) is not None
            and layer.get_output(i).dtype in (trt.float32, trt.float16)
        ]
        if not floats:
            continue  # sizes, indices and masks have no precision to keep
        layer.precision = trt.float32
        for i in floats:
            layer.set_output_type(i, trt.float32)


def configure(
    trt: Any, config: Any, network: Any, request: Mapping[str, Any], notes: list[str]
) -> Any:
    """Everything but precision and profiles; the timing cache that was begun, or None."""
    if request["workspace"] is not None:
        if hasattr(config, "set_memory_pool_limit"):
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request["workspace"])
        else:
            config.max_workspace_size = request["workspace"]
    if request["optimization_level"] is not None:
        config.builder_optimization_level = request["optimization_level"]
    if request["version_compatible"]:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    capabilities = request["compute_capabilities"]
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
        for k, text in enumerate(capabilities):
            value = getattr(trt.ComputeCapability, capability_name(text))
            if not config.set_compute_capability(value, k):
                raise ValueError(f"the builder does not take the compute capability {text}")
    if request["timing_cache"] is None:
        return None
    if request["package"] == "tensorrt_rtx":
        notes.append("TensorRT-RTX keeps no timing cache, so --timing-cache does nothing here")
        return None
    return timing_cache(config, Path(request["timing_cache"]), notes)


def timing_cache(config: Any, path: Path, notes: list[str]) -> Any:
    """The timing cache of a file, or a new one where there is no such file yet."""
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is not None and config.set_timing_cache(cache, False):
        return cache
    notes.append(
        f"the timing cache {path} is of another TensorRT or another GPU, or damaged: it was "
        "neither used nor changed"
    )
    return None


def add_profiles(
    builder: Any,
    network: Any,
    config: Any,
    profiles: Sequence[Sequence[Mapping[str, Any]]],
    notes: list[str],
) -> list[str]:
    """Add the optimization profiles; what they lack for the network as the parser made it."""
    tensors = [network.get_input(i) for i in range(network.num_inputs)]
    wanting = [t for t in tensors if t.is_shape_tensor or -1 in tuple(t.shape)]
    lacking = []
    for number, given in enumerate(profiles or ([()] if wanting else ()), 1):
        entries = {(entry["name"], entry["kind"]): entry for entry in given}
        profile = builder.create_optimization_profile()
        where = f" in profile {number}" if len(profiles) > 1 else ""
        asked = {(t.name, "values" if t.is_shape_tensor else "shape") for t in wanting}
        for name, kind in sorted(entries.keys() - asked):
            notes.append(f"the network needs no range for the {kind} of '{name}'{where}")
        for tensor in wanting:
            kind = "values" if tensor.is_shape_tensor else "shape"
            entry = entries.get((tensor.name, kind))
            if entry is None:
                what = "the values" if kind == "values" else "the shapes"
                why = ", which decides shapes" if kind == "values" else ""
                lacking.append(f"{what} of '{tensor.name}'{why}{where}")
                continue
            sizes = [tuple(entry[k]) for k in ("min", "opt", "max")]
            if kind == "values":
                profile.set_shape_input(tensor.name, *sizes)
            else:
                profile.set_shape(tensor.name, *sizes)
        if not lacking and wanting and config.add_optimization_profile(profile) < 0:
            raise ValueError(f"the builder does not take the profile{where}")
    return lacking


def monitor_of(trt: Any, answers: Answers, progress: Progress) -> Any:
    """Passes on what the builder says of its progress; None where it says nothing."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined, unused-ignore]
        """Called from several threads of the builder."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._lock = threading.Lock()
            self._phases: dict[str, tuple[int, int]] = {}
            self._said = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                depth = self._phases[parent_phase][0] + 1 if parent_phase in self._phases else 0
                self._phases[phase_name] = (depth, num_steps)
                progress.node(phase_name)
                self._say(phase_name, 0)

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._say(phase_name, self._phases.get(phase_name, (0, 0))[1], done=True)
                self._phases.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                self._say(phase_name, step + 1)
            return True

        def _say(self, name: str, step: int, done: bool = False) -> None:
            depth, steps = self._phases.get(name, (OUTER, 0))
            now = time.monotonic()
            if depth < OUTER or now - self._said >= PROGRESS_EVERY:
                self._said = now
                answers.say("progress", phase=name, step=step, steps=steps, depth=depth, done=done)

    return Monitor()


def layers_of(network: Any) -> list[str]:
    """The names of the layers, with the node of the model where the parser has noted it."""
    names = []
    for k in range(network.num_layers):
        layer = network.get_layer(k)
        node = getattr(layer, "metadata", "")
        names.append(str(node or layer.name)[:TEXT_LIMIT])
    return names


def write(path: str, data: Any) -> int:
    """Write an engine or a cache; how many bytes it has."""
    view = memoryview(data)
    with open(path, "wb") as file:
        for start in range(0, view.nbytes, CHUNK):
            file.write(view[start : start + CHUNK])
    return view.nbytes


def unfit(trt: Any, log: Any, messages: Messages, engine: Any) -> bool:
    """Whether the engine cannot run on the GPU of this machine; False where nobody can tell.

    TensorRT-RTX builds for the GPU at hand without a word where it does not support that GPU
    (1.7 on an H100), and the engine then runs nowhere.
    """
    kinds = getattr(trt, "EngineInvalidityDiagnostics", None)
    if kinds is None or not hasattr(trt.Runtime, "get_engine_validity"):
        return False
    said = messages.take()
    _, why = trt.Runtime(log).get_engine_validity(engine)
    # Without a GPU it is an error that CUDA cannot be asked: nothing that is wrong with the engine.
    messages.replace(said)
    return bool(int(why) & int(kinds.UNSUPPORTED_CC))


def work(request: Mapping[str, Any], answers: Answers, progress: Progress) -> None:
    """Load, parse, build and write, and say how each went."""
    messages = Messages()
    notes: list[str] = []
    trt: Any = importlib.import_module(request["package"])
    log = logger_of(trt, messages, progress.node)
    answers.say("ready", version=str(trt.__version__))
    progress.phase("starting")
    failed = load_plugins(trt, log, request["plugins"])
    if failed:
        answers.say("plugins", failed=failed)
        return
    for op in add_python_plugins(trt, request["python_plugins"]):
        notes.append(f"{op} in Python stood in for its library, which runs the engine elsewhere")
    try:
        builder = trt.Builder(log)
    except (TypeError, RuntimeError) as error:
        # Without a GPU the constructor of the classic TensorRT returns nothing.
        answers.say("unusable", text=str(error)[:TEXT_LIMIT], messages=messages.take())
        return
    config = builder.create_builder_config()
    lacks = unsupported(trt, config, request)
    if lacks:
        answers.say("unsupported", what=lacks)
        return
    network = builder.create_network(network_flags(trt, request))
    parser = trt.OnnxParser(network, log)
    progress.phase("parsing")
    taken = parse(parser, request["model"], None)
    errors = errors_of(parser)
    if taken and not network.num_outputs:
        taken, errors = False, []
    names = layers_of(network) if taken and request["name_layers"] else []
    answers.say("parsed", ok=taken, errors=errors, layers=names, messages=messages.take())
    if not taken:
        return
    set_precision(trt, config, network, request, notes)
    cache = configure(trt, config, network, request, notes)
    lacking = add_profiles(builder, network, config, request["profiles"], notes)
    if lacking:
        answers.say("lacking", what=lacking)
        return
    monitor = monitor_of(trt, answers, progress)
    if monitor is not None and hasattr(config, "progress_monitor"):
        config.progress_monitor = monitor
    progress.phase("building")
    start = time.perf_counter()
    engine = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - start
    capabilities = request["compute_capabilities"]
    if (
        engine is not None
        and capabilities in ([], ["current"])
        and unfit(trt, log, messages, engine)
    ):
        if capabilities:
            what = (
                "compute capability current: it does not support the GPU of this machine, and the "
                "engine would run nowhere; name the GPU that is to run it, such as 8.6"
            )
            answers.say("unsupported", what=[what])
            return
        notes.append(
            "the engine is for other GPUs: TensorRT-RTX does not support that of this machine"
        )
    ok = engine is not None
    answers.say("built", ok=ok, notes=notes, messages=messages.take(), seconds=seconds)
    if engine is None or request["engine"] is None:
        return
    progress.phase("writing")
    try:
        size = write(request["engine"], engine)
        if cache is not None:
            write(request["cache_out"], config.get_timing_cache().serialize())
    except OSError as error:
        answers.say("not written", text=error.strerror or str(error))
        return
    answers.say("written", size=size)


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
        answers.say("failed", text=f"{type(error).__name__}: {error}"[:TEXT_LIMIT])
    # Destructors of native objects may crash, and have nothing to say any more.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
