"""The live parser as a witness: the real TensorRT-RTX 1.7, which needs no GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.live import LiveResult, available, installed, merge, run_live
from onnx_fix.check.node_findings import node_findings
from onnx_fix.model import Model
from onnx_fix.target import load_target

pytestmark = [
    pytest.mark.rtx,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None,
        reason="tensorrt_rtx is not installed (extra `rtx`)",
    ),
]

RTX = next((p for p in installed() if p.package == "tensorrt_rtx"), None)
TARGET = "rtx-1.7"


def model_of(text: str, opset: int = 17, more: str = "", named: bool = True) -> ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}{more}]> {text}')

    def name(nodes: object) -> None:
        for i, node in enumerate(nodes):  # type: ignore[var-annotated, arg-type]
            node.name = f"{node.op_type.lower()}_{i}"
            for attribute in node.attribute:
                name(attribute.g.node)

    if named:
        name(model.graph.node)
        for function in model.functions:
            name(function.node)
    return model


def ask(model: ModelProto | Path, **options: object) -> LiveResult:
    return run_live(model, parser=RTX, **options)  # type: ignore[arg-type]


def merged(model: ModelProto, said: LiveResult, target: str = TARGET) -> list[CheckFinding]:
    chosen = load_target(target)
    return merge(list(node_findings(Model(model, None, chosen))), said, chosen)


def outline(findings: list[CheckFinding]) -> set[tuple[str, str, str, str]]:
    return {(f.code.code, f.severity.value, f.scope, f.node) for f in findings}


DYNAMIC = "g (float[N,4] x) => (float[N,4] y) { t = Relu(x) y = Softmax(t) }"
TWO_FAULTS = (
    "g (float[N,4] x) => (float[N] y, int64[M] i, float[N,4] e)"
    ' { t = Relu(x) y = Einsum<equation = "Bi->B">(t) u, i = Unique(t) e = Exp(t) }'
)
BRANCH = (
    "g (bool c, float[N,4] x) => (float[N,4] y) { r = Relu(x) y = If (c) <"
    "then_branch = tb () => (float[N,4] a) { q = Relu(r) a = Nowhere(q) }, "
    "else_branch = eb () => (float[N,4] b) { b = Tanh(r) }> }"
)
FUNCTION = (
    "g (float[N,4] x) => (float[N] y) { r = Relu(x) y = loc.f(r) } "
    '<domain: "loc", opset_import: ["" : 17]> f (a) => (o)'
    ' { q = Relu(a) o = Einsum<equation = "Bi->B">(q) }'
)


def test_is_found_without_being_imported() -> None:
    assert RTX is not None and RTX.version
    assert available(TARGET) == RTX
    script = (
        "import sys; from onnx_fix.check.live import available; available();"
        "print('tensorrt_rtx' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_good_model_is_parsed() -> None:
    said = ask(model_of(DYNAMIC))
    assert said.status == "parsed" and not said.errors
    assert said.parser.is_release(TARGET) and not said.parser.is_release("8.6")
    assert said.peak_bytes > 1 << 20 and said.seconds > 0
    assert said.taken == {("", "relu_0"), ("", "softmax_1")}
    assert not [f for f in merged(model_of(DYNAMIC), said) if f.severity is not Severity.WARNING]


def test_refused_nodes_are_named_and_agree_with_the_facts() -> None:
    model = model_of(TWO_FAULTS)
    said = ask(model)
    assert said.status == "refused"
    assert [(e.index, e.name, e.op) for e in said.errors] == [
        (1, "einsum_1", "Einsum"),
        (2, "unique_2", "Unique"),
    ]
    # Nothing follows for nodes after the first error, as for exp_3.
    assert said.taken == {("", "relu_0")}
    found = merged(model, said)
    assert not [f for f in found if f.code.code in ("OF901", "OF906", "OF907")]
    einsum = next(f for f in found if f.node == "einsum_1")
    assert (einsum.evidence, einsum.origin, einsum.severity) == ("live", "live", Severity.ERROR)
    assert einsum.message == "Invalid character(s) in Einsum equation: B,B"
    assert "onnxOpCheckers.cpp" in einsum.source and "TensorRT-RTX 1.7" in einsum.source


def test_without_facts_a_refusal_is_shown_and_the_gap_named() -> None:
    said = ask(model_of(TWO_FAULTS))
    found = outline(merge([], said, load_target(TARGET)))
    assert {("OF901", "error", "", "einsum_1"), ("OF907", "warning", "", "einsum_1")} <= found


@pytest.mark.parametrize("named", [True, False])
def test_a_node_in_a_branch_is_found(named: bool) -> None:
    model = model_of(BRANCH, named=named)
    said = ask(model)
    (error,) = said.errors
    assert error.place is not None and error.exact
    owner, node = ("if_1", "nowhere_1") if named else ("y", "a")
    assert (error.place.scope, error.place.node) == (f"{owner}/then_branch", node)
    live = [f for f in merged(model, said) if f.origin == "live" and f.blocks]
    assert [(f.scope, f.node) for f in live] == [(f"{owner}/then_branch", node)]


def test_a_node_in_a_loop_is_found() -> None:
    model = model_of(
        "g (float[N,4] x) => (float[N,4] y) <int64 n = {3}, bool t = {1}> { y = Loop(n, t, x) <"
        "body = lb (int64 i, bool c, float[N,4] a) => (bool d, float[N,4] o)"
        " { d = Identity(c) o = Nowhere(a) }> }"
    )
    (error,) = ask(model).errors
    assert error.place is not None
    assert (error.place.scope, error.place.node) == ("loop_0/body", "nowhere_1")


@pytest.mark.parametrize("named", [True, False])
def test_a_node_in_a_function_is_found(named: bool) -> None:
    (error,) = ask(model_of(FUNCTION, more=', "loc" : 1', named=named)).errors
    assert error.place is not None and error.exact
    node = "einsum_1" if named else "o"
    assert (error.place.scope, error.place.node) == ("function loc::f", node)


def test_an_unclear_node_is_told_as_the_one_around_it() -> None:
    body = "{ q = Relu(r) p = Nowhere(q) a = Nowhere(p) }"
    model = model_of(
        "g (bool c, float[N,4] x) => (float[N,4] y) { r = Relu(x) y = If (c) <"
        f"then_branch = tb () => (float[N,4] a) {body}, "
        f"else_branch = eb () => (float[N,4] b) {{ b = Tanh(r) }}> }}",
        named=False,
    )
    said = ask(model)
    (error,) = said.errors
    assert error.place is not None and error.place.node == "y" and not error.exact
    assert "OF907" not in {f.code.code for f in merged(model, said)}


def test_an_input_type_that_is_refused_has_no_node() -> None:
    model = model_of("g (int16[N] x) => (int16[N] y) { y = Identity(x) }")
    said = ask(model)
    assert said.status == "refused" and said.errors[0].place is None
    assert said.taken == frozenset()
    assert ("OF901", "error", "", "") in outline(merged(model, said))


def test_an_engine_is_built_without_a_gpu() -> None:
    said = ask(model_of(DYNAMIC), build=True, dims={"N": (1, 2, 8)})
    assert said.status == "built", said
    fixed = model_of("g (float[2,4] x) => (float[2,4] y) { y = Relu(x) }")
    assert ask(fixed, build=True, fp16=True).status == "built"


def test_a_dim_without_a_range_is_said() -> None:
    model = model_of(DYNAMIC)
    said = ask(model, build=True)
    assert said.status == "parsed"
    assert said.lacking == ("the range of N",)
    assert ("OF910", "unknown", "", "") in outline(merged(model, said))


def test_an_input_that_decides_shapes_is_said() -> None:
    model = model_of("g (float[2,4] x, int64[1] k) => (float[2,M] y) { y, i = TopK(x, k) }")
    assert ask(model, build=True).lacking == ("the values of 'k', which decides shapes",)


def test_a_failing_build_names_the_node() -> None:
    model = model_of("g (float[N,4] x) => (float[12] y) <int64[1] s = {12}> { y = Reshape(x, s) }")
    said = ask(model, build=True, dims={"N": (1, 2, 4)})
    assert said.status == "build failed"
    found = outline(merge([], said, load_target(TARGET)))
    assert ("OF902", "error", "", "reshape_0") in found
    assert ("OF907", "warning", "", "reshape_0") in found


def test_another_release_is_only_a_witness() -> None:
    model = model_of(TWO_FAULTS)
    found = merged(model, ask(model), target="trt-8.6")
    live = [f for f in found if f.origin == "live"]
    assert {f.node for f in live} == {"einsum_1", "unique_2"}
    assert all(f.severity is Severity.WARNING for f in live)
    assert all("not the release that is asked about, trt-8.6" in f.why for f in live)


def test_a_plugin_without_its_library_is_no_refusal(tmp_path: Path) -> None:
    model = model_of(
        "g (float[N,4] x, int32[N,2] i) => (float[N,2] y)"
        ' { y = trt.plugins.NobodysPlugin<axis = 1, plugin_version = "1">(x, i) }',
        more=', "trt.plugins" : 1',
    )
    found = outline(merge([], ask(model), load_target(TARGET)))
    assert found == {("OF909", "unknown", "", "nobodysplugin_0")}
    library = tmp_path / "libnothing.so"
    library.write_bytes(b"no library")
    said = ask(model, plugin_libraries=[library])
    assert [path for path, _ in said.plugins_failed] == [str(library)]
    findings = merge([], said, load_target(TARGET))
    assert any(str(library) in f.why for f in findings if f.code.code == "OF909")


@pytest.fixture
def external(tmp_path: Path) -> Path:
    weight = numpy_helper.from_array(np.ones((4, 64), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 64])],
        [weight],
    )
    opsets = [helper.make_opsetid("", 17)]
    path = tmp_path / "model.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=8),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    return path


def test_external_data_are_read_in_place(external: Path) -> None:
    assert ask(external, build=True, dims={"N": (1, 2, 3)}).status == "built"
    proto = onnx.load(external, load_external_data=False)
    assert ask(proto, base_dir=external.parent).status == "parsed"
    (external.parent / "weights.bin").unlink()
    said = ask(external)
    assert said.status == "refused" and "initializer: w" in said.errors[0].text


def test_bytes_that_are_no_model(tmp_path: Path) -> None:
    data = model_of(TWO_FAULTS).SerializeToString()
    path = tmp_path / "bad.onnx"
    hostile = [
        b"",
        b"hello",
        data[:40],
        data[:-3],
        b"\xff" * 300,
        data.replace(b"exp_3", b"\xff\xfe_3!"),
    ]
    for content in hostile:
        path.write_bytes(content)
        said = ask(path)
        assert said.status == "refused", (content[:40], said)
        codes = {f.code.code for f in merge([], said, load_target(TARGET))}
        assert "OF901" in codes


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    for name in (b"einsum_1", b"Bi->B"):
        path.write_bytes(
            model_of(TWO_FAULTS).SerializeToString().replace(name, b"\xff" * len(name))
        )
        said = ask(path)
        assert said.status == "refused"
        assert said.errors[0].place is not None


def test_disagreement_where_the_parser_takes_what_the_facts_refuse() -> None:
    model = model_of(TWO_FAULTS)
    said = ask(model)
    believed = next(f for f in merged(model, said) if f.node == "unique_2")

    def claim(node: str, op: str, severity: Severity = Severity.ERROR) -> CheckFinding:
        return CheckFinding(believed.code, severity, "so it is said", "", node=node, op=op)

    target = load_target(TARGET)
    found = merge([claim("relu_0", "Relu"), claim("exp_3", "Exp")], said, target)
    assert ("OF906", "warning", "", "relu_0") in outline(found)
    assert (believed.code.code, "error", "", "relu_0") in outline(found)
    # Behind the first error: its silence proves nothing.
    assert ("OF906", "warning", "", "exp_3") not in outline(found)
    doubt = merge([claim("relu_0", "Relu", Severity.UNKNOWN)], said, target)
    assert (believed.code.code, "warning", "", "relu_0") in outline(doubt)


def test_the_parser_does_not_contradict_facts_about_the_builder() -> None:
    text = "g (float[N,4] x) => (float[N,M] y) <int64[1] k = {2}> { y, i = TopK(x, k) }"
    model = model_of(text)
    target = load_target(TARGET)
    code = next(f.code for f in merged(model_of(TWO_FAULTS), ask(model_of(TWO_FAULTS))))
    claim = CheckFinding(code, Severity.ERROR, "k is too large", "", node="topk_0", op="TopK")
    parsed = merge([claim], ask(model), target)
    assert "OF906" not in {f.code.code for f in parsed}
    built = merge([claim], ask(model, build=True, dims={"N": (1, 2, 4)}), target)
    assert ("OF906", "warning", "", "topk_0") in outline(built)
