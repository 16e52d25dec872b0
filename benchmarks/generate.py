"""Write a large model in the style of torch's legacy exporter, for measuring speed.

    python benchmarks/generate.py OUT.onnx --nodes 20000
    python benchmarks/generate.py OUT.onnx --weights 1.5e9

The model is a stack of transformer blocks at opset 13 with dynamic batch and length: every view is
a chain of Shape, Gather, Unsqueeze, Concat and Reshape, constants are nodes, normalisation and GELU
are written out. Attention is by Einsum in every second block, and every fourth one counts positions
with a CumSum of ones, looks values up with GatherElements and clips by a computed bound. With
--weights, the blocks are wide and the weights lie in one data file beside the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

HEADS = 4
NARROW = 16
WIDE = 2048


class Exporter:
    """Appends nodes with the names an exporter would give them."""

    def __init__(self, width: int, data: Path | None) -> None:
        self.width = width
        self.graph = GraphProto(name="main_graph")
        self.data = data
        self.offset = 0
        self.rng = np.random.default_rng(0)
        self.scope = ""
        if data is not None:
            data.write_bytes(b"")

    def op(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node with one output, and give the name of that."""
        name = f"{self.scope}/{op}_{len(self.graph.node)}"
        output = f"{name}_output_0"
        self.graph.node.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def constant(self, value: object, dtype: str = "int64") -> str:
        """A Constant node."""
        return self.op("Constant", [], value=numpy_helper.from_array(np.array(value, dtype)))

    def weight(self, *shape: int) -> str:
        """An initializer of float32, in the data file if there is one."""
        name = f"{self.scope.replace('/', '.')}.weight_{len(self.graph.initializer)}"
        if self.data is None:
            values = self.rng.standard_normal(shape).astype(np.float32) * shape[0] ** -0.5
            self.graph.initializer.append(numpy_helper.from_array(values, name))
        else:
            self.graph.initializer.append(self._external(name, shape))
        return name

    def _external(self, name: str, shape: Sequence[int]) -> TensorProto:
        assert self.data is not None
        size = int(np.prod(shape)) * 4
        chunk: NDArray[np.float32] = self.rng.standard_normal(1 << 18).astype(np.float32)
        with self.data.open("ab") as file:
            for start in range(0, size, chunk.nbytes):
                file.write((chunk * 0.01).tobytes()[: size - start])
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", self.data.name),
            ("offset", self.offset),
            ("length", size),
        ):
            tensor.external_data.add(key=key, value=str(value))
        self.offset += size
        return tensor

    def size(self, x: str, axis: int) -> str:
        """One dim of ``x`` as a vector of one element, as ``x.shape[axis]`` is exported."""
        dim = self.op("Gather", [self.op("Shape", [x]), self.constant(axis)], axis=0)
        return self.op("Unsqueeze", [dim, self.constant([0])])

    def view(self, x: str, source: str, *last: int) -> str:
        """``x.view(source.shape[0], source.shape[1], *last)``."""
        dims = [self.size(source, 0), self.size(source, 1)]
        dims += [self.op("Unsqueeze", [self.constant(d), self.constant([0])]) for d in last]
        return self.op("Reshape", [x, self.op("Concat", dims, axis=0)])

    def linear(self, x: str, width_in: int, width: int) -> str:
        """A matrix product and a bias."""
        return self.op(
            "Add", [self.op("MatMul", [x, self.weight(width_in, width)]), self.bias(width)]
        )

    def bias(self, width: int) -> str:
        """A small weight, kept in the model file."""
        name = f"{self.scope.replace('/', '.')}.bias_{len(self.graph.initializer)}"
        self.graph.initializer.append(
            numpy_helper.from_array(self.rng.standard_normal(width).astype(np.float32), name)
        )
        return name

    def norm(self, x: str) -> str:
        """Layer normalisation, written out."""
        centred = self.op("Sub", [x, self.op("ReduceMean", [x], axes=[-1])])
        square = self.op("Pow", [centred, self.constant(2, "float32")])
        mean = self.op("ReduceMean", [square], axes=[-1])
        root = self.op("Sqrt", [self.op("Add", [mean, self.constant(1e-5, "float32")])])
        scaled = self.op("Mul", [self.op("Div", [centred, root]), self.bias(self.width)])
        return self.op("Add", [scaled, self.bias(self.width)])

    def attention(self, x: str, by_einsum: bool) -> str:
        """Self-attention with four heads."""
        depth = self.width // HEADS
        heads = []
        for _ in range(3):
            split = self.view(self.linear(x, self.width, self.width), x, HEADS, depth)
            heads.append(self.op("Transpose", [split], perm=[0, 2, 1, 3]))
        q, k, v = heads
        if by_einsum:
            scores = self.op("Einsum", [q, k], equation="bhnd,bhmd->bhnm")
        else:
            scores = self.op("MatMul", [q, self.op("Transpose", [k], perm=[0, 1, 3, 2])])
        scores = self.op("Div", [scores, self.constant(depth**0.5, "float32")])
        weights = self.op("Softmax", [scores], axis=-1)
        mixed = self.op("Transpose", [self.op("MatMul", [weights, v])], perm=[0, 2, 1, 3])
        return self.linear(self.view(mixed, x, self.width), self.width, self.width)

    def gelu(self, x: str) -> str:
        """GELU, written out."""
        inner = self.op("Erf", [self.op("Div", [x, self.constant(2**0.5, "float32")])])
        inner = self.op("Add", [inner, self.constant(1, "float32")])
        return self.op("Mul", [self.op("Mul", [x, inner]), self.constant(0.5, "float32")])

    def reorder(self, x: str) -> str:
        """Positions by a CumSum of ones, values by GatherElements, clipped by a computed bound."""
        shape = self.op("Concat", [self.size(x, 0), self.size(x, 1)], axis=0)
        one = numpy_helper.from_array(np.array([1], np.int64))
        ones = self.op("ConstantOfShape", [shape], value=one)
        places = self.op("CumSum", [ones, self.constant(1)])
        places = self.op("Sub", [places, self.constant(1)])
        places = self.op("Unsqueeze", [places, self.constant([2])])
        full = self.op("Expand", [places, self.op("Shape", [x])])
        moved = self.op("GatherElements", [x, full], axis=1)
        bound = self.op("ReduceMax", [x], keepdims=0)
        return self.op("Clip", [moved, "", bound])

    def block(self, x: str, number: int) -> str:
        """One transformer block."""
        self.scope = f"/layers.{number}"
        x = self.op("Add", [x, self.attention(self.norm(x), number % 2 == 0)])
        wide = self.gelu(self.linear(self.norm(x), self.width, 4 * self.width))
        x = self.op("Add", [x, self.linear(wide, 4 * self.width, self.width)])
        return self.reorder(x) if number % 4 == 3 else x

    def model(self, x: str) -> ModelProto:
        """The finished model, with ``x`` given out."""
        self.graph.node.append(helper.make_node("Identity", [x], ["y"], "/Identity"))
        dims: list[str | int | None] = ["batch", "length", self.width]
        for name, values in (("x", self.graph.input), ("y", self.graph.output)):
            values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        return helper.make_model(
            self.graph,
            ir_version=7,
            opset_imports=[helper.make_opsetid("", 13)],
            producer_name="pytorch",
        )


def generate(nodes: int, path: Path, weights: float = 0) -> int:
    """Write a model of at least ``nodes`` nodes or ``weights`` bytes, and give its node count."""
    external = path.with_suffix(".onnx.data") if weights else None
    exporter = Exporter(WIDE if weights else NARROW, external)
    x, number = "x", 0
    while len(exporter.graph.node) + 1 < nodes or exporter.offset < weights:
        x = exporter.block(x, number)
        number += 1
    model = exporter.model(x)
    onnx.save(model, path)
    return len(model.graph.node)


def main() -> None:
    """Parse the command line and write the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--nodes", type=int, default=0, help="at least so many nodes")
    parser.add_argument(
        "--weights", type=float, default=0, help="at least so many bytes of weights"
    )
    arguments = parser.parse_args()
    print(generate(arguments.nodes, arguments.output, arguments.weights))


if __name__ == "__main__":
    main()
