"""Every kind of restriction, at both ends of an interval."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import onnx.defs
import onnx.parser
import pytest
from onnx import helper

from onnx_fix.target import NOT_EVALUATED, REFUSING_EFFECTS, load_target
from onnx_fix.target.conditions import holds
from onnx_fix.target.data import Release, main_line, read
from onnx_fix.target.dtypes import NAMES
from onnx_fix.target.general import NOT_EVALUATED as GENERAL_NOT_EVALUATED
from onnx_fix.target.kinds import EVALUATORS

Use = tuple[tuple[str, ...], dict[str, Any]]


def use(*inputs: str, **settings: Any) -> Use:
    return inputs, settings


def graph(text: str) -> Any:
    return onnx.parser.parse_graph(text)


@dataclass(frozen=True)
class Case:
    """``hit`` goes against the restriction from ``since`` to ``until``, ``miss`` keeps to it."""

    kind: str
    op: str
    since: str
    until: str | None
    hit: Use
    miss: Use | None
    certain: bool = True
    alone: bool = True


_BODY = "body (int64 i, bool c, float[1] s) => (bool c2, float[1] s2)"
KEEPS = graph(_BODY + " { c2 = Identity(c) s2 = Neg(s) }")
OWN_TEST = graph(_BODY + " { c2 = Not(c) s2 = Neg(s) }")
BLIND = graph(_BODY + " <bool c2 = {1}> { s2 = Neg(s) }")
GROWS = graph(
    "body (int64 i, bool c, float[1] s) => (bool c2, float[2] s2)"
    " { c2 = Identity(c) s2 = Concat<axis = 0>(s, s) }"
)
LEFT = graph("left () => (float[4] t) { t = Neg(x) }")
SAME_NAME = graph("right () => (float[4] t) { t = Abs(x) }")
OTHER_NAME = graph("right () => (float[4] u) { u = Abs(x) }")
OTHER_SIZE = graph("right () => (float[3] u) { u = Abs(z) }")
OTHER_RANK = graph("right () => (float[4, 4] u) { u = Abs(z) }")
SCALES = "const FLOAT[4]="
X4 = "FP32[N,3,8,8]"

CASES = [
    Case("attribute_allowed_names", "Constant", "7.0", "7.2", use(value_float=1.0), use(value=0)),
    Case("attribute_allowed_values", "Pad", "7.0", "8.0", use("FP32[2,2]", mode="reflect"),
         use("FP32[2,2]", mode="constant"), alone=False),
    Case("attribute_allowed_values", "MaxPool", "7.0", None, use(X4, dilations=[1, 2]),
         use(X4, dilations=[1, 1])),
    Case("attribute_allowed_values", "TensorScatter", "10.15", None,
         use("FP32[1,2,3,4]", axis=1), use("FP32[1,2,3,4]", axis=2)),
    Case("attribute_combination", "Resize", "7.2", "7.2",
         use(X4, "", "const FLOAT[0]", "const INT64[4]=1,3,9,9", mode="linear",
             coordinate_transformation_mode="asymmetric"),
         use(X4, "", f"{SCALES}1,1,2,2", mode="linear",
             coordinate_transformation_mode="asymmetric")),
    Case("attribute_must_be_absent", "ScatterND", "10.0", "10.8", use(reduction="none"), use()),
    Case("attribute_must_be_present", "Reshape", "8.0", "8.4", use("FP32[2]", "INT64[1]"),
         use("FP32[2]", "INT64[1]", opset=13)),
    Case("attribute_value_misread", "Constant", "8.0", "9.1", use(value_int=3), use(value=3)),
    Case("attribute_value_misread", "GridSample", "8.5", "11.1",
         use("FP32[1,1,4,4]", "FP32[1,2,2,2]", mode="linear", opset=20),
         use("FP32[1,1,4,4]", "FP32[1,2,2,2]", mode="bilinear", opset=16)),
    Case("axes_with_runtime_scales", "Resize", "10.0", None,
         use(X4, "", "FP32[2]", axes=[2, 3]), use(X4, "", "FP32[4]", axes=[0, 1, 2, 3])),
    Case("bidirectional_same_activations", "RNN", "7.0", None,
         use("FP32[1,2,3]", direction="bidirectional", activations=["Tanh", "Relu"]),
         use("FP32[1,2,3]", direction="bidirectional", activations=["Relu", "Relu"])),
    Case("body_reads_missing_condition", "Loop", "7.0", None, use("INT64[]", "", "FP32[1]",
         body=KEEPS), use("INT64[]", "", "FP32[1]", body=BLIND)),
    Case("both_branches_run", "If", "8.0", "8.0",
         use("BOOL[]", then_branch=LEFT, else_branch=OTHER_NAME),
         use("const BOOL[]=1", then_branch=LEFT, else_branch=OTHER_NAME)),
    Case("bounds_dtype", "Clip", "7.0", "8.4", use("FP16[2]", "const FP16[]=0"),
         use("FP16[2]", "const FP32[]=0")),
    Case("branch_output_names_differ", "If", "8.0", "8.2",
         use("BOOL[]", then_branch=LEFT, else_branch=SAME_NAME),
         use("BOOL[]", then_branch=LEFT, else_branch=OTHER_NAME)),
    Case("branch_shapes", "If", "8.2", "9.3",
         use("BOOL[]", then_branch=LEFT, else_branch=OTHER_SIZE),
         use("BOOL[]", then_branch=LEFT, else_branch=OTHER_RANK)),
    Case("branch_shapes", "If", "10.0", None,
         use("BOOL[]", then_branch=LEFT, else_branch=OTHER_RANK),
         use("BOOL[]", then_branch=LEFT, else_branch=OTHER_SIZE), alone=False),
    Case("broadcast", "Einsum", "8.2", "10.11", use("FP32[1,4]", "FP32[3,4]", equation="ij,ij->i"),
         use("FP32[3,4]", "FP32[3,4]", equation="ij,ij->i")),
    Case("constant_value", "Pad", "7.0", "8.0",
         use("FP32[2]", "const INT64[2]=0,1", "const FP32[]=2"),
         use("FP32[2]", "const INT64[2]=0,1", "const FP32[]=0")),
    Case("constant_value", "Pad", "7.0", "8.0", use("FP32[2]", opset=10, value=1.5, pads=[0, 0]),
         use("FP32[2]", opset=10, value=0.0, pads=[0, 0])),
    Case("constant_value", "Dropout", "8.0", None, use("FP32[2]", "", "const BOOL[]=1"),
         use("FP32[2]", "", "const BOOL[]=0")),
    Case("data_dependent_shape", "NonZero", "8.5", None, use("BOOL[2]"), None),
    Case("dims_equal", "Attention", "rtx-1.7", "rtx-1.7",
         use("FP16[1,2,4,64]", "FP16[1,2,6,64]", "FP16[1,2,6,32]"),
         use("FP16[1,2,4,64]", "FP16[1,2,6,64]", "FP16[1,2,6,64]")),
    Case("dtype", "Range", "7.0", "8.2", use("FP32[]", "const FP32[]=4", "const FP32[]=1"),
         use("const FP32[]=0", "const FP32[]=4", "const FP32[]=1"), alone=False),
    Case("dtype", "Clip", "8.2", "8.4", use("FP16[2]", "", "const FP16[]=1"),
         use("FP16[2]", "const FP16[]=1"), alone=False),
    Case("dtype", "Pow", "7.0", "10.7", use("FP32[2]", "INT64[]"), use("FP32[2]", "FP32[]")),
    Case("dtype", "Einsum", "8.2", "8.6", use("BF16[2]", equation="i->"),
         use("FP16[2]", equation="i->")),
    Case("dtype_refused", "TopK", "7.0", "8.5", use("INT64[9]", "const INT64[1]=2"),
         use("FP32[9]", "const INT64[1]=2")),
    Case("dtype_refused", "Cast", "7.0", None, use("FP32[2]", outputs=("INT16[2]",)),
         use("FP32[2]", outputs=("INT32[2]",))),
    Case("dynamic_shape_bug", "Resize", "rtx-1.7", "rtx-1.7",
         use(X4, "", "", "const INT64[2]=9,9", axes=[2, 3], opset=18),
         use("FP32[1,3,8,8]", "", "", "const INT64[2]=9,9", axes=[2, 3], opset=18)),
    Case("equation_characters", "Einsum", "8.2", None, use("FP32[2]", equation="A->A"),
         use("FP32[2]", equation="a -> a")),
    Case("equation_feature", "Einsum", "8.2", "10.11", use("FP32[2,2]", equation="aa->"),
         use("FP32[2,2]", equation="ab->a")),
    Case("equation_feature", "Einsum", "8.2", "10.11", use("FP32[2]", equation="...->"),
         use("FP32[2]", "FP32[2]", equation="a,a->")),
    Case("equation_feature", "Einsum", "8.2", "10.11",
         use("FP32[2]", "FP32[2]", "FP32[2]", equation="a,a,a->"), None),
    Case("even_elements", "DequantizeLinear", "rtx-1.7", "rtx-1.7",
         use("const INT4[5]", "const FP32[]"), use("const INT4[4]", "const FP32[]")),
    Case("fixed_padded_output", "NonMaxSuppression", "8.0", "8.4", use("FP32[1,9,4]",
         "FP32[1,1,9]"), None),
    Case("ignored_attribute", "Shape", "7.0", "9.3", use("FP32[2,3]", start=1),
         use("FP32[2,3]", start=0, end=2)),
    Case("ignored_attribute", "ReduceL2", "7.0", "9.3", use("FP32[2]", noop_with_empty_axes=1),
         use("FP32[2]", noop_with_empty_axes=1, axes=[0])),
    Case("ignored_attribute", "Split", "7.0", "9.3", use("FP32[7]", opset=18, num_outputs=2),
         use("FP32[8]", opset=18, num_outputs=2)),
    Case("ignored_attribute", "TopK", "7.0", "8.4", use("FP32[9]", largest=0, sorted=1),
         use("FP32[9]", largest=1, sorted=1)),
    Case("ignored_input", "ReduceSum", "7.0", "7.2", use("FP32[2,3]", "const INT64[1]=1"),
         use("FP32[2,3]", "const INT64[2]=0,-1")),
    Case("ignored_input", "Split", "7.0", "7.2", use("FP32[5]", "const INT64[2]=2,3"),
         use("FP32[6]", "const INT64[2]=3,3")),
    Case("ignored_input", "Unsqueeze", "7.0", "7.2", use("FP32[2]", "const INT64[1]=0"),
         use("FP32[2]", axes=[0], opset=12)),
    Case("differs_from_first", "CumSum", "10.8", "10.11",
         use("FP32[2]", "const INT64[]=0", reverse=1, first={}),
         use("FP32[2]", "const INT64[]=0", reverse=1, first={"reverse": 1})),
    Case("imported_as_loop", "CumSum", "8.0", "10.7", use("FP32[2]", "const INT64[]=0"), None),
    Case("input_must_be_absent", "Pad", "8.5", "9.3",
         use("FP32[2,2]", "const INT64[2]=0,1", "", "const INT64[1]=1", opset=18),
         use("FP32[2,2]", "const INT64[4]=0,1,0,0", "", "", opset=18)),
    Case("input_must_be_constant", "Clip", "7.0", "8.0", use("FP32[2]", "fold FP32[]=0"),
         use("FP32[2]", "const FP32[]=0")),
    Case("input_must_be_constant", "Unsqueeze", "10.7", None, use("FP32[2]", "INT64[1]"),
         use("FP32[2]", "fold INT64[1]=0"), alone=False),
    Case("input_must_be_present", "QuantizeLinear", "7.0", "8.6", use("FP32[2]", "const FP32[]=1"),
         use("FP32[2]", "const FP32[]=1", "const INT8[]=0")),
    Case("input_must_be_tensor", "RandomUniformLike", "7.0", "10.10", use("const FP32[2]"),
         use("FP32[2]")),
    Case("kernel_rank", "MaxPool", "7.0", None, use("FP32[3,8,8]", kernel_shape=[3, 3]),
         use("FP32[3,8,8]", kernel_shape=[3])),
    Case("kernel_rank", "Conv", "7.0", None, use("FP32[3,8,8]", "const FP32[4,3,3,3]"),
         use("FP32[1,3,8,8]", "const FP32[4,3,3,3]")),
    Case("loop_condition_not_updated", "Loop", "7.0", "7.2",
         use("INT64[]", "BOOL[]", "FP32[1]", body=OWN_TEST),
         use("INT64[]", "BOOL[]", "FP32[1]", body=KEEPS)),
    Case("max_value", "TopK", "7.0", None, use("FP32[9000]", "const INT64[1]=5000"),
         use("FP32[9000]", "const INT64[1]=3840")),
    Case("min_rank", "Trilu", "8.6", None, use("FP32[3]"), use("FP32[3,3]")),
    Case("min_state_vars", "Loop", "7.0", "7.2", use("INT64[]", "BOOL[]", body=KEEPS),
         use("INT64[]", "BOOL[]", "FP32[1]", body=KEEPS)),
    Case("needs_plugin", "RoiAlign", "8.5", None, use("FP32[1,1,4,4]", "FP32[2,4]", "INT64[2]"),
         None),
    Case("negative_indices_unsupported", "Gather", "7.0", "8.0",
         use("FP32[4]", "const INT64[]=-1"), use("FP32[4]", "const INT64[]=1")),
    Case("no_kernel", "NonMaxSuppression", "rtx-1.7", "rtx-1.7",
         use("FP32[1,9,4]", "FP32[1,1,9]"), None),
    Case("opset_semantics", "Softmax", "7.0", "7.2", use("FP32[2,3,4]", axis=1),
         use("FP32[2,3,4]", axis=2)),
    Case("opset_semantics", "GroupNormalization", "8.6", "10.8",
         use("FP32[1,4,2]", opset=21, num_groups=2), use("FP32[1,4,2]", opset=21, num_groups=4)),
    Case("optional_input_must_be_present", "Clip", "7.0", "7.2",
         use("FP32[2]", "const FP32[]=0", ""), use("FP32[2]", "const FP32[]=0")),
    Case("output_dtype", "NonZero", "8.5", "8.6", use("BOOL[2]"), None),
    Case("outputs_max", "MaxPool", "7.0", "10.5", use(X4, outputs=("FP32", "INT64")),
         use(X4, outputs=("FP32", "")), alone=False),
    Case("padded_dims", "Pad", "7.0", "7.2", use("FP32[2,2,2]", "const INT64[6]=1,0,0,0,0,0"),
         use("FP32[2,2,2]", "const INT64[6]=0,1,0,0,0,1")),
    Case("padded_dims", "Pad", "8.0", "8.0", use("FP32[2,2,2]", "const INT64[6]=1,1,1,0,0,0"),
         use("FP32[2,2,2]", "const INT64[6]=1,0,0,0,0,1"), alone=False),
    Case("precision_loss", "TopK", "8.6", "8.6", use("INT64[9]", "const INT64[1]=2"),
         use("FP32[9]", "const INT64[1]=2")),
    Case("rank", "Gemm", "8.0", None, use("FP32[2,2,2]", "FP32[2,2]"),
         use("FP32[2,2]", "FP32[2,2]")),
    Case("rank", "RoiAlign", "8.5", None, use(X4, "FP32[K,5]", "INT64[K]"),
         use(X4, "FP32[K,4]", "INT64[K]")),
    Case("rank_equal", "GridSample", "8.5", None, use("FP32[1,1,4,4]", "FP32[1,2,2]"),
         use("FP32[1,1,4,4]", "FP32[1,2,2,2]")),
    Case("real_input_only", "STFT", "10.5", None, use("FP32[1,64,2]"), use("FP32[1,64,1]")),
    Case("scan_output_needs_trip_count", "Loop", "7.0", None,
         use("", "BOOL[]", "FP32[1]", body=KEEPS, outputs=2),
         use("INT64[]", "BOOL[]", "FP32[1]", body=KEEPS, outputs=2)),
    Case("spatial_dims", "MaxPool", "7.0", None, use("FP32[8,8]"),
         use("FP32[3,8,8]")),
    Case("spatial_dims", "Resize", "7.0", None,
         use(X4, "", f"{SCALES}2,1,2,2", mode="linear"),
         use(X4, "", f"{SCALES}1,2,2,2", mode="linear")),
    Case("state_shape_constant", "Loop", "7.0", None,
         use("INT64[]", "BOOL[]", "FP32[1]", body=GROWS),
         use("INT64[]", "BOOL[]", "FP32[1]", body=KEEPS)),
    Case("static_dim", "Hardmax", "9.2", None, use("FP32[2,N]"), use("FP32[N,2]")),
    Case("static_dims_le", "ScatterElements", "8.2", None,
         use("FP32[2,2]", "INT64[3,2]", "FP32[3,2]"), use("FP32[3,2]", "INT64[2,2]", "FP32[2,2]")),
    Case("static_shape_only", "GatherElements", "8.0", "8.0", use("FP32[N,2]", "INT64[2,2]"),
         use("FP32[2,2]", "INT64[2,2]")),
    Case("static_shape_only", "Squeeze", "8.0", "11.4", use("FP32[N,1]"),
         use("FP32[N,1]", "const INT64[1]=1")),
    Case("static_shape_only", "ReverseSequence", "8.0", "8.5", use("FP32[N,M]", "INT64[M]"),
         use("FP32[N,3]", "INT64[M]")),
    Case("symmetric_pads_3d", "ConvTranspose", "7.0", "8.2",
         use("FP32[1,1,4,4,4]", pads=[0, 0, 0, 1, 0, 0]),
         use("FP32[1,1,4,4,4]", pads=[1, 0, 0, 1, 0, 0])),
    Case("vector_by_stack", "MatMul", "rtx-1.7", "rtx-1.7", use("FP32[4]", "FP32[2,4,3]"),
         use("FP32[4]", "FP32[1,4,3]")),
    Case("zero_point_must_be_zero", "QuantizeLinear", "7.0", None,
         use("FP32[2]", "const FP32[]=1", "const INT8[]=3"),
         use("FP32[2]", "const FP32[]=1", "const INT8[]=0")),
]  # fmt: skip


def found(release: str, case: Case, settings: Use, build: Any) -> list[Any]:
    inputs, attributes = settings
    verdict = load_target(release).judge(build(case.op, *inputs, **attributes))
    return [finding for finding in verdict.findings if finding.kind == case.kind]


def ends(case: Case) -> set[str]:
    return {case.since, case.until or main_line()[-1]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.op}-{case.since}")
def test_kind(case: Case, build: Any) -> None:
    for release in ends(case):
        hits = found(release, case, case.hit, build)
        assert hits and all(hit.certain for hit in hits), release
        assert all(hit.why and hit.evidence and hit.source for hit in hits)
        if case.miss is not None:
            assert not found(release, case, case.miss, build), release


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.alone], ids=lambda case: f"{case.kind}-{case.op}"
)
def test_kind_outside_its_interval(case: Case, build: Any) -> None:
    order = main_line()
    if case.since not in order:
        outside = [order[-1]]
    else:
        first = order.index(case.since)
        last = order.index(case.until) if case.until else len(order) - 1
        outside = [*order[max(first - 1, 0) : first], *order[last + 1 : last + 2]]
    for release in outside:
        assert not found(release, case, case.hit, build), release


def test_every_kind_is_evaluated_or_explained() -> None:
    kinds = Counter(entry["kind"] for entry in read("restrictions"))
    assert set(kinds) == set(EVALUATORS) | set(NOT_EVALUATED)
    assert not set(EVALUATORS) & set(NOT_EVALUATED)
    collected = [entry for entry in read("restrictions") if "origin" not in entry]
    assert len(collected) == 275
    assert len({entry["kind"] for entry in collected}) == 52
    assert {case.kind for case in CASES} == set(EVALUATORS)


def test_identifiers_are_unique_and_say_what_they_are() -> None:
    entries = read("restrictions")
    assert len({entry["id"] for entry in entries}) == len(entries)
    for entry in entries:
        assert entry["id"].startswith(f"{entry['op']}.{entry['kind']}.")
        assert entry["op"] in read("operators")


def test_every_entry_runs_on_a_bare_and_on_an_unknown_node(build: Any) -> None:
    """No evaluator trips over a node that shows next to nothing."""
    for entry in read("restrictions"):
        release = entry["since"]
        opset = max(entry.get("opset_min", 13), 7)
        for inputs in ((), ("?",) * 5, ("",) * 5, ("fold ?",) * 5):
            node = build(entry["op"], *inputs, opset=opset, unresolved=("mode", "axis", "axes"))
            verdict = load_target(release).judge(node)
            assert verdict.status in ("supported", "refused", "unknown")


def test_conditions_and_defaults_follow_onnx() -> None:
    """Defaults that the data repeat are those of some ONNX schema of the op."""
    schemas = onnx.defs.get_all_schemas_with_history()
    checked = 0
    for entry in read("restrictions"):
        if "default" not in entry or entry["kind"] in ("static_dim", "max_value"):
            continue
        values = [
            helper.get_attribute_value(schema.attributes[entry["attribute"]].default_value)
            for schema in schemas
            if schema.name == entry["op"] and schema.domain == ""
            and entry["attribute"] in schema.attributes
            and schema.attributes[entry["attribute"]].default_value.type
        ]  # fmt: skip
        texts = {v.decode() if isinstance(v, bytes) else v for v in values}
        assert any(
            abs(v - entry["default"]) < 1e-6 if isinstance(v, float) else v == entry["default"]
            for v in texts
        ), entry["id"]
        checked += 1
    assert checked > 40


def test_every_condition_can_be_asked(build: Any) -> None:
    asked = [entry for entry in read("restrictions") if "when" in entry]
    assert all("when_text" in entry for entry in asked)
    for entry in asked:
        node = build(entry["op"], "?", "?", "?", "?", opset=18)
        assert holds(entry["when"], node, NAMES) in (True, False, None)
    with pytest.raises(KeyError):
        holds({"nonsense": 1}, build("Clip"), NAMES)


def test_intervals_name_listed_releases() -> None:
    names = set(read("releases")["releases"])
    for entry in read("restrictions"):
        for release in (entry["since"], entry["until"]):
            assert release is None or release in names, entry["id"]
        assert set(entry.get("changes", ())) <= names
        assert set((*entry.get("also_on", ()), *entry.get("not_on", ()))) <= names
        if entry["until"] is not None:
            assert Release.named(entry["since"]).index <= Release.named(entry["until"]).index
        assert entry["effect"] in REFUSING_EFFECTS | {
            "changes_type", "conditional", "limits_use", "none", "nondeterministic", "ordering",
            "performance", "unknown", "warning",
        }  # fmt: skip


def test_effect_none_is_no_finding(build: Any) -> None:
    node = build("MaxPool", X4, storage_order=1, kernel_shape=[3, 3])
    assert load_target("8.6").judge(node).status == "supported"


def test_general_facts_are_evaluated_or_explained() -> None:
    facts = read("facts")["general"]
    ruled = {fact["id"] for fact in facts if "rule" in fact}
    assert ruled | set(GENERAL_NOT_EVALUATED) == {fact["id"] for fact in facts}
    assert not ruled & set(GENERAL_NOT_EVALUATED)


@pytest.mark.parametrize(
    "name",
    ["facts", "messages", "operators", "plugins", "releases", "restrictions", "trtexec"],
)
def test_data_files_name_known_levels_of_evidence(name: str) -> None:
    levels = {"source", "header", "doc", "changelog", "probe", "report", "inferred"}

    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert value.get("evidence", "source") in levels, value
            for inner in value.values():
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)

    check(read(name))


def test_types_are_those_of_onnx() -> None:
    for number, name in NAMES.items():
        onnx_name = onnx.TensorProto.DataType.Name(number) if number < 25 else ""
        same = {"FP32": "FLOAT", "FP16": "FLOAT16", "BF16": "BFLOAT16", "FP8": "FLOAT8E4M3FN",
                "FP4": "FLOAT4E2M1"}.get(name, name.replace("FP8_", "FLOAT8"))  # fmt: skip
        assert not onnx_name or onnx_name == same
