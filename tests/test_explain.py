"""Messages and logs explained: forms of several releases, whole logs, models, and honesty."""

from __future__ import annotations

import json
import random
import re
import time
from functools import cache
from pathlib import Path

import onnx
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from onnx_fix.cli_explain import decode, register
from onnx_fix.explain import Explanation, NodeInLog, explain_log, explain_op, release_in
from onnx_fix.explain.catalogue import messages, plain, spans_in_words
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.target.data import main_line, read

CLIP = """<ir_version: 8, opset_import: ["" : 13]>
main (float[N] x, float lo, float hi) => (float[N] y, float[N] z) {
  [plain] r = Relu (x)
  [cut] y = Clip (r, lo, hi)
  [fine] z = Clip (y, bottom, top)
}"""
CLIP = CLIP.replace("{\n", "<float bottom = {0}, float top = {6}> {\n", 1)


def one(text: str, **more: object) -> Explanation:
    """The only explanation of a text."""
    found = explain_log(text, **more)  # type: ignore[arg-type]
    assert len(found) == 1, [(e.kind, e.text) for e in found]
    return found[0]


def model(text: str, target: str) -> Model:
    return Model(onnx.parser.parse_model(text), None, load_target(target))


# -- every text of the data ----------------------------------------------------------------------


UNKNOWN_OP = {e["text"] for e in read("facts")["unsupported_op_errors"]}


@cache
def all_texts() -> list[tuple[str, str, str]]:
    """(text, op, first release) of every literal message, straight from the files."""
    found: dict[tuple[str, str], str] = {}
    data = read("messages")
    for raw in (*data["ops"], *data["helpers"]):
        first = raw.get("since") or raw["side"][0]
        found.setdefault((raw["text"], raw.get("op", "")), first)
    for raw in read("restrictions"):
        wordings = [(raw.get("message"), raw["since"])]
        wordings += [(c.get("message"), at) for at, c in raw.get("changes", {}).items()]
        for text, first in wordings:
            if text:
                found.setdefault((text, raw["op"]), first)
    facts, plugins = read("facts"), read("plugins")
    for raw in (*facts["general"], *plugins["mapping"], *plugins["local_functions"]):
        for key in ("message", "warning_text"):
            if key in raw:
                found.setdefault((raw[key], ""), raw["since"])
    for raw in facts["unsupported_op_errors"]:
        found.setdefault((raw["text"], ""), raw["since"])
    return [(text, op, first) for (text, op), first in found.items()]


def said(text: str, op: str, release: str) -> str:
    """A text as a parser of the release says it, run-time values filled in."""
    values = iter(["INT32", "3", "[1, 2]", "4", "5", "6"] * 3)
    filled = re.sub(r"<\*>|<name>", lambda _: next(values), text)
    filled = re.sub(r"<\*?$", "7", filled).replace("<op>", "MyOp")
    if filled.startswith("No importer registered for op: ") and filled.endswith(" "):
        filled += "MyOp"
    index = main_line().index(read("releases")["releases"][release].get("base", release))
    function = f"import{op}" if op else "parseGraph"
    if text == "false":
        return f"ERROR: onnxOpCheckers.cpp:9 In function check{op or 'DFT'}:\n[8] false"
    if index < main_line().index("9.1"):
        said_so = (
            filled
            if filled.startswith("Assertion")
            else f'Assertion failed: (a == b) && "{filled}"'
        )
        where = f"ERROR: builtin_op_importers.cpp:12 In function {function}:"
    elif index < main_line().index("10.0"):
        said_so = f"Assertion failed: (a == b): {filled}"
        where = f"ERROR: builtin_op_importers.cpp:12 In function {function}:"
    else:
        said_so = f'(a == b) && "{filled}"'
        where = f"ERROR: onnxOpCheckers.cpp:12 In function {function}:"
    if release.startswith("rtx"):
        return f"In node 0 with name: n and operator: {op} ({function}): INVALID_NODE: {said_so}"
    return (
        f"[11/23/2026-10:00:00] [E] [TRT] ModelImporter.cpp:72: While parsing node number 3"
        f' [{op or "MyOp"} -> "out"]:\n[11/23/2026-10:00:00] [E] [TRT] {where}\n[8] {said_so}\n'
    )


@pytest.mark.parametrize(("text", "op", "release"), all_texts(), ids=lambda v: str(v)[:60])
def test_every_text_of_the_data_is_found_again(text: str, op: str, release: str) -> None:
    found = [e for e in explain_log(said(text, op, release)) if e.kind == "message"]
    assert len(found) == 1, said(text, op, release)
    explained = found[0]
    if text in UNKNOWN_OP or text.startswith("No importer"):
        assert any(m.kind == "no_importer" for m in explained.meanings)
        return
    # A text whose value happens to be one that the data spell out is found as that one.
    assert plain(explained.text).startswith(plain(text))
    if op:
        assert explained.ops == (op,)
    assert explained.meanings and all(m.what and m.releases for m in explained.meanings)


def test_there_are_as_many_texts_as_in_the_files() -> None:
    assert len(all_texts()) > 800
    # The attempt line is no text of the files, and every other text is in the catalogue.
    listed = {text for text, _, _ in all_texts()}
    left = {t for t in messages() if t not in listed}
    assert left == {"No importer registered for op: <op>. Attempting to import as plugin."}
    missing = {t for t in listed if t not in messages()}
    assert all(t.startswith(("No importer", "Plugin not found")) for t in missing)


# -- forms of messages ---------------------------------------------------------------------------


FORMS = [
    'Assertion failed: inputs.at(2).is_weights() && "Clip max value must be an initializer!"',
    "Clip max value must be an initializer!",
    "Clip max value must be an initializer",
    'Assertion failed: inputs.at(2).is_weights() && \\"Clip max value must be an initializer!\\"',
    'Assertion failed: inputs.at(2).is_weights() && "Clip max value " "must be an initializer!"',
    "In node 4 (importClip): INVALID_NODE: Assertion failed: inputs.at(2).is_weights() && "
    '"Clip max value must be an initializer!"',
    "Assertion failed: inputs.at(2).is_weights(): Clip max value must\n    be an initializer!",
    "RuntimeError: While parsing node number 4:\nbuiltin_op_importers.cpp:345 In function "
    'importClip:\n[8] Assertion failed: x && "Clip max value must be an initializer!"',
]


@pytest.mark.parametrize("text", FORMS)
def test_forms_of_one_message(text: str) -> None:
    explained = one(text)
    assert explained.text == "Clip max value must be an initializer!"
    assert explained.ops == ("Clip",)
    kinds = {m.kind for m in explained.meanings}
    assert "input_must_be_constant" in kinds
    mended = next(m for m in explained.meanings if m.kind == "input_must_be_constant")
    assert "clip-to-min-max" in [r.pass_name for r in mended.remedies]
    assert mended.code == "OF201"


def test_a_release_narrows_the_meanings() -> None:
    text = "Clip max value must be an initializer!"
    old = one(text, target=load_target("trt-7.2"))
    new = one(text, target=load_target("trt-8.6"))
    assert {m.kind for m in old.meanings} == {
        "input_must_be_constant",
        "optional_input_must_be_present",
    }
    assert {m.kind for m in new.meanings} == {""}


def test_a_release_that_does_not_have_the_text_is_told() -> None:
    explained = one("windowWeights must be an initializer!", target=load_target("trt-7.2"))
    assert explained.ops == ("STFT",)
    assert any("7.2 is not known to have this text" in n for n in explained.notes)


def test_an_op_that_does_not_have_the_text_is_told() -> None:
    text = 'While parsing node number 3 [Relu -> "y"]:\n[8] Clip max value must be an initializer!'
    explained = one(text)
    assert explained.ops == ("Clip",)
    assert any("other ops than Relu" in n for n in explained.notes)


def test_a_text_of_many_ops_lists_them_all() -> None:
    text = "Failed to broadcast tensors elementwise!"
    expected = {e["op"] for e in read("messages")["ops"] if e["text"] == text}
    assert len(expected) > 40
    assert set(one(text).ops) == expected


def test_the_op_in_the_log_settles_it() -> None:
    text = 'While parsing node number 3 [Mod -> "y"]:\nFailed to broadcast tensors elementwise!'
    assert one(text).ops == ("Mod",)
    by_function = "In function importMod:\n[8] Failed to broadcast tensors elementwise!"
    assert one(by_function).ops == ("Mod",)


def test_the_longer_of_two_texts_is_meant() -> None:
    short = "The boxes tensor must be 3D"
    longer = "The boxes tensor must be 3D. The actual rank is 4."
    assert one(short).text == short
    assert one(longer).text == "The boxes tensor must be 3D. The actual rank is <*>."


def test_texts_that_differ_in_punctuation_alone_are_both_kept() -> None:
    explained = one("Axis must be in the range [0, nbDims).")
    assert explained.text == "Axis must be in the range [0, nbDims)."
    assert one("Axis must be in the range [0, nbDims].").text.endswith("nbDims].")


def test_an_assertion_of_10_9_through_polygraphy() -> None:
    explained = one(
        "[E] In node 70 with name: node_ReduceMean_70 and operator: ReduceMean (reduceTensor): "
        "UNSUPPORTED_NODE: Assertion failed: inputAxes.is_weights(): Axis input must be an "
        "initializer!",
        target=load_target("trt-10.9"),
    )
    assert explained.in_log == (NodeInLog(70, "node_ReduceMean_70", "ReduceMean"),)
    assert explained.ops == ("ReduceMean",)
    assert {m.code for m in explained.meanings} == {"OF201"}


def test_the_wording_of_rtx_belongs_to_rtx() -> None:
    explained = one(
        "In node 0 with name: n0 and operator: MaxPool (checkMaxPool): UNSUPPORTED_NODE: x && "
        '"at least 5 dimensions are required for input"'
    )
    assert explained.ops == ("MaxPool",)
    assert [m.releases for m in explained.meanings] == [("rtx-1.7",)]


def test_a_bare_false_is_an_op_known_to_be_unsupported() -> None:
    for text in (
        "ERROR: onnxOpCheckers.cpp:781 In function checkDFT:\n[8] false",
        "In node 3 with name: d and operator: DFT (checkDFT): UNSUPPORTED_NODE: false",
    ):
        explained = one(text)
        assert explained.op == "DFT" and explained.meanings[0].kind == "no_importer"
    assert one("false").kind == "unknown"


# -- no importer ---------------------------------------------------------------------------------


TRT_8_0 = """&&&& RUNNING TensorRT.trtexec [TensorRT v8001] # trtexec --onnx=m.onnx --fp16
[11/23/2021-10:00:00] [I] Start parsing network model
[11/23/2021-10:00:00] [W] [TRT] onnx2trt_utils.cpp:366: Your ONNX model has been generated with \
INT64 weights, while TensorRT does not natively support INT64. Attempting to cast down to INT32.
[11/23/2021-10:00:00] [W] [TRT] onnx2trt_utils.cpp:366: Your ONNX model has been generated with \
INT64 weights, while TensorRT does not natively support INT64. Attempting to cast down to INT32.
[11/23/2021-10:00:00] [I] [TRT] No importer registered for op: GridSample. \
Attempting to import as plugin.
[11/23/2021-10:00:00] [I] [TRT] Searching for plugin: GridSample, plugin_version: 1, \
plugin_namespace: \n\
[11/23/2021-10:00:00] [E] [TRT] 3: getPluginCreator could not find plugin: GridSample version: 1
[11/23/2021-10:00:00] [E] [TRT] ModelImporter.cpp:720: While parsing node number 12 \
[GridSample -> "out"]:
[11/23/2021-10:00:00] [E] [TRT] ModelImporter.cpp:721: --- Begin node ---
[11/23/2021-10:00:00] [E] [TRT] ModelImporter.cpp:722: input: "x"
input: "grid"
output: "out"
name: "GridSample_12"
op_type: "GridSample"
attribute {
  name: "mode"
  s: "bilinear Error"
  type: STRING
}

[11/23/2021-10:00:00] [E] [TRT] ModelImporter.cpp:723: --- End node ---
[11/23/2021-10:00:00] [E] [TRT] ModelImporter.cpp:726: ERROR: builtin_op_importers.cpp:4531 In \
function importFallbackPluginImporter:
[8] Assertion failed: creator && "Plugin not found, \
are the plugin name, version, and namespace correct?"
[11/23/2021-10:00:00] [E] Failed to parse onnx file
[11/23/2021-10:00:00] [I] Finish parsing network model
[11/23/2021-10:00:00] [E] Parsing model failed
[11/23/2021-10:00:00] [E] Engine creation failed
[11/23/2021-10:00:00] [E] Engine set up failed
&&&& FAILED TensorRT.trtexec [TensorRT v8001] # trtexec --onnx=m.onnx --fp16
"""


def test_a_log_of_8_0() -> None:
    harmless, missing = explain_log(TRT_8_0)
    assert (harmless.kind, harmless.severity, harmless.count) == ("line", "harmless", 2)
    assert missing.op == "GridSample" and missing.severity == "error"
    assert missing.in_log == (NodeInLog(12, "GridSample_12", "GridSample", "out"),)
    assert missing.meanings[0].code == "OF101"
    assert "since 8.5" in missing.meanings[0].detail
    assert missing.line == 5


def test_a_log_of_7_2_with_another_error_after_it() -> None:
    text = """While parsing node number 12 [Clip]:
ERROR: builtin_op_importers.cpp:345 In function importClip:
[8] Assertion failed: inputs.at(2).is_weights() && "Clip max value must be an initializer!"
While parsing node number 14 [Clip -> "b"]:
ERROR: builtin_op_importers.cpp:345 In function importClip:
[8] Assertion failed: inputs.at(2).is_weights() && "Clip max value must be an initializer!"
[11/23/2020-10:00:00] [E] Failed to parse onnx file
[11/23/2020-10:00:00] [E] [TRT] Network must have at least one output
"""
    clip, network = explain_log(text)
    assert clip.count == 2
    assert clip.in_log == (NodeInLog(12, "", "Clip"), NodeInLog(14, "", "Clip", "b"))
    assert network.text == "Network must have at least one output"


def test_a_node_is_not_blamed_for_a_later_message() -> None:
    text = """While parsing node number 1 [Clip -> "a"]:
[8] Assertion failed: x && "Clip max value must be an initializer!"
ERROR: ModelImporter.cpp:92 In function parseGraph:
[8] Windows: OneHot does not support dynamic depth input
"""
    clip, onehot = explain_log(text)
    assert clip.in_log[0].number == 1
    assert onehot.in_log == () and onehot.ops == ("OneHot",)


def test_a_plugin_that_was_found_is_no_error() -> None:
    text = """[I] [TRT] No importer registered for op: Mine. Attempting to import as plugin.
[I] [TRT] Searching for plugin: Mine, plugin_version: 1, plugin_namespace:
[I] [TRT] Successfully created plugin: Mine
"""
    assert explain_log(text) == []


def test_a_missing_plugin_without_a_name_takes_it_from_the_line_before() -> None:
    text = """[I] [TRT] No importer registered for op: Mine. Attempting to import as plugin.
In node 442 (importFallbackPluginImporter): UNSUPPORTED_NODE: Assertion failed: creator && "Plugin \
not found, are the plugin name, version, and namespace correct?"
"""
    explained = one(text)
    assert explained.op == "Mine" and explained.in_log[0].number == 442
    assert "neither an op of ONNX" in explained.meanings[0].detail


def test_nodes_of_the_builder_are_named() -> None:
    text = (
        "[E] 10: [optimizer.cpp::computeCosts::2011] Error Code 10: Internal Error (Could not find "
        "any implementation for node conv1.weight + Conv_9 + PWN(LeakyRelu_10).)"
    )
    explained = one(text)
    assert explained.kind == "line" and explained.subjects == (
        "conv1.weight + Conv_9 + PWN(LeakyRelu_10)",
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Cuda failure: an illegal memory access was encountered\nAborted (core dumped)", "--fp16"),
        ("invalid memory access, core dumped", "--fp16"),
        ("Error Code 2: OutOfMemory (no further information)", "free the GPU"),
        ("Some tactics do not have sufficient workspace memory to run.", "--memPoolSize"),
        ("[E] Unknown option: --workspace 4096", "onnx-fix trtexec"),
        (
            "Network has dynamic or shape inputs, but no optimization profile has been defined.",
            "min",
        ),
        (
            "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine cannot run "
            "on this GPU, which has compute capability 9.0. Supported compute capabilities: None. "
            "TensorRT-RTX does not support this compute capability, so the engine cannot be "
            "rebuilt for it. In throwUnlessComputeCapSupported at /_src/x.cpp:84)",
            "--compute-capability",
        ),
        (
            "[E] Error[9]: [pluginV2Builder.cpp::reportPluginError::23] Error Code 9: Internal "
            "Error (/n: could not find any supported formats consistent with input/output data "
            "types)",
            "a Cast",
        ),
        (
            "[E] GatherElementsPlugin::enqueue: INT8 data and output have different scales; give "
            "them one dynamic range, or keep this layer out of INT8",
            "one dynamic range",
        ),
    ],
)
def test_well_known_lines(text: str, hint: str) -> None:
    found = explain_log(text)
    assert found and all(e.kind == "line" and e.source for e in found)
    assert hint in found[0].mend


# -- the release ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v7201] # x", "trt-7.2"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # x", "trt-8.6"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b20] # x", "trt-10.3"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101000] # x", "trt-10.10"),
        ("[I] TensorRT version: 8.5.2", "trt-8.5"),
        ("[I] TensorRT-RTX version: 1.7.1", "rtx-1.7"),
    ],
)
def test_the_release_that_wrote_a_log(text: str, name: str) -> None:
    found = release_in(text)
    assert found is not None and found.name == name


def test_logs_that_do_not_say_their_release() -> None:
    assert release_in("[E] Failed to parse onnx file") is None
    assert release_in("[TensorRT v5102]") is None


# -- with a model --------------------------------------------------------------------------------


def test_the_number_in_the_log_names_the_node() -> None:
    text = 'While parsing node number 1 [Clip -> "y"]:\n[8] Clip max value must be an initializer!'
    (node,) = one(text, model=model(CLIP, "trt-7.2")).in_model
    assert (node.name, node.op, node.how) == ("cut", "Clip", "named")
    assert node.mended_by == "clip-to-min-max"
    assert node.why


def test_the_name_and_the_output_name_the_node() -> None:
    by_name = "In node 9 with name: cut and operator: Clip (importClip): Clip max value must be an "
    by_name += "initializer!"
    by_output = 'While parsing node number 9 [Clip -> "y"]:\nClip max value must be an initializer!'
    for text in (by_name, by_output):
        (node,) = one(text, model=model(CLIP, "trt-7.2")).in_model
        assert node.name == "cut"


def test_the_text_alone_names_the_nodes_that_run_into_it() -> None:
    explained = one("Clip max value must be an initializer!", model=model(CLIP, "trt-7.2"))
    assert [(n.name, n.how) for n in explained.in_model] == [("cut", "refused")]


def test_a_release_that_has_the_text_judges_where_the_model_is_for_another() -> None:
    # At 8.6 no Clip is refused for its bounds, and the check is there: both nodes might be meant.
    explained = one("Clip max value must be an initializer!", model=model(CLIP, "trt-8.6"))
    assert {n.how for n in explained.in_model} == {"same op"}
    log = "[TensorRT v7201]\nClip max value must be an initializer!"
    assert [n.how for n in one(log, model=model(CLIP, "trt-8.6")).in_model] == ["refused"]


def test_a_log_of_another_model_is_told() -> None:
    text = 'While parsing node number 0 [Clip -> "q"]:\n[8] Clip max value must be an initializer!'
    explained = one(text, model=model(CLIP, "trt-7.2"))
    assert explained.in_model == ()
    assert any("another model" in n for n in explained.notes)
    beyond = text.replace("number 0", "number 77")
    assert any("only 3" in n for n in one(beyond, model=model(CLIP, "trt-7.2")).notes)


def test_an_op_without_importer_is_found_in_the_model_and_in_its_branches() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    main (float[N] x, bool c) => (int64[K, M] y) {
      [choose] y = If (c) <
        then_branch = g () => (int64[K, M] a) { [inner] a = NonZero (x) },
        else_branch = h () => (int64[K, M] b) { [other] b = NonZero (x) }>
    }"""
    log = "[I] [TRT] No importer registered for op: NonZero. Attempting to import as plugin."
    explained = one(log, model=model(text, "trt-7.2"))
    assert {n.name for n in explained.in_model} == {"inner", "other"}
    assert all(n.scope and n.how == "refused" for n in explained.in_model)


def test_a_model_that_does_not_have_the_op_is_told() -> None:
    explained = one("OneHot does not support dynamic depth input", model=model(CLIP, "trt-7.2"))
    assert explained.in_model == () and any("no node" in n for n in explained.notes)


# -- honesty -------------------------------------------------------------------------------------


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    text = "\n".join(
        [
            "[11/23/2026-10:00:00] [E] [TRT] 2: Something that nobody has heard of",
            "[11/23/2026-10:00:01] [E] [TRT] 2: Something that nobody has heard of",
            "[11/23/2026-10:00:01] [I] Everything is fine",
            "error: a line in small letters",
        ]
    )
    first, second = explain_log(text)
    assert (first.kind, first.count, first.line) == ("unknown", 2, 1)
    assert second.text == "error: a line in small letters"
    assert not first.meanings and not first.mend


def test_an_unknown_message_has_its_node() -> None:
    text = """[E] [TRT] ModelImporter.cpp:720: While parsing node number 1 [Clip -> "y"]:
[E] [TRT] ModelImporter.cpp:726: ERROR: builtin_op_importers.cpp:45 In function importClip:
[8] Assertion failed: inputs.at(7).is_weights()
[E] a later trouble
"""
    first, second = explain_log(text, model(CLIP, "trt-7.2"))
    assert first.kind == second.kind == "unknown"
    assert first.op == "Clip" and first.in_log == (NodeInLog(1, "", "Clip", "y"),)
    assert [n.name for n in first.in_model] == ["cut"]
    assert second.in_log == () and second.in_model == ()


def test_a_misspelt_message_has_a_nearest_one() -> None:
    explained = one("Clip max value must be an initialiser")
    assert explained.kind == "unknown"
    assert explained.nearest == "Clip max value must be an initializer!"


def test_nothing_to_explain() -> None:
    assert explain_log("") == []
    assert explain_log(" \n\t\n") == []
    assert explain_log("[I] all went well\n[I] &&&& PASSED TensorRT.trtexec\n") == []


def test_binary_garbage_is_survived() -> None:
    data = random.Random(0).randbytes(300_000)
    for e in explain_log(decode(data)):
        assert e.kind == "unknown"
    (long,) = explain_log("[E] " + "z" * 300_000)
    assert len(long.text) < 10_000


PIECES = st.sampled_from(
    [
        *FORMS,
        'While parsing node number 3 [Clip -> "y"]:',
        "--- Begin node ---",
        "--- End node ---",
        "Invalid Node - ",
        "In function import",
        "In node -1 (",
        "[E]",
        "\n",
        "\x00",
        "No importer registered for op: ",
        "\u2028",
        '"',
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=12))
def test_any_mixture_is_survived_and_can_be_written(pieces: list[str]) -> None:
    for e in explain_log(" ".join(pieces)):
        json.dumps(e.to_dict())
        assert e.count >= 1 and e.line >= 1


@pytest.mark.parametrize("shift", range(0, 120, 7))
def test_a_message_on_the_border_of_two_chunks_is_counted_once(shift: int) -> None:
    filler = "x" * 63 + "\n"
    text = filler * 1023 + "y" * shift + "\nClip max value must be an initializer!\n" + filler * 9
    explained = one(text)
    assert explained.count == 1 and explained.line == 1025


def test_a_big_log_takes_seconds() -> None:
    line = (
        "[11/23/2026-10:00:00] [V] [TRT] Registering layer: /m.{0}/Conv_{0} for ONNX node: [Conv]\n"
    )
    middle = said("Clip max value must be an initializer!", "Clip", "7.2")
    lines = [line.format(i) for i in range(250_000)]
    text = "".join(lines[:125_000]) + middle + "".join(lines[125_000:])
    assert len(text) > 20_000_000
    start = time.perf_counter()
    explained = one(text)
    assert time.perf_counter() - start < 20, "measured: about 1 s"
    assert explained.line == 125_003 and explained.ops == ("Clip",)


def test_a_log_of_nothing_but_errors_takes_seconds() -> None:
    text = said("Clip max value must be an initializer!", "Clip", "7.2") * 5_000
    text += "".join(f"[E] unheard of {i}\n" for i in range(5_000))
    start = time.perf_counter()
    found = explain_log(text)
    assert time.perf_counter() - start < 20
    assert found[0].count == 5_000 and len(found) == 51
    assert "and 4950 more" in found[-1].notes[0]


# -- ops -----------------------------------------------------------------------------------------


def test_an_op_at_a_release() -> None:
    clip = explain_op("Clip", load_target("trt-7.2"))
    assert clip.imported is True
    kinds = {r.kind: r for r in clip.restrictions}
    assert "input_must_be_constant" in kinds
    assert kinds["input_must_be_constant"].remedies[0].pass_name == "clip-to-min-max"
    assert kinds["bounds_dtype"].effect == "wrong_result"
    later = explain_op("Clip", load_target("trt-10.3"))
    assert "input_must_be_constant" not in {r.kind for r in later.restrictions}


def test_a_plugin_at_a_release() -> None:
    gone = explain_op("BatchedNMSDynamic_TRT", load_target("trt-11.0"))
    assert gone.plugin == (
        "none; releases with one: 7.1 to 10.16; EfficientNMS_TRT takes its place, whose classes "
        "are INT32, or the op NonMaxSuppression",
    )
    there = explain_op("BatchedNMSDynamic_TRT", load_target("trt-10.3"))
    assert there.plugin == ("version 1",)
    assert explain_op("Clip", load_target("trt-7.2")).plugin == ()


def test_an_op_over_all_releases() -> None:
    einsum = explain_op("Einsum")
    assert einsum.supported == ("since 8.2",) and einsum.imported is None
    assert len(einsum.restrictions) == sum(e["op"] == "Einsum" for e in read("restrictions"))
    grid = explain_op("GridSample", load_target("trt-7.2"))
    assert grid.imported is False and grid.supported == ("since 8.5",)


def test_every_op_of_the_data_can_be_explained() -> None:
    for op in read("operators"):
        for target in (None, load_target("trt-8.6"), load_target("rtx-1.7")):
            explained = explain_op(op, target)
            assert explained.known
            json.dumps(explained.to_dict())


def test_names_that_are_not_ops() -> None:
    assert explain_op("Clipp").near[0] == "Clip"
    assert explain_op("qqqqqqqq").near == () and not explain_op("qqqqqqqq").known
    assert explain_op("clip").op == "Clip"
    assert explain_op("com.microsoft::Gelu").op == "Gelu"
    assert explain_op("EfficientNMS_TRT").plugin and explain_op("").known is False


def test_intervals_in_words() -> None:
    order = main_line()
    assert spans_in_words({"7.0", "7.1"}) == ("7.0 to 7.1",)
    assert "since 10.0" in spans_in_words(set(order[order.index("10.0") :]) | {"rtx-1.7"})
    assert spans_in_words({"rtx-1.7"}) == ("rtx-1.7",)
    assert "not 8.0-tip" in spans_in_words({"8.0"})


# -- the command ---------------------------------------------------------------------------------


def run(*args: object, stdin: str | bytes | None = None) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(a) for a in args], input=stdin)


def test_the_command_on_a_message() -> None:
    result = run("explain", FORMS[0])
    assert result.exit_code == 0
    assert "clip-to-min-max" in result.stdout and "OF201" in result.stdout


def test_the_command_on_a_file_and_on_standard_input(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    log.write_text(TRT_8_0)
    piped, filed = run("explain", stdin=TRT_8_0), run("explain", log)
    assert piped.exit_code == filed.exit_code == 0
    assert "written by TensorRT 8.0" in filed.stdout
    assert piped.stdout == filed.stdout
    assert run("explain", "-", stdin=TRT_8_0).stdout == piped.stdout


def test_the_command_reads_what_powershell_writes(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    log.write_bytes(TRT_8_0.replace("\n", "\r\n").encode("utf-16"))
    assert "GridSample" in run("explain", log).stdout


def test_the_command_names_nodes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(CLIP).SerializeToString())
    result = run("explain", FORMS[0], path, "--target", "trt-7.2")
    assert result.exit_code == 0
    assert "1 x Clip" in result.stdout and "cut" in result.stdout
    data = json.loads(run("explain", FORMS[0], path, "-t", "7.2", "--format", "json").stdout)
    assert data["target"] == "trt-7.2"
    assert data["explanations"][0]["in_model"][0]["node"] == "cut"


def test_the_command_on_an_op() -> None:
    result = run("explain", "Clip", "--target", "trt-7.2")
    assert result.exit_code == 0 and "at trt-7.2" in result.stdout
    data = json.loads(run("explain", "Clip", "-t", "trt-7.2", "--format", "json").stdout)
    assert data["op"] == "Clip" and data["imported"] is True
    wrong = run("explain", "Clipp")
    assert wrong.exit_code == 1 and "Did you mean Clip" in wrong.stdout


def test_the_command_on_a_code_of_check() -> None:
    result = run("explain", "OF104")
    assert result.exit_code == 0 and "OF104 own-plugin: " in result.stdout
    assert "onnx-fix plugins build" in result.stdout
    data = json.loads(run("explain", "OF801", "--format", "json").stdout)
    assert (data["code"], data["name"]) == ("OF801", "no-profile")
    wrong = run("explain", "OF000")
    assert wrong.exit_code == 1 and "no code of onnx-fix check" in wrong.stdout
    assert json.loads(run("explain", "OF000", "--format", "json").stdout) == {"known": False}


def test_the_command_on_what_is_not_known() -> None:
    result = run("explain", "the moon is not aligned with the wafer")
    assert result.exit_code == 1
    assert "not in our data" in result.stdout


def test_the_command_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(CLIP).SerializeToString())
    for args, words in (
        ((path,), "is a model"),
        ((tmp_path / "absent.log",), "no such file"),
        ((FORMS[0], tmp_path / "absent.onnx"), "no such file"),
        ((FORMS[0], "--target", "trt-1.0"), "no target is called"),
        ((FORMS[0], "--format", "xml"), "choose human or json"),
    ):
        result = run("explain", *args)
        assert result.exit_code == 2 and words in result.stderr, words
    empty = run("explain", stdin="")
    assert empty.exit_code == 2 and "empty" in empty.stderr


def test_markup_and_controls_in_a_log_are_shown_as_they_are() -> None:
    result = run("explain", stdin="[E] [bold]odd[/bold] \x1b[31mred failure\n")
    assert "[bold]odd[/bold]" in result.stdout and "\x1b[31m" not in result.stdout


def test_long_texts_are_not_cut() -> None:
    longest = max((m for m in messages() if "<" not in m and len(m) < 158), key=len)
    assert longest in run("explain", longest).stdout
