"""The judge for rtx-1.7 against the live parser of TensorRT-RTX 1.7, which needs no GPU."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from onnx_fix.target import NodeFacts, TensorFacts, load_target

pytestmark = [
    pytest.mark.rtx,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None,
        reason="tensorrt_rtx is not installed (extra `rtx`)",
    ),
]

TIME_LIMIT_S = 120.0

PARSER = """
import json, sys
import tensorrt_rtx as trt

class Quiet(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
    def log(self, severity, text):
        pass

quiet = Quiet()
builder = trt.Builder(quiet)
answers = {"version": trt.__version__}
for path in sys.argv[1:]:
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, quiet)
    with open(path, "rb") as file:
        accepted = bool(parser.parse(file.read()))
    errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    answers[path] = [accepted, errors]
print("answers=" + json.dumps(answers))
"""

# name, opset, graph in ONNX text, taken
MODELS: list[tuple[str, int, str, bool]] = [
    ("clip_runtime_min", 17, "g (float[N,4] x, float a) => (float[N,4] y)"
     " { y = Clip(x, a) }", True),
    ("einsum_lower", 17, "g (float[N,4,4] x, float[N,4,4] z) => (float[N,4,4] y)"
     ' { y = Einsum<equation = "bij,bjk->bik">(x, z) }', True),
    ("einsum_upper", 17, "g (float[N,4,4] x, float[N,4,4] z) => (float[N,4,4] y)"
     ' { y = Einsum<equation = "Bij,Bjk->Bik">(x, z) }', False),
    ("einsum_int32", 17, "g (int32[2,4] x) => (int32[2] y)"
     ' { y = Einsum<equation = "ij->i">(x) }', False),
    ("nonzero", 17, "g (bool[N] x) => (int64[1,M] y) { y = NonZero(x) }", False),
    ("unique", 17, "g (float[N] x) => (float[M] y) { y = Unique(x) }", False),
    ("cumsum", 17, "g (float[N,4] x) => (float[N,4] y) <int64 a = {1}> { y = CumSum(x, a) }", True),
    ("gather_elements", 17, "g (float[N,4] x, int64[N,2] i) => (float[N,2] y)"
     " { y = GatherElements<axis = 1>(x, i) }", True),
    ("grid_sample_linear", 20, "g (float[N,3,8,8] x, float[N,4,4,2] i) => (float[N,3,4,4] y)"
     ' { y = GridSample<mode = "linear">(x, i) }', True),
    ("reduce_axes", 18, "g (float[N,4] x) => (float[N] y) <int64[1] a = {1}>"
     " { y = ReduceSum<keepdims = 0>(x, a) }", True),
    ("reduce_runtime_axes", 18, "g (float[2,4] x, int64[1] a) => (float[M,N] y)"
     " { y = ReduceSum(x, a) }", False),
    ("scatter_nd_add", 18, "g (float[N,4] x, int64[M,1] i, float[M,4] u) => (float[N,4] y)"
     ' { y = ScatterND<reduction = "add">(x, i, u) }', False),
    ("scatter_nd_none", 18, "g (float[N,4] x, int64[M,1] i, float[M,4] u) => (float[N,4] y)"
     ' { y = ScatterND<reduction = "none">(x, i, u) }', True),
    ("max_pool_dilated", 17, "g (float[N,3,8,8] x) => (float[N,3,6,6] y)"
     " { y = MaxPool<kernel_shape = [2, 2], dilations = [2, 2]>(x) }", False),
    ("max_pool_without_batch", 17, "g (float[3,8,8] x) => (float[3,7,7] y)"
     " { y = MaxPool<kernel_shape = [2, 2]>(x) }", False),
    ("mod_float", 17, "g (float[N] x, float[N] z) => (float[N] y) { y = Mod(x, z) }", False),
    ("cast_int16", 17, "g (float[N] x) => (int16[N] y) { y = Cast<to = 5>(x) }", False),
    ("int16_input", 17, "g (int16[N] x) => (int16[N] y) { y = Identity(x) }", False),
    ("double_input", 17, "g (double[N] x) => (double[N] y) { y = Identity(x) }", True),
    ("constant_int", 17, "g (int64[N] x) => (int64[N] y)"
     " { a = Constant<value_int = 3>() y = Add(x, a) }", True),
    ("shape_start", 17, "g (float[N,4] x) => (int64[1] y) { y = Shape<start = 1>(x) }", True),
    ("topk", 17, "g (float[N,9] x, int64[1] k) => (float[N,M] y, int64[N,M] i)"
     " { y, i = TopK(x, k) }", True),
]  # fmt: skip


def model_of(opset: int, text: str) -> onnx.ModelProto:
    head = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    return onnx.parser.parse_model(f"{head} {text}")


def facts_of(model: onnx.ModelProto) -> list[NodeFacts]:
    """The nodes of a flat model; enough of a reader for the models above."""
    graph = model.graph
    values = {v.name: v.type.tensor_type for v in (*graph.input, *graph.output)}
    weights = {t.name: t for t in graph.initializer}

    def tensor(name: str) -> TensorFacts:
        if name in weights:
            held = numpy_helper.to_array(weights[name])
            return TensorFacts(
                name, weights[name].data_type, held.shape, "initializer", lambda: held
            )
        if name not in values:
            return TensorFacts(name, onnx.TensorProto.INT64, (), "initializer")
        dims = values[name].shape.dim
        shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in dims)
        return TensorFacts(name, values[name].elem_type, shape)

    def attributes(node: onnx.NodeProto) -> dict[str, Any]:
        read = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        return {k: v.decode() if isinstance(v, bytes) else v for k, v in read.items()}

    return [
        NodeFacts(
            op=node.op_type,
            domain=node.domain,
            name=node.name,
            scope="main",
            opset=model.opset_import[0].version,
            inputs=tuple(tensor(name) for name in node.input),
            outputs=tuple(tensor(name) for name in node.output),
            attributes=attributes(node),
        )
        for node in graph.node
    ]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, list[str]]]:
    """What the live parser says of every model, from a process of its own."""
    folder: Path = tmp_path_factory.mktemp("rtx")
    paths = {}
    for name, opset, text, _ in MODELS:
        paths[str(folder / f"{name}.onnx")] = name
        onnx.save(model_of(opset, text), folder / f"{name}.onnx")
    done = subprocess.run(
        [sys.executable, "-c", PARSER, *paths],
        capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("answers=")]
    assert lines, f"the parser ended with {done.returncode}: {done.stderr[-500:]}"
    said = json.loads(lines[-1].removeprefix("answers="))
    if not said.pop("version").startswith("1.7."):
        pytest.skip("the facts were taken from TensorRT-RTX 1.7; another release is installed")
    return {paths[path]: (taken, errors) for path, (taken, errors) in said.items()}


@pytest.mark.parametrize(
    ("name", "opset", "text", "taken"), MODELS, ids=lambda value: str(value)[:24]
)
def test_judge_agrees_with_the_parser(
    name: str,
    opset: int,
    text: str,
    taken: bool,
    answers: dict[str, tuple[bool, list[str]]],
) -> None:
    live, errors = answers[name]
    assert live is taken, errors
    verdicts = [load_target("rtx-1.7").judge(node) for node in facts_of(model_of(opset, text))]
    refused = any(verdict.status == "refused" for verdict in verdicts)
    assert refused is not taken, (errors, verdicts)
    assert all(verdict.status != "unknown" for verdict in verdicts)
