"""Measure onnx-fix against onnxsim, onnxslim and polygraphy on generated models.

    python benchmarks/speed.py                          # into benchmarks/speed.md; some minutes
    python benchmarks/speed.py --environments DIR       # keep the virtual environments there

Every tool runs as a whole process, command line to written file, with its checks of numbers off:
wall and processor seconds (best of three for the small model, one run of the large one) and peak
resident memory of the process as the kernel counts it. Data is written out to disk between runs.
onnx-fix and the peers are installed into virtual environments of their own, of the same Python.
(Beside torch, onnx-fix needs more memory where it folds constants, since onnxsim imports torch if
it is there.) The models (see generate.py): one of 20,000 nodes with small weights, one with 1.5
GB of weights in a file beside it, and smaller ones to see how time grows with the number of
nodes.

The tools do different work: onnx-fix rewrites for TensorRT 7.2, the target that needs most, and
folds what is constant; the peers fold and simplify. Linux only.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = ("onnxsim", "onnxslim", "polygraphy")
PACKAGES = ("onnx", "onnxruntime", "onnx-graphsurgeon", *PEERS)
NODES = 20_000
GROWTH = (2_500, 5_000, 10_000, 20_000)
WEIGHTS = 1.5e9
TARGET = "trt-7.2"


@dataclass(frozen=True)
class Measured:
    """One tool on one model: wall and processor seconds; ``message`` says why it gave no result."""

    tool: str
    seconds: float
    cpu: float
    peak_mib: float
    message: str = ""


def command(tool: str, environment: Path, model: Path, output: Path, large: bool) -> list[str]:
    """The command line of a tool, its checks of numbers off."""
    program = str(environment / "bin" / tool)
    if tool == "onnx-fix":
        run = [program, str(model), "-o", str(output)]
        return [*run, "--target", TARGET, "--no-verify", "--quiet"]
    if tool == "onnxsim":
        return [program, str(model), str(output)] + (["--save-as-external-data"] if large else [])
    if tool == "onnxslim":
        return [program, str(model), str(output)] + (["--save-as-external-data"] if large else [])
    if tool == "polygraphy":
        run = [program, "surgeon", "sanitize", str(model), "--fold-constants", "-o", str(output)]
        return run + (["--save-external-data", f"{output.name}.data"] if large else [])
    raise ValueError(tool)


def measure(tool: str, arguments: Sequence[str], log: Path, limit: float) -> Measured:
    """Run a process to its end, and give its wall time and peak resident memory.

    The kernel's count for a child starts at the memory of the process that forked it, so this
    script stays small: it imports nothing large and leaves models to processes of their own.
    """
    os.sync()  # what was written before is not to slow this process down
    start = time.perf_counter()
    with log.open("wb") as file:
        child = subprocess.Popen(arguments, stdout=file, stderr=subprocess.STDOUT)
    while True:
        done, status, usage = os.wait4(child.pid, os.WNOHANG)
        seconds = time.perf_counter() - start
        if done:
            break
        if seconds > limit:
            child.kill()
            os.wait4(child.pid, 0)
            child.returncode = -9
            return Measured(tool, seconds, 0, 0, f"stopped after {limit:.0f} s")
        time.sleep(0.005)
    child.returncode = os.waitstatus_to_exitcode(status)
    accepted = (0, 1) if tool == "onnx-fix" else (0,)  # 1: written, some nodes remain refused
    message = ""
    if child.returncode not in accepted:
        lines = log.read_text(errors="replace").strip().splitlines() or [""]
        message = f"exit code {child.returncode}: {lines[-1].strip()[:200]}"
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(tool, seconds, cpu, usage.ru_maxrss / 1024, message)


def install(environment: Path, packages: Sequence[str]) -> None:
    """Make a virtual environment unless it is there, and install packages into it."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *packages], check=True)


def versions(environment: Path, packages: Sequence[str]) -> str:
    """What is installed there."""
    script = (
        "from importlib.metadata import version; "
        f"print(', '.join(f'{{p}} {{version(p)}}' for p in {tuple(packages)!r}))"
    )
    python = str(environment / "bin" / "python")
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Bench:
    """The tools, the environments they are in, and a scratch folder."""

    def __init__(self, environments: Path, scratch: Path, limit: float) -> None:
        self.ours = environments / "onnx-fix"
        self.peers = environments / "peers"
        self.scratch = scratch
        self.limit = limit

    def generate(self, name: str, *arguments: str) -> tuple[Path, int]:
        """Write a model in a process of its own, and give its path and node count."""
        path = self.scratch / f"{name}.onnx"
        script = [sys.executable, str(HERE / "generate.py"), str(path), *arguments]
        done = subprocess.run(script, check=True, capture_output=True, text=True)
        return path, int(done.stdout)

    def run(self, tool: str, model: Path, times: int, large: bool = False) -> Measured:
        """The best of some runs, each into an empty folder on the model's file system."""
        best: Measured | None = None
        for _ in range(times):
            with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
                output = Path(folder) / "out.onnx"
                home = self.ours if tool == "onnx-fix" else self.peers
                line = command(tool, home, model, output, large)
                found = measure(tool, line, self.scratch / "log", self.limit)
                if not found.message and not output.is_file():
                    found = replace(found, message="wrote nothing")
            best = found if best is None or found.seconds < best.seconds else best
            if found.message:
                break
        assert best is not None
        said = (
            best.message or f"{best.seconds:.2f} s, {best.cpu:.2f} s CPU, {best.peak_mib:.0f} MiB"
        )
        print(f"{tool} on {model.name}: {said}", file=sys.stderr)
        return best


# The report -------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def comparison(found: Sequence[Measured]) -> str:
    """Times and memory, and how they relate to ours."""
    ours = found[0]
    rows = []
    for one in found:
        if one.message:
            rows.append([one.tool, f"none: {one.message}", *[""] * 5])
            continue
        rows.append(
            [
                one.tool,
                f"{one.seconds:.2f}",
                f"{ours.seconds / one.seconds:.2f}",
                f"{one.cpu:.2f}",
                f"{ours.cpu / one.cpu:.2f}",
                f"{one.peak_mib:.0f}",
                f"{ours.peak_mib / one.peak_mib:.2f}",
            ]
        )
    return table(
        ["tool", "seconds", "ours / its", "CPU s", "ours / its", "peak MiB", "ours / its"], rows
    )


def processor() -> str:
    """The processor's name and how many of it there are."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} logical processors"


def main() -> None:
    """Parse the command line, measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", "-o", type=Path, default=HERE / "speed.md")
    parser.add_argument("--environments", type=Path, help="folder to keep the environments in")
    parser.add_argument("--nodes", type=int, default=NODES, help="of the small model")
    parser.add_argument("--weights", type=float, default=WEIGHTS, help="bytes, of the large model")
    parser.add_argument("--limit", type=float, default=600, help="seconds per run")
    arguments = parser.parse_args()
    tools = ("onnx-fix", *PEERS)
    with tempfile.TemporaryDirectory(prefix="onnx-fix-bench-") as folder:
        bench = Bench(arguments.environments or Path(folder), Path(folder), arguments.limit)
        install(bench.ours, [str(HERE.parent)])
        install(bench.peers, PACKAGES)
        ours = versions(bench.ours, ("onnx-fix", "onnx", "onnxruntime", "onnxsim"))
        peers = versions(bench.peers, PACKAGES)
        model, nodes = bench.generate("small", "--nodes", str(arguments.nodes))
        small = [bench.run(tool, model, 3) for tool in tools]
        growth = []
        for wanted in GROWTH:
            model, count = bench.generate(f"growth{wanted}", "--nodes", str(wanted))
            growth.append((count, bench.run("onnx-fix", model, 3)))
        model, large_nodes = bench.generate("large", "--weights", str(arguments.weights))
        size = model.with_suffix(".onnx.data").stat().st_size
        large = [bench.run(tool, model, 1, large=True) for tool in tools]
    parts = [
        "# How fast onnx-fix is",
        "Made by `benchmarks/speed.py`; see `benchmarks/README.md`. Do not edit.",
        f"{processor()}; Python {platform.python_version()}. Ours: {ours}. Peers: {peers}.",
        "Whole processes, checks of numbers off on all sides; onnx-fix for "
        f"{TARGET}. The tools do different work, see the docstring of the script.",
        f"## {nodes:,} nodes, small weights, best of three",
        comparison(small),
        f"## {size / 1e9:.2f} GB of weights beside a model of {large_nodes:,} nodes, one run",
        comparison(large),
        "## Growth with the number of nodes, best of three",
        table(
            ["nodes", "seconds", "microseconds per node", "peak MiB"],
            [
                [f"{n:,}", f"{m.seconds:.2f}", f"{m.seconds / n * 1e6:.0f}", f"{m.peak_mib:.0f}"]
                for n, m in growth
            ],
        ),
    ]
    arguments.output.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
