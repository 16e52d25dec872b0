"""Engines of the real TensorRT-RTX from the exported models: sizes, times, memory.

    python benchmarks/engines.py                       # superpoint, superglue, lightglue
    python benchmarks/engines.py MODEL... -o engines.md
    python benchmarks/engines.py --all

Needs the extra ``rtx``, no GPU: engines are built ahead of time, for the compute capabilities that
are named. Each model is fixed for rtx-1.7 first, with the ranges of its sidecar file as the one
profile, as ``onnx-fix MODEL -o FIXED --engine ENGINE`` does it. An export at a fixed size (NAME.a)
is made dynamic with the one at another size beside it (NAME.b), as ``--dynamic`` and ``--also`` do
it, and compared with both. Exits with 1 if an engine is not built.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_fix.api import fix
from onnx_fix.building import BuildResult, BuildSettings, build
from onnx_fix.building.command import spelled
from onnx_fix.errors import OnnxFixError
from onnx_fix.profiles import profile_of
from onnx_fix.save import save

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
TARGET = "rtx-1.7"
MATCHING = (
    "superpoint_dense.dynamo18.onnx",
    "superpoint_dense.legacy13.onnx",
    "superglue_match.legacy13.onnx",
    "lightglue_match.dynamo18.onnx",
    "frozen/superglue.legacy17.a.onnx",
    "frozen/lightglue.dynamo18.a.onnx",
)
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """One model and what came of it."""

    name: str
    model_bytes: int
    result: BuildResult | None
    detail: str = ""


def engine_of(source: Path, settings: BuildSettings) -> Row:
    """Fix a model and build it in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        fixed_path = Path(folder) / source.name
        size = source.stat().st_size
        try:
            sidecar = json.loads(source.with_name(source.name + ".json").read_text())
            ranges = {d: (r["min"], r["opt"], r["max"]) for d, r in sidecar["dims"].items()}
            dynamic = _frozen(sidecar)
            also = [source.with_name(source.name.replace(".a.onnx", ".b.onnx"))] if dynamic else []
            fixed = fix(
                source,
                target=TARGET,
                dims=ranges,
                dynamic=dynamic,
                also=also,
                verify=bool(dynamic),
            )
            save(fixed.model, fixed_path, files=fixed.files, source=source)
            result = build(
                fixed_path,
                Path(folder) / "engine.plan",
                target=TARGET,
                profiles=[profile_of(fixed.model, ranges)],
                settings=settings,
            )
        except OnnxFixError as error:
            return Row(source.name, size, None, str(error).splitlines()[0])
        said = result.last.said[-1] if result.last.said else result.last.detail
        last = said.splitlines()[-1:]
        return Row(source.name, size, result, ": ".join([result.status, *last]))


def _frozen(sidecar: Mapping[str, Any]) -> dict[str, str]:
    """The dims that an export at a fixed size made numbers, with their symbols."""
    if not sidecar.get("frozen_at"):
        return {}
    shapes = {name: i["shape"] for name, i in sidecar["inputs"].items()}
    return {
        f"{name}:{axis}": d
        for name, shape in shapes.items()
        for axis, d in enumerate(shape)
        if isinstance(d, str)
    }


def document(rows: Sequence[Row], capabilities: Sequence[str]) -> str:
    """The table."""
    version = next((r.result.last.version for r in rows if r.result and r.result.ok), "")
    lines = [
        f"# Engines of TensorRT-RTX {version}",
        "",
        "Written by `python benchmarks/engines.py`. Built without a GPU, ahead of time for compute "
        f"capability {', '.join(capabilities)}; seconds are those of the builder's process, with "
        "loading and parsing, and memory is the most that it had resident.",
        "",
        "| model | profile | model MiB | engine MiB | seconds | memory MiB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        size = f"{row.model_bytes / MIB:.1f}"
        result = row.result
        profile = "" if result is None else "; ".join(map(spelled, result.profiles))
        if result is None or not result.ok:
            lines.append(f"| {row.name} | {profile} | {size} | none: {row.detail} | | |")
            continue
        lines.append(
            f"| {row.name} | {profile} | {size} | {result.engine_bytes / MIB:.1f} | "
            f"{result.seconds:.1f} | {result.peak_bytes / MIB:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Parse the command line, build, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path, help="models with a sidecar file")
    parser.add_argument("--all", action="store_true", help="every exported model")
    parser.add_argument("--output", "-o", type=Path, help="file for the table, else printed")
    parser.add_argument("--compute-capability", nargs="+", default=["8.6", "8.9"])
    parser.add_argument("--limit", type=float, default=600, help="seconds per model")
    arguments = parser.parse_args()
    chosen = arguments.models or [FIXTURES / name for name in MATCHING]
    if arguments.all:
        chosen = sorted(FIXTURES.glob("*.onnx"))
    settings = BuildSettings(
        compute_capabilities=tuple(arguments.compute_capability), time_limit=arguments.limit
    )
    rows = []
    for source in chosen:
        print(source.name, file=sys.stderr)
        rows.append(engine_of(source, settings))
    text = document(rows, arguments.compute_capability)
    if arguments.output is None:
        print(text, end="")
    else:
        arguments.output.write_text(text, encoding="utf-8")
    return 0 if all(row.result is not None and row.result.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
