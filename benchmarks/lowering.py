"""Lower one-op models of every op and version, and tabulate what came of it beside the peers.

    python benchmarks/lowering.py                # into benchmarks/lowering.md; some minutes
    python benchmarks/lowering.py --limit 2      # fewer node tests per op and version

Every case of `lowering_cases.py` that is newer than the opset asked for is lowered to 17, 13, 11
and 9 by onnx-fix, by the converter of the onnx package, by onnxsim (`target_opset_version`) and by
onnxifier (`target_opset`, installed into a scratch folder where pip finds it). *Right*: valid at
the opset, and the runtimes give what the original gives; *refused*: the tool says so, or gives
back a model of another opset; *wrong*: other numbers, types or shapes; *invalid*: the onnx checker
does not take the model at that opset; *crash*: the process died or hung; *not run*: valid, and no
runtime has kernels for it.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import get_args

from lowering_cases import CANNOT_BE_JUDGED, Case, all_cases, untested
from lowering_judge import Outcome, Verdict
from lowering_pool import OURS, PEERS, Job, ask_all

from onnx_fix.lower.table import LOWEST, steps, undecided

HERE = Path(__file__).resolve().parent
OPSETS = (17, 13, 11, 9)
OUTCOMES: tuple[str, ...] = get_args(Outcome)

Found = dict[tuple[str, int, int], Verdict]
"""By tool, number of the case, and opset."""


def install(package: str, folder: str) -> str:
    """Install a package into a folder; what pip says where it cannot."""
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, package]
    done = subprocess.run(line, capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["?"])[-1]


def installed(package: str, folder: str) -> str:
    """The version of a package."""
    for found in distributions(name=package, path=[folder]):
        return found.version
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def measure(
    cases: Sequence[Case], tools: Iterable[str], extra: str
) -> tuple[Found, dict[str, float]]:
    """The verdicts of all tools on all cases, and the seconds each tool took."""
    found: Found = {}
    seconds: dict[str, float] = {}
    for tool in tools:
        start = time.perf_counter()
        jobs = [
            Job(tool, at, case.model.SerializeToString(), case.feeds, case.expected, opsets)
            for at, case in enumerate(cases)
            if (opsets := tuple(opset for opset in OPSETS if opset < case.version))
        ]

        def said(job: Job, answer: dict[int, Verdict]) -> None:
            found.update({(job.tool, job.case, opset): v for opset, v in answer.items()})

        ask_all(jobs, said, workers=os.cpu_count() or 2, extra=extra)
        seconds[tool] = time.perf_counter() - start
        print(f"{tool}: {len(jobs)} cases, {seconds[tool]:.0f} s", file=sys.stderr)
    return found, seconds


# The report -------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def counts(found: Found, tools: Sequence[str]) -> str:
    """Outcomes by tool and opset."""
    rows = []
    for tool in tools:
        for opset in (*OPSETS, 0):
            verdicts = [v for (t, _, o), v in found.items() if t == tool and opset in (o, 0)]
            number = Counter(v.outcome for v in verdicts)
            cells = [f"{number[outcome]:,}" for outcome in get_args(Outcome)]
            rows.append([tool, str(opset or "all"), f"{len(verdicts):,}", *cells])
    return table(["tool", "to opset", "cases", *OUTCOMES], rows)


def by_step(cases: Sequence[Case], found: Found, tools: Sequence[str]) -> str:
    """Of how many steps all cases are right, at all opsets."""
    rows = []
    for tool in tools:
        outcomes: dict[tuple[str, int], set[str]] = {}
        for (its, at, _), verdict in found.items():
            if its == tool:
                outcomes.setdefault(cases[at].step, set()).add(verdict.outcome)
        bad = {"wrong", "invalid", "crash"}
        right = sum("right" in o and not o & bad for o in outcomes.values())
        every = sum(o <= {"right", "not run"} for o in outcomes.values())
        worse = sum(bool(o & bad) for o in outcomes.values())
        rows.append([tool, str(len(outcomes)), str(every), str(right), str(worse)])
    header = ["tool", "op versions", "every case right", "some right, none wrong"]
    return table([*header, "some wrong, invalid or crashed"], rows)


def reasons(cases: Sequence[Case], found: Found) -> str:
    """What onnx-fix refuses, by op and reason."""
    groups: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for (tool, at, opset), verdict in found.items():
        if tool == OURS and verdict.outcome == "refused":
            groups.setdefault((cases[at].op, verdict.message), []).append((at, opset))
    rows = []
    for (op, message), where in sorted(groups.items()):
        opsets = ", ".join(str(o) for o in sorted({o for _, o in where}, reverse=True))
        rows.append([op, opsets, str(len(where)), cases[where[0][0]].name, message])
    return table(["op", "to opset", "times", "first case", "reason"], rows)


def faults(cases: Sequence[Case], found: Found) -> str:
    """Everything that onnx-fix does not do right and does not refuse."""
    rows = [
        [cases[at].name, str(opset), verdict.outcome, verdict.message]
        for (tool, at, opset), verdict in sorted(found.items(), key=lambda f: f[0][1:])
        if tool == OURS and verdict.outcome not in ("right", "refused")
    ]
    return table(["case", "to opset", "outcome", "message"], rows) if rows else "None."


def main() -> None:
    """Parse the command line, measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", "-o", type=Path, default=HERE / "lowering.md")
    parser.add_argument("--limit", type=int, default=3, help="node tests per op and version")
    parser.add_argument("--ours", action="store_true", help="onnx-fix alone")
    arguments = parser.parse_args()
    start = time.perf_counter()
    cases = all_cases(arguments.limit)
    print(f"{len(cases)} cases, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    tools = [OURS] if arguments.ours else [OURS, *PEERS]
    notes = []
    with tempfile.TemporaryDirectory(prefix="onnx-fix-bench-") as folder:
        if not arguments.ours and (message := install("onnxifier", folder)):
            tools.remove("onnxifier")
            notes.append(f"onnxifier could not be installed: {message}")
        found, seconds = measure(cases, tools, folder)
        names = ("onnx", "onnxruntime", "onnxsim", "onnxifier")
        versions = ", ".join(f"{name} {installed(name, folder)}" for name in names)
    parts = [
        "# How models are lowered to older opsets",
        "Made by `benchmarks/lowering.py`; see `benchmarks/README.md`. Do not edit.",
        f"Python {platform.python_version()}, {versions}. {len(cases):,} one-op models of "
        f"{len(steps())} op versions above opset {LOWEST}; "
        f"{len(undecided())} versions are not decided. "
        + " ".join(f"{t}: {s:.0f} s." for t, s in seconds.items()),
        *notes,
        "What the words mean is said in the docstring of the script.",
        "## Models",
        counts(found, tools),
        "## Op versions",
        by_step(cases, found, tools),
        "## What onnx-fix does wrong, or what could not be run",
        faults(cases, found),
        "## What onnx-fix refuses",
        reasons(cases, found),
        "## What cannot be judged",
        table(
            ["op", "version", "why"],
            [[op, str(v), CANNOT_BE_JUDGED.get((op, v), "?")] for op, v in untested(cases)],
        ),
    ]
    arguments.output.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
