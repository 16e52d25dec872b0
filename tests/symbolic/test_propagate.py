"""Sizes as they are followed, against those that onnxruntime finds by running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from by_path import sidecars

from onnx_fix.load import load_proto
from onnx_fix.model import Model
from onnx_fix.symbolic.propagate import Propagation
from onnx_fix.symbolic.solver import Solver
from onnx_fix.target import choose_target

FOLDER = Path(__file__).parents[2] / "fixtures"
BROKEN = ("superpoint_dense.legacy13", "superpoint_points.legacy17")
"""Exports that do not run as the exporter wrote them."""
FIXTURES = [p for p in sorted(FOLDER.glob("*.onnx")) if p.stem not in BROKEN] + sorted(
    (FOLDER / "frozen").glob("*.free.onnx")
)


SIDECARS = sidecars()


def _propagated(path: Path, sidecar: Any) -> Propagation:
    model = Model(load_proto(path), path.parent, choose_target("trt-8.6")[0])
    hints: dict[str, tuple[int | None, ...]] = {
        name: (sizes.a,) for name, sizes in sidecar.dims.items()
    }
    found = Propagation(model, {}, Solver(1, hints))
    found.run()
    return found


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_every_size_that_is_followed_is_the_one_at_run_time(path: Path) -> None:
    sidecar = SIDECARS.Sidecar.of(path)
    found = _propagated(path, sidecar)
    proto = onnx.load(path)
    names = [o for n in proto.graph.node for o in n.output if o]
    kept = {o.name for o in proto.graph.output}
    known = {n: t for n, t in found.model.main.tensors.items() if id(t) in found.shapes}
    names = [n for n in names if n in known and n not in kept]
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options)
    outputs = [o.name for o in session.get_outputs()]
    followed, expressions = 0, 0
    for which in ("a", "b"):
        sizes = {name: int(getattr(s, which)) for name, s in sidecar.dims.items()}
        arrays = session.run(outputs, SIDECARS.make_feeds(sidecar, which))
        for name, array in zip(outputs, arrays, strict=True):
            shape = found.shapes.get(id(known[name])) if name in known else None
            if shape is None or not isinstance(array, np.ndarray):
                continue
            assert len(shape) == array.ndim, name
            for dim, actual in zip(shape, array.shape, strict=True):
                now = found.solver.now(dim)
                if now.symbols <= set(sizes):
                    assert now.at(sizes) == actual, (name, str(now), which)
                    followed += 1
                    expressions += now.number is None
    assert followed > 100 and expressions > 10
