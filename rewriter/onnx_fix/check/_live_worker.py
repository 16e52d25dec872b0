"""The process in which TensorRT looks at a model; nothing else of onnx-fix runs in it.

It may crash, hang or eat the memory: `onnx_fix.check.live` starts it, gives it a time limit and
reads what it wrote. The request is one JSON object on stdin, the answers are JSON objects on
stdout, one a line, each with an ``event``: ``ready``, ``parsed``, ``built``, ``failed``. What
TensorRT itself prints to stdout goes to stderr. Where the request names a progress file, it always
holds what is being done, at which node, and the peak memory so far.

Only the standard library and TensorRT are imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import mmap
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

TEXT_LIMIT = 4000
"""Characters that are kept of a message."""
ERROR_LIMIT = 1000
"""Errors of the parser that are passed on."""
MESSAGE_LIMIT = 200
"""Different log messages that are passed on."""
PROGRESS_SIZE = 1024
"""Bytes of the progress file."""

NODE_MARK = "arsing node: "
"""What the parser logs before the label and op of the node it comes to."""

IN_NODE = re.compile(r"In node (-?\d+) with name: (.*?) and operator: (\S*) \(")
"""How releases whose errors have no ``node_name`` say it in their text."""


def peak_bytes() -> int:
    """The most memory this process has had resident, 0 where the platform does not say."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Progress:
    """Says in a file of fixed size what is being done; survives the death of the process."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), PROGRESS_SIZE)
        self._phase = "loading"

    def phase(self, name: str) -> None:
        """A new part of the work."""
        self._phase = name
        self.node("")

    def node(self, label: str) -> None:
        """The node that the parser has come to."""
        text = f"{self._phase}\n{peak_bytes()}\n{label}".encode()[: PROGRESS_SIZE - 1]
        self._map[: len(text) + 1] = text + b"\0"


class Answers:
    """Writes events; keeps stdout to itself."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        os.dup2(2, 1)

    def say(self, event: str, **facts: Any) -> None:
        """Write one event."""
        line = json.dumps({"event": event, "peak": peak_bytes(), **facts})
        self._file.write(line + "\n")
        self._file.flush()


class Messages:
    """Log messages of warning and above: each text once, with how often it came."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}

    def add(self, severity: str, text: str) -> None:
        """Take a message in."""
        key = (severity, text[:TEXT_LIMIT])
        if key in self._seen or len(self._seen) < MESSAGE_LIMIT:
            self._seen[key] = self._seen.get(key, 0) + 1

    def take(self) -> list[dict[str, Any]]:
        """All so far, and forget them."""
        seen, self._seen = self._seen, {}
        return [{"severity": s, "text": t, "count": n} for (s, t), n in seen.items()]


def logger_of(trt: Any, messages: Messages, on_node: Callable[[str], None]) -> Any:
    """A logger that keeps warnings and above, and tells which node is being parsed."""
    base: Any = trt.ILogger
    worst = base.Severity

    class Log(base):  # type: ignore[misc]
        """Prints nothing."""

        def __init__(self) -> None:
            base.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity <= worst.WARNING:
                messages.add(str(severity).rpartition(".")[2], text)
            else:
                at = text.find(NODE_MARK)
                if at >= 0:
                    on_node(text[at + len(NODE_MARK) :])

    return Log()


def load_plugins(trt: Any, log: Any, paths: Sequence[str]) -> list[dict[str, str]]:
    """Load the plugins that ship with TensorRT, then the user's libraries; what failed."""
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(log, "")
    failed = []
    registry = trt.get_plugin_registry()
    for path in paths:
        try:
            # The dynamic loader says why a library cannot be loaded; the registry does not.
            ctypes.CDLL(path, mode=getattr(ctypes, "RTLD_GLOBAL", 0))
        except OSError as error:
            failed.append({"path": path, "text": str(error)[:TEXT_LIMIT]})
            continue
        if hasattr(registry, "load_library"):
            # It returns None also where loading registered the creators already, as libraries do
            # that use REGISTER_TENSORRT_PLUGIN; the parser tells whether one is missing after all.
            registry.load_library(path)
    return failed


def errors_of(parser: Any) -> list[dict[str, Any]]:
    """The errors of a parser, as plain data."""
    found = []
    for i in range(min(parser.num_errors, ERROR_LIMIT)):
        error = parser.get_error(i)
        text = _asked(error, "desc", "")
        said = IN_NODE.search(text)
        found.append(
            {
                "code": str(error.code()).rpartition(".")[2],
                "text": text[:TEXT_LIMIT],
                "index": int(error.node()),
                "name": _asked(error, "node_name", said.group(2) if said else "")[:TEXT_LIMIT],
                "op": _asked(error, "node_operator", said.group(3) if said else "")[:TEXT_LIMIT],
                "file": os.path.basename(error.file()),
                "line": int(error.line()),
                "func": _asked(error, "func", ""),
                "stack": [str(s)[:TEXT_LIMIT] for s in _asked(error, "local_function_stack", [])],
            }
        )
    return found


def _asked(error: Any, method: str, otherwise: Any) -> Any:
    """What a method says that not all releases have, and that may be no UTF-8."""
    try:
        return getattr(error, method)() if hasattr(error, method) else otherwise
    except UnicodeDecodeError:
        return otherwise


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
                called = f", called '{given}'" if isinstance(given, str) else ", which has no name"
                lacking.append(f"the range of axis {axis} of '{tensor.name}'{called}")
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
        return {"built": None, "lacking": lacking[:MESSAGE_LIMIT]}
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


def parse(parser: Any, request: Mapping[str, Any]) -> bool:
    """Parse the file in place, or its bytes where external data lie elsewhere."""
    if request["data_path"] is None:
        return bool(parser.parse_from_file(request["model"]))
    data = Path(request["model"]).read_bytes()
    return bool(parser.parse(data, request["data_path"]))


def work(request: Mapping[str, Any], answers: Answers, progress: Progress) -> None:
    """Load, parse and build, and say how each went."""
    messages = Messages()
    trt: Any = importlib.import_module(request["package"])
    log = logger_of(trt, messages, progress.node)
    answers.say("ready", version=str(trt.__version__))
    progress.phase("starting")
    failed = load_plugins(trt, log, request["plugins"])
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
    taken = parse(parser, request)
    answers.say(
        "parsed",
        ok=taken,
        errors=errors_of(parser),
        outputs=network.num_outputs,
        plugins_failed=failed,
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
    if hasattr(signal, "alarm"):
        # Ends this process even where the one that started it was killed.
        signal.alarm(int(request["seconds"]) + 10)
    with contextlib.suppress(OSError):
        # Where memory runs out, this process shall die of it and no other.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
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
