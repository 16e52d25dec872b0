"""Where a lower precision fails: FP32 instead, and the layers at fault."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest

from onnx_fix.building import BuildResult, BuildSettings, build
from onnx_fix.building import builders as builders_module
from onnx_fix.building.precision import TimeIsUp, find_guilty


def names(count: int) -> tuple[str, ...]:
    return tuple(f"layer {k}" for k in range(count))


@pytest.mark.parametrize("seed", range(30))
def test_every_layer_at_fault_is_found(seed: int) -> None:
    draw = random.Random(seed)
    count = draw.randrange(1, 200)
    guilty = set(draw.sample(range(count), draw.randrange(1, min(count, 5) + 1)))
    found = find_guilty(names(count), lambda fp32: bool(guilty - set(fp32)))
    assert found.layers == tuple(f"layer {k}" for k in sorted(guilty))
    assert found.complete
    assert found.builds <= 1 + len(guilty) * (count.bit_length() + 2)


def test_layers_that_only_fail_together() -> None:
    pair = {3, 7}
    found = find_guilty(names(10), lambda fp32: not pair & set(fp32))
    assert found.layers == ("layer 7",) and found.complete


def test_what_fails_in_fp32_too_is_no_matter_of_layers() -> None:
    found = find_guilty(names(10), lambda _fp32: True)
    assert (found.layers, found.complete, found.builds) == ((), False, 1)


@pytest.mark.parametrize("budget", range(12))
def test_the_time_may_be_up_at_any_build(budget: int) -> None:
    asked = 0

    def fails(fp32: Collection[int]) -> bool:
        nonlocal asked
        asked += 1
        if asked > budget:
            raise TimeIsUp
        return bool({2, 5} - set(fp32))

    found = find_guilty(names(8), fails)
    assert set(found.layers) <= {"layer 2", "layer 5"}
    assert found.complete == (found.layers == ("layer 2", "layer 5") and asked <= budget)
    assert found.builds == min(asked, budget)


HEAD = """
import json, os, signal, sys, time
request = json.load(sys.stdin)
def say(event, **facts): print(json.dumps({"event": event, **facts}), flush=True)
def at(stage):
    with open(request["progress"], "r+b") as file:
        file.write(f"{stage}\\n1000\\n".encode() + b"\\0")
say("ready", version="8.6.1")
layers = ["conv", "norm", "softmax", "out"]
say("parsed", ok=True, errors=[], layers=layers if request["name_layers"] else [])
at("building")
fp32 = request["fp32_layers"] or []
lowered = [k for k in range(4) if k not in fp32] if request["precision"] != "fp32" else []
"""
WRITTEN = """
say("built", ok=True, notes=[], seconds=0.1)
if request["engine"]:
    open(request["engine"], "wb").write(request["precision"].encode()); say("written", size=4)
"""
REFUSED = (
    'say("built", ok=False, notes=[], seconds=0.1, messages=[{"severity": "ERROR", "text": '
    '"Could not find any implementation for node {norm}."}])'
)


@pytest.fixture(autouse=True)
def classic(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = builders_module.Builder("tensorrt", "8.6.1")
    monkeypatch.setattr(builders_module, "installed_builders", lambda: iter([builder]))


def run(tmp_path: Path, script: str, **settings: Any) -> BuildResult:
    model = tmp_path / "m.onnx"
    if not model.exists():
        text = (
            '<ir_version: 8, opset_import: ["" : 13]> g (float[3] x) => (float[3] y) {y = Exp(x)}'
        )
        onnx.save(onnx.parser.parse_model(text), model)
    return build(
        model,
        tmp_path / "e.plan",
        settings=BuildSettings(**{"precision": "fp16", "time_limit": 20.0, **settings}),
        worker=(sys.executable, "-c", HEAD + script),
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
def test_a_death_in_fp16_is_told_and_fp32_is_built(tmp_path: Path) -> None:
    script = "if {1, 3} & set(lowered): os.kill(os.getpid(), signal.SIGSEGV)\n" + WRITTEN
    result = run(tmp_path, script)
    assert result.ok and result.fell_back and result.exit_code == 0
    assert [(a.precision, a.status) for a in result.attempts] == [
        ("fp16", "died"),
        ("fp32", "built"),
    ]
    assert result.guilty is not None
    assert (result.guilty.layers, result.guilty.complete) == (("norm", "out"), True)
    assert (tmp_path / "e.plan").read_bytes() == b"fp32"
    record = json.loads((tmp_path / "e.plan.json").read_text())
    assert record["precision"] == {"asked": "fp16", "built": "fp32"}
    assert record["fp32_layers"]["layers"] == ["norm", "out"]
    assert "SIGSEGV" in record["attempts"][0]["detail"]


def test_a_refusal_in_fp16_is_explained(tmp_path: Path) -> None:
    script = f"if 1 in lowered: {REFUSED}\nelse:\n " + "\n ".join(WRITTEN.strip().splitlines())
    result = run(tmp_path, script)
    assert result.fell_back and result.guilty is not None
    assert result.guilty.layers == ("norm",)
    assert "no kernel computes" in result.explanations[0].why


def test_what_fails_in_both_is_told_of_both(tmp_path: Path) -> None:
    result = run(tmp_path, REFUSED)
    assert [a.precision for a in result.attempts] == ["fp16", "fp32"]
    assert (result.status, result.exit_code, result.guilty) == ("refused", 1, None)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize(
    ("script", "settings", "status"),
    [
        ("at('parsing'); os._exit(3)", {}, "died"),
        ("time.sleep(30)", {"time_limit": 1.0}, "timed out"),
        (REFUSED, {"precision": "as-is"}, "refused"),
        (REFUSED, {"precision": "fp32"}, "refused"),
    ],
)
def test_what_is_no_matter_of_precision_is_not_tried_again(
    tmp_path: Path, script: str, settings: dict[str, Any], status: str
) -> None:
    result = run(tmp_path, script, **settings)
    assert len(result.attempts) == 1 and result.status == status


def test_the_search_can_be_left_out(tmp_path: Path) -> None:
    result = run(tmp_path, "if lowered: os._exit(3)\n" + WRITTEN, bisect_limit=0)
    assert result.fell_back and result.guilty is None


def test_the_search_ends_with_its_time(tmp_path: Path) -> None:
    script = "if lowered: os._exit(3)\ntime.sleep(0.2)\n" + WRITTEN
    result = run(tmp_path, script, bisect_limit=0.1)
    assert result.fell_back and result.guilty is not None
    assert (result.guilty.complete, result.guilty.builds) == (False, 0)
