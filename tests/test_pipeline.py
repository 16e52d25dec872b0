"""The pipeline file: strict, with lines and suggestions, and it prints back."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from onnx_fix.errors import PipelineError
from onnx_fix.pipeline import Pipeline, json_schema, parse_pipeline, read_pipeline

GOOD = """\
version: 1
target: trt-8.6
passes:
  - fold-constants
  - pass: fold-constants
    options: {everywhere: true, limit_mib: 2}
    only: {nodes: ["/layer1/*"], ops: [Add, Mul]}
    except: {nodes: ["/layer1/head"]}
dims:
  N: {min: 1, opt: 4, max: 8}
verify:
  sizes: 2
  rtol: 1.0e-3
"""


def parse(text: str) -> Pipeline:
    return parse_pipeline(text, "p.yaml", Path())


def test_a_pipeline_reads_and_prints_back() -> None:
    pipeline = parse(GOOD)
    assert pipeline.target == "trt-8.6"
    assert [e.name for e in pipeline.passes] == ["fold-constants", "fold-constants"]
    assert parse(pipeline.to_yaml()) == pipeline
    first, second = pipeline.steps()
    assert first.pass_.options() == {"everywhere": False, "limit_mib": 16.0}
    assert second.pass_.options() == {"everywhere": True, "limit_mib": 2.0}
    assert first.where is None and second.where is not None


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("passes:\n  - fold-constant\n", 2, "did you mean fold-constants"),
        ("passes:\n  - pass: fold-constants\n    option: {}\n", 3, "did you mean options"),
        (
            "passes:\n  - pass: replace-gather-elements\n    everywhere: true\n",
            3,
            "write an option of a pass as options: {everywhere: VALUE}",
        ),
        ("pases: []\n", 1, "did you mean passes"),
        (
            "passes:\n  - pass: fold-constants\n    options:\n      evrywhere: true\n",
            4,
            "did you mean everywhere",
        ),
        (
            "passes:\n  - pass: fold-constants\n    options:\n      limit_mib: lots\n",
            4,
            "limit_mib",
        ),
        ("target: trt-8.6\ndims:\n  N: {min: 4, opt: 2, max: 8}\n", 3, "min <= opt <= max"),
        ("verify:\n  sizes: 0\n", 2, "sizes"),
        ("version: 2\n", 1, "version"),
        ("passes: [\n", 2, "not YAML"),
        ("just text\n", 1, "mapping"),
        ("custom: [nowhere.py]\npasses: []\n", 1, "no such file"),
        ("custom:\n  - onnx_fix.errors\npasses: []\n", 2, "defines no pass"),
    ],
)
def test_mistakes_are_shown_with_their_line(text: str, line: int, what: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"p.yaml:{line}: ")
    assert what in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"nowhere\.yaml"):
        read_pipeline(tmp_path / "nowhere.yaml")
    (tmp_path / "bin.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PipelineError, match="no text file"):
        read_pipeline(tmp_path / "bin.yaml")


CUSTOM = '''
from dataclasses import dataclass

from onnx_fix import Emitter, Pass


@dataclass(frozen=True)
class AbsToNeg(Pass):
    """Replaces Abs by Neg, which is wrong on purpose."""

    times: int = 1

    def sites(self, scope):
        for node in scope.nodes("Abs"):
            emit = Emitter(scope)
            yield emit.rewrite(node, emit("Neg", node.inputs[0]))
'''


def test_a_user_s_own_pass_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CUSTOM)
    path = tmp_path / "p.yaml"
    path.write_text("custom: [mine.py]\npasses:\n  - pass: abs-to-neg\n    options: {times: 3}\n")
    (step,) = read_pipeline(path).steps(tmp_path)
    assert step.pass_.name == "abs-to-neg"
    assert step.pass_.options() == {"times": 3}


def test_the_schema_knows_the_passes_and_their_options() -> None:
    schema = json_schema()
    text = yaml.safe_dump(schema)
    assert "fold-constants" in text and "limit_mib" in text
    assert schema["additionalProperties"] is False
