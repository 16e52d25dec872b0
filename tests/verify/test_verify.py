"""Two models on the same feeds: what is called equal, a difference, or no evidence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.parser import parse_function, parse_model

from onnx_fix.errors import ModelError, UsageError
from onnx_fix.verify import OracleChoice, verify
from onnx_fix.verify import runner as runner_module
from onnx_fix.verify.source import with_bodies


def model(body: str, opset: int = 18, ir: int = 8, more: str = "") -> onnx.ModelProto:
    return parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}{more}]> g {body}')


NEGATE = "(float[N,M] x) => (float[a,b] y) { y = Neg (x) }"


def test_equal_models_are_equal_at_every_size() -> None:
    other = model("(float[N,M] x) => (float[a,b] y) { t = Transpose (x) n = Neg (t)"
                  " y = Transpose (n) }")  # fmt: skip
    result = verify(model(NEGATE), other, dims={"M": (2, 4, 6)})
    assert (result.status, result.ok, result.evidence) == ("equal", True, 6)
    assert result.reason == ""
    assert result.worst is not None and result.worst.max_abs == 0
    assert {case.oracle for case in result.cases} == {"onnxruntime"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("(float[N,M] x) => (float[a,b] y) { y = Abs (x) }", "n_mismatched"),
        (
            "(float[N,M] x) => (float[a,b] y) <float z = {0}>"
            "{ n = Neg (x) q = Div (z, z) o = Mul (q, n) y = Add (n, o) }",
            "nan_equal",
        ),
        (
            "(float[N,M] x) => (float[a,b] y) <float z = {0}, float one = {1}>"
            "{ q = Div (one, z) y = Mul (q, x) }",
            "inf_equal",
        ),
        ("(float[N,M] x) => (double[a,b] y) { n = Neg (x) y = Cast <to=11> (n) }", "dtype_equal"),
        ("(float[N,M] x) => (float[b,a] y) { n = Neg (x) y = Transpose (n) }", "shape_equal"),
    ],
)
def test_each_kind_of_difference_is_found(body: str, field: str) -> None:
    result = verify(model(NEGATE), model(body), sizes=1)
    assert result.status == "differs" and not result.ok
    (comparison,) = result.cases[0].comparisons
    assert bool(getattr(comparison, field)) is (field == "n_mismatched")
    assert "output 'y'" in result.reason
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_transposed_dim_cannot_hide_behind_equal_sizes() -> None:
    right = model("(float[N,M] x) => (float[a] y) <int64[1] m = {-1}> { y = Reshape (x, m) }")
    wrong = model("(float[N,M] x) => (float[a] y) <int64[1] m = {-1}>"
                  " { t = Transpose (x) y = Reshape (t, m) }")  # fmt: skip
    assert verify(right, wrong, sizes=1).status == "differs"


def test_a_size_the_original_does_not_run_at_is_no_evidence() -> None:
    # The reshape takes rows in pairs, so one row is too few and odd numbers do not fit.
    body = "(float[N,3] x) => (float[a,b] y) <int64[2] s = {-1,6}> { y = Reshape (x, s) }"
    result = verify(model(body), model(body))
    assert [case.status for case in result.cases] == ["equal", "equal", "original failed"]
    assert (result.status, result.evidence) == ("equal", 2)
    assert result.cases[0].sizes["N"] % 2 == 0 and result.cases[0].tries > 1
    assert "Reshape" in result.cases[2].message


@pytest.mark.parametrize(
    "body",
    [
        "(float[N,M] x, float[K,M] z) => (float[a,b] y) { y = Add (x, z) }",
        "(float[N] x) => (float[a,b] y) <int64[2] s = {3,4}> { y = Reshape (x, s) }",
        "(float[N,3,H,W] x) => (float[N,6] y) <int64[2] s = {0,150528}, float[150528,6] w = {0}>"
        "{ f = Reshape (x, s) y = MatMul (f, w) }",
        "(float[a] x, float[b] z) => (float[n] y) { y = Add (x, z) }",
    ],
    ids=["equal first axes", "frozen", "image", "all equal"],
)
def test_sizes_at_which_an_awkward_original_runs_are_found(body: str) -> None:
    built = model(body)
    for weights in built.graph.initializer:
        if weights.name == "w":
            zeros = np.zeros(tuple(weights.dims), np.float32)
            weights.CopyFrom(numpy_helper.from_array(zeros, "w"))
    if "12" in body or "{3,4}" in body:
        # The exporter left the size it froze in an output shape.
        built.graph.initializer.append(numpy_helper.from_array(np.array([12]), "frozen"))
    result = verify(built, built, sizes=2)
    assert result.evidence == 2, result.reason
    assert result.cases[1].tries <= 2


def test_a_fixed_model_that_fails_where_the_original_ran_differs() -> None:
    frozen = model("(float[N,M] x) => (float[a,b] y) <int64[2] s = {7,11}>"
                   " { n = Neg (x) y = Reshape (n, s) }")  # fmt: skip
    result = verify(model(NEGATE), frozen)
    assert result.status == "differs"
    assert "fixed failed" in {case.status for case in result.cases}
    broken = model("(float[N,M] x) => (float[a,b] y) { y = MaxPool <kernel_shape=[1,1]> (x) }")
    result = verify(model(NEGATE), broken)
    assert [case.status for case in result.cases] == ["fixed failed"] * 3


def test_changed_interfaces_differ() -> None:
    for body, message in (
        ("(float[N,M] z) => (float[a,b] y) { y = Neg (z) }", "no input 'x'"),
        ("(float[N,M] x, float[1] z) => (float[a,b] y) { y = Neg (x) }", "an input 'z'"),
        ("(float[N,M] x) => (float[a,b] z) { z = Neg (x) }", "no such output"),
        ("(float[N,M] x) => (float[a,b] y, float[a,b] z) { y = Neg (x) z = Neg (x) }",
         "original has no such output"),
    ):  # fmt: skip
        result = verify(model(NEGATE), model(body), sizes=1)
        assert result.status == "differs" and message in result.reason


INVALID = "(float[C,H,W] x) => (float[a,b,c] y) { y = MaxPool <kernel_shape=[2,2]> (x) }"
MENDED = """(float[C,H,W] x) => (float[a,b,c] y) <int64[1] z = {0}>
    { u = Unsqueeze (x, z) p = MaxPool <kernel_shape=[2,2]> (u) y = Squeeze (p, z) }"""


def test_an_invalid_original_gives_no_evidence_with_the_runtimes_reason() -> None:
    result = verify(model(INVALID), model(MENDED))
    assert (result.status, result.ok, result.evidence) == ("no evidence", False, 0)
    assert {case.status for case in result.cases} == {"original failed"}
    assert "MaxPool" in result.reason
    assert result.to_dict()["status"] == "no evidence"


def test_another_export_can_stand_in_for_an_invalid_original() -> None:
    result = verify(model(INVALID), model(MENDED), reference=model(MENDED))
    assert result.status == "equal" and result.against == "reference"
    wrong = MENDED.replace("[2,2]", "[2,1]")
    assert verify(model(INVALID), model(wrong), reference=model(MENDED)).status == "differs"
    with pytest.raises(UsageError, match="must have the names"):
        verify(model(INVALID), model(MENDED), reference=model(NEGATE.replace("x", "q")))


def plugin_model(index_dtype: str = "int64") -> onnx.ModelProto:
    return model(
        f"(float[N,5] x, {index_dtype}[N,K] i) => (float[a,b] y) {{ y = trt.plugins."
        'GatherElementsPlugin <axis=1, plugin_version="1", plugin_namespace=""> (x, i) }',
        more=', "trt.plugins" : 1',
    )


PLAIN = "(float[N,5] x, int64[N,K] i) => (float[a,b] y) { y = GatherElements <axis=1> (x, i) }"
BODY = """<domain: "trt.plugins", opset_import: ["" : 18]>
    GatherElementsPlugin <axis> (data, indices) => (out)
    { out = GatherElements <axis: int = @axis> (data, indices) }"""


@pytest.mark.parametrize("oracle", ["onnxruntime", "onnx.reference"])
@pytest.mark.parametrize("ir", [7, 8])
def test_plugin_nodes_run_by_a_body_in_memory(oracle: OracleChoice, ir: int) -> None:
    plugin = plugin_model()
    plugin.ir_version = ir
    bytes_before = plugin.SerializeToString()
    bodies = [parse_function(BODY)]
    result = verify(model(PLAIN), plugin, plugin_bodies=bodies, oracle=oracle)
    assert (result.status, result.evidence) == ("equal", 3), result.reason
    assert plugin.SerializeToString() == bytes_before
    assert verify(model(PLAIN), plugin).status == "differs"
    wrong = [parse_function(BODY.replace("(data, indices) }", "(n, indices) }")
                            .replace("{ out", "{ n = Neg (data) out"))]  # fmt: skip
    assert verify(model(PLAIN), plugin, plugin_bodies=wrong).status == "differs"


def test_a_model_with_bodies_passes_the_checker() -> None:
    plugin = plugin_model()
    plugin.ir_version = 7
    whole = with_bodies(plugin, [parse_function(BODY)])
    onnx.checker.check_model(whole, full_check=True)
    assert whole.ir_version >= 8
    assert set(whole.functions[0].attribute) == {"axis", "plugin_version", "plugin_namespace"}
    assert with_bodies(model(PLAIN), [parse_function(BODY)]).functions == []


def test_a_plugin_in_a_branch_whose_domain_is_not_imported_yet() -> None:
    nested = plugin_model()
    del nested.opset_import[1]
    (node,) = nested.graph.node
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    inner.output[0] = "z"
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    branch = helper.make_graph([inner], "b", [], [out])
    del nested.graph.node[:]
    nested.graph.node.append(
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    )
    nested.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    result = verify(model(PLAIN), nested, plugin_bodies=[parse_function(BODY)])
    assert result.status == "equal", result.reason


def external(folder: Path, name: str = "m.onnx") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    built = model("(float[N,64] x) => (float[N,64] y) { y = MatMul (x, w) }")
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    built.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    path = folder / name
    onnx.save(built, path, save_as_external_data=True, location=f"{name}.data", size_threshold=0)
    return path


def test_external_weights_in_a_folder_that_stays_as_it_is(tmp_path: Path) -> None:
    path = external(tmp_path / "locked")
    proto = onnx.load(path, load_external_data=False)
    other = model("(float[N,64] x) => (float[N,64] y)"
                  " { n = Neg (x) m = MatMul (n, w) y = Neg (m) }")  # fmt: skip
    other.graph.initializer.extend(proto.graph.initializer)
    before = {p.name: p.stat().st_mtime_ns for p in path.parent.iterdir()}
    oracles: tuple[OracleChoice, ...] = ("auto", "onnx.reference")
    os.chmod(path.parent, 0o555)
    try:
        for fixed, folder in ((path, None), (proto, path.parent), (other, str(path.parent))):
            for oracle in oracles:
                result = verify(path, fixed, after_dir=folder, oracle=oracle)
                assert (result.status, result.evidence) == ("equal", 3), result.reason
    finally:
        os.chmod(path.parent, 0o755)
    assert before == {p.name: p.stat().st_mtime_ns for p in path.parent.iterdir()}


def test_external_weights_with_an_onnxruntime_that_lacks_the_folder_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_links(proto: onnx.ModelProto, base_dir: Path, options: object) -> object:
        opened.append(str(base_dir))
        raise runner_module.RunError("links")

    monkeypatch.setattr(runner_module, "_version", lambda: (1, 20))
    monkeypatch.setattr(runner_module, "_from_links", open_links)
    path = external(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    result = verify(path, proto, after_dir=tmp_path, sizes=1)
    assert opened == [str(tmp_path)] and result.reason.endswith("links")


def test_links_to_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    proto = onnx.load(external(tmp_path / "in"), load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = "../secret"
    with pytest.raises(runner_module.RunError, match="lies outside"):
        runner_module._from_links(proto, tmp_path / "in", None)
    result = verify(proto, proto, before_dir=tmp_path / "in", after_dir=tmp_path / "in")
    assert result.status == "no evidence"


def test_external_weights_without_their_folder_are_explained(tmp_path: Path) -> None:
    proto = onnx.load(external(tmp_path), load_external_data=False)
    result = verify(proto, proto)
    assert result.status == "no evidence" and "folder" in result.reason


def test_inline_weights_beyond_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "SERIALIZED_LIMIT", 4096)
    lengths: list[int] = []
    plain = runner_module._session

    def measuring(message: str | bytes, options: object) -> object:
        lengths.append(len(message))
        return plain(message, options)

    monkeypatch.setattr(runner_module, "_session", measuring)
    built = model("(float[N,64] x) => (float[N,64] y) <float b = {2}>"
                  " { m = MatMul (x, w) y = Mul (m, b) }")  # fmt: skip
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    built.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    other = onnx.ModelProto()
    other.CopyFrom(built)
    assert verify(built, other, oracle="onnxruntime").evidence == 3
    assert len(lengths) == 2 and max(lengths) < 4096
    other.graph.initializer[1].CopyFrom(numpy_helper.from_array(weights + 1, "w"))
    assert verify(built, other, oracle="onnxruntime").status == "differs"


def test_the_reference_steps_in_for_both_where_a_kernel_is_missing() -> None:
    plain = model("(bfloat16[N,3] x) => (bfloat16[N,3] y) { y = Add (x, x) }")
    result = verify(plain, plain)
    assert result.status == "equal"
    assert {case.oracle for case in result.cases} == {"onnx.reference"}
    only_fixed = model("(float[N,3] x) => (float[N,3] y)"
                       " { h = Cast <to=16> (x) d = Add (h, h) y = Cast <to=1> (d) }")  # fmt: skip
    same = model("(float[N,3] x) => (float[N,3] y)"
                 " { h = Cast <to=16> (x) f = Cast <to=1> (h) y = Add (f, f) }")  # fmt: skip
    result = verify(same, only_fixed)
    assert result.status == "equal", result.reason
    assert {case.oracle for case in result.cases} == {"onnx.reference"}
    assert verify(plain, plain, oracle="onnxruntime").status == "no evidence"


def test_bfloat16_goes_through_onnxruntime_where_it_has_the_kernels() -> None:
    cast = model("(bfloat16[N,3] x) => (bfloat16[N,3] y)"
                 " { f = Cast <to=1> (x) g = Neg (f) y = Cast <to=16> (g) }")  # fmt: skip
    result = verify(cast, cast)
    assert {case.oracle for case in result.cases} == {"onnxruntime"}
    assert {c.dtype for case in result.cases for c in case.comparisons} == {"bfloat16"}
    other = model("(bfloat16[N,3] x) => (bfloat16[N,3] y) { y = Identity (x) }")
    assert verify(cast, other).status == "differs"


def test_a_newer_ir_stamp_than_onnxruntime_knows() -> None:
    built = model(NEGATE)
    built.ir_version = 99
    result = verify(built, model(NEGATE), oracle="onnxruntime")
    assert (result.status, result.evidence) == ("equal", 3), result.reason


def test_outputs_of_unlike_data_dependent_size_differ() -> None:
    first = model("(float[N] x) => (int64[a,b] y) { y = NonZero (x) }")
    other = model("(float[N] x) => (int64[a,b] y) { r = Relu (x) y = NonZero (r) }")
    result = verify(first, other)
    assert result.status == "differs" and "shape" in result.reason


def test_feeds_that_the_stated_shape_excludes_show_nothing(tmp_path: Path) -> None:
    text = "(float[1] x, int64[1] n) => (float[3] y) { y = Expand (x, n) }"
    fixed = model(
        "(float[1] x, int64[1] n) => (float[3] y) <int64[1] k = {3}> { y = Expand (x, k) }"
    )
    wrong = model(
        "(float[1] x, int64[1] n) => (float[4] y) <int64[1] k = {4}> { y = Expand (x, k) }"
    )
    for seed in range(8):
        result = verify(model(text), fixed, sizes=1, seed=seed)
        assert result.status in ("equal", "no evidence"), result.reason
        if result.status == "no evidence":
            assert "a shape that it does not state" in result.reason
            # The other model does not give what is stated either.
            assert verify(model(text), wrong, sizes=1, seed=seed).status == "differs"
            break
    else:
        pytest.fail("every size was the stated one")
    # The user's own values are not excluded.
    np.savez(tmp_path / "case.npz", x=np.ones(1, np.float32), n=np.asarray([2]))
    assert verify(model(text), fixed, inputs_dir=tmp_path).status == "differs"


def test_empty_outputs_make_the_search_for_sizes_go_on() -> None:
    body = ("(float[N] x) => (float[n] y) <int64[1] a = {30}, int64[1] e = {99}>"
            " { y = Slice (x, a, e) }")  # fmt: skip
    result = verify(model(body), model(body), sizes=1)
    (case,) = result.cases
    assert case.comparisons[0].n_elements > 0 and case.sizes["N"] > 30


def test_random_operators_are_compared_by_form_alone() -> None:
    body = "(float[N] x) => (float[N] y, float[N] z) { y = RandomNormalLike (x) z = Neg (x) }"
    result = verify(model(body), model(body))
    assert result.status == "equal"
    notes = {c.output: c.note for c in result.cases[0].comparisons}
    assert notes["y"].startswith("random") and not notes["z"]
    other = body.replace("Neg", "Abs")
    assert verify(model(body), model(other)).status == "differs"


def test_half_precision_inside_widens_the_default_tolerance() -> None:
    exact = model("(float[N,64] x) => (float[N,64] y)"
                  " { h = Cast <to=10> (x) y = Cast <to=1> (h) }")  # fmt: skip
    noisy = model("(float[N,64] x) => (float[N,64] y) <float16 a = {1}>"
                  " { h = Cast <to=10> (x) s = Mul (h, a) y = Cast <to=1> (s) }")  # fmt: skip
    for tensor in noisy.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.array(1.001, np.float16), tensor.name))
    assert verify(exact, noisy).status == "equal"
    assert verify(exact, noisy, rtol=1e-5, atol=1e-6).status == "differs"


def test_tolerances_are_settable_and_what_was_needed_passes() -> None:
    scaled = model("(float[N,M] x) => (float[a,b] y) <float a = {-1.01}> { y = Mul (x, a) }")
    result = verify(model(NEGATE), scaled, sizes=1, atol=0.0)
    needed = result.cases[0].comparisons[0].rtol_needed
    assert needed is not None and 0.009 < needed < 0.011
    assert verify(model(NEGATE), scaled, sizes=1, atol=0.0, rtol=needed).ok
    assert not verify(model(NEGATE), scaled, sizes=1, atol=0.0, rtol=needed * 0.999).ok


def test_the_same_arguments_give_the_same_result_and_arguments_stay(tmp_path: Path) -> None:
    first, other = model(NEGATE), model("(float[N,M] x) => (float[a,b] y) { y = Abs (x) }")
    kept = first.SerializeToString(), other.SerializeToString()
    results = [verify(first, other, seed=3).to_dict() for _ in range(2)]
    for result in results:
        for case in result["cases"]:  # type: ignore[attr-defined]
            case.pop("seconds")
    assert results[0] == results[1]
    assert kept == (first.SerializeToString(), other.SerializeToString())


def test_progress_and_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    plain = runner_module._session

    def counting(built: str | bytes, options: object) -> object:
        opened.append("session")
        return plain(built, options)

    monkeypatch.setattr(runner_module, "_session", counting)
    told: list[tuple[int, int, str]] = []
    verify(model(NEGATE), model(NEGATE), sizes=5, progress=lambda *step: told.append(step))
    assert len(opened) == 2
    assert [step[:2] for step in told] == [(number, 5) for number in range(6)]
    assert told[2][2] == "N=1 M=1"


def test_files_that_are_no_models(tmp_path: Path) -> None:
    text = tmp_path / "m.onnx"
    with pytest.raises(ModelError, match=r"m\.onnx: cannot be read"):
        verify(text, text)
    text.write_bytes(b"\xffnot a protobuf")
    with pytest.raises(ModelError, match="not an ONNX model"):
        verify(text, text)


def test_numbers_that_json_lacks_are_written_as_text() -> None:
    relu = model("(float[N,M] x) => (float[a,b] y) { y = Relu (x) }")
    same = model("(float[N,M] x) => (float[a,b] y) { y = Identity (x) }")
    result = verify(relu, same, sizes=1, atol=0.0)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert '"max_rel": "inf"' in text and '"rtol_needed": null' in text


def test_no_sets_of_sizes_is_no_evidence() -> None:
    result = verify(model(NEGATE), model(NEGATE), sizes=0)
    assert (result.status, result.ok, result.reason) == ("no evidence", False, "nothing was run")


def test_the_reference_is_asked_where_onnxruntime_refuses_only_in_the_run(tmp_path: Path) -> None:
    # onnxruntime wants the mask's second to last axis as long as the queries; onnx broadcasts it.
    built = model(
        "(float[1,2,N,8] q, float[1,2,M,8] k, bool[1,1,1,M] keep) => (float[a,b,c,d] y)"
        " { y = Attention (q, k, k, keep) }",
        opset=23,
        ir=11,
    )
    assert verify(built, built, oracle="onnxruntime", sizes=1).status == "no evidence"
    result = verify(built, built, sizes=1)
    assert result.status == "equal", result.reason
    assert result.cases[0].oracle == "onnx.reference"
    np.savez(tmp_path / "case.npz", q=np.ones((1, 2, 3, 8), np.float32),
             k=np.ones((1, 2, 5, 8), np.float32), keep=np.ones((1, 1, 1, 5), bool))  # fmt: skip
    assert verify(built, built, inputs_dir=tmp_path).cases[0].oracle == "onnx.reference"
