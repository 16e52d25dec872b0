"""What a check prints: for people, as JSON, as SARIF, as workflow commands of GitHub."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from format_cases import ODD, ODD_FINDINGS, clip, int64, rank, result
from hypothesis import example, given, settings

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.formats import FORMATS, human, json_format, renderer
from onnx_fix.check.formats.grouping import fix_command, groups
from onnx_fix.check.text import visible
from onnx_fix.errors import UsageError

# human


def test_the_verdict_comes_first() -> None:
    for findings, verdict in (
        ([], "ready (no findings)"),
        ([clip(), rank()], "blocked (1 error, 1 unknown)"),
        ([rank()], "not certain (1 unknown)"),
    ):
        first = human.render([result(*findings)]).splitlines()[0]
        assert first == f"models/m.onnx for trt-8.6: {verdict}"


def test_identical_remarks_are_one_entry_with_five_places() -> None:
    found = [clip(f"/l{i}/Clip", f"min{i}") for i in range(7)]
    text = human.render([result(*found)])
    assert text.count("OF204") == 1
    assert "error OF204 input-must-be-constant: 7 x Clip: /l0/Clip, " in text
    assert "/l4/Clip and 2 more" in text and "/l5/Clip" not in text
    assert "    parser: Clip min value must be an initializer!" in text
    assert "    why: input <tensor> is not a constant" in text
    assert "    pass: " not in text, "the line below names it"
    assert "    mend: clip-to-min-max makes Min and Max of it" in text
    assert "known from" not in text

    full = human.render([result(*found)], verbose=1)
    assert all(f"/l{i}/Clip" in full for i in range(7)) and " more" not in full
    assert "known from: source, onnx-tensorrt 8.6" in full


def test_500_int64_remarks_are_one_line() -> None:
    found = [int64(f"n{i}", f"t{i}", "Add" if i % 5 == 0 else "Gather") for i in range(500)]
    lines = [x for x in human.render([result(*found)]).splitlines() if "OF402" in x]
    assert lines == [
        "warning OF402 int64-narrowed: 500 x Gather 400, Add 100: n0, n1, n2, n3, n4 and 495 more: "
        "<tensor> is narrowed"
    ]
    assert len(human.render([result(*found)]).splitlines()) == 3


def test_the_pass_is_named_where_the_mend_does_not() -> None:
    text = human.render([result(clip(mend="It is mended."))])
    assert "    pass: clip-to-min-max\n    mend: It is mended.\n" in text


def test_one_finding_keeps_its_names() -> None:
    assert "why: input 'min' is not a constant" in human.render([result(clip())])


def test_what_differs_is_not_thrown_together() -> None:
    found = [
        clip("a"),
        clip("b", message="another text"),
        clip("c", op="Relu"),
        clip("d", severity=Severity.SILENT),
        clip("e", mended_by=None),
        clip("f", origin="live"),
        clip("g", why="input 'max' is not a constant"),
    ]
    assert [len(g.findings) for g in groups(found)] == [1] * 7
    assert "input-must-be-constant (live parser): 1 x Clip: f" in human.render([result(*found)])


def test_the_command_that_mends_is_ready_for_a_shell() -> None:
    text = human.render([result(clip(), rank(), source="my models/it's.onnx")])
    [line] = [x for x in text.splitlines() if x.startswith("passes mend 1 of 2 findings: ")]
    assert shlex.split(line.split(": ", 1)[1]) == [
        "onnx-fix",
        "my models/it's.onnx",
        "-o",
        str(Path("my models/it's.fixed.onnx")),
        "--target",
        "trt-8.6",
    ]
    assert "passes mend" not in human.render([result(rank())])
    assert fix_command("<ModelProto>", "trt-7.2").startswith("onnx-fix MODEL.onnx -o MODEL.fixed")
    assert fix_command("model", "trt-7.2").endswith("-o model.fixed.onnx --target trt-7.2")


def test_baseline_selection_notes_and_live() -> None:
    made = result(
        rank(),
        suppressed=3,
        baselined=2,
        stale=["error OF204 :/gone"],
        target_note="the default",
        live={"parser": "TensorRT-RTX 1.7.1", "status": "refused", "errors": 1, "detail": ""},
    )
    text = human.render([made])
    assert "(1 unknown, 2 accepted by the baseline, 3 left out by select and ignore)" in text
    assert "warning: the baseline accepts what is not found any more: error OF204 :/gone" in text
    assert (
        "  the default\n" in text
        and "  live parser: TensorRT-RTX 1.7.1: refused, 1 error\n" in text
    )


@pytest.mark.parametrize("more", [{"baselined": 1}, {"suppressed": 1}])
def test_ready_is_not_said_of_what_was_not_looked_at(more: dict[str, Any]) -> None:
    said = "nothing is known that stands in the way of a build"
    assert f"{said}\n" in human.render([result()])
    assert f"{said}, but for what is accepted or left out\n" in human.render([result(**more)])


def test_severities_are_words_with_and_without_colour() -> None:
    found = result(clip(), clip(severity=Severity.SILENT), rank(), int64("n", "t"))
    plain, coloured = human.render([found]), human.render([found], color=True)
    assert "\x1b[" not in plain and "\x1b[1;31merror\x1b[0m OF204" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    for word in ("error OF204", "silent OF204", "unknown OF501", "warning OF402"):
        assert word in plain


def test_a_scope_and_several_models() -> None:
    text = human.render([result(rank("x", "If_3/then_branch")), result(source="b.onnx")])
    assert "unknown OF501 rank-unknown: 1 x X: If_3/then_branch:x" in text
    assert "\n\nb.onnx for trt-8.6: ready (no findings)\n" in text


@settings(deadline=None)
@given(findings=ODD_FINDINGS, source=ODD)
@example([clip("\\[", "[/]", message="[bold]x[/bold]", why=":smile:")], "\\[red]")
def test_odd_names_stay_on_their_line_and_are_not_markup(
    findings: list[CheckFinding], source: str
) -> None:
    text = human.render([result(*findings, source=source)], verbose=1)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.startswith(f"{visible(source)} for trt-8.6: ")
    for finding in findings:
        assert visible(finding.node) in text


# json


def test_json_has_everything() -> None:
    document = json.loads(json_format.render([result(clip()), result(rank(), source="b.onnx")]))
    assert (document["schema_version"], document["exit_code"]) == (1, 1)
    assert [m["source"] for m in document["models"]] == ["models/m.onnx", "b.onnx"]
    assert [m["verdict"] for m in document["models"]] == ["blocked", "not certain"]
    assert document["models"][0]["findings"][0]["message"].startswith("Clip min value")


@given(findings=ODD_FINDINGS)
def test_json_gives_every_name_back(findings: list[CheckFinding]) -> None:
    text = json_format.render([result(*findings)])
    assert text.isascii()
    [model] = json.loads(text)["models"]
    assert [(f["node"], f["tensor"], f["scope"]) for f in model["findings"]] == [
        (f.node, f.tensor, f.scope) for f in result(*findings).findings
    ]


# all


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_ends_in_one_line_break_and_is_the_same_twice(form: str) -> None:
    made = [result(clip(), rank(), int64("n", "t")), result()]
    text = renderer(form)(made)
    assert text.endswith("\n") and not text.endswith("\n\n") and renderer(form)(made) == text


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(UsageError, match="--format xml: choose human, json, sarif or github"):
        renderer("xml")


@pytest.mark.parametrize("form", FORMATS)
def test_10000_findings_are_printed_at_once(form: str) -> None:
    found = [int64(f"n{i}", f"t{i}") for i in range(5000)]
    found += [clip(f"/l{i}", f"min{i}", why=f"reason {i % 997}") for i in range(5000)]
    made = result(*found)
    start = time.perf_counter()
    text = renderer(form)([made], verbose=1)
    assert time.perf_counter() - start < 5, "0.4 s on an idle core"
    if form in ("json", "sarif"):
        assert text.count('"OF204"') >= 5000 and text.count('"OF402"') >= 5000
