"""What a claim of a pass is shown by: a minimal model with the finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_fix.testing import Feeds

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A minimal model with a finding on ``target``.

    ``feeds`` gives shape and type of each input for each run. ``ops`` says at which ops the finding
    is where the claim is about any. ``twin`` computes the same and runs, where the model does not.
    ``first`` is the pass that runs earlier and does the same.
    """

    model: ModelProto | str
    target: str
    feeds: Sequence[dict[str, tuple[str, Shape]]]
    ops: tuple[str, ...] = ()
    twin: ModelProto | str | None = None
    first: str = ""
    tolerance: float = 0.0
    by_reference: bool = False

    def inputs(self) -> list[Feeds]:
        """The feeds of each run."""
        return [arrays(given) for given in self.feeds]


def text(opset: int, signature: str, nodes: str, more: str = "") -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}{more}]> g {signature} {{ {nodes} }}'


def of_text(
    opset: int,
    signature: str,
    nodes: str,
    target: str,
    feeds: Sequence[dict[str, tuple[str, Shape]]],
    **more: Any,
) -> Case:
    return Case(text(opset, signature, nodes), target, feeds, **more)


ROUNDED = 2e-5


ADDED = ', reduction = "add"'


def built(nodes: list[NodeProto]) -> ModelProto:
    """A model of three floats in and out."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "xy")
    imports = [helper.make_opsetid("", 13)]
    graph = helper.make_graph(nodes, "g", [x], [y])
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


W = "w0 = Constant <value = float[1, 1, 1, 1] {2.0}> () "


THREE: Sequence[dict[str, tuple[str, Shape]]] = [{"x": ("f4", (3,))}]


IMAGE: Sequence[dict[str, tuple[str, Shape]]] = [{"x": ("f4", (1, 1, 2, 2))}]


def arrays(given: dict[str, tuple[str, Shape]]) -> Feeds:
    """Random integers around zero, masks, numbers of both signs; ``t`` is true, ``one`` is 1."""
    random = np.random.default_rng(7)
    made: dict[str, NDArray[Any]] = {}
    for name, (kind, shape) in given.items():
        if kind == "?":
            made[name] = random.random(shape) < 0.5
        elif kind in ("t", "one"):
            made[name] = np.ones(shape, np.bool_ if kind == "t" else np.float32)
        elif kind[0] in "iu":
            low, high = (0, 2) if kind[0] == "u" else (-4, 5)
            made[name] = random.integers(low, high, shape, dtype=kind)
        elif kind == "bf":
            bfloat16 = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)
            made[name] = random.standard_normal(shape).astype(bfloat16)
        else:
            made[name] = random.standard_normal(shape).astype(kind)
    return made
