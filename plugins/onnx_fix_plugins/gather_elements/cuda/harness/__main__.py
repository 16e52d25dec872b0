"""``build FOLDER``, ``check FOLDER``, ``time FOLDER``, ``table FOLDER``: no TensorRT is needed.

``build`` needs nvcc; ``check`` and ``time`` need torch with CUDA, and a folder that ``build``
filled. ``table`` prints what ``time`` wrote, as Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from onnx_fix_plugins.gather_elements.cuda.harness import build
from onnx_fix_plugins.gather_elements.cuda.harness.launch import Kernel


def main() -> int:
    """Runs one command; the exit status is 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["build", "check", "time", "table"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arch", type=int, action="append", help="compute capability, as in 90")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="the timings, by default FOLDER/timings.json")
    parser.add_argument("--paths", default="auto", help="auto,flat,staged,tiled")
    parser.add_argument("--group", default="", help="only groups of timings that hold this")
    parser.add_argument("--dtypes", default="float32,float16", help="types of torch to time")
    given = parser.parse_args()
    if given.what == "build":
        return _build(given.folder, given.arch)
    timings = given.json or given.folder / "timings.json"
    if given.what == "table":
        print(table(json.loads(timings.read_text())))
        return 0
    kernel = Kernel((given.folder / "libgather_elements.so").resolve())
    if given.what == "check":
        from onnx_fix_plugins.gather_elements.cuda.harness.check import check

        launches, wrong = check(kernel, given.cases, given.seed)
        print(f"{given.cases} cases, {launches} launches, {wrong} wrong")
        return int(wrong > 0 or launches == 0)
    ways, dtypes = given.paths.split(","), given.dtypes.split(",")
    return _time(kernel, ways, given.group, dtypes, timings)


def _build(folder: Path, architectures: list[int] | None) -> int:
    compiler = build.nvcc()
    if compiler is None:
        print("nvcc is not on the PATH and not in /usr/local/cuda/bin", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    known = build.known_architectures(compiler)
    wanted = architectures or [a for a in build.ARCHITECTURES if a in known]
    try:
        print(*build.compile_all(compiler, wanted, folder), sep="\n")
    except subprocess.CalledProcessError as failed:
        print(failed.stdout, failed.stderr, file=sys.stderr)
        return 1
    return 0


def _time(kernel: Kernel, paths: list[str], group: str, dtypes: list[str], to: Path) -> int:
    import torch

    from onnx_fix_plugins.gather_elements.cuda.harness import measure

    ceiling = measure.copy_ceiling()
    device = torch.cuda.get_device_name()
    print(f"{device}, torch {torch.__version__}, copy {ceiling / 1e12:.3f} TB/s")
    rows = []
    for row in measure.every(kernel, paths, group, dtypes):
        row["ceiling"] = row["bytes"] / row["auto"] * 1e6 / ceiling
        rows.append(row)
        others = " ".join(f"{p} {row[p]:.2f}" for p in (*paths, "torch", "same_bytes") if p in row)
        ratio = f"{row['torch'] / row['auto']:.2f}x" if "torch" in row else "-"
        hot = " hot" if row["hot"] else ""
        print(
            f"{row['name']}{hot}, {row['dtype']}, {row['index_type']}:"
            f" {row['chosen']['path']} v{row['chosen']['vector']} {others}"
            f" | {row['ceiling']:.0%} {ratio}",
            flush=True,
        )
    about = {"device": device, "torch": torch.__version__, "copy": ceiling, "rows": rows}
    to.write_text(json.dumps(about, indent=1))
    return 0


def table(found: dict[str, Any]) -> str:
    """Timings as Markdown: one row per shape, one column per pair of types."""
    kinds = list(dict.fromkeys((r["dtype"], r["index_type"]) for r in found["rows"]))
    names = [f"{d.replace('float', 'fp')}, {i}" for d, i in kinds]
    lines = ["| case | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    shapes: dict[str, dict[tuple[str, str], str]] = {}
    for row in found["rows"]:
        expanded = ", expanded" if row["expand"] is not None else ""
        hot = ", in cache" if row["hot"] else ""
        cell = f"{row['auto']:.1f} µs, {row['ceiling']:.0%}"
        if "torch" in row:
            cell += f", {row['torch'] / row['auto']:.2f}x"
        case = f"{row['group']}: {row['name']}{expanded}{hot}"
        shapes.setdefault(case, {})[row["dtype"], row["index_type"]] = cell
    for case, cells in shapes.items():
        lines.append(f"| {case} | " + " | ".join(cells.get(kind, "") for kind in kinds) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
