"""Nothing the user had is lost, and what is known of a model is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper

from onnx_fix.contract import Pass, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.engine import Engine, Step
from onnx_fix.errors import ModelError
from onnx_fix.load import check_loaded, load_proto
from onnx_fix.model import Model
from onnx_fix.scope import Scope
from onnx_fix.sign import FROM_KEY, PASS_KEY
from onnx_fix.target import load_target


@dataclass(frozen=True)
class RespellNode(Pass):
    """Replaces one node by a copy of itself, which is the smallest possible rewrite."""

    index: int = 0

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        nodes = [n for n in scope.graph.nodes if scope.nodes_alive(n)]
        if scope.kind != "main" or self.index >= len(nodes):
            return
        node = nodes[self.index]
        if any(not isinstance(v, int | float | str) for v in node.attrs.values()):
            return
        emit = Emitter(scope)
        outputs = emit.many(
            node.op,
            len(node.outputs),
            *(t if t.name else None for t in node.inputs),
            domain=node.domain or "",
            **node.attrs,
        )
        pairs = [(a, b) for a, b in zip(node.outputs, outputs, strict=True) if a.name]
        if len(pairs) == len(node.outputs) and all(t.name for t in node.inputs):
            yield emit.rewrite(node, pairs)


def model_of(proto: ModelProto, base_dir: Path | None = None) -> Model:
    return Model(proto, base_dir, load_target("trt-8.6"))


def everything_else_equal(before: ModelProto, after: ModelProto, index: int) -> None:
    """After a rewrite of main node ``index`` every other field is as it was."""
    copy = ModelProto()
    copy.CopyFrom(after)
    node = copy.graph.node[index]
    original = before.graph.node[index]
    if before.ir_version >= 10:
        keys = [p.key for p in node.metadata_props]
        assert PASS_KEY in keys and FROM_KEY in keys
        kept = [p for p in node.metadata_props if p.key not in (PASS_KEY, FROM_KEY)]
        assert kept == list(original.metadata_props)
    else:
        assert PASS_KEY in node.doc_string and node.doc_string.startswith(original.doc_string)
    assert (node.op_type, node.domain) == (original.op_type, original.domain)
    assert list(node.output) == list(original.output)
    assert list(node.input) == list(original.input)
    node.CopyFrom(original)
    assert copy == before


def shipped_models() -> list[Path]:
    return sorted((Path(onnx.__file__).parent / "backend/test/data").rglob("*.onnx"))


def test_load_and_save_gives_an_equal_model(node_models: dict[str, ModelProto]) -> None:
    assert len(node_models) > 1000
    for name, proto in node_models.items():
        model = model_of(proto)
        assert model.to_proto() == proto, name
        assert model.skeleton(limit=2**62) == proto, name


def test_after_a_rewrite_of_one_node_everything_else_is_equal(
    node_models: dict[str, ModelProto],
) -> None:
    rewritten = 0
    for proto in node_models.values():
        index = min(1, len(proto.graph.node) - 1)
        model = model_of(proto)
        results = Engine(model).run([Step(RespellNode(index))], rounds=1)
        if results[0].changes:
            rewritten += 1
            everything_else_equal(proto, model.to_proto(), index)
    assert rewritten > 500


def test_models_on_disk_survive_too(fixtures: Path) -> None:
    paths = [*shipped_models(), *fixtures.glob("*.onnx")]
    assert len(paths) > 100
    for path in paths:
        proto = load_proto(path)
        model = model_of(proto, path.parent)
        assert model.to_proto() == proto, path.name
        Engine(model).run([Step(RespellNode(0))], rounds=1)
        after = model.to_proto()
        if after != proto:
            everything_else_equal(proto, after, 0)


def full_model() -> ModelProto:
    """A model that uses what GraphSurgeon's own import and export would lose."""
    text = """
    <ir_version: 10, opset_import: ["" : 19, "my" : 1], domain: "user.domain", model_version: 7,
     doc_string: "about the model", metadata_props: ["author": "somebody"]>
    main (float[N, 3] x) => (float[N, 3] y, float[N, 3] z) <float[3] w = {1, 2, 3}>
    {
      a = Add (x, w)
      y = my.twice:one (a)
      z = my.twice:two (a)
    }
    <domain: "my", overload: "one", opset_import: ["" : 19]>
    twice (a) => (b) { b = Add (a, a) }
    <domain: "my", overload: "two", opset_import: ["" : 19]>
    twice (a) => (b) { b = Mul (a, a) }
    """
    proto = onnx.parser.parse_model(text)
    graph = proto.graph
    graph.doc_string = "about the graph"
    helper.set_metadata_props(graph, {"graph": "meta"})
    helper.set_metadata_props(graph.node[1], {"node": "meta"})
    graph.node[1].doc_string = "about the node"
    for overload, function in zip(("one", "two"), proto.functions, strict=True):
        function.overload = overload
        helper.set_metadata_props(function, {"function": overload})
        function.value_info.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, ["N", 3]))
    for node, overload in zip(graph.node[1:], ("one", "two"), strict=True):
        node.op_type, node.overload = "twice", overload
    graph.input[0].doc_string = "about x"
    graph.input[0].type.denotation = "IMAGE"
    graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["N", 3]))
    annotation = graph.quantization_annotation.add()
    annotation.tensor_name = "a"
    entry = annotation.quant_parameter_tensor_names.add()
    entry.key, entry.value = "SCALE_TENSOR", "w"
    odd = graph.node[0].attribute
    odd.append(helper.make_attribute("empty", [], attr_type=AttributeProto.INTS))
    odd.append(helper.make_attribute("tensors", [helper.make_tensor("t", 1, [1], [2.0])]))
    odd.append(helper.make_attribute("type", helper.make_tensor_type_proto(1, ["N"])))
    odd.append(
        helper.make_attribute("graphs", [GraphProto(name="inner"), GraphProto(name="other")])
    )
    return proto


def test_what_graphsurgeon_would_lose_is_kept() -> None:
    proto = full_model()
    before = proto.SerializeToString(deterministic=True)
    model = model_of(proto)
    assert model.to_proto() == proto
    Engine(model).run([Step(RespellNode(1))], rounds=1)
    after = model.to_proto()
    after.graph.node[1].CopyFrom(proto.graph.node[1])
    assert after == proto
    assert proto.SerializeToString(deterministic=True) == before, "the argument was changed"


def test_overloads_are_scopes_of_their_own() -> None:
    paths = [s.path for s in model_of(full_model()).scopes if s.kind == "function"]
    assert paths == ["function my::twice:one", "function my::twice:two"]


def test_subgraphs_see_outer_tensors_by_identity() -> None:
    model = model_of(
        onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        main (bool c, float[N] x) => (float[N] y) {
          y = If (c) <
            then_branch = one () => (float[N] t) { t = Neg (x) },
            else_branch = two () => (float[N] e) { e = Abs (x) }
          >
        }""")
    )
    paths = [s.path for s in model.scopes]
    assert paths == ["", "y/then_branch", "y/else_branch"]
    x = model.main.tensors["x"]
    assert [n.op for n in model.consumers(x)] == ["Neg", "Abs"]
    assert model.main.shape(model.scopes[1].tensors["t"]) == ("N",)


def test_shapes_reach_through_reshape_to_an_assembled_shape() -> None:
    model = model_of(
        onnx.parser.parse_model("""
        <ir_version: 7, opset_import: ["" : 13]>
        main (float[B, 256, N] x) => (float[a, b, c, d] y) <int64 one = {1}, int64[1] zero = {0},
              int64[2] parts = {64, 4}, int64[1] rest = {-1}>
        {
          s = Shape (x)
          b = Gather <axis = 0> (s, zero)
          to = Concat <axis = 0> (b, parts, rest)
          r = Reshape (x, to)
          y = Neg (r)
        }""")
    )
    assert model.main.shape(model.main.tensors["r"]) == ("B", 64, 4, "N")
    assert model.main.rank(model.main.tensors["y"]) == 4


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("y = Neg (missing)", "'missing', read by Neg 'y'"),
        ("a = Neg (b)  b = Neg (a)  y = Neg (b)", "'b', read by Neg 'a'"),
        ("y = Neg (x)  y = Abs (x)", "'y' is made twice"),
    ],
)
def test_graphs_that_are_none_are_refused_by_name(body: str, what: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    main (float[2] x) => (float[2] y) {{ {body} }}"""
    with pytest.raises(ModelError, match=what):
        model_of(onnx.parser.parse_model(text))


def tiny() -> ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> main (float[2] x) => (float[2] y) { y = Neg (x) }'
    )


def test_models_from_the_future_are_refused() -> None:
    proto = tiny()
    proto.ir_version = 99
    with pytest.raises(ModelError, match="IR version 99"):
        check_loaded(proto, "m")
    proto = tiny()
    proto.opset_import[0].version = 999
    with pytest.raises(ModelError, match="opset 999"):
        check_loaded(proto, "m")
    with pytest.raises(ModelError, match="not an ONNX model"):
        check_loaded(ModelProto(), "m")


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file\n", b"\x08\x08\x3a\xff"])
def test_files_that_are_no_models_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=str(path)):
        load_proto(path)


def external(tmp_path: Path, location: str) -> ModelProto:
    proto = tiny()
    w = proto.graph.initializer.add()
    w.name, w.data_type, w.data_location = "w", TensorProto.FLOAT, TensorProto.EXTERNAL
    w.dims.extend([2])
    entry = w.external_data.add()
    entry.key, entry.value = "location", location
    proto.graph.node.append(helper.make_node("Add", ["x", "w"], ["z"]))
    return proto


def test_one_external_tensor_is_read_on_demand(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.asarray([3, 4], np.float32).tobytes())
    model = model_of(external(tmp_path, "w.bin"), tmp_path)
    value = model.main.constant(model.main.tensors["w"])
    assert value is not None and value.tolist() == [3, 4]


def test_a_look_at_the_values_does_not_change_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.asarray([3, 4], np.float32).tobytes())
    proto = external(tmp_path, "w.bin")
    model = model_of(proto, tmp_path)
    assert model.main.tensors["w"].values.tolist() == [3, 4]
    assert model.to_proto() == proto


def test_no_weights_are_read_unasked(tmp_path: Path) -> None:
    proto = external(tmp_path, "missing.bin")
    model = model_of(proto, tmp_path)
    assert model.main.shape(model.main.tensors["z"]) == (2,)
    assert model.to_proto() == proto


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "C:\\w.bin"])
def test_locations_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    model = model_of(external(tmp_path, location), tmp_path)
    with pytest.raises(ModelError, match="outside the model's folder"):
        model.main.constant(model.main.tensors["w"])


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(8))
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "w.bin").symlink_to(tmp_path / "secret")
    model = model_of(external(inner, "w.bin"), inner)
    with pytest.raises(ModelError, match="outside the model's folder"):
        model.main.constant(model.main.tensors["w"])


def test_a_truncated_data_file_is_refused(tmp_path: Path) -> None:
    proto = external(tmp_path, "w.bin")
    entry = proto.graph.initializer[0].external_data.add()
    entry.key, entry.value = "length", "8"
    (tmp_path / "w.bin").write_bytes(bytes(4))
    model = model_of(proto, tmp_path)
    with pytest.raises(ModelError, match="truncated"):
        model.main.constant(model.main.tensors["w"])


def test_constness() -> None:
    model = model_of(
        onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        main (float[2, N] x, float[4] st) => (float[2, N] y) <float[2] w = {1, 2}>
        {
          c = Constant <value = float {2.0}> ()
          f = Add (w, c)
          s = Shape (x)
          t = Shape (st)
          r = RandomNormal <shape = [2]> ()
          y = Add (x, c)
        }""")
    )
    kinds = {n: model.constness(t) for n, t in model.main.tensors.items()}
    assert kinds["w"] == kinds["c"] == "initializer"
    assert kinds["f"] == kinds["t"] == "foldable"
    assert kinds["s"] == kinds["r"] == kinds["y"] == kinds["x"] == "runtime"
    folded = model.folded(model.main.tensors["f"])
    assert folded is not None and folded.tolist() == [3, 4]
    shape = model.folded(model.main.tensors["t"])
    assert shape is not None and shape.tolist() == [4]


def test_an_initializer_that_a_caller_may_feed_is_no_constant() -> None:
    proto = tiny()
    proto.graph.initializer.append(helper.make_tensor("x", TensorProto.FLOAT, [2], [1.0, 2.0]))
    model = model_of(proto)
    assert model.main.constant(model.main.tensors["x"]) is None
    proto.ir_version = 3
    model = model_of(proto)
    assert model.main.constant(model.main.tensors["x"]) is not None


def test_node_protos_are_not_shared_with_the_argument() -> None:
    proto = tiny()
    copy = model_of(proto).to_proto()
    copy.graph.node[0].op_type = "Abs"
    assert proto.graph.node[0].op_type == "Neg"
