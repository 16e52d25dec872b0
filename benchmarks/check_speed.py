"""Measure `onnx-fix check` on generated models of growing size.

    python benchmarks/check_speed.py        # into benchmarks/check_speed.md; a minute or two

The models are those of generate.py, the style of torch's legacy exporter. The static check runs in
a process of its own, for three targets: seconds and processor seconds of the check without and of
the process with its start and imports (best of three), and peak resident memory. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speed import HERE, processor, table

SIZES = (12_500, 25_000, 50_000, 100_000)
TARGETS = ("trt-7.2", "trt-8.6", "rtx-1.7")
AIM = 10.0
RUNS = 3

PROGRAM = """
import json, sys, time
from pathlib import Path
from onnx_fix.check import check
start, cpu = time.perf_counter(), time.process_time()
result = check(Path(sys.argv[1]), target=sys.argv[2])
print(json.dumps([time.perf_counter() - start, time.process_time() - cpu, len(result.findings)]))
"""


@dataclass(frozen=True)
class Measured:
    """One check: seconds of the check, of the whole process and of the processor, peak memory."""

    nodes: int
    target: str
    seconds: float
    cpu: float
    process: float
    peak_mib: float
    findings: int


def measure(model: Path, nodes: int, target: str) -> Measured:
    """Check a model in a process of its own."""
    start = time.perf_counter()
    command = [sys.executable, "-c", PROGRAM, str(model), target]
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, stdout=said)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        process = time.perf_counter() - start
        if child.returncode:
            raise RuntimeError(f"the check of {model.name} ended with {child.returncode}")
        said.seek(0)
        seconds, cpu, findings = json.loads(said.read().splitlines()[-1])
    return Measured(nodes, target, seconds, cpu, process, usage.ru_maxrss / 1024, findings)


def generate(folder: Path, wanted: int) -> tuple[Path, int]:
    """Write a model of at least so many nodes, and give its path and node count."""
    path = folder / f"{wanted}.onnx"
    command = [sys.executable, str(HERE / "generate.py"), str(path), "--nodes", str(wanted)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return path, int(done.stdout)


def rows(found: Sequence[Measured]) -> list[list[str]]:
    """One line per size, with the growth from the size before."""
    lines, before = [], None
    for one in found:
        growth = "" if before is None else f"{one.seconds / before.seconds:.2f}"
        lines.append(
            [
                f"{one.nodes:,}",
                f"{one.seconds:.2f}",
                f"{one.cpu:.2f}",
                f"{one.process:.2f}",
                f"{one.seconds / one.nodes * 1e6:.0f}",
                growth,
                f"{one.peak_mib:.0f}",
                f"{one.findings:,}",
            ]
        )
        before = one
    return lines


def main() -> None:
    """Parse the command line, measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", "-o", type=Path, default=HERE / "check_speed.md")
    parser.add_argument("--nodes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--target", nargs="+", default=TARGETS)
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    found: dict[str, list[Measured]] = {target: [] for target in arguments.target}
    with tempfile.TemporaryDirectory(prefix="onnx-fix-bench-") as folder:
        for wanted in arguments.nodes:
            model, nodes = generate(Path(folder), wanted)
            for target in arguments.target:
                tries = [measure(model, nodes, target) for _ in range(arguments.runs)]
                best = min(tries, key=lambda one: one.seconds)
                found[target].append(best)
                print(best, file=sys.stderr)
            model.unlink()
    largest = [measured[-1] for measured in found.values()]
    slowest = max(largest, key=lambda one: one.seconds)
    verdict = "met" if slowest.seconds < AIM else "missed"
    header = ["nodes", "seconds", "CPU s", "process s", "us per node", "growth", "peak MiB"]
    parts = [
        "# How fast `onnx-fix check` is",
        "Made by `benchmarks/check_speed.py`; see `benchmarks/README.md`. Do not edit.",
        f"{processor()}; Python {platform.python_version()}; best of {arguments.runs}. `seconds` "
        "are those of the check, loading included; `process` adds the start of Python and the "
        "imports. `growth` is against the size above, which is half as large.",
        f"Aim: less than {AIM:.0f} s at {slowest.nodes:,} nodes. {verdict.capitalize()}: the "
        f"slowest of the targets takes {slowest.seconds:.2f} s ({slowest.target}).",
    ]
    for target, measured in found.items():
        parts += [f"## {target}", table([*header, "findings"], rows(measured))]
    arguments.output.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
