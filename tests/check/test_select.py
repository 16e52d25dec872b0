"""--select and --ignore."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.select import Selection
from onnx_fix.errors import UsageError

CODES = [
    Code("OF101", "no-importer", "s", "m", "d"),
    Code("OF201", "input-missing", "s", "m", "d"),
    Code("OF204", "input-must-be-constant", "s", "m", "d"),
    Code("OF402", "int64-narrowed", "s", "m", "d"),
]
BY_CODE = {c.code: c for c in CODES}


def finding(code: str, node: str = "", scope: str = "", tensor: str = "") -> CheckFinding:
    return CheckFinding(
        BY_CODE[code], Severity.ERROR, "w", "d", node=node, scope=scope, tensor=tensor
    )


@pytest.mark.parametrize(
    ("select", "ignore", "left"),
    [
        ([], [], "101 201 204 402"),
        (["ALL"], [], "101 201 204 402"),
        (["OF2"], [], "201 204"),
        (["of2"], [], "201 204"),
        (["OF20"], ["OF204"], "201"),
        (["OF204"], ["OF2"], "204"),
        (["OF204"], ["OF204"], ""),
        (["input-must-be-constant"], ["OF20"], "204"),
        (["OF204"], ["input-must-be-constant"], ""),
        (["OF1,OF402"], [], "101 402"),
        (["OF1", " OF402 ,"], [], "101 402"),
        ([], ["OF"], ""),
        ([], ["ALL"], ""),
        (["OF2"], ["ALL"], "201 204"),
        ([], ["OF4", "no-importer"], "201 204"),
    ],
)
def test_the_longer_item_wins_and_ignore_wins_a_tie(
    select: list[str], ignore: list[str], left: str
) -> None:
    selection = Selection.of(select, ignore, CODES)
    kept, suppressed = selection.apply([finding(c.code) for c in CODES])
    assert [f.code.code[2:] for f in kept] == left.split()
    assert suppressed == len(CODES) - len(kept)


@pytest.mark.parametrize(
    ("select", "ignore", "words"),
    [
        (["OF999"], [], ["--select", "'OF999'", "codes start with OF1, OF2, OF4"]),
        (["OF206"], [], ["did you mean", "OF20"]),
        (["input-must-be-a-constant"], [], ["did you mean input-must-be-constant"]),
        ([], ["int64-narowed"], ["--ignore", "did you mean int64-narrowed"]),
        (["OF204:/a"], [], ["node patterns are for --ignore"]),
        ([], ["OF204:"], ["a node pattern is missing"]),
        ([], [":/a/*"], ["--ignore", "''"]),
    ],
)
def test_what_is_not_known_is_said_with_the_nearest(
    select: list[str], ignore: list[str], words: list[str]
) -> None:
    with pytest.raises(UsageError) as error:
        Selection.of(select, ignore, CODES)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_node_patterns() -> None:
    here = finding("OF204", "/layer1/Clip")
    other_code = finding("OF201", "/layer1/Clip")
    nested = finding("OF204", "/layer1/Clip", scope="If_0/then_branch")
    elsewhere = finding("OF204", "/layer2/Clip")
    graph_input = finding("OF402", tensor="/layer1/x")
    everything = [here, other_code, nested, elsewhere, graph_input]

    def left_out(*ignore: str) -> list[CheckFinding]:
        kept, count = Selection.of([], ignore, CODES).apply(everything)
        gone = [f for f in everything if f not in kept]
        assert len(gone) == count
        return gone

    assert left_out("OF204:/layer1/*") == [here, nested]
    assert left_out("OF2:/layer1/*") == [here, other_code, nested]
    assert left_out("ALL:/layer1/*") == [here, other_code, nested, graph_input]
    assert left_out("OF204:If_0/then_branch:*") == [nested]
    assert left_out("OF204::*") == [here, elsewhere]
    assert left_out("OF204:/layer?/Clip") == [here, nested, elsewhere]
    assert left_out("OF204:layer1") == []
    assert left_out("OF402:/layer1/x") == [graph_input]
    assert left_out("OF204:/layer1/*,OF402") == [here, nested, graph_input]


def test_a_node_pattern_counts_even_where_the_code_is_selected_by_name() -> None:
    selection = Selection.of(["OF204"], ["OF2:/a"], CODES)
    assert not selection.keeps(finding("OF204", "/a"))
    assert selection.keeps(finding("OF204", "/b"))


@given(name=st.text(min_size=1), other=st.text(min_size=1))
def test_only_the_two_wildcards_are_special(name: str, other: str) -> None:
    pattern = "".join("?" if c in "*?," or c.isspace() else c for c in name)
    selection = Selection.of([], [f"OF204:{pattern}"], CODES)
    assert not selection.keeps(finding("OF204", name))
    if "?" not in pattern and name not in (other, f":{other}"):
        assert selection.keeps(finding("OF204", other))


def test_brackets_and_line_breaks_in_names() -> None:
    selection = Selection.of([], ["OF204:blocks[0]*"], CODES)
    assert not selection.keeps(finding("OF204", "blocks[0]/a\nb"))
    assert selection.keeps(finding("OF204", "blocks0/a"))
