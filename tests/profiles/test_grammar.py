"""Profiles as text: what reads back, and what every mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_fix.errors import PipelineError, UsageError
from onnx_fix.profiles import Asked, parse_profile, parse_profiles, spell_profile
from onnx_fix.profiles.asked import Bound, Form, asked_of, of_bounds, without_doubles
from onnx_fix.profiles.written import DimRange


@st.composite
def ranges(draw: st.DrawFn) -> Asked:
    form: Form = draw(st.sampled_from(["number", "shape", "values"]))
    length = {"number": st.just(1), "shape": st.integers(2, 5), "values": st.integers(0, 4)}
    least = -(2**40) if form == "values" else 0
    count = draw(length[form])
    columns = [
        sorted(draw(st.lists(st.integers(least, 2**40), min_size=3, max_size=3)))
        for _ in range(count)
    ]
    bounds: list[tuple[Form, Bound]] = [(form, tuple(c[k] for c in columns)) for k in range(3)]
    if draw(st.booleans()):
        bounds = bounds[:1] * 3
    return of_bounds(draw(st.text(min_size=1)), bounds)


@given(st.lists(ranges(), min_size=1, max_size=4, unique_by=lambda asked: asked.name))
def test_what_is_spelled_reads_back(asked: list[Asked]) -> None:
    assert parse_profile(spell_profile(asked)) == tuple(asked)


@given(ranges())
def test_what_is_written_to_a_file_reads_back(asked: Asked) -> None:
    written = DimRange.of(asked)
    assert DimRange.model_validate(written.model_dump()).asked(asked.name) == asked


def test_forms() -> None:
    n, kpts, size = parse_profile(" n0 = 300:400:512 , kpts=1x300x2:1x400x2:1x512x2,size=[16, -1]")
    assert n == Asked("n0", "number", (300,), (400,), (512,))
    assert kpts.form == "shape" and kpts.opt == (1, 400, 2)
    assert size.form == "values" and size.min == size.max == (16, -1)
    assert str(size) == "[16,-1]" and str(n) == "300:400:512"


def test_names_with_marks_stand_in_quotes() -> None:
    asked = parse_profile("'in:0,a=b'=4,\"it's\"=1x2,'it''s'=[3],in:1=5,kpts[1]=6")
    assert [a.name for a in asked] == ["in:0,a=b", "it's", "it's", "in:1", "kpts[1]"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is no NAME=MIN:OPT:MAX"),
        ("n0", "'n0' is no NAME=MIN:OPT:MAX"),
        ("n0=1,", "is no NAME=MIN:OPT:MAX"),
        ("=4", "'=4' is no NAME=MIN:OPT:MAX"),
        ("n0=", "'' is no number"),
        ("n0=1:2", "write MIN:OPT:MAX"),
        ("n0=-1", "'-1' is no number"),
        ("n0=1.5", "'1.5' is no number"),
        ("n0=3:2:4", "min <= opt <= max must hold, not 3, 2, 4"),
        ("x=1x2:1x4:1x3", "x, axis 1: min <= opt <= max must hold, not 2, 4, 3"),
        ("s=[1,2]:[1,3]:[2,2]", "s, value 1: min <= opt <= max"),
        ("x=1x2:1x2x3:1x4x5", "have 2, 3 and 3 dims"),
        ("x=5:1x5:1x6", "different numbers of dims"),
        ("x=[5]:5:6", "must be of one form"),
        ("s=[1]:[1,2]:[1,2]", "have 1, 2 and 2 values"),
        ("s=[1,2", "has no partner"),
        ("n=1,n=2", "n: has two ranges"),
    ],
)
def test_mistakes(text: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_profile(text)
    assert what in str(caught.value)


def test_a_number_and_values_of_one_name_stand_together() -> None:
    assert len(parse_profile("s=2,s=[4,4]")) == 2
    with pytest.raises(UsageError, match="two ranges"):
        without_doubles([*parse_profile("s=[4,4]"), *parse_profile("s=[5,4]")])


def test_ranges_from_python() -> None:
    number, shape = asked_of({"n": (1, 2, 3), "x": ((1, 2), (1, 3), (1, 4))})
    assert (number.form, shape.form) == ("number", "shape")
    (vector,) = asked_of({"x": ((1,), (2,), (3,))})
    assert vector.form == "number"
    with pytest.raises(UsageError, match="min, opt and max are wanted"):
        asked_of({"n": (1, 2)})
    with pytest.raises(UsageError, match="0 or more"):
        asked_of({"x": ((-1, 2), (1, 3), (1, 4))})


def test_profiles_from_files(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "dims: {B: 1}\nprofiles:\n  - N: {min: 1, opt: 2, max: 3}\n  - {N: 8, s: [[2]]}\n"
    )
    with pytest.raises(PipelineError, match=r"p\.yaml:4: "):
        parse_profiles([str(path)])
    path.write_text(
        "dims: {B: 1}\nprofiles:\n  - N: {min: 1, opt: 2, max: 3}\n  - {N: 8, s: [2]}\n"
    )
    found = parse_profiles(["N=5", f"@{path}"])
    assert [spell_profile(p) for p in found] == ["N=5", "B=1,N=1:2:3", "B=1,N=8,s=[2]"]
    with pytest.raises(UsageError, match="no such file"):
        parse_profiles([str(tmp_path / "nowhere.yml")])
    path.write_text("passes: []\n")
    with pytest.raises(UsageError, match="neither dims nor profiles"):
        parse_profiles([str(path)])
