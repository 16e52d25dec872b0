"""Models cut at nodes that the target does not build: which parts, which tensors, same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

import onnx_fix
from onnx_fix import weights
from onnx_fix.errors import ModelError, UsageError, VerificationError
from onnx_fix.load import stored_tensors
from onnx_fix.splitting import SplitResult, job
from onnx_fix.splitting.divide import Section
from onnx_fix.splitting.extract import Extractor
from onnx_fix.splitting.manifest import Manifest, read_manifest
from onnx_fix.testing import run_model

Arrays = dict[str, NDArray[Any]]

HEAD = '<ir_version: 8, opset_import: ["" : 13]> main '
ONE = (
    HEAD
    + """(float[A, B] x) => (int64[K, 2] y, float[A, B] z)
  <float half = {0.5}> {
  a = Relu (x)  m = Greater (a, half)
  [nz] n = NonZero (m)
  y = Transpose (n)  z = Neg (a)
}"""
)
SEQUENCE = (
    HEAD
    + """(float[N] x) => (float[K] y)
  <float zero = {0.0}, float one = {1.0}, int64[1] axes = {0}> {
  m = Greater (x, zero)
  [first] n = NonZero (m)
  i = Squeeze (n, axes)
  v = Gather (x, i)
  k = Less (v, one)
  [second] o = NonZero (k)
  j = Squeeze (o, axes)
  y = Gather (v, j)
}"""
)
PARALLEL = (
    HEAD
    + """(float[N] x) => (float[K] y, float[L] w)
  <float zero = {0.0}, int64[1] axes = {0}> {
  m = Greater (x, zero)  l = Less (x, zero)
  [up] n = NonZero (m)  [down] o = NonZero (l)
  i = Squeeze (n, axes)  j = Squeeze (o, axes)
  y = Gather (x, i)  w = Gather (x, j)
}"""
)


def parsed(text: str) -> ModelProto:
    return onnx.parser.parse_model(text)


def cut(model: ModelProto | str | Path, folder: Path, **options: Any) -> SplitResult:
    """Split, for TensorRT 7.2 unless told otherwise."""
    given = parsed(model) if isinstance(model, str) else model
    return onnx_fix.split(given, folder, **{"target": "trt-7.2", **options})


def shape_of(result: SplitResult) -> list[tuple[str, tuple[str, ...], list[str], list[str]]]:
    """Kind, cut nodes, inputs and outputs of each part."""
    return [
        (p.kind, p.nodes, [t.name for t in p.inputs], [t.name for t in p.outputs])
        for p in result.manifest.parts
    ]


def part(result: SplitResult, number: int) -> ModelProto:
    path = result.folder / result.manifest.parts[number].file
    return onnx.load(path, load_external_data=False)


def ops(model: ModelProto) -> list[str]:
    return [n.op_type for n in model.graph.node]


def assert_same(model: ModelProto, result: SplitResult, feeds: Arrays) -> None:
    """The runner gives what onnxruntime makes of the original."""
    found = onnx_fix.run_parts(result.folder, feeds)
    assert list(found) == [v.name for v in model.graph.output]
    for have, want in zip(found.values(), run_model(model, feeds), strict=True):
        assert have.dtype == want.dtype and have.shape == want.shape
        np.testing.assert_array_equal(have, want)


def test_one_node(tmp_path: Path) -> None:
    model = parsed(ONE)
    copy = model.SerializeToString()
    result = cut(model, tmp_path / "parts")
    assert model.SerializeToString() == copy
    assert shape_of(result) == [
        ("engine", (), ["x"], ["z", "m"]),
        ("host", ("nz",), ["m"], ["n"]),
        ("engine", (), ["n"], ["y"]),
    ]
    assert result.ok and result.refused == []
    assert result.verification is not None and result.verification.status == "equal"
    files = {p.name for p in result.folder.iterdir()}
    assert files == {"manifest.json", *(p.file for p in result.manifest.parts)}
    assert ops(part(result, 1)) == ["NonZero"]
    # The host has the node as it was: nothing of it was rewritten.
    assert part(result, 1).opset_import[0].version == 13
    for shape in ((3, 5), (1, 1), (0, 4)):
        feeds: Arrays = {"x": np.random.default_rng(0).random(shape, dtype=np.float32)}
        assert_same(model, result, feeds)


def test_the_manifest(tmp_path: Path) -> None:
    result = cut(ONE, tmp_path / "parts")
    manifest = read_manifest(result.folder)
    assert manifest == result.manifest
    data = json.loads((result.folder / "manifest.json").read_text())
    assert data["schema_version"] == 1 and data["target"] == "trt-7.2"
    assert [p["kind"] for p in data["parts"]] == ["engine", "host", "engine"]
    (found,) = manifest.parts[1].outputs
    assert (found.dtype, found.shape, found.data_dependent) == ("int64", (2, "nz_count"), True)
    (mask,) = manifest.parts[1].inputs
    assert (mask.dtype, mask.shape, mask.data_dependent) == ("bool", ("A", "B"), False)
    y, z = manifest.original.outputs
    assert (y.name, y.shape, y.data_dependent) == ("y", ("K", 2), True)
    assert (z.name, z.shape, z.data_dependent) == ("z", ("A", "B"), False)
    assert manifest.original.inputs[0].shape == ("A", "B")
    assert manifest.verification.startswith("equal to the original in")
    schema = Manifest.model_json_schema()
    assert set(data) <= set(schema["properties"])


def test_a_sequence_of_nodes(tmp_path: Path) -> None:
    model = parsed(SEQUENCE)
    result = cut(model, tmp_path / "parts")
    assert shape_of(result) == [
        ("engine", (), ["x"], ["m"]),
        ("host", ("first",), ["m"], ["n"]),
        ("engine", (), ["x", "n"], ["v", "k"]),
        ("host", ("second",), ["k"], ["o"]),
        ("engine", (), ["v", "o"], ["y"]),
    ]
    assert result.ok
    for size in (1, 9, 40):
        assert_same(model, result, {"x": np.random.default_rng(1).normal(size=size).astype("f")})


def test_nodes_side_by_side_share_a_part(tmp_path: Path) -> None:
    model = parsed(PARALLEL)
    result = cut(model, tmp_path / "parts")
    assert shape_of(result) == [
        ("engine", (), ["x"], ["m", "l"]),
        ("host", ("up", "down"), ["m", "l"], ["n", "o"]),
        ("engine", (), ["x", "n", "o"], ["y", "w"]),
    ]
    assert_same(model, result, {"x": np.asarray([1, -1, 2, 0, -3], np.float32)})


def test_nodes_in_a_row_with_nothing_between_share_a_part(tmp_path: Path) -> None:
    text = (
        HEAD
        + """(float[N] x) => (int64[R, K] y) {
      [a] n = NonZero (x)  [b] o = NonZero (n)  y = Abs (o) }"""
    )
    result = cut(text, tmp_path / "parts")
    assert shape_of(result) == [
        ("host", ("a", "b"), ["x"], ["o"]),
        ("engine", (), ["o"], ["y"]),
    ]
    assert_same(parsed(text), result, {"x": np.asarray([1, 0, 2], np.float32)})


def test_a_cut_node_whose_result_is_an_output(tmp_path: Path) -> None:
    text = (
        HEAD
        + """(float[N] x) => (int64[R, K] n, int64[R, K] y) {
      a = Abs (x)  [nz] n = NonZero (a)  y = Neg (n) }"""
    )
    result = cut(text, tmp_path / "parts")
    assert shape_of(result) == [
        ("engine", (), ["x"], ["a"]),
        ("host", ("nz",), ["a"], ["n"]),
        ("engine", (), ["n"], ["y"]),
    ]
    # Its declaration is that of the model.
    assert part(result, 1).graph.output[0] == parsed(text).graph.output[0]
    assert_same(parsed(text), result, {"x": np.asarray([1, 0, 2], np.float32)})


def test_the_whole_model_is_one_node(tmp_path: Path) -> None:
    text = HEAD + "(float[N] x) => (int64[R, K] n) { n = NonZero (x) }"
    result = cut(text, tmp_path / "parts")
    assert shape_of(result) == [("host", ("n",), ["x"], ["n"])]
    assert_same(parsed(text), result, {"x": np.asarray([1, 0, 2], np.float32)})


def test_sizes_and_constants_are_computed_twice_rather_than_handed_over(tmp_path: Path) -> None:
    text = (
        HEAD
        + """(float[A, B] x) => (float[K] y, float[A, B] w)
      <int64 zero = {0}, int64[1] minus = {-1}, int64[1] axes = {0}> {
      c = Constant <value = float {0.25}> ()
      s = Shape (x)  h = Gather (s, zero)  hf = Cast <to = 1> (h)
      r = Relu (x)  w = Mul (r, hf)
      flat = Reshape (r, minus)
      m = Greater (flat, c)
      [nz] n = NonZero (m)  i = Squeeze (n, axes)
      g = Gather (flat, i)
      t = Mul (g, hf)  u = Add (t, c)
      y = Identity (u)
    }"""
    )
    model = parsed(text)
    result = cut(model, tmp_path / "parts")
    # hf is a size, c a constant, flat a view; only what costs a layer goes between.
    assert shape_of(result) == [
        ("engine", (), ["x"], ["w", "flat", "m"]),
        ("host", ("nz",), ["m"], ["n"]),
        ("engine", (), ["x", "flat", "n"], ["y"]),
    ]
    assert_same(model, result, {"x": np.random.default_rng(2).random((4, 6), dtype=np.float32)})


def test_a_view_is_taken_anew_where_its_data_goes_between_anyway(tmp_path: Path) -> None:
    text = (
        HEAD
        + """(float[A, B] x) => (float[K] y, float[A, B] w)
      <float half = {0.5}, int64[1] minus = {-1}, int64[1] axes = {0}> {
      r = Relu (x)
      flat = Reshape (r, minus)
      m = Greater (flat, half)
      [nz] n = NonZero (m)  i = Squeeze (n, axes)
      y = Gather (flat, i)
      k = Cast <to = 1> (i)  total = ReduceSum (k)
      w = Add (r, total)
    }"""
    )
    result = cut(text, tmp_path / "parts")
    assert shape_of(result)[0][3] == ["r", "m"]
    assert shape_of(result)[2][2] == ["r", "n"]
    x = np.random.default_rng(2).random((4, 6), dtype=np.float32)
    assert_same(parsed(text), result, {"x": x})


def test_weights_lie_where_they_are_read(tmp_path: Path) -> None:
    text = (
        HEAD
        + """(float[N, 3] x) => (float[K, 3] y)
      <float[3] early = {1, 2, 3}, float[3] late = {4, 5, 6}, float[3] both = {7, 8, 9},
       int64[1] axes = {0}, int64[1] one = {1}> {
      a = Mul (x, early)  b = Add (a, both)
      c = ReduceMax <axes = [1], keepdims = 0> (b)
      m = Cast <to = 9> (c)
      [nz] n = NonZero (m)  i = Squeeze (n, axes)
      g = Gather (b, i)  d = Mul (g, late)  y = Add (d, both)
    }"""
    )
    model = parsed(text)
    result = cut(model, tmp_path / "parts")
    held = [{t.name for t in part(result, k).graph.initializer} for k in range(3)]
    names = {"early", "late", "both"}
    assert [h & names for h in held] == [{"early", "both"}, set(), {"late", "both"}]
    between = {t.name for p in result.manifest.parts for t in p.inputs}
    assert between == {"x", "m", "b", "n"}
    assert_same(model, result, {"x": np.random.default_rng(3).normal(size=(7, 3)).astype("f")})


# -- nodes by name ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nz", "n"])
def test_a_node_by_its_name_or_by_what_it_makes(tmp_path: Path, name: str) -> None:
    # TensorRT 8.6 has NonZero, so that nothing would be cut unasked.
    with pytest.raises(UsageError, match=r"trt-8\.6 takes every node .* --at"):
        cut(ONE, tmp_path / "parts", target="trt-8.6")
    assert not (tmp_path / "parts").exists()
    result = cut(ONE, tmp_path / "parts", target="trt-8.6", at=[name])
    assert [p.kind for p in result.manifest.parts] == ["engine", "host", "engine"]


def test_what_is_left_uncut_is_told(tmp_path: Path) -> None:
    result = cut(SEQUENCE, tmp_path / "parts", at=["second"])
    assert not result.ok
    assert [(name, b.node) for name, b in result.refused] == [("part-0-engine.onnx", "first")]
    assert [p.refused for p in result.manifest.parts] == [1, 0, 0]


def test_several_by_name(tmp_path: Path) -> None:
    result = cut(SEQUENCE, tmp_path / "parts", at=["second", "first", "n"])
    assert [p.nodes for p in result.manifest.parts if p.kind == "host"] == [("first",), ("second",)]


def test_a_name_that_nobody_has(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no node called 'secnd'; did you mean second\?"):
        cut(SEQUENCE, tmp_path / "parts", at=["secnd"])
    with pytest.raises(UsageError, match=r"no node called 'zzzzzz'$"):
        cut(SEQUENCE, tmp_path / "parts", at=["zzzzzz"])
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_several_have(tmp_path: Path) -> None:
    text = SEQUENCE.replace("[second]", "[first]")
    with pytest.raises(UsageError, match=r"2 nodes are called 'first'.*'n', 'o'"):
        cut(text, tmp_path / "parts", at=["first"])
    # Tensors have one maker; and all that is refused under one name is cut at.
    for name, at in (("named", ["n", "o"]), ("unasked", [])):
        result = cut(text, tmp_path / name, at=at, verify=False)
        assert len(result.manifest.parts) == 5 and result.ok


def test_a_node_that_nobody_reads(tmp_path: Path) -> None:
    text = HEAD + "(float[N] x) => (float[N] y) { [dead] n = NonZero (x)  y = Relu (x) }"
    with pytest.raises(UsageError, match="no output of the model depends on 'dead'"):
        cut(text, tmp_path / "parts", at=["dead"])


BODY = (
    HEAD
    + """(float[N] x, bool b) => (float[K] y) {
  [branch] y = If (b) <then_branch = t () => (float[P] u) {
    [inner] n = NonZero (x)  f = Cast <to = 1> (n)  minus = Constant <value = int64[1] {-1}> ()
    u = Reshape (f, minus) },
    else_branch = e () => (float[Q] v) { v = Relu (x) }>
}"""
)


@pytest.mark.parametrize("at", [(), ("inner",), ("n",)])
def test_a_node_in_a_body_is_refused(tmp_path: Path, at: tuple[str, ...]) -> None:
    with pytest.raises(
        UsageError, match=r"in a body of If 'branch', and a body cannot be cut.*--at"
    ):
        cut(BODY, tmp_path / "parts", at=at)


def test_the_node_around_a_body_can_be_cut(tmp_path: Path) -> None:
    result = cut(BODY, tmp_path / "parts", at=["branch"])
    assert shape_of(result) == [("host", ("branch",), ["x", "b"], ["y"])]
    for b in (True, False):
        feeds: Arrays = {"x": np.asarray([1, 0, 2], np.float32), "b": np.asarray(b)}
        assert_same(parsed(BODY), result, feeds)


def test_what_a_body_reads_from_outside_goes_along(tmp_path: Path) -> None:
    text = (
        HEAD
        + """(float[N] x, bool b) => (float[P] y)
      <float[1] w = {2.0}, int64[1] axes = {0}> {
      a = Abs (x)
      [nz] n = NonZero (x)  i = Squeeze (n, axes)
      g = Gather (x, i)
      y = If (b) <then_branch = t () => (float[P] u) { s = ReduceSum (a)  u = Mul (g, s) },
                  else_branch = e () => (float[P] v) { v = Add (g, w) }>
    }"""
    )
    model = parsed(text)
    result = cut(model, tmp_path / "parts", target="trt-8.6", at=["nz"])
    assert shape_of(result)[-1][2] == ["x", "b", "a", "n"]
    assert {t.name for t in part(result, 2).graph.initializer} >= {"w"}
    for b in (True, False):
        assert_same(model, result, {"x": np.asarray([1, 0, -2], np.float32), "b": np.asarray(b)})


# -- what is refused is found --------------------------------------------------------------------


def test_a_node_that_a_pass_has_made_of_another(tmp_path: Path) -> None:
    """Compress becomes NonZero and Gather, of which the first is refused: Compress is cut at."""
    text = (
        HEAD
        + """(float[N] x, bool[N] c) => (float[K] y) {
      a = Relu (x)  [squash] s = Compress <axis = 0> (a, c)  y = Neg (s) }"""
    )
    result = cut(text, tmp_path / "parts")
    assert [p.nodes for p in result.manifest.parts] == [(), ("squash",), ()]
    assert ops(part(result, 1)) == ["Compress"]
    feeds: Arrays = {"x": np.arange(4, dtype=np.float32), "c": np.asarray([1, 0, 1, 1], bool)}
    assert_same(parsed(text), result, feeds)


@pytest.mark.parametrize(
    ("text", "op"),
    [
        (
            HEAD + "(float[N] x) => (float[K] y) { a = Relu (x)  u = Unique <axis = 0> (a) "
            " y = Neg (u) }",
            "Unique",
        ),
        (
            HEAD
            + """(float[1, N, 4] b, float[1, 1, N] s) => (int64[K, 3] y)
              <int64[1] most = {5}, float[1] iou = {0.5}> {
              p = Relu (s)  k = NonMaxSuppression (b, p, most, iou)  y = Neg (k) }""",
            "NonMaxSuppression",
        ),
    ],
)
def test_other_nodes_of_data_dependent_size(tmp_path: Path, text: str, op: str) -> None:
    model = parsed(text)
    result = cut(model, tmp_path / "parts", at=["u" if op == "Unique" else "k"])
    assert [p.kind for p in result.manifest.parts] == ["engine", "host", "engine"]
    assert ops(part(result, 1)) == [op]
    # Constants of the cut node go with it.
    held = [t.name for t in part(result, 1).graph.initializer]
    assert held == (["most", "iou"] if op == "NonMaxSuppression" else [])
    assert result.manifest.parts[1].outputs[0].data_dependent


def test_a_constant_node_goes_along_with_the_cut_node(tmp_path: Path) -> None:
    text = (
        HEAD
        + """(float[1, N, 4] b, float[1, 1, N] s) => (int64[K, 3] y) {
      most = Constant <value = int64[1] {5}> ()  f = Constant <value = float[1] {0.5}> ()
      p = Relu (s)  k = NonMaxSuppression (b, p, most, f)  y = Neg (k) }"""
    )
    result = cut(text, tmp_path / "parts", at=["k"])
    assert shape_of(result)[1][2] == ["b", "p"]
    assert ops(part(result, 1)) == ["Constant", "Constant", "NonMaxSuppression"]


def test_nodes_of_functions_are_cut_at(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "my" : 1]>
    main (float[N] x) => (float[K] y) { a = Relu (x)  [call] y = my.pick (a) }
    <domain: "my", opset_import: ["" : 17]>
    pick (p) => (q) {
      axes = Constant <value = int64[1] {0}> ()
      n = NonZero (p)  i = Squeeze (n, axes)  q = Gather (p, i) }"""
    model = parsed(text)
    result = cut(model, tmp_path / "parts")
    assert [p.kind for p in result.manifest.parts] == ["engine", "host", "engine"]
    assert ops(part(result, 1)) == ["NonZero"]
    assert not any(part(result, k).functions for k in range(3))
    assert_same(model, result, {"x": np.asarray([1, 0, 2], np.float32)})


def test_too_many_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "MOST_CUTS", 1)
    with pytest.raises(UsageError, match=r"refuses 2 nodes .*first, second.*--at"):
        cut(SEQUENCE, tmp_path / "parts")


# -- what is kept ----------------------------------------------------------------------------------


def test_metadata_and_symbols_are_kept(tmp_path: Path) -> None:
    model = parsed(ONE)
    model.producer_name, model.doc_string, model.graph.name = "me", "mine", "net"
    helper.set_model_props(model, {"classes": "2"})
    model.graph.input[0].doc_string = "an image"
    result = cut(model, tmp_path / "parts")
    for number in range(3):
        made = part(result, number)
        assert (made.producer_name, made.doc_string, made.graph.name) == ("me", "mine", "net")
        assert {p.key: p.value for p in made.metadata_props} == {"classes": "2"}
    assert part(result, 0).graph.input[0] == model.graph.input[0]
    assert part(result, 2).graph.output[0] == model.graph.output[0]


def test_a_name_for_sizes_that_the_model_has_itself_is_kept(tmp_path: Path) -> None:
    model = parsed(ONE)
    model.graph.value_info.append(
        helper.make_tensor_value_info("n", TensorProto.INT64, (2, "points"))
    )
    result = cut(model, tmp_path / "parts")
    assert result.manifest.parts[1].outputs[0].shape == (2, "points")


def test_new_symbols_do_not_collide(tmp_path: Path) -> None:
    result = cut(ONE.replace("[A, B]", "[nz_count, B]"), tmp_path / "parts")
    assert result.manifest.parts[1].outputs[0].shape == (2, "nz_count_2")


def test_an_initializer_that_a_caller_may_feed(tmp_path: Path) -> None:
    model = parsed(ONE.replace("m = Greater (a, half)", "b = Mul (a, gain)  m = Greater (b, half)"))
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(2, np.float32), "gain"))
    model.graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, ()))
    result = cut(model, tmp_path / "parts")
    gain = result.manifest.original.inputs[1]
    assert (gain.name, gain.has_default) == ("gain", True)
    x = np.random.default_rng(0).random((3, 5), dtype=np.float32)
    assert_same(model, result, {"x": x})
    assert_same(model, result, {"x": x, "gain": np.asarray(9, np.float32)})


def test_outputs_that_no_node_makes(tmp_path: Path) -> None:
    model = parsed(ONE)
    model.graph.output.extend(
        [
            helper.make_tensor_value_info("half", TensorProto.FLOAT, ()),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ("A", "B")),
        ]
    )
    result = cut(model, tmp_path / "parts")
    assert_same(model, result, {"x": np.random.default_rng(0).random((3, 5), dtype=np.float32)})


def external(model: ModelProto, folder: Path, location: str = "sub/w.data") -> Path:
    """Write a model with its float weights in a file of their own."""
    blob = b""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            raw = numpy_helper.to_array(tensor).tobytes()
            for field in ("float_data", "raw_data"):
                tensor.ClearField(field)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", location), ("offset", len(blob)), ("length", len(raw))):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, str(value)
            blob += raw
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    (folder / location).write_bytes(blob)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


LARGE = 70_000
"""Elements of a weight that nobody reads without being asked."""

WEIGHTY = (
    HEAD
    + """(float[N, 3] x) => (float[K, 3] y)
  <float[3] early = {1, 2, 3}, float[3] late = {4, 5, 6}, int64[1] axes = {0}> {
  b = Mul (x, early)
  c = ReduceMax <axes = [1], keepdims = 0> (b)
  m = Cast <to = 9> (c)
  [nz] n = NonZero (m)  i = Squeeze (n, axes)
  g = Gather (b, i)  y = Mul (g, late)
}"""
)


def test_external_weights_stay_external(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = parsed(WEIGHTY.replace(", 3]", f", {LARGE}]").replace("t[3]", f"t[{LARGE}]"))
    for weight in model.graph.initializer[:2]:
        value = np.random.default_rng(0).normal(size=LARGE).astype("f")
        weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    whole = ModelProto.FromString(model.SerializeToString())
    path = external(model, tmp_path)
    read: list[str] = []
    plain = weights.read_tensor

    def watched(tensor: TensorProto, base_dir: Path | None) -> NDArray[np.generic]:
        read.append(tensor.name)
        return plain(tensor, base_dir)

    monkeypatch.setattr(weights, "read_tensor", watched)
    result = cut(path, tmp_path / "parts")
    assert "early" not in read and "late" not in read
    assert result.manifest.external_data == ("sub/w.data",)
    assert (result.folder / "sub/w.data").read_bytes() == (tmp_path / "sub/w.data").read_bytes()
    for number, name in ((0, "early"), (2, "late")):
        (weight,) = (
            t for t in stored_tensors(part(result, number)) if t.data_location == t.EXTERNAL
        )
        assert weight.name == name
    x = np.random.default_rng(3).normal(size=(2, LARGE)).astype("f")
    assert_same(whole, result, {"x": x})


def test_external_weights_of_a_model_in_memory(tmp_path: Path) -> None:
    path = external(parsed(WEIGHTY), tmp_path)
    model = onnx.load(path, load_external_data=False)
    with pytest.raises(ModelError, match="keeps weights in other files"):
        cut(model, tmp_path / "parts")
    result = cut(model, tmp_path / "parts", base_dir=tmp_path)
    assert_same(parsed(WEIGHTY), result, {"x": np.ones((2, 3), np.float32)})


def test_weights_in_a_file_with_the_name_of_a_part(tmp_path: Path) -> None:
    result = cut(external(parsed(WEIGHTY), tmp_path, "part-0-engine.onnx"), tmp_path / "parts")
    assert result.manifest.parts[0].file == "part_-0-engine.onnx"
    assert_same(parsed(WEIGHTY), result, {"x": np.ones((2, 3), np.float32)})
    with pytest.raises(UsageError, match=r"keeps weights in manifest\.json"):
        cut(external(parsed(WEIGHTY), tmp_path, "manifest.json"), tmp_path / "more")


def test_a_tensor_of_unknown_rank_cannot_go_between(tmp_path: Path) -> None:
    text = (
        HEAD
        + """(float[N] x, int64[R] s) => (float[K] y) <int64[1] minus = {-1}> {
      a = Reshape (x, s)  [cut] b = Relu (a)  y = Reshape (b, minus) }"""
    )
    with pytest.raises(UsageError, match=r"'a', which Reshape 'a' makes, .* rank is not known"):
        cut(text, tmp_path / "parts", at=["cut"])


def test_a_sequence_cannot_go_between(tmp_path: Path) -> None:
    text = (
        HEAD
        + """(float[4] x) => (float[M] y) <int64 zero = {0}> {
      s = SplitToSequence (x)  [cut] t = SequenceAt (s, zero)  y = Relu (t) }"""
    )
    with pytest.raises(UsageError, match=r"'s', which SplitToSequence .*\(or it is no tensor\)"):
        cut(text, tmp_path / "parts", at=["cut"])


# -- nothing wrong is written --------------------------------------------------------------------


def test_other_numbers_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Extractor.model

    def spoilt(self: Extractor, section: Section) -> ModelProto:
        made = honest(self, section)
        for node in made.graph.node:
            if node.op_type == "Neg":
                node.op_type = "Abs"
        return made

    monkeypatch.setattr(Extractor, "model", spoilt)
    with pytest.raises(VerificationError, match=r"output 'z'.*\n.*before they are fixed"):
        cut(ONE, tmp_path / "parts")
    assert list(tmp_path.iterdir()) == []


def test_the_guilty_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from dataclasses import dataclass\n"
        "from onnx_fix import Emitter, Pass\n"
        "@dataclass(frozen=True)\n"
        "class NegToAbs(Pass):\n"
        '    """Wrong on purpose."""\n'
        "    def sites(self, scope):\n"
        '        for node in scope.nodes("Neg"):\n'
        "            emit = Emitter(scope)\n"
        '            yield emit.rewrite(node, emit("Abs", node.inputs[0]))\n'
    )
    (tmp_path / "p.yaml").write_text("custom: [wrong.py]\npasses: [neg-to-abs]\n")
    text = ONE.replace("y = Transpose (n)", "o = Neg (n)  y = Transpose (o)").replace(
        "z = Neg (a)", "z = Relu (a)"
    )
    with pytest.raises(VerificationError, match="the first guilty one is part 2, by its fix"):
        cut(text, tmp_path / "parts", pipeline=tmp_path / "p.yaml")
    assert not (tmp_path / "parts").exists()
    result = cut(text, tmp_path / "parts", pipeline=tmp_path / "p.yaml", verify=False)
    assert result.verification is None and result.manifest.verification == "not verified, as asked"


def test_nothing_to_compare_writes_nothing(tmp_path: Path, fixtures: Path) -> None:
    model = fixtures / "superpoint_points.legacy17.onnx"
    with pytest.raises(VerificationError, match=r"the original does not run(.|\n)*--no-verify"):
        cut(model, tmp_path / "parts")
    assert list(tmp_path.iterdir()) == []


# -- exports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_an_export_with_data_dependent_keypoints(
    tmp_path: Path, fixtures: Path, target: str
) -> None:
    result = cut(fixtures / "superpoint_points.dynamo18.onnx", tmp_path / "parts", target=target)
    assert result.ok and result.refused == []
    assert [p.kind for p in result.manifest.parts] == ["engine", "host"] * 2 + ["engine"]
    assert result.verification is not None and result.verification.status == "equal"
    # Between the first and the rest: the map of scores, the mask and the map of descriptors.
    assert len(result.manifest.parts[0].outputs) == 3


def test_an_invalid_export_with_another_one_as_reference(tmp_path: Path, fixtures: Path) -> None:
    """Its ranks are known from the fix alone; it is right at the size that it was exported at."""
    feeds = tmp_path / "feeds"
    feeds.mkdir()
    for seed in range(2):
        image = np.random.default_rng(seed).random((1, 1, 96, 128), dtype=np.float32)
        np.savez(feeds / f"{seed}.npz", image=image)
    result = cut(
        fixtures / "superpoint_points.legacy17.onnx",
        tmp_path / "parts",
        inputs=feeds,
        reference=fixtures / "superpoint_points.dynamo18.onnx",
    )
    assert result.ok
    assert [p.nodes for p in result.manifest.parts if p.kind == "host"] == [
        ("/keypoint_decoder/NonZero",),
        ("/keypoint_decoder/NonZero_1", "/keypoint_decoder/NonZero_2"),
    ]
    (found,) = result.manifest.parts[1].outputs
    assert found.shape == (2, "keypoint_decoder_NonZero_count")


# -- any graph, cut anywhere -----------------------------------------------------------------------

_UNARY = ("Relu", "Neg", "Abs", "Identity", "Unsqueeze", "Squeeze", "Sizes")


@st.composite
def graphs(draw: st.DrawFn) -> tuple[ModelProto, list[str]]:
    """Nodes on vectors of one length (now and then of another rank), and some of them to cut at."""
    count = draw(st.integers(1, 9))
    vectors, nodes = ["x", "w"], []
    for k in range(count):
        op = draw(st.sampled_from((*_UNARY, "Add", "Mul", "Sub")))
        a, b = (draw(st.sampled_from(vectors)) for _ in range(2))
        out = f"t{k}"
        if op == "Sizes":
            nodes += [
                helper.make_node("Shape", [a], [f"s{k}"]),
                helper.make_node("Cast", [f"s{k}"], [f"f{k}"], to=TensorProto.FLOAT),
                helper.make_node("Add", [b, f"f{k}"], [out]),
            ]
        elif op in ("Unsqueeze", "Squeeze"):
            nodes += [
                helper.make_node("Unsqueeze", [a, "axis"], [f"u{k}"]),
                helper.make_node("Squeeze", [f"u{k}", "axis"], [out]),
            ]
        else:
            nodes.append(helper.make_node(op, [a] if op in _UNARY else [a, b], [out]))
        vectors.append(out)
    ends = draw(st.lists(st.sampled_from(vectors[2:]), min_size=1, max_size=3, unique=True))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N",))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("N",)) for n in ends],
        [
            numpy_helper.from_array(np.asarray([2.5], np.float32), "w"),
            numpy_helper.from_array(np.asarray([0], np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    needed, live = set(ends), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            live.append(node.output[0])
    return model, draw(st.lists(st.sampled_from(live), min_size=1, max_size=3, unique=True))


@settings(deadline=None, max_examples=30)
@given(graphs())
def test_any_graph_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[ModelProto, list[str]]
) -> None:
    model, at = case
    # Where x alone is read, outputs have its length; [2.5] alone gives length 1.
    result = cut(model, tmp_path_factory.mktemp("any") / "parts", at=at, target="trt-8.6",
                 verify=False)  # fmt: skip
    hosts = [n for p in result.manifest.parts if p.kind == "host" for n in p.nodes]
    assert sorted(hosts) == sorted(at)
    made = {"x"}
    for number, entry in enumerate(result.manifest.parts):
        assert {t.name for t in entry.inputs} <= made
        given = {t.name for t in entry.outputs}
        assert not given & made, "two parts give the same tensor"
        made |= given
        if entry.kind == "host":
            cut_ops = [n for n in part(result, number).graph.node if n.output[0] in at]
            assert len(cut_ops) == len(entry.nodes)
    for size in (1, 4):
        assert_same(model, result, {"x": np.linspace(-2, 3, size, dtype=np.float32)})
