"""Models of every age and kind, cut in parts: old operator sets, other types, odd graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

import onnx_fix
from onnx_fix.errors import UsageError, VerificationError
from onnx_fix.testing import run_model

OPEN = ("Compress", "NonMaxSuppression", "NonZero", "Unique")


def kinds(result: onnx_fix.SplitResult) -> list[str]:
    return [p.kind for p in result.manifest.parts]


def part(result: onnx_fix.SplitResult, number: int) -> ModelProto:
    return onnx.load(result.folder / result.manifest.parts[number].file)


def assert_same(
    model: ModelProto, result: onnx_fix.SplitResult, feeds: dict[str, NDArray[Any]]
) -> None:
    found = onnx_fix.run_parts(result.folder, feeds)
    for have, want in zip(found.values(), run_model(model, feeds), strict=True):
        assert have.dtype == want.dtype
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("opset", [9, 11, 13, 18, 22, 25])
def test_operator_sets(tmp_path: Path, opset: int) -> None:
    ir_version = 4 if opset < 11 else 8 if opset < 20 else 11
    text = f"""<ir_version: {ir_version}, opset_import: ["" : {opset}]>
    main (float[A, B] x) => (float[K, 2] y, float[A, B] z) <float half = {{0.5}}> {{
      m = Greater (x, half)  [nz] n = NonZero (m)
      t = Transpose (n)  y = Cast <to = 1> (t)  z = Relu (x) }}"""
    model = onnx.parser.parse_model(text)
    result = onnx_fix.split(model, tmp_path / "p", target="trt-7.2")
    assert kinds(result) == ["engine", "host", "engine"] and result.ok
    for shape in ((3, 4), (1, 1), (0, 2)):
        x = np.random.default_rng(0).random(shape, dtype=np.float32)
        assert_same(model, result, {"x": x})


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float64, np.int64, np.int32, np.bool_, ml_dtypes.bfloat16]
)
def test_types_of_what_goes_between(tmp_path: Path, dtype: type[np.generic]) -> None:
    elem = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["x"], ["a"]),
            helper.make_node("Cast", ["a"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("NonZero", ["f"], ["n"], "nz"),
            helper.make_node("Transpose", ["n"], ["i"]),
            helper.make_node("GatherND", ["a", "i"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", elem, ("N",))],
        [helper.make_tensor_value_info("y", elem, ("K",))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = onnx_fix.split(model, tmp_path / "p", target="trt-10.3", at=["nz"])
    # A view of the input: nothing but the input itself and the mask goes on.
    assert [t.name for t in result.manifest.parts[-1].inputs] == ["x", "n"]
    x = np.asarray([0, 1, 0, 1, 1]).astype(dtype)
    found = onnx_fix.run_parts(result.folder, {"x": x})["y"]
    assert found.dtype == x.dtype and found.tolist() == x[[1, 3, 4]].tolist()


def cases(node_cases: list[TestCase]) -> list[TestCase]:
    return [
        c
        for c in node_cases
        if c.model is not None and any(n.op_type in OPEN for n in c.model.graph.node)
    ]


def test_the_node_tests_of_the_ops(tmp_path: Path, node_cases: list[TestCase]) -> None:
    """Every node test of an op of open size, with the op on the host: the recorded outputs."""
    ran = 0
    for case in cases(node_cases):
        assert case.model is not None
        node = next(n for n in case.model.graph.node if n.op_type in OPEN)
        at = [next(o for o in node.output if o)]
        result = onnx_fix.split(
            case.model, tmp_path / case.name, target="trt-7.2", at=at, verify=False
        )
        assert result.ok and "host" in kinds(result), case.name
        for inputs, outputs in case.data_sets or ():
            names = [v.name for v in case.model.graph.input]
            feeds = {n: np.asarray(a) for n, a in zip(names, inputs, strict=True)}
            found = onnx_fix.run_parts(result.folder, feeds)
            for have, want in zip(found.values(), outputs, strict=True):
                np.testing.assert_array_equal(have, want, err_msg=case.name)
            ran += 1
    assert ran >= 15


def test_outputs_that_a_node_leaves_out(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    main (float[N] x) => (int64[N] y) {
      a = Relu (x)  [u] v, , inverse = Unique (a)  y = Neg (inverse) }"""
    model = onnx.parser.parse_model(text)
    result = onnx_fix.split(model, tmp_path / "p", target="trt-7.2")
    assert [t.name for t in result.manifest.parts[1].outputs] == ["inverse"]
    assert_same(model, result, {"x": np.asarray([3, 1, 3, 2], np.float32)})


def test_weights_that_are_inputs_by_the_rules_of_old(tmp_path: Path) -> None:
    """Before IR version 4 every initializer is an input as well; nobody has to feed it."""
    text = """<ir_version: 3, opset_import: ["" : 9]>
    main (float[N] x) => (float[K] y) {
      a = Mul (x, gain)  [nz] n = NonZero (a)  f = Cast <to = 1> (n)
      g = Mul (f, gain)  y = Squeeze <axes = [0]> (g) }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray([2], np.float32), "gain"))
    model.graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, (1,)))
    result = onnx_fix.split(model, tmp_path / "p", target="trt-7.2")
    assert [t.name for t in result.manifest.original.inputs] == ["x"]
    assert [t.name for p in result.manifest.parts for t in p.inputs] == ["x", "a", "n"]
    assert [v.name for v in part(result, 2).graph.input] == ["n", "gain"]
    assert_same(model, result, {"x": np.asarray([3, 0, 1], np.float32)})


def test_annotations_go_with_the_weights_that_they_name(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    main (float[N] x) => (int64[R, K] y) <float scale = {2.0}, float other = {3.0}> {
      a = Relu (x)  [nz] n = NonZero (a)  y = Neg (n) }"""
    model = onnx.parser.parse_model(text)
    annotation = model.graph.quantization_annotation.add(tensor_name="a")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    result = onnx_fix.split(model, tmp_path / "p", target="trt-7.2")
    first, last = part(result, 0).graph, part(result, 2).graph
    assert list(first.quantization_annotation) == [annotation]
    assert [t.name for t in first.initializer] == ["scale"]
    assert not last.quantization_annotation and not last.initializer


def test_a_sparse_initializer(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    main (float[3] x) => (int64[R, K] y, float[3] z) {
      a = Relu (x)  [nz] n = NonZero (a)  y = Neg (n)  z = Mul (a, thin) }"""
    model = onnx.parser.parse_model(text)
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.asarray([5], np.float32), "thin"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.asarray([1]), "thin_indices"))
    sparse.dims.append(3)
    result = onnx_fix.split(model, tmp_path / "p", target="trt-7.2")
    assert list(part(result, 0).graph.sparse_initializer) == [sparse]
    assert [t.name for t in result.manifest.parts[0].inputs] == ["x"]
    assert_same(model, result, {"x": np.asarray([3, 0, 1], np.float32)})


def test_a_cut_node_that_reads_constants_alone(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    main (float[N] x) => (float[N] y) <float[3] mask = {1, 0, 1}> {
      [nz] n = NonZero (mask)  f = Cast <to = 1> (n)  s = ReduceSum <keepdims = 0> (f)
      y = Add (x, s) }"""
    model = onnx.parser.parse_model(text)
    result = onnx_fix.split(model, tmp_path / "p", target="trt-7.2", at=["nz"])
    assert kinds(result) == ["host", "engine"]
    assert result.manifest.parts[0].inputs == ()
    assert_same(model, result, {"x": np.asarray([3, 0, 1], np.float32)})


def test_bounds_and_cuts_do_not_go_together(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    main (float[N] x) => (int64[R, K] y) { a = Relu (x)  n = NonZero (a)  y = Identity (n) }"""
    (tmp_path / "p.yaml").write_text(
        "passes:\n  - pass: bound-non-zero\n    options: {max_count: {n: 5}}\n"
    )
    with pytest.raises(UsageError, match="take max_count out, or use onnx-fix fix"):
        onnx_fix.split(
            onnx.parser.parse_model(text), tmp_path / "p", target="trt-7.2",
            pipeline=tmp_path / "p.yaml",
        )  # fmt: skip


def test_refused_nodes_that_no_output_depends_on_are_no_reason_to_cut(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    main (float[N] x) => (int64[R, K] y) {
      [dead] d = NonZero (x)  a = Relu (x)  [nz] n = NonZero (a)  y = Neg (n) }"""
    (tmp_path / "p.yaml").write_text("passes: [lower-opset]\n")  # without remove-unused
    result = onnx_fix.split(
        onnx.parser.parse_model(text), tmp_path / "p", target="trt-7.2",
        pipeline=tmp_path / "p.yaml",
    )  # fmt: skip
    assert [p.nodes for p in result.manifest.parts] == [(), ("nz",), ()]
    assert result.ok and len(part(result, 0).graph.node) == 1


def test_random_numbers_are_drawn_once(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    main (float[N] x) => (float[N] y, float[N] z) {
      r = RandomUniformLike (x)  y = Identity (r)  [cut] c = Neg (x)  z = Mul (r, c) }"""
    result = onnx_fix.split(
        onnx.parser.parse_model(text), tmp_path / "p", target="trt-7.2", at=["cut"]
    )
    assert [t.name for t in result.manifest.parts[-1].inputs] == ["r", "c"]
    found = onnx_fix.run_parts(result.folder, {"x": np.ones(9, np.float32)})
    np.testing.assert_array_equal(found["z"], -found["y"])


def test_a_call_of_a_function_by_its_name(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 17, "my" : 1]>
    main (float[N] x) => (int64[R, K] y) { [call] y = my.pick (x) }
    <domain: "my", opset_import: ["" : 17]> pick (p) => (q) { a = Abs (p)  q = NonZero (a) }"""
    model = onnx.parser.parse_model(text)
    with pytest.raises(UsageError, match=r"'call' calls a local function, which is inlined; .*'y'"):
        onnx_fix.split(model, tmp_path / "p", target="trt-7.2", at=["call"])
    result = onnx_fix.split(model, tmp_path / "p", target="trt-7.2", at=["y"])
    assert kinds(result) == ["engine", "host"]


def test_names_of_sizes_that_are_not_true(tmp_path: Path) -> None:
    """An engine would hold two inputs to one size, so what the export says must be so."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    main (float[N] x) => (float[K] y, int64[K, 1] t) <int64[1] axes = {0}> {
      a = Relu (x)  [nz] n = NonZero (a)  i = Squeeze (n, axes)  y = Gather (a, i)
      t = Transpose (n) }"""
    model = onnx.parser.parse_model(text)
    model.graph.value_info.append(helper.make_tensor_value_info("n", TensorProto.INT64, (1, "N")))
    with pytest.raises(
        VerificationError, match=r"'n' goes between two parts and has shape \[1, \d+\], declared is"
    ):
        onnx_fix.split(model, tmp_path / "p", target="trt-7.2")
    assert list(tmp_path.iterdir()) == []


def test_the_target_is_that_of_the_pipeline_file(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    main (float[N] x) => (int64[R, K] y) { a = Relu (x)  n = NonZero (a)  y = Neg (n) }"""
    (tmp_path / "p.yaml").write_text(
        "target: trt-8.2\npasses: [lower-opset]\nverify: {sizes: 1, seed: 3}\n"
    )
    result = onnx_fix.split(
        onnx.parser.parse_model(text), tmp_path / "p", pipeline=tmp_path / "p.yaml"
    )
    assert result.target.name == "trt-8.2" == result.manifest.target
    assert result.verification is not None
    assert [c.seed for c in result.verification.cases] == [3]
