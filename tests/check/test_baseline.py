"""The baseline file: what is written reads back, what is accepted does not count, stale lines."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_fix.check.baseline import apply_baseline, read_baseline, write_baseline
from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.result import CheckResult
from onnx_fix.check.text import escape_line, unescape_line, visible
from onnx_fix.errors import UsageError

TARGET = "trt-8.6"


def finding(
    node: str = "/a",
    severity: Severity = Severity.ERROR,
    code: str = "OF204",
    scope: str = "",
    tensor: str = "",
) -> CheckFinding:
    made = Code(code, "a-name", "s", "m", "d")
    return CheckFinding(made, severity, "w", "d", node=node, scope=scope, tensor=tensor)


def result(
    findings: list[CheckFinding],
    source: str | Path = "m.onnx",
    target: str = TARGET,
    live: dict[str, str] | None = None,
) -> CheckResult:
    return CheckResult.of(source=str(source), target_name=target, findings=findings, live=live)


def applied(
    path: Path, findings: list[CheckFinding], model: str | Path, target: str = TARGET
) -> tuple[list[CheckFinding], int, tuple[str, ...]]:
    return apply_baseline(findings, read_baseline(path), model=model, target=target)


NAMES = st.one_of(
    st.text(max_size=12),
    st.text(st.sampled_from(" \t\n\r\\#[]:'\"\x1b\x85\u2028\u202e☃é%x0u"), max_size=12),
)
FINDINGS = st.lists(
    st.builds(
        finding,
        node=NAMES,
        severity=st.sampled_from(Severity),
        code=st.sampled_from(["OF101", "OF204", "OF801", "OF901"]),
        scope=NAMES,
        tensor=NAMES,
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(
    findings=FINDINGS, extra=FINDINGS, name=NAMES.filter(lambda n: "\0" not in n and "/" not in n)
)
def test_all_that_was_written_is_accepted_and_nothing_else(
    findings: list[CheckFinding], extra: list[CheckFinding], name: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "baseline.txt"
        model = Path(folder) / f"{name}.onnx"
        assert write_baseline(path, [result(findings, model)]) == len(findings)
        assert applied(path, findings, model) == ([], len(findings), ())

        # Each line accepts one finding of its severity; what comes on top remains, in its order.
        kept, accepted, _ = applied(path, [*findings, *extra], model)
        assert kept == extra and accepted == len(findings)

        kept, accepted, stale = applied(path, [], model)
        assert (kept, accepted, len(stale)) == ([], 0, len(findings))
        lines = path.read_text(encoding="utf-8").split("\n")
        body = [line for line in lines if line and line[0] not in "#["]
        assert body == list(stale) and all(line.isprintable() for line in lines)


@given(text=st.text() | NAMES)
def test_escaped_lines_read_back(text: str) -> None:
    line = escape_line(text)
    assert line.isprintable() and unescape_line(line) == text
    assert visible(text).isprintable()


def test_the_file_reads_well(tmp_path: Path) -> None:
    path = tmp_path / "ci" / "baseline.txt"
    path.parent.mkdir()
    b, a = tmp_path / "models" / "b.onnx", tmp_path / "models" / "a.onnx"
    in_b = [finding("/z", tensor="min"), finding("/a b"), finding("x", scope="If_3/then_branch")]
    write_baseline(path, [result(in_b, b), result([finding("n\n")], a, "rtx-1.7")])
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# onnx-fix baseline 1\n") and text.endswith("\n")
    assert [x for x in text.splitlines() if not x.startswith("#")] == [
        "",
        "[../models/a.onnx for rtx-1.7]",
        "error OF204 :n",
        "",
        "[../models/b.onnx for trt-8.6]",
        "error OF204 :/a b",
        "error OF204 :/z min",
        "error OF204 If_3/then_branch:x",
    ]


def test_models_and_releases_are_apart(tmp_path: Path) -> None:
    path, model = tmp_path / "b", tmp_path / "m.onnx"
    write_baseline(path, [result([finding()], model)])
    assert applied(path, [finding()], model)[1] == 1
    assert applied(path, [finding()], tmp_path / "other.onnx") == ([finding()], 0, ())
    assert applied(path, [finding()], model, "trt-7.2") == ([finding()], 0, ())


def test_the_working_directory_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    write_baseline(tmp_path / "b", [result([finding()], tmp_path / "m.onnx")])
    monkeypatch.chdir(tmp_path / "sub")
    assert applied(Path("../b"), [finding()], "../m.onnx") == ([], 1, ())


def test_a_doubt_that_became_an_error_is_new(tmp_path: Path) -> None:
    path = tmp_path / "b"
    write_baseline(path, [result([finding(severity=Severity.UNKNOWN)], tmp_path / "m")])
    kept, accepted, stale = applied(path, [finding()], tmp_path / "m")
    assert (kept, accepted, stale) == ([finding()], 0, ("unknown OF204 :/a",))


def test_writing_anew_keeps_other_sections_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "b"
    both = [
        result([finding("/a"), finding("/b")], tmp_path / "m"),
        result([finding()], tmp_path / "n"),
    ]
    write_baseline(path, both)
    text = path.read_text()
    text = text.replace("error OF204 :/b", "# looked at by hand\nerror OF204 :/b")
    path.write_text(text.replace("[n for", "# the small one\n[n for"))
    write_baseline(path, [result([finding("/b"), finding("/c")], tmp_path / "m")])
    body = path.read_text().split("\n\n", 1)[1]
    assert body == (
        "[m for trt-8.6]\n# looked at by hand\nerror OF204 :/b\nerror OF204 :/c\n\n"
        "# the small one\n[n for trt-8.6]\nerror OF204 :/a\n"
    )
    before = path.read_bytes()
    write_baseline(path, [result([finding("/b"), finding("/c")], tmp_path / "m")])
    assert path.read_bytes() == before


def test_lines_of_the_live_parser_wait_for_it(tmp_path: Path) -> None:
    path, model = tmp_path / "b", tmp_path / "m"
    live = finding("/l", code="OF901")
    write_baseline(path, [result([finding(), live], model, live={"asked": "yes"})])
    read = read_baseline(path)
    assert apply_baseline([], read, model=model, target=TARGET, live=False)[2] == (
        "error OF204 :/a",
    )
    assert len(apply_baseline([], read, model=model, target=TARGET, live=True)[2]) == 2
    write_baseline(path, [result([], model)])
    assert applied(path, [live], model) == ([], 1, ())
    write_baseline(path, [result([], model, live={"asked": "yes"})])
    assert "OF901" not in path.read_text()


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path, model = tmp_path / "b", tmp_path / "m"
    write_baseline(path, [result([finding("a\r\n b")], model)])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert applied(path, [finding("a\r\n b")], model) == ([], 1, ())


HEAD = "# onnx-fix baseline 1\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "no baseline that we can read"),
        ("# onnx-fix baseline 2\n", 1, "expected '# onnx-fix baseline 1'"),
        (HEAD + "error OF204 :/a\n", 2, "before any '[MODEL for TARGET]'"),
        (HEAD + "[m.onnx]\n", 2, "expected '[MODEL for TARGET]'"),
        (HEAD + "[m for t]\n\nerror\n", 4, "SEVERITY CODE SCOPE:NODE"),
        (HEAD + "[m for t]\nbad OF204 :/a\n", 3, "'bad' is no severity; known are error, silent"),
        (HEAD + "[m for t]\n<<<<<<< HEAD\n", 3, "a merge conflict is left"),
        (HEAD + "[m for t]\nerror OF204 :\\q\n", 3, "no known escape begins at '\\q'"),
        (HEAD + "[m for t]\nerror OF204 :\\U00110000\n", 3, "no character 0x110000"),
    ],
)
def test_errors_say_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "base"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_baseline(path)
    assert str(error.value).startswith(f"{path}:{line}: ") and words in str(error.value)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_baseline(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no text file"):
        read_baseline(tmp_path / "binary")
    with pytest.raises(UsageError, match="cannot be written"):
        write_baseline(tmp_path / "no" / "such" / "folder", [result([])])


def test_nothing_is_lost_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b"
    write_baseline(path, [result([finding()], tmp_path / "m")])
    before = path.read_bytes()

    def fails(_source: object, _target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(UsageError, match="No space left"):
        write_baseline(path, [result([], tmp_path / "m")])
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_model_is_not_overwritten_by_mistake(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x08\x12\x00")
    with pytest.raises(UsageError, match="no baseline"):
        write_baseline(path, [result([finding()])])
    assert path.read_bytes() == b"\x08\x08\x12\x00"
