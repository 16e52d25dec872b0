"""What targets make of the ops that exports stumble over."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from onnx_fix.target import Finding, Verdict, load_target

TARGETS = ("trt-7.2", "trt-8.0", "trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7")
YES, NO, MAYBE = "supported", "refused", "unknown"
F = "FP32[N,4,8]"

# (what, op, inputs, settings, the status on each of TARGETS)
TABLE: list[tuple[str, str, tuple[str, ...], dict[str, Any], tuple[str, ...]]] = [
    ("constant bounds", "Clip", (F, "const FP32[]=0", "const FP32[]=1"), {}, (YES,) * 6),
    ("runtime min", "Clip", (F, "FP32[]"), {}, (NO, NO, YES, YES, YES, YES)),
    ("folded max", "Clip", (F, "const FP32[]=0", "fold FP32[]=1"), {}, (NO, NO, *(YES,) * 4)),
    ("max left empty", "Clip", (F, "const FP32[]=0", ""), {}, (NO, *(YES,) * 5)),
    ("min left empty", "Clip", (F, "", "const FP32[]=1"), {}, (YES,) * 6),
    ("bounds by attribute", "Clip", (F,), {"opset": 10, "min": 0.0}, (YES,) * 6),
    ("INT64", "Clip", ("INT64[N]", "const INT64[]=0"), {}, (NO, NO, *(YES,) * 4)),
    ("FP16", "Clip", ("FP16[N]", "const FP16[]=0"), {}, (NO, NO, NO, YES, YES, YES)),
    ("FP16, runtime min", "Clip", ("FP16[N]", "FP16[]"), {}, (NO, NO, NO, YES, YES, YES)),
    ("attention", "Einsum", ("FP32[b,d,h,n]", "FP32[b,d,h,m]"),
     {"equation": "bdhn,bdhm->bhnm"}, (NO, NO, *(YES,) * 4)),
    ("ellipsis", "Einsum", ("FP32[b,2,3]", "FP32[b,3,4]"), {"equation": "...ij,...jk->...ik"},
     (NO, NO, NO, NO, NO, YES)),
    ("upper case", "Einsum", ("FP32[2,3]", "FP32[3,4]"), {"equation": "Ij,jk->Ik"}, (NO,) * 6),
    ("constant axis", "CumSum", (F, "const INT64[]=1"), {}, (NO, *(YES,) * 5)),
    ("runtime axis", "CumSum", (F, "INT64[]"), {}, (NO, NO, NO, NO, NO, YES)),
    ("BOOL", "NonZero", ("BOOL[N]",), {}, (NO, NO, NO, YES, YES, NO)),
    ("dynamic", "GatherElements", (F, "INT64[N,4,2]"), {"axis": 2}, (NO, NO, *(YES,) * 4)),
    ("static", "GatherElements", ("FP32[4]", "const INT64[2]=1,2"), {}, (NO, *(YES,) * 5)),
    ("static, indices unknown", "GatherElements", ("FP32[4]", "INT64[2]"), {},
     (NO, MAYBE, *(YES,) * 4)),
    ("axes attribute", "Unsqueeze", (F,), {"opset": 11, "axes": [0]}, (YES,) * 6),
    ("axes input", "Unsqueeze", (F, "const INT64[1]=0"), {"opset": 13}, (NO, *(YES,) * 5)),
    ("folded axes", "Unsqueeze", (F, "fold INT64[1]=0"), {"opset": 13}, (*(NO,) * 5, YES)),
    ("runtime axes", "Unsqueeze", (F, "INT64[1]"), {"opset": 13}, (NO,) * 6),
    ("axes attribute", "ReduceSum", (F,), {"opset": 11, "axes": [1]}, (YES,) * 6),
    ("axes input", "ReduceSum", (F, "const INT64[1]=1"), {"opset": 13}, (NO, *(YES,) * 5)),
    ("all axes by input", "ReduceSum", (F, "const INT64[3]=0,1,2"), {"opset": 13}, (YES,) * 6),
    ("axes attribute", "ReduceL2", (F,), {"opset": 17, "axes": [1]}, (YES,) * 6),
    ("axes input", "ReduceL2", (F, "const INT64[1]=1"), {"opset": 18}, (*(NO,) * 4, YES, YES)),
    ("no axes, no-op", "ReduceL2", (F,), {"opset": 18, "noop_with_empty_axes": 1},
     (*(NO,) * 4, YES, YES)),
    ("value", "Constant", (), {"value": 1}, (YES,) * 6),
    ("value_int", "Constant", (), {"value_int": 1}, (*(NO,) * 4, YES, YES)),
    ("value_float", "Constant", (), {"value_float": 1.0}, (NO, *(YES,) * 5)),
    ("value_string", "Constant", (), {"value_string": "a"}, (NO,) * 6),
    ("plain", "Shape", (F,), {}, (YES,) * 6),
    ("start", "Shape", (F,), {"start": 1}, (*(NO,) * 4, YES, YES)),
    ("start counted from the end", "Shape", (F,), {"start": -3}, (YES,) * 6),
    ("end past the rank", "Shape", (F,), {"start": 0, "end": 3}, (YES,) * 6),
    ("bilinear", "GridSample", ("FP32[1,1,4,4]", "FP32[1,2,2,2]"), {"mode": "bilinear"},
     (NO, NO, NO, YES, YES, YES)),
    ("linear", "GridSample", ("FP32[1,1,4,4]", "FP32[1,2,2,2]"), {"mode": "linear", "opset": 20},
     (NO, NO, NO, NO, NO, YES)),
    ("volume", "GridSample", ("FP32[1,1,4,4,4]", "FP32[1,2,2,2,3]"), {"opset": 20},
     (NO, NO, NO, NO, NO, YES)),
    ("constant K", "TopK", ("FP32[9]", "const INT64[1]=3"), {}, (YES,) * 6),
    ("runtime K", "TopK", ("FP32[9]", "INT64[1]"), {}, (NO, NO, NO, YES, YES, YES)),
    ("runtime K, long axis", "TopK", ("FP32[N]", "INT64[1]"), {}, (NO, NO, NO, *(MAYBE,) * 3)),
    ("smallest", "TopK", ("FP32[9]", "const INT64[1]=3"), {"largest": 0},
     (NO, NO, NO, YES, YES, YES)),
    ("INT32", "TopK", ("INT32[9]", "const INT64[1]=3"), {}, (NO, NO, NO, YES, YES, YES)),
    ("last two dims", "Pad", ("FP32[1,1,4,4]", "const INT64[8]=0,0,1,1,0,0,1,1"), {}, (YES,) * 6),
    ("first dim", "Pad", ("FP32[2,4,4]", "const INT64[6]=1,0,0,0,0,0"), {}, (NO, *(YES,) * 5)),
    ("three dims", "Pad", ("FP32[2,4,4]", "const INT64[6]=1,1,1,0,0,0"), {},
     (NO, NO, *(YES,) * 4)),
    ("edge", "Pad", ("FP32[4,4]", "const INT64[4]=1,1,1,1"), {"mode": "edge"},
     (NO, NO, *(YES,) * 4)),
    ("runtime pads", "Pad", ("FP32[4,4]", "INT64[4]"), {}, (NO, NO, *(YES,) * 4)),
    ("not zero", "Pad", ("FP32[4,4]", "const INT64[4]=0,1,0,1", "const FP32[]=-1"), {},
     (NO, NO, *(YES,) * 4)),
    ("nearest, floor, scales", "Resize", ("FP32[1,1,4,4]", "", "const FP32[4]=1,1,2,2"),
     {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"},
     (YES,) * 6),
    ("nearest by default", "Resize", ("FP32[1,1,4,4]", "", "const FP32[4]=1,1,2,2"),
     {"mode": "nearest"}, (NO, *(YES,) * 5)),
    ("linear, runtime sizes", "Resize", ("FP32[1,1,4,4]", "", "", "INT64[4]"),
     {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}, (YES,) * 6),
    ("linear, runtime scales", "Resize", ("FP32[1,1,4,4]", "", "FP32[4]"), {"mode": "linear"},
     (NO, NO, NO, YES, YES, MAYBE)),
    ("cubic", "Resize", ("FP32[1,1,4,4]", "", "const FP32[4]=1,1,2,2"), {"mode": "cubic"},
     (NO, NO, NO, YES, YES, YES)),
    ("last axis", "Softmax", (F,), {"axis": -1}, (YES,) * 6),
    ("default axis", "Softmax", (F,), {}, (NO, *(YES,) * 5)),
    ("opset 11", "Softmax", (F,), {"opset": 11}, (YES,) * 6),
    ("no batch axis", "MaxPool", ("FP32[1,8,8]",), {"kernel_shape": [3, 3]}, (NO,) * 6),
    ("1-D", "MaxPool", ("FP32[1,8,8]",), {"kernel_shape": [3]}, (YES,) * 6),
    ("no batch axis", "Conv", ("FP32[3,8,8]", "const FP32[4,3,3,3]"), {}, (NO,) * 6),
    ("rank 2", "MaxPool", ("FP32[8,8]",), {"kernel_shape": [3]}, (NO,) * 6),
    ("runtime indices", "Gather", ("FP32[4]", "INT64[2]"), {}, (MAYBE, MAYBE, *(YES,) * 4)),
    ("allowzero left out", "Reshape", ("FP32[4]", "INT64[2]"), {},
     (YES, NO, NO, YES, YES, YES)),
    ("reduction none", "ScatterND", ("FP32[4]", "INT64[1,1]", "FP32[1]"),
     {"opset": 18, "reduction": "none"}, (NO, YES, YES, YES, NO, YES)),
    ("no reduction", "ScatterND", ("FP32[4]", "INT64[1,1]", "FP32[1]"), {},
     (NO, *(YES,) * 5)),
]  # fmt: skip

ROWS = [
    pytest.param(op, inputs, settings, target, status, id=f"{op}-{what}-{target}")
    for what, op, inputs, settings, statuses in TABLE
    for target, status in zip(TARGETS, statuses, strict=True)
]


@pytest.mark.parametrize(("op", "inputs", "settings", "target", "status"), ROWS)
def test_status(
    op: str, inputs: tuple[str, ...], settings: dict[str, Any], target: str, status: str, build: Any
) -> None:
    verdict = load_target(target).judge(build(op, *inputs, **settings))
    assert verdict.status == status, [finding.why for finding in verdict.findings]


def judge(target: str, build: Any, op: str, *inputs: str, **settings: Any) -> Verdict:
    return load_target(target).judge(build(op, *inputs, **settings))


def one(verdict: Verdict) -> Finding:
    assert len(verdict.findings) == 1, verdict
    return verdict.findings[0]


def test_a_finding_says_what_and_where(build: Any) -> None:
    finding = one(judge("trt-7.2", build, "Clip", F, "FP32[]"))
    assert (finding.op, finding.node, finding.scope) == ("Clip", "my_Clip", "main")
    assert finding.kind == "input_must_be_constant"
    assert finding.effect == "parse_error" and finding.certain and not finding.foldable
    assert finding.message == "Clip min value must be an initializer!"
    assert finding.tensor == "x1" and "x1" in finding.why
    assert finding.evidence == "source" and finding.source.startswith("onnx/onnx-tensorrt@")
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.op = "Relu"  # type: ignore[misc]


def test_folding_would_mend(build: Any) -> None:
    finding = one(judge("trt-7.2", build, "Clip", F, "fold FP32[]=0"))
    assert finding.foldable and "folding" in finding.why
    both = judge("trt-8.2", build, "Clip", "FP16[N]", "fold FP16[]=0")
    assert not one(both).foldable  # a folded FP16 bound would be misread


def test_silent_faults_refuse(build: Any) -> None:
    finding = one(judge("trt-8.6", build, "Constant", value_int=3))
    assert finding.effect == "wrong_result" and finding.refuses


@pytest.mark.parametrize(
    ("target", "op", "inputs", "settings"),
    [
        ("trt-8.5", "TopK", ("?", "const INT64[1]=3"), {}),
        ("trt-8.2", "Clip", ("?", "FP32[]"), {}),
        ("trt-8.6", "MatMul", ("?", "?"), {}),
        ("trt-8.6", "ConvTranspose", ("FP32", "const FP32"), {}),
        ("trt-8.6", "Loop", ("INT64[]", "", "FP32"), {"body": object()}),
        ("trt-8.6", "MaxPool", ("FP32",), {}),
        ("trt-8.6", "GridSample", ("FP32", "FP32"), {"opset": 16}),
        ("trt-8.6", "Einsum", ("FP32[2]",), {"unresolved": ("equation",)}),
        ("trt-7.2", "Softmax", ("FP32",), {"axis": 1}),
        ("trt-8.6", "Pad", ("FP32[2,2]", "INT64[4]"), {"unresolved": ("mode",)}),
        ("trt-8.0", "GatherElements", ("FP32[_]", "const INT64[2]=0,1"), {}),
        ("trt-8.6", "If", ("BOOL[]",), {"then_branch": object(), "else_branch": object()}),
        ("trt-8.6", "TopK", ("FP32[N]", "const INT64[1]"), {}),
    ],
)
def test_what_is_not_known_is_unknown(
    target: str, op: str, inputs: tuple[str, ...], settings: dict[str, Any], build: Any
) -> None:
    verdict = judge(target, build, op, *inputs, **settings)
    assert verdict.status == MAYBE, verdict
    assert all(not finding.certain for finding in verdict.findings)


def test_ranks_that_onnx_asks_for_raise_no_doubt(build: Any) -> None:
    assert judge("trt-8.6", build, "Gemm", "FP32", "FP32").status == YES
    assert judge("trt-8.6", build, "Conv", "FP32", "const FP32[1,1,3,3]").status == YES
    assert judge("trt-8.6", build, "MaxPool", "FP32", kernel_shape=[3, 3]).status == YES


def test_int64_is_int32_before_9(build: Any) -> None:
    for target, status in (("trt-8.5", NO), ("trt-9.0", YES)):
        data = ("INT64[9]", "const INT64[1]=3")
        assert judge(target, build, "TopK", *data).status == status


def test_double(build: Any) -> None:
    finding = one(judge("trt-7.2", build, "Relu", "DOUBLE[2]"))
    assert finding.kind == "double_refused" and finding.refuses
    assert "DOUBLE" in finding.message
    assert judge("trt-8.0", build, "Relu", "DOUBLE[2]").status == YES
    assert judge("trt-8.6", build, "Einsum", "DOUBLE[2]", equation="i->").status == YES


@pytest.mark.parametrize(
    ("dtype", "before", "since"),
    [
        ("BF16", "8.6", "9.0"),
        ("FLOAT8E4M3FN", "8.6", "9.0"),
        ("INT4", "9.3", "10.0"),
        ("FLOAT4E2M1", "10.7", "10.8"),
    ],
)
def test_types_by_release(dtype: str, before: str, since: str, build: Any) -> None:
    assert judge(before, build, "Identity", f"{dtype}[2]").status == NO
    assert judge(since, build, "Identity", f"{dtype}[2]").status == YES


def test_types_never_taken(build: Any) -> None:
    for dtype in ("INT16", "UINT16", "UINT32", "UINT64", "STRING", "COMPLEX64", "FLOAT8E5M2"):
        verdict = judge("11.5", build, "Identity", f"{dtype}[2]")
        assert verdict.status == NO, dtype


def test_uint8(build: Any) -> None:
    assert judge("8.4", build, "Identity", "UINT8[2]").status == NO
    for target, status in (("7.2", NO), ("8.0", YES)):
        assert judge(target, build, "Identity", "const UINT8[2]").status == status
    assert judge("8.6", build, "Cast", "UINT8[2]", outputs=("FP32[2]",)).status == YES
    assert judge("8.6", build, "Add", "UINT8[2]", "UINT8[2]").status == MAYBE


def test_cast_to_a_type_known_by_its_attribute_alone(build: Any) -> None:
    for to, status in ((5, NO), (1, YES)):
        assert judge("8.6", build, "Cast", "FP32[2]", to=to).status == status
    assert judge("8.6", build, "Cast", "FP32[2]").status == MAYBE


def test_rank_limit(build: Any) -> None:
    assert judge("8.6", build, "Relu", "FP32[1,1,1,1,1,1,1,1]").status == YES
    finding = one(judge("8.6", build, "Relu", "FP32[1,1,1,1,1,1,1,1,1]"))
    assert finding.kind == "max_rank" and finding.tensor == "x0"
    outputs = ("FP32[1,1,1,1,1,1,1,1,1]",)
    assert judge("8.6", build, "Relu", "FP32", outputs=outputs).status == NO


def test_old_broadcast(build: Any) -> None:
    for opset, broadcast, status in ((6, 1, NO), (6, 0, YES), (7, 1, YES)):
        verdict = judge("8.6", build, "Add", "FP32[2]", "FP32[2]", opset=opset, broadcast=broadcast)
        assert verdict.status == status


def test_missing_importers(build: Any) -> None:
    finding = one(judge("trt-7.0", build, "Einsum", "FP32[2]", equation="i->"))
    assert finding.message == "No importer registered for op: Einsum"
    finding = one(judge("trt-7.2", build, "Einsum", "FP32[2]", equation="i->"))
    assert "Plugin not found" in finding.message and "8.2" in finding.why
    finding = one(judge("trt-10.3", build, "Unique", "FP32[2]"))
    assert finding.message == "false" and finding.kind == "no_importer"
    finding = one(judge("trt-8.5", build, "LayerNormalization", "FP32[2]", "FP32[2]"))
    assert "simpler ops" in finding.why


def test_plugins(build: Any) -> None:
    own = {"axis": 1, "plugin_version": "1", "plugin_namespace": ""}
    for target, status in (
        ("7.0", NO),
        ("7.1", YES),
        ("7.2", YES),
        ("10.3", YES),
        ("rtx-1.7", YES),
    ):
        node = build("GatherElementsPlugin", F, "INT64[N,4,2]", domain="trt.plugins", **own)
        verdict = load_target(target).judge(node)
        assert verdict.status == status, target
        assert verdict.findings
    double = judge("7.2", build, "GatherElementsPlugin", "DOUBLE[2]", domain="trt.plugins")
    assert double.status == NO
    assert judge("7.2", build, "BatchedNMS_TRT", "FP32[1]").status == YES
    assert judge("7.2", build, "BatchedNMS_TRT", "FP32[1]", plugin_version="9").status == NO
    assert judge("11.0", build, "BatchedNMS_TRT", "FP32[1]").status == NO
    assert judge("rtx-1.7", build, "BatchedNMS_TRT", "FP32[1]").status == NO
    assert judge("8.6", build, "MyOwnThing", "FP32[1]", domain="acme").status == MAYBE
    assert judge("8.6", build, "MyOwnThing", "FP32[1]").status == MAYBE
    assert judge("7.0", build, "MyOwnThing", "FP32[1]").status == NO


def test_plugins_that_importers_need(build: Any) -> None:
    roi = ("FP32[1,1,4,4]", "FP32[2,4]", "INT64[2]")
    finding = one(judge("8.6", build, "RoiAlign", *roi))
    assert finding.kind == "needs_plugin" and finding.effect == "conditional"
    assert judge("8.6", build, "RoiAlign", *roi).status == YES
    assert judge("rtx-1.7", build, "RoiAlign", *roi).status == NO
    assert judge("rtx-1.7", build, "LinearAttention", "FP32[2]").status == NO
    for release in ("7.0", "7.1", "9.3"):
        verdict = judge(release, build, "InstanceNormalization", "FP32[1,2,4]",
                        "const FP32[2]=1,1", "const FP32[2]=0,0")  # fmt: skip
        assert verdict.status == YES and verdict.findings[0].effect == "conditional"


def test_domains_are_ignored(build: Any) -> None:
    finding = one(judge("8.6", build, "Relu", "FP32[2]", domain="acme"))
    assert finding.kind == "domain_ignored" and not finding.certain
    assert judge("8.6", build, "Relu", "FP32[2]", domain="acme").status == MAYBE
    assert judge("8.6", build, "Relu", "FP32[2]", domain="ai.onnx").status == YES
    gelu = judge("10.3", build, "Gelu", "FP32[2]", domain="com.microsoft")
    assert gelu.status == YES and one(gelu).kind == "domain_ignored"
    assert judge("8.6", build, "Gelu", "FP32[2]", domain="com.microsoft").status == NO
    assert judge("10.3", build, "FusedMatMul", "FP32[2]", domain="com.microsoft").status == NO
    simplified = {"domain": "com.microsoft"}
    op = "SimplifiedLayerNormalization"
    assert judge("rtx-1.7", build, op, "FP32[2]", "FP32[2]", **simplified).status == MAYBE
    assert judge("11.5", build, op, "FP32[2]", "FP32[2]", **simplified).status == NO


def test_plugin_namespace_wins_since_10_15(build: Any) -> None:
    for target, status in (("10.10", YES), ("10.15", MAYBE)):
        node = build("Relu", "FP32[2]", plugin_namespace="acme")
        assert load_target(target).judge(node).status == status


def test_side_releases(build: Any) -> None:
    clip = (F, "FP32[]")
    assert judge("8.0", build, "Clip", *clip).status == NO
    assert judge("8.0-tip", build, "Clip", *clip).status == YES
    assert judge("8.0-tip", build, "Clip", "FP16[N]", "FP16[]").status == NO
    unsqueeze = (F, "const INT64[1]=0")
    assert judge("7.2-tip", build, "Unsqueeze", *unsqueeze).status == YES
    assert judge("7.2-tip", build, "Unsqueeze", F, "INT64[1]").status == NO
    assert judge("7.2-tip", build, "GatherElements", "FP32[N]", "INT64[2]").status == NO
    assert judge("7.2-tip", build, "Softmax", F).status == YES
    assert judge("7.2-tip", build, "ReduceSum", F, "const INT64[1]=1").status == NO


def test_bodies_of_graphsurgeon(build: Any) -> None:
    surgeon = pytest.importorskip("onnx_graphsurgeon", reason="onnx-graphsurgeon is missing")
    import numpy as np

    def body(kept: bool) -> Any:
        rounds, cond, state = (
            surgeon.Variable("i", np.int64, ()),
            surgeon.Variable("c", np.bool_, ()),
            surgeon.Variable("s", np.float32, (1,)),
        )
        out, after = surgeon.Variable("c2", np.bool_, ()), surgeon.Variable("s2", np.float32, (1,))
        nodes = [
            surgeon.Node("Identity" if kept else "Not", inputs=[cond], outputs=[out]),
            surgeon.Node("Neg", inputs=[state], outputs=[after]),
        ]
        return surgeon.Graph(nodes, inputs=[rounds, cond, state], outputs=[out, after])

    def kinds(kept: bool, *inputs: str) -> set[str]:
        verdict = judge("7.2", build, "Loop", *inputs, body=body(kept))
        return {finding.kind for finding in verdict.findings}

    assert kinds(True, "INT64[]", "BOOL[]", "FP32[1]") == set()
    assert kinds(False, "INT64[]", "BOOL[]", "FP32[1]") == {"loop_condition_not_updated"}
    assert "body_reads_missing_condition" in kinds(True, "INT64[]", "", "FP32[1]")


def test_nodes_without_restrictions_share_one_verdict(build: Any) -> None:
    target = load_target("7.2")
    assert target.judge(build("Relu", F)) is target.judge(build("Sigmoid", F))
