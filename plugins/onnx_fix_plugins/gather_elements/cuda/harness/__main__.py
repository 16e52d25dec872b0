"""``build FOLDER``, ``check FOLDER``, ``time FOLDER TO.json``: the kernel without TensorRT.

``build`` needs nvcc; ``check`` and ``time`` need torch with CUDA, and a folder that ``build``
filled.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from onnx_fix_plugins.gather_elements.cuda.harness import build
from onnx_fix_plugins.gather_elements.cuda.harness.launch import Kernel


def main() -> int:
    """Runs one command; the exit status is 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["build", "check", "time"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arch", type=int, action="append", help="compute capability, as in 90")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where the timings are written")
    parser.add_argument("--paths", default="auto", help="auto,flat,staged,tiled")
    parser.add_argument("--group", default="", help="only groups of timings that hold this")
    given = parser.parse_args()
    if given.what == "build":
        return _build(given.folder, given.arch)
    kernel = Kernel((given.folder / "libgather_elements.so").resolve())
    if given.what == "check":
        from onnx_fix_plugins.gather_elements.cuda.harness.check import check

        launches, wrong = check(kernel, given.cases, given.seed)
        print(f"{given.cases} cases, {launches} launches, {wrong} wrong")
        return int(wrong > 0 or launches == 0)
    return _time(kernel, given.paths.split(","), given.group, given.json)


def _build(folder: Path, architectures: list[int] | None) -> int:
    compiler = build.nvcc()
    if compiler is None:
        print("nvcc is not on the PATH and not in /usr/local/cuda/bin", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    known = build.known_architectures(compiler)
    wanted = architectures or [a for a in build.ARCHITECTURES if a in known]
    try:
        print(build.compile_harness(compiler, wanted, folder))
        print(build.compile_library(compiler, wanted, folder))
    except subprocess.CalledProcessError as failed:
        print(failed.stdout, failed.stderr, file=sys.stderr)
        return 1
    return 0


def _time(kernel: Kernel, paths: list[str], group: str, to: Path | None) -> int:
    import torch

    from onnx_fix_plugins.gather_elements.cuda.harness import measure

    ceiling = measure.copy_ceiling()
    device = torch.cuda.get_device_name()
    print(f"{device}, torch {torch.__version__}, copy {ceiling / 1e12:.3f} TB/s")
    rows = []
    for row in measure.every(kernel, paths, group):
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
    if to is not None:
        about = {"device": device, "torch": torch.__version__, "copy": ceiling, "rows": rows}
        to.write_text(json.dumps(about, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
