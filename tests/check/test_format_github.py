"""Workflow commands of GitHub: escaping, grouping, the limit of ten."""

from __future__ import annotations

import re

from format_cases import ODD, ODD_FINDINGS, clip, int64, rank, result
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnx_fix.check.finding import CheckFinding
from onnx_fix.check.formats import github


def parse(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as the runner does."""
    match = re.fullmatch(r"::(\w+)(?: (.*?))?::(.*)", line)
    assert match is not None, line
    properties = dict(part.split("=", 1) for part in (match[2] or "").split(",") if part)

    def data(text: str) -> str:
        return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")

    def prop(text: str) -> str:
        return data(text.replace("%3A", ":").replace("%2C", ","))

    return match[1], {key: prop(value) for key, value in properties.items()}, data(match[3])


def test_github_groups_and_levels() -> None:
    found = [clip(f"/l{i}", f"min{i}") for i in range(30)]
    lines = github.render([result(*found, rank(), int64("n", "t"))]).splitlines()
    parsed = [parse(line) for line in lines]
    assert [level for level, _, _ in parsed] == ["notice", "error", "warning", "warning"]
    assert parsed[0][2].startswith(
        "models/m.onnx for trt-8.6: blocked (30 errors, 1 unknown, 1 war"
    )
    assert "\nmend: onnx-fix models/m.onnx -o models/m.fixed.onnx --target trt-8.6" in parsed[0][2]
    _, properties, message = parsed[1]
    assert properties == {"file": "models/m.onnx", "title": "OF204 input-must-be-constant"}
    assert message.splitlines() == [
        "error for trt-8.6: input <tensor> is not a constant",
        "30 findings at Clip /l0, /l1, /l2, /l3, /l4 and 25 more",
        "parser: Clip min value must be an initializer!",
        "mend: clip-to-min-max makes Min and Max of it",
    ]


def test_github_shows_ten_of_a_level_and_says_so() -> None:
    def levels(count: int) -> list[tuple[str, dict[str, str], str]]:
        found = [clip("/n", op=f"Op{i}") for i in range(count)]
        lines = github.render([result(*found)]).splitlines()
        return [p for p in map(parse, lines) if p[0] == "error"]

    assert len(levels(10)) == 10 and "more" not in levels(10)[-1][2]
    assert len(levels(13)) == 10 and levels(13)[-1][2].startswith("4 more, ")
    many = github.render([result(source=f"m{i}.onnx") for i in range(12)]).splitlines()
    assert len(many) == 10


def test_github_says_stale_lines_and_nothing_found() -> None:
    lines = github.render([result(stale=["error OF204 :/a"])]).splitlines()
    assert [parse(x)[0] for x in lines] == ["notice", "warning"]
    assert parse(lines[0])[1]["title"] == "onnx-fix check: ready"
    assert parse(lines[1])[2].endswith("error OF204 :/a")


@settings(deadline=None)
@given(findings=ODD_FINDINGS, source=ODD.filter(lambda s: "\0" not in s))
def test_github_commands_are_one_line_each_and_read_back(
    findings: list[CheckFinding], source: str
) -> None:
    text = github.render([result(*findings, source=source)])
    for line in text.removesuffix("\n").split("\n"):
        level, properties, _ = parse(line)
        assert level in ("notice", "error", "warning") and set(properties) <= {"file", "title"}
        assert "\r" not in line


@given(text=ODD | st.text(), key=ODD | st.text())
@example("100 %0A %25", "a%2Cb%3A")
def test_github_escaping_reads_back(text: str, key: str) -> None:
    line = github.command("error", text, title=key)
    assert "\n" not in line and "\r" not in line
    assert parse(line) == ("error", {"title": key} if key else {}, text)
