"""Small models with inputs of every kind that a command line has to write."""

from __future__ import annotations

import onnx
from onnx import ModelProto, TensorProto, helper

VOXELS = """<ir_version: 7, opset_import: ["" : 11]>
main (float[{0},20,5] voxels, float[{0}] num_points, float[{0},4] coors) => (float[{0},20,5] y)
{{ y = Relu (voxels) }}"""

KEYPOINTS = """<ir_version: 7, opset_import: ["" : 11]>
main (float[1,N,2] kpts0, float[1,N,2] kpts1, float[1,N,48] desc0, float[1,N,48] desc1)
  => (float[1,N,2] matches0, float[1,N,2] mscores0)
{ matches0 = Relu (kpts0) mscores0 = Relu (kpts1) }"""

RESIZED = """<ir_version: 8, opset_import: ["" : 13]>
main (float[N,4] x, int64[2] size) => (float[A,B] y) { y = Reshape (x, size) }"""

PLUGIN = """<ir_version: 8, opset_import: ["" : 13, "trt.plugins" : 1]>
main (float[2,3] x, int64[2,3] i) => (float[2,3] y) {
  y = trt.plugins.GatherElementsPlugin <axis = 1, plugin_version = "1", plugin_namespace = "">
      (x, i) }"""


def parsed(text: str) -> ModelProto:
    """The model of a text."""
    return onnx.parser.parse_model(text)


def voxels(dynamic: bool = False) -> ModelProto:
    """voxels, num_points and coors of 5000 pillars, or of V."""
    return parsed(VOXELS.format("V" if dynamic else "5000"))


def keypoints() -> ModelProto:
    """Two sets of N key points with their descriptors."""
    return parsed(KEYPOINTS)


def with_inputs(shapes: dict[str, list[int | str]]) -> ModelProto:
    """A model with inputs of any names."""
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    nodes = [helper.make_node("Relu", [n], [f"out {k}"]) for k, n in enumerate(shapes)]
    outputs = [
        helper.make_tensor_value_info(f"out {k}", TensorProto.FLOAT, s)
        for k, s in enumerate(shapes.values())
    ]
    graph = helper.make_graph(nodes, "main", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
