"""How fast decomposed ops run, and of how many nodes they are.

    python benchmarks/decomposed.py            # into benchmarks/decomposed.md; a minute, no GPU

Models of one op are run in onnxruntime on the CPU (graph optimisation on, one thread), as they are
and as our pass writes them, best of several runs in one process, in turn. GridSample stands beside
the bilinear sampling that deployment toolboxes export in its place: unnormalise, pad, clamp, and
four GatherElements over an index that is repeated for every channel. The numbers say what a
release without the op pays for the rewrite as far as a CPU tells; TensorRT fuses otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto
from speed import HERE, processor, table

from onnx_fix.contract import BasePass
from onnx_fix.engine import Engine, Step
from onnx_fix.model import Model
from onnx_fix.pipeline import configure
from onnx_fix.registry import get
from onnx_fix.target import load_target

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """An op with its inputs, the pass that writes it, and another way to write it."""

    name: str
    model: ModelProto
    feeds: Feeds
    pass_: BasePass
    target: str
    other: ModelProto | None = None


def parse(opset: int, signature: str, nodes: str) -> ModelProto:
    """A model from ONNX text."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g {signature} {{ {nodes} }}'
    return onnx.parser.parse_model(text)


def by_gather_elements(n: int, c: int, h: int, w: int, ho: int, wo: int) -> ModelProto:
    """Bilinear sampling of zeros outside, corners not aligned, with four GatherElements."""
    size, out = (h + 2) * (w + 2), ho * wo
    nodes = [
        f"x2 = Constant <value = float {{{w / 2}}}> ()",
        f"y2 = Constant <value = float {{{h / 2}}}> ()",
        "half = Constant <value = float {0.5}> () one = Constant <value = float {1}> ()",
        f"flat = Constant <value = int64[2] {{{n}, {out}}}> ()",
        "gx, gy = Split <axis = 3> (g) gxf = Reshape (gx, flat) gyf = Reshape (gy, flat)",
        "x1 = Add (gxf, one) xs = Mul (x1, x2) x = Sub (xs, half)",
        "y1 = Add (gyf, one) ys = Mul (y1, y2) y = Sub (ys, half)",
        "xa = Floor (x) ya = Floor (y) xb = Add (xa, one) yb = Add (ya, one)",
        "dxb = Sub (xb, x) dxa = Sub (x, xa) dyb = Sub (yb, y) dya = Sub (y, ya)",
        "pads = Constant <value = int64[8] {0, 0, 1, 1, 0, 0, 1, 1}> ()",
        f"table = Constant <value = int64[3] {{{n}, {c}, {size}}}> ()",
        f"wide = Constant <value = int64[3] {{{n}, {c}, {out}}}> ()",
        "axis1 = Constant <value = int64[1] {1}> ()",
        f"row = Constant <value = float {{{w + 2}}}> () zero = Constant <value = float {{0}}> ()",
        f"lastx = Constant <value = float {{{w + 1}}}> ()",
        f"lasty = Constant <value = float {{{h + 1}}}> ()",
        "padded = Pad (i, pads) data = Reshape (padded, table)",
        "xac = Add (xa, one) xbc = Add (xb, one) yac = Add (ya, one) ybc = Add (yb, one)",
    ]
    for axis, last in (("x", "lastx"), ("y", "lasty")):
        nodes += [f"{axis}{k}i = Clip ({axis}{k}c, zero, {last})" for k in "ab"]
    corners = (
        ("a", "a", "dxb", "dyb"),
        ("a", "b", "dxb", "dya"),
        ("b", "a", "dxa", "dyb"),
        ("b", "b", "dxa", "dya"),
    )
    for kx, ky, wx, wy in corners:
        k = kx + ky
        nodes.append(
            f"r{k} = Mul (y{ky}i, row) f{k} = Add (r{k}, x{kx}i) j{k} = Cast <to = 7> (f{k}) "
            f"u{k} = Unsqueeze (j{k}, axis1) e{k} = Expand (u{k}, wide) "
            f"v{k} = GatherElements <axis = 2> (data, e{k}) w{k} = Mul ({wx}, {wy}) "
            f"t{k} = Unsqueeze (w{k}, axis1) p{k} = Mul (v{k}, t{k})"
        )
    nodes.append(f"shape = Constant <value = int64[4] {{{n}, {c}, {ho}, {wo}}}> ()")
    nodes.append("s1 = Add (paa, pab) s2 = Add (pba, pbb) s = Add (s1, s2) o = Reshape (s, shape)")
    return parse(
        13,
        f"(float[{n},{c},{h},{w}] i, float[{n},{ho},{wo},2] g) => (float[{n},{c},{ho},{wo}] o)",
        " ".join(nodes),
    )


def cases() -> list[Case]:
    """The ops, in sizes of real networks."""
    rng = np.random.default_rng(0)
    found = []
    for n, c, h, w, ho, wo in ((1, 256, 60, 80, 1, 1024), (2, 32, 64, 64, 64, 64)):
        image = rng.standard_normal((n, c, h, w)).astype(np.float32)
        grid = rng.uniform(-1.05, 1.05, (n, ho, wo, 2)).astype(np.float32)
        model = parse(
            16,
            f"(float[{n},{c},{h},{w}] i, float[{n},{ho},{wo},2] g) => (float[{n},{c},{ho},{wo}] o)",
            "o = GridSample (i, g)",
        )
        found.append(
            Case(
                f"GridSample bilinear [{n},{c},{h},{w}] at {ho}x{wo}",
                model,
                {"i": image, "g": grid},
                get("replace-grid-sample")(),
                "trt-8.4",
                by_gather_elements(n, c, h, w, ho, wo),
            )
        )
    for length in (256, 2048):
        model = parse(
            13,
            f"(float[8,{length}] x) => (float[8,{length}] y)",
            "k = Constant <value = int64 {1}> () y = CumSum (x, k)",
        )
        x = rng.standard_normal((8, length)).astype(np.float32)
        found.append(
            Case(f"CumSum [8,{length}]", model, {"x": x}, get("replace-cum-sum")(), "trt-7.2")
        )
    for name, k, attributes, length in (
        ("TopK of 8000", 8000, "axis = 1", 50000),
        ("TopK of the 100 smallest", 100, "axis = 1, largest = 0", 50000),
        ("TopK of 100 INT32", 100, "axis = 1", 1024),
    ):
        kind = "int32" if "INT32" in name else "float"
        model = parse(
            13,
            f"({kind}[1,{length}] x) => ({kind}[1,{k}] v)",
            f"k = Constant <value = int64[1] {{{k}}}> () v, i = TopK <{attributes}> (x, k)",
        )
        x = (rng.standard_normal((1, length)) * 1e6).astype("i4" if kind == "int32" else "f4")
        pass_ = get("replace-top-k")()
        found.append(Case(f"{name} in [1,{length}]", model, {"x": x}, pass_, "trt-7.2"))
    model = parse(
        13,
        "(float[1,64,1024] x, int64[1,64,512] j) => (float[1,64,512] y)",
        "y = GatherElements <axis = 2> (x, j)",
    )
    feeds: Feeds = {
        "x": rng.standard_normal((1, 64, 1024)).astype(np.float32),
        "j": rng.integers(0, 1024, (1, 64, 512)),
    }
    pass_ = configure(get("replace-gather-elements"), {"form": "gather"})
    found.append(Case("GatherElements [1,64,1024] by 512", model, feeds, pass_, "trt-7.2"))
    return found


def session(model: ModelProto) -> ort.InferenceSession:
    """A session of one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def latencies(models: Mapping[str, ModelProto], feeds: Feeds, runs: int) -> dict[str, float]:
    """Milliseconds of the best run of each model, run in turn.

    Raises:
        RuntimeError: the models give different outputs.
    """
    sessions = {name: session(model) for name, model in models.items()}
    wanted: NDArray[Any] | None = None
    for name, one in sessions.items():
        (given,) = one.run(None, dict(feeds))
        wanted = given if wanted is None else wanted
        if not np.allclose(given, wanted, rtol=1e-3, atol=1e-4):
            raise RuntimeError(f"{name} gives other numbers")
    best = dict.fromkeys(sessions, float("inf"))
    for _ in range(runs):
        for name, one in sessions.items():
            start = time.perf_counter()
            one.run(None, dict(feeds))
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: seconds * 1e3 for name, seconds in best.items()}


def decomposed(case: Case) -> ModelProto:
    """The model after the pass of the case alone."""
    model = Model(case.model, None, load_target(case.target))
    Engine(model).run([Step(case.pass_)])
    return model.to_proto()


def main() -> None:
    """Parse the command line, measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", "-o", type=Path, default=HERE / "decomposed.md")
    parser.add_argument("--runs", type=int, default=50)
    arguments = parser.parse_args()
    rows = []
    for case in cases():
        models = {"native": case.model, "ours": decomposed(case)}
        if case.other is not None:
            models["other"] = case.other
        took = latencies(models, case.feeds, arguments.runs)
        other = f"{took['other']:.3f}" if "other" in took else ""
        ratio = f"{took['ours'] / took['other']:.2f}" if "other" in took else ""
        counts = [str(sum(n.op_type != "Constant" for n in m.graph.node)) for m in models.values()]
        rows.append(
            [
                case.name,
                f"{took['native']:.3f}",
                f"{took['ours']:.3f}",
                f"{took['ours'] / took['native']:.2f}",
                other,
                ratio,
                " / ".join(counts),
            ]
        )
    header = ["op", "native ms", "ours ms", "ours / native", "other ms", "ours / other", "nodes"]
    parts = [
        "# What a decomposed op costs",
        "Made by `benchmarks/decomposed.py`; see `benchmarks/README.md`. Do not edit.",
        f"{processor()}; onnxruntime {ort.__version__}, one thread, best of {arguments.runs}. "
        "`nodes` without constants: native / ours / other.",
        table(header, rows),
    ]
    arguments.output.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
