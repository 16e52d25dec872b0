"""Ask the real TensorRT-RTX: does its parser take a model, does it build an engine from it?

Needs the extra ``rtx`` (``tensorrt_rtx``); no GPU: engines are built ahead of time, for compute
capability 8.6.

    python benchmarks/rtx.py MODEL [--build] [--profile '{"x": [[1, 3], [2, 3], [4, 3]]}']

prints one line of JSON. Dynamic inputs get an optimisation profile (smallest, usual and largest
shape of each); those that the profile does not name get 1, 8 and 16 for every dynamic dim. The
parser is native code that may crash or hang, so callers use `ask`, which runs this file as a
process of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Profile = Mapping[str, Sequence[Sequence[int]]]
"""Smallest, usual and largest shape per input."""


LONGEST = 240
"""Characters that are kept of a message."""


@dataclass(frozen=True)
class Verdict:
    """What TensorRT-RTX said.

    ``built`` is None where no build was tried. ``message`` is the first error of the parser or,
    where the parser was content, of the builder; ``op`` the operator it names. ``seconds`` are
    those of parsing and building together.
    """

    version: str
    parsed: bool
    built: bool | None = None
    message: str = ""
    op: str = ""
    seconds: float = 0.0


def available() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("tensorrt_rtx") is not None


def ask(
    model: str | Path, profile: Profile | None = None, *, build: bool = False, timeout: float = 300
) -> Verdict:
    """The verdict on a model file, from a process of its own with a time limit in seconds."""
    command = [sys.executable, str(Path(__file__).resolve()), str(Path(model).resolve())]
    command += ["--build"] if build else []
    command += ["--profile", json.dumps(profile)] if profile else []
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return Verdict("", False, None, f"no answer within {timeout:.0f} s", "", timeout)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        seconds = time.perf_counter() - start
        lines = done.stderr.strip().splitlines()
        end = f": {lines[-1]}" if lines else ""
        return Verdict("", False, None, f"process ended with {done.returncode}{end}", "", seconds)
    return Verdict(**json.loads(lines[-1]))


def judge(model: Path, profile: Profile, build: bool) -> Verdict:
    """Parse and, where asked, build, in this process."""
    import tensorrt_rtx as trt

    class Log(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        """Keeps the errors and prints nothing."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    start = time.perf_counter()
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    parsed = bool(parser.parse_from_file(str(model)))
    built, message, op = None, "", ""
    if not parsed:
        first = parser.get_error(0) if parser.num_errors else None
        message = _telling(first.desc()) if first else "refused without a message"
        op = first.node_operator() if first else ""
    elif build:
        log.errors.clear()
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM86, 0)
        shapes = builder.create_optimization_profile()
        dynamic = False
        for i in range(network.num_inputs):
            tensor = network.get_input(i)
            if -1 in tensor.shape:
                dynamic = True
                shapes.set_shape(tensor.name, *_shapes(tensor.name, tensor.shape, profile))
        if dynamic:
            config.add_optimization_profile(shapes)
        built = builder.build_serialized_network(network, config) is not None
        if not built:
            message = _telling("\n".join(log.errors)) or "no engine, and no message"
    seconds = round(time.perf_counter() - start, 2)
    return Verdict(trt.__version__, parsed, built, message, op, seconds)


def _telling(message: str) -> str:
    """The first line that says something about the model, without places in TensorRT's source."""
    for line in message.splitlines():
        if line.strip() and not line.startswith("Invalid Node") and "Cuda Runtime" not in line:
            text = re.sub(r"\.? In \w+ at /[\w./]+:\d+", "", line.strip())
            return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + "..."
    return message.strip()


def _shapes(name: str, declared: Sequence[int], profile: Profile) -> list[tuple[int, ...]]:
    if name in profile:
        return [tuple(shape) for shape in profile[name]]
    return [tuple(size if d == -1 else d for d in declared) for size in (1, 8, 16)]


def main() -> None:
    """Parse the command line and print the verdict."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--build", action="store_true", help="build an engine too")
    parser.add_argument("--profile", type=json.loads, default={}, help="shapes per input, as JSON")
    arguments = parser.parse_args()
    if not arguments.model.is_file():
        parser.error(f"there is no file {arguments.model}")
    print(
        json.dumps(asdict(judge(arguments.model, arguments.profile, arguments.build))), flush=True
    )


if __name__ == "__main__":
    main()
