"""The table of plugins: how it is read, what is wrong in it, and what ships with onnx-fix."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from pydantic import ValidationError

from onnx_fix.check import check
from onnx_fix.errors import PipelineError
from onnx_fix.pipeline import json_schema, parse_pipeline
from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.plugin_table import NodeBody, PluginEntry, expanded, not_mapped, shipped
from onnx_fix.plugin_table.bodies import body_of, written
from onnx_fix.plugin_table.translate import NoCounterpart, inverted, of_plugin, translated
from onnx_fix.target.data import read
from onnx_fix.verify.source import with_bodies

HEAD = "version: 1\nplugins:\n"
GOOD = """  - op: my::Blend
    plugin: BlendTRT
    attributes:
      factor: alpha
      kind: {from: mode, values: {sum: 0}}
    inputs: [a, {name: b, types: [int32]}]
"""


def parsed(text: str) -> PluginEntry:
    return parse_pipeline(HEAD + text, "p.yaml", Path()).plugins[0]


def fault(text: str) -> str:
    with pytest.raises(PipelineError) as caught:
        parse_pipeline(HEAD + text, "p.yaml", Path())
    return str(caught.value)


def test_short_and_long_spellings_are_one() -> None:
    entry = parsed(GOOD)
    assert (entry.op_domain, entry.op_type) == ("my", "Blend")
    rule = entry.attributes["factor"]
    assert rule is not None and rule.from_ == "alpha"
    assert entry.inputs[0].name == "a" and entry.plugin_inputs == ("a", "b")
    assert parsed("  - {op: ScatterND, plugin: ScatterND, inputs: [a, b, c]}").is_standard


def test_a_pipeline_with_a_table_reads_back() -> None:
    first = parse_pipeline(HEAD + GOOD + "  - use: mmdeploy\n", "p.yaml", Path())
    again = parse_pipeline(first.to_yaml(), "p.yaml", Path())
    assert again == first
    assert [s.pass_.name for s in first.steps()] == ["map-to-plugins"]
    assert [s.pass_ for s in again.steps()] == [s.pass_ for s in first.steps()]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (GOOD.replace("plugin:", "plugn:"), 4, "unknown key 'plugn'; did you mean plugin?"),
        (GOOD.replace("from: mode", "frm: mode"), 7, "unknown key 'frm'; did you mean from?"),
        (GOOD.replace("types:", "type:"), 8, "unknown key 'type'; did you mean types?"),
        (GOOD.replace("[int32]", "[int33]"), 8, "Input should be 'float'"),
        (GOOD.replace("{from: mode, values", "{values"), 7, "exactly one of from, input and"),
        (GOOD.replace("{sum: 0}", "{sum: 0, mean: 0}"), 3, "two values become the same"),
        (GOOD.replace("    plugin: BlendTRT\n", ""), 3, "neither a plugin nor a body"),
        (GOOD + "    order: [b, c]\n", 3, "there is no input called c; there are a, b"),
        (GOOD + "    reshape: {other: [0]}\n", 3, "there is no output called other"),
        (GOOD + "    body: onnx\n", 3, "my::Blend is no op of ONNX"),
        (GOOD + "    body: output = Add <\n", 3, "the body is no ONNX text"),
        (GOOD + "    body: output = Add <x = $beta> (a, b)\n", 3, "asks for $beta"),
        ("  - plugin: BlendTRT\n", 3, "op and inputs are wanted, or use"),
        ("  - {use: mmdeploy, plugin: X}\n", 3, "beside use there may only be targets"),
        ("  - use: stock\n  - use: nothing\n", 4, "no shipped entries called 'nothing'"),
        ("  - use: EfficientNMS_ONNX_TRT\n", 3, "parsers of 8.0 to 8.4"),
    ],
)
def test_faults_are_named_with_their_line(text: str, line: int, said: str) -> None:
    message = fault(text)
    assert message.startswith(f"p.yaml:{line}: "), message
    assert said in message


def test_the_schema_knows_the_table() -> None:
    schema = json_schema()
    assert "plugins" in schema["properties"]
    entry = schema["$defs"]["PluginEntry"]["properties"]
    assert {"op", "plugin", "attributes", "inputs", "body", "targets"} <= set(entry)
    assert all("description" in entry[name] for name in ("op", "plugin", "attributes", "inputs"))


def test_items_of_use_are_expanded_in_place() -> None:
    own = parsed(GOOD)
    found = expanded([PluginEntry(use="mmdeploy/GatherTopk"), own, PluginEntry(use="stock")])
    assert found[0].op == "mmdeploy::GatherTopk" and found[1] == own
    assert {e.name.partition("/")[0] for e in found[2:]} == {"stock"}
    (one,) = expanded([PluginEntry(use="mmdeploy/grid_sampler")])
    assert one.keys == (("mmdeploy", "grid_sampler"), ("mmcv", "grid_sampler"))


# -- what ships -----------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", shipped(), ids=lambda e: f"{e.op}-{len(e.inputs)}")
def test_shipped_entries_are_whole(entry: PluginEntry) -> None:
    assert entry.source and entry.name and entry.body and entry.targets is None
    assert not (entry.library and entry.name.startswith("stock"))
    if entry.plugin is not None and not entry.library:
        versions = [v["versions"] for v in read("plugins")["stock_plugins"][entry.plugin]]
        assert any(entry.version in known for known in versions)
    if entry.is_standard:
        schema = onnx.defs.get_schema(entry.op_type)
        assert set(entry.attributes) | set(entry.ignored)
        names = {r.from_ for r in entry.attributes.values() if r and r.from_}
        assert names <= set(schema.attributes)


def test_one_entry_of_a_group_for_an_op_and_a_number_of_inputs() -> None:
    keys = [(e.name.split("/")[0], *key, len(e.inputs)) for e in shipped() for key in e.keys]
    assert len(set(keys)) == len(keys)


def test_what_stands_beside_use_holds_for_all_that_it_brings() -> None:
    item = parsed("  - {use: mmdeploy, targets: [trt-8.6], everywhere: true}\n")
    assert item.use == "mmdeploy"
    assert {(e.targets, e.everywhere) for e in expanded([item])} == {(("trt-8.6",), True)}
    (plain,) = expanded([PluginEntry(use="mmdeploy/GatherTopk")])
    assert plain.targets is None and not plain.everywhere


def test_names_that_mean_the_same_are_one_entry() -> None:
    more = GOOD.replace("op: my::Blend", "op: my::Blend\n    also: [Blend, 'ai.onnx::Mix']")
    entry = parsed(more)
    assert entry.keys == (("my", "Blend"), ("", "Blend"), ("", "Mix"))
    assert not entry.is_standard and not parsed(GOOD.replace("my::Blend", "Blend")).is_standard


def test_what_is_not_mapped_has_a_reason_and_no_entry() -> None:
    assert all(len(n.reason) > 20 for n in not_mapped())
    known = {e.op for e in shipped()} | {e.plugin for e in shipped()}
    assert not known & {n.op for n in not_mapped()}


# -- translation ----------------------------------------------------------------------------------


def test_translation_and_back() -> None:
    (entry,) = [e for e in shipped() if e.name == "stock/RoiAlign"]
    made = translated(entry, {"output_height": 3, "spatial_scale": 0.25}, lambda _: None)
    assert made["coordinate_transformation_mode"] == 1 and made["output_width"] == 1
    back = inverted(entry, made)
    assert back["coordinate_transformation_mode"] == "half_pixel" and back["mode"] == "avg"
    assert translated(entry, back, lambda _: None) == made
    # A plugin node that somebody else made, with what it lacks.
    assert of_plugin(entry, {"output_height": 3, "spatial_scale": 0.25}) == made
    with pytest.raises(NoCounterpart, match="mode of the plugin node is 0"):
        inverted(entry, {**made, "mode": 0})


def test_values_in_onnx_text() -> None:
    assert written([1, 2.0, 'a"b']) == '[1, 2.0, "a\\"b"]'
    assert written(1e-05) == "1e-05" and written(3.0) == "3.0"


def test_models_with_stock_plugin_nodes_of_others_can_run() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "TRT" : 1]>'
        " g (float[1,2,8] x) => (float[1,2,8] y) { y = TRT.InstanceNormalization_TRT"
        '<epsilon = 0.1, scales = [1.0, 2.0], bias = [0.0, 1.0], plugin_version = "1">(x) }'
    )
    model = onnx.parser.parse_model(text)
    whole = with_bodies(model, plugin_bodies(17))
    assert len(whole.functions) == 1 and not model.functions
    onnx.checker.check_model(whole)
    # A function of the model says itself what the op is.
    own = onnx.parser.parse_function(
        '<opset_import: ["" : 17], domain: "TRT"> InstanceNormalization_TRT (x) => (y)'
        " { y = Identity(x) }"
    )
    model.functions.append(own)
    assert with_bodies(model, plugin_bodies(17)) is model


def test_bodies_of_unlike_attributes_are_unlike() -> None:
    (entry,) = [e for e in shipped() if e.name == "stock/RoiAlign"]
    first = translated(entry, {}, lambda _: None)
    names = {body_of(entry, {**first, "output_width": k}).name for k in (1, 2, 1)}
    assert len(names) == 2
    node = onnx.helper.make_node("Other", ["x"], ["y"], domain="my")
    assert NodeBody(entry).function(node) is None


def test_check_names_the_entry_for_an_unknown_op() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "mmdeploy" : 1]>'
        " g (float[2,7] x, int32[2,4] i) => (float[2,4] y, float[2,4] z)"
        " { y = mmdeploy.GatherTopk(x, i) z = mmdeploy.NobodysOp(x, i) }"
    )
    found = check(onnx.parser.parse_model(text), target="trt-8.6").findings
    mends = {f.node: f.mend for f in found if f.code.code == "OF102"}
    assert "`plugins: [{use: mmdeploy/GatherTopk}]`" in mends["y"]
    assert "plugins:" not in mends["z"]
    text = text.replace("GatherTopk", "TRTBatchedNMS")
    found = check(onnx.parser.parse_model(text), target="trt-8.6").findings
    (mend,) = [f.mend for f in found if f.code.code == "OF102" and f.node == "y"]
    assert mend.endswith(
        "Or the pass replace-batched-nms with the option `mmdeploy: true` writes it in ops."
    )


def test_check_names_no_entry_where_a_pass_mends_it_or_a_library_is_wanted() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "TRT" : 1]> g (float[1,4,4] b, float[1,4,2] s,'
        " float[1,1,4,4] x, float[1,2,2,2] g) => (int32[1,1] n, float[1,1,2,2] y) {"
        " n, d, p, c = TRT.EfficientNMS_TRT<score_threshold = 0.2, iou_threshold = 0.5,"
        " max_output_boxes = 4>(b, s) y = GridSample(x, g) }"
    )
    found = check(onnx.parser.parse_model(text), target="trt-7.2").findings
    mends = {f.node: f.mend for f in found if f.code.code == "OF101"}
    assert mends["n"] == "`onnx-fix fix` clears it by the pass replace-efficient-nms"
    assert "plugins:" not in mends["y"]


def test_an_entry_is_checked_outside_a_pipeline_too() -> None:
    with pytest.raises(ValidationError, match="op and inputs are wanted"):
        PluginEntry(plugin="X")
