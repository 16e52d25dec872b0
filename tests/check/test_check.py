"""The command and the function: verdicts, exit codes, formats, selection and baseline together."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

from onnx_fix.check import Severity, check
from onnx_fix.cli import app
from onnx_fix.cli_check import parse_dims
from onnx_fix.errors import ModelError, UsageError

FINE = """<ir_version: 8, opset_import: ["" : 11]>
main (float[2] x) => (float[2] y) { y = Relu (x) }"""
DYNAMIC = FINE.replace("float[2]", "float[N]")
REFUSED = """<ir_version: 8, opset_import: ["" : 13]>
main (float[2, 3, 4] a, float[2, 4, 5] b) => (float[2, 3, 5] y) {
  [product] y = Einsum <equation = "bij,bjk->bik"> (a, b)
}"""
SILENT = """<ir_version: 8, opset_import: ["" : 18]>
main (float[2, 3] x) => (int64[1] y) { [size] y = Shape <start = 1> (x) }"""
DOUBTFUL = """<ir_version: 8, opset_import: ["" : 11]>
main (float[4, 5] x, int64[3] i) => (float[3, 5] y) { y = Gather (x, i) }"""


def write(tmp_path: Path, text: str, name: str = "m.onnx") -> Path:
    path = tmp_path / name
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["check", *(str(a) for a in args)])


@pytest.mark.parametrize(
    ("text", "target", "verdict", "code"),
    [
        (FINE, "trt-7.2", "ready", 0),
        (REFUSED, "trt-7.2", "blocked", 1),
        (REFUSED, "trt-8.6", "ready", 0),
        (SILENT, "trt-8.6", "blocked", 1),
        (SILENT, "trt-10.3", "ready", 0),
        (DOUBTFUL, "trt-7.2", "not certain", 5),
        (DOUBTFUL, "trt-8.2", "ready", 0),
    ],
)
def test_verdicts(tmp_path: Path, text: str, target: str, verdict: str, code: int) -> None:
    path = write(tmp_path, text)
    proto = onnx.parser.parse_model(text)
    before = proto.SerializeToString(deterministic=True)
    result = check(proto, target=target)
    assert (result.verdict, result.exit_code) == (verdict, code), result.findings
    assert proto.SerializeToString(deterministic=True) == before
    printed = run(path, "-t", target, "--live", "off")
    assert printed.exit_code == code, printed.output
    assert verdict in printed.output


def test_findings_say_all_that_a_user_needs() -> None:
    (finding,) = check(onnx.parser.parse_model(REFUSED), target="trt-7.2").findings
    assert (finding.node, finding.op, finding.severity) == ("product", "Einsum", Severity.ERROR)
    assert finding.code.code == "OF101"
    assert "Plugin not found" in finding.message
    assert finding.mended_by == "einsum-to-matmul" and "einsum-to-matmul" in finding.mend
    assert finding.evidence and finding.source


def test_a_profile_is_asked_for_and_taken() -> None:
    proto = onnx.parser.parse_model(DYNAMIC)
    codes = {f.code.name for f in check(proto, target="trt-8.6").findings}
    assert codes == {"no-profile"}
    assert not check(proto, target="trt-8.6", dims={"N": (1, 4, 8)}).findings


def test_several_models_and_formats(tmp_path: Path) -> None:
    paths = [write(tmp_path, FINE, "a.onnx"), write(tmp_path, REFUSED, "b.onnx")]
    human = run(*paths, "-t", "trt-7.2")
    assert human.exit_code == 1
    assert "a.onnx" in human.output and "b.onnx" in human.output
    data = json.loads(run(*paths, "-t", "trt-7.2", "--format", "json").output)
    assert "OF101" in json.dumps(data)
    sarif = json.loads(run(*paths, "-t", "trt-7.2", "--format", "sarif").output)
    assert sarif["version"] == "2.1.0"
    assert "::error" in run(*paths, "-t", "trt-7.2", "--format", "github").output


def test_an_unreadable_model_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_text("no model")
    result = run(tmp_path / "bad.onnx", write(tmp_path, REFUSED), "-t", "trt-7.2")
    assert result.exit_code == 2
    assert "bad.onnx" in result.output and "OF101" in result.output


def test_selection_and_baseline(tmp_path: Path) -> None:
    path = write(tmp_path, REFUSED)
    assert run(path, "-t", "trt-7.2", "--ignore", "OF101").exit_code == 0
    assert run(path, "-t", "trt-7.2", "--ignore", "OF101:other*").exit_code == 1
    assert run(path, "-t", "trt-7.2", "--select", "OF2").exit_code == 0
    baseline = tmp_path / "accepted.txt"
    assert run(path, "-t", "trt-7.2", "--write-baseline", baseline).exit_code == 0
    accepted = run(path, "-t", "trt-7.2", "--baseline", baseline)
    assert accepted.exit_code == 0, accepted.output
    write(tmp_path, FINE)
    assert "product" in run(path, "-t", "trt-7.2", "--baseline", baseline).output


@pytest.mark.parametrize(
    "args",
    [
        ["--select", "OF9999"],
        ["--format", "xml"],
        ["--dims", "N=9:4:2"],
        ["--dims", "N"],
        ["--baseline", "nowhere.txt"],
        ["-t", "trt-0"],
        ["--live", "maybe"],
    ],
)
def test_wrong_usage(tmp_path: Path, args: list[str]) -> None:
    result = run(write(tmp_path, FINE), *args)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


def test_files_that_are_no_models(tmp_path: Path) -> None:
    assert run(tmp_path / "none.onnx").exit_code == 2
    with pytest.raises(ModelError):
        check(tmp_path / "none.onnx")


def test_ranges_of_dims() -> None:
    assert parse_dims(["N=1:2:3", "a=b=4"]) == {"N": (1, 2, 3), "a=b": (4, 4, 4)}
    with pytest.raises(UsageError, match="N=16:256:512"):
        parse_dims(["N=1:2"])


@pytest.mark.rtx
def test_the_installed_parser_is_asked_for_its_own_release_only(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra rtx")
    path = write(tmp_path, FINE)
    assert check(path, target="rtx-1.7", live="auto").live is not None
    assert check(path, target="trt-7.2", live="auto").live is None
    assert check(path, target="trt-7.2", live="on").live is not None


def test_a_missing_data_file_is_a_finding(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        main (float[2, 3] x) => (float[3, 2] y) { y = Reshape (x, s) }"""
    )
    shape = proto.graph.initializer.add()
    shape.name, shape.data_type = "s", onnx.TensorProto.INT64
    shape.data_location = onnx.TensorProto.EXTERNAL
    shape.dims.append(2)
    entry = shape.external_data.add()
    entry.key, entry.value = "location", "gone.bin"
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    assert "OF811" in {f.code.code for f in check(path, target="trt-8.6").findings}
