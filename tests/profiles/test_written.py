"""Ranges in a pipeline file: what a file may hold, and which line a mistake is on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from onnx_fix.errors import PipelineError
from onnx_fix.pipeline import Pipeline, json_schema, parse_pipeline
from onnx_fix.profiles import spell_profile


def parse(text: str) -> Pipeline:
    return parse_pipeline(text, "p.yaml", Path())


def asked(text: str) -> list[str]:
    return [spell_profile(p) for p in parse(text).asked()]


DIMS = """\
dims:
  B: 1
  n0: {min: 300, opt: 400, max: 512}
  image: {min: 1x1x64x64, opt: 1x1x240x320, max: 1x1x480x640}
  size:
    min: [16, 16]
    opt: [32, -1]
    max: [64, 64]
"""


def test_dims_make_one_profile() -> None:
    image = "image=1x1x64x64:1x1x240x320:1x1x480x640"
    with pytest.raises(PipelineError, match=r"p\.yaml:5: .*value 1: min <= opt <= max"):
        parse(DIMS)
    good = DIMS.replace("-1", "32")
    assert asked(good) == [f"B=1,n0=300:400:512,{image},size=[16,16]:[32,32]:[64,64]"]
    assert parse(parse(good).to_yaml()) == parse(good)


def test_profiles_share_dims_and_override_them() -> None:
    text = "dims: {B: 1, N: 4}\nprofiles:\n  - N: {min: 1, opt: 2, max: 3}\n  - x: 2x3\n"
    assert asked(text) == ["B=1,N=1:2:3", "B=1,N=4,x=2x3"]
    assert parse(parse(text).to_yaml()) == parse(text)
    assert asked("passes: []\n") == []


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("dims:\n  N: {min: 3, opt: 2, max: 4}\n", 2, "min <= opt <= max"),
        ("dims:\n  N: {min: 1, opt: 2}\n", 2, "max"),
        ("dims:\n  N: -1\n", 2, "0 or more"),
        ("dims:\n  N: 1.5\n", 2, "N"),
        ("dims:\n  N: true\n", 2, "N"),
        ("dims:\n  x: 1x-2\n", 2, "a bound is a number, a shape such as 1x300x2"),
        ("dims:\n  x: {min: 1x2, opt: 1x2x3, max: 1x2x3}\n", 2, "2, 3 and 3 dims"),
        ("dims:\n  x: {min: 1x2, opt: [1, 2], max: 1x2}\n", 2, "one form"),
        ("profiles:\n  - N: 1\n  - N: {min: 4, opt: 2, max: 8}\n", 3, "min <= opt <= max"),
        ("dims:\n  N: 1:16:32\n", 2, "1:16:32 as another number"),
        ("dims:\n  x: 0x64\n", 2, "0x64 as another number"),
        ("profiles:\n  - s: [1, 010]\n", 2, "010 as another number"),
        ("dims:\n  N: {min: 1, opt: 2, max: 3, mux: 3}\n", 2, "did you mean max"),
        ("profiles: {N: 1}\n", 1, "profiles"),
    ],
)
def test_mistakes_are_shown_with_their_line(text: str, line: int, what: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"p.yaml:{line}: ")
    assert what in str(caught.value)


def test_the_schema_takes_numbers_shapes_values_and_triples() -> None:
    schema = json_schema()
    forms = schema["$defs"]["DimRange"]["anyOf"]
    assert {f["type"] for f in forms} == {"integer", "string", "array", "object"}
    assert "profiles" in schema["properties"]
    assert yaml.safe_dump(schema)
