"""What can be asked of a build, and what is refused before anything is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx.parser
import pytest

from onnx_fix.building import BuildSettings
from onnx_fix.building.command import asked, command_of, spelled
from onnx_fix.building.memory import free_bytes, memory_limit
from onnx_fix.building.needs import needs
from onnx_fix.building.settings import parse_bytes, parse_seconds
from onnx_fix.errors import UsageError
from onnx_fix.profiles import InputRange, Profile, parse_profile, profile_from


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 2**32),
        ("512M", 2**29),
        ("4G", 2**32),
        ("1.5GiB", 3 * 2**29),
        ("10 KB", 10240),
        ("77B", 77),
        ("2t", 2**41),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text, "--workspace") == size


@pytest.mark.parametrize("text", ["", "much", "-4G", "4X", "1e3", "4GG"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="--workspace"):
        parse_bytes(text, "--workspace")


def test_times() -> None:
    assert [parse_seconds(t, "--t") for t in ("90", "90s", "1.5m", "2h")] == [90, 90, 90, 7200]
    for text in ("", "soon", "-3", "3d"):
        with pytest.raises(UsageError, match="--t"):
            parse_seconds(text, "--t")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"precision": "int8"}, "as-is, fp32"),
        ({"workspace": 0}, "positive"),
        ({"optimization_level": 6}, "0 to 5"),
        ({"optimization_level": -1}, "0 to 5"),
        ({"time_limit": 0.0}, "time limit"),
        ({"time_limit": float("nan")}, "time limit"),
        ({"bisect_limit": -1.0}, "bisect limit"),
        ({"memory_limit": -1}, "memory limit"),
        ({"compute_capabilities": ("sm86",)}, r"8\.6"),
        ({"compute_capabilities": ("8.6", "8.6")}, "twice"),
        ({"compute_capabilities": ("current", "8.6")}, "beside"),
        ({"plugins": (Path("/no/such/lib.so"),)}, "no such plugin"),
    ],
)
def test_what_cannot_be_asked(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        BuildSettings(**given)


def test_the_command_repeats_the_settings() -> None:
    plain = command_of(Path("m.onnx"), Path("e.plan"), "rtx-1.7", (), BuildSettings())
    assert plain == ("onnx-fix", "build", "m.onnx", "-o", "e.plan", "--target", "rtx-1.7")
    settings = BuildSettings(
        precision="fp16",
        workspace=77,
        timing_cache=Path("c"),
        optimization_level=0,
        version_compatible=True,
        compute_capabilities=("8.6", "8.9"),
        plugins=(Path(__file__),),
        time_limit=90.0,
        memory_limit=0,
        bisect_limit=0.0,
    )
    said = settings.options()
    assert said == [
        *("--precision", "fp16", "--workspace", "77B", "--timing-cache", "c"),
        *("--optimization-level", "0", "--version-compatible"),
        *("--compute-capability", "8.6", "--compute-capability", "8.9"),
        *("--plugin-library", __file__, "--time-limit", "90", "--memory-limit", "none"),
        *("--bisect-limit", "0"),
    ]


def test_a_profile_survives_its_spelling() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,M] x, float[K] z, int64[2] s) => '
        "(float[A,B] y) { t = Expand(z, s) y = Add(x, t) }"
    )
    profile = Profile(
        (
            InputRange("x", (1, 2), (3, 4), (5, 6)),
            InputRange("z", (1,), (1,), (2,)),
            InputRange("s", (1, 1), (2, 2), (3, 3), "values"),
        )
    )
    again = profile_from(model, parse_profile(spelled(profile)))
    assert again.inputs == profile.inputs
    assert profile_from(model, asked(profile)).inputs == profile.inputs


def test_the_flags_that_the_types_of_a_model_need() -> None:
    def of(text: str) -> list[str]:
        return needs(onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> {text}'))

    assert of("g (float[3] x) => (float[3] y) { y = Exp(x) }") == []
    assert of("g (float16[3] x) => (float16[3] y) { y = Exp(x) }") == ["FP16"]
    assert of("g (float[3] x) => (float[3] y) { t = Cast<to=16>(x) y = Cast<to=1>(t) }") == ["BF16"]
    assert of(
        "g (float[3] x, float s, int8 z) => (float[3] y) { t = QuantizeLinear(x, s, z) "
        "y = DequantizeLinear(t, s, z) }"
    ) == ["INT8"]
    assert of("g (int8[3] x) => (int8[3] y) { y = Identity(x) }") == []
    assert of(
        "g (bool c, float[3] x) => (float[3] y) { y = If(c) <then_branch = t () => (float[3] a) "
        "{ h = Cast<to=10>(x) a = Cast<to=1>(h) }, else_branch = e () => (float[3] b) "
        "{ b = Exp(x) }> }"
    ) == ["FP16"]


def test_the_memory_that_is_free(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\nOdd:\n")
    assert free_bytes(tmp_path) == 4000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("1000000\n")
    (group / "memory.stat").write_text("anon 5\ninactive_file 300000\n")
    assert free_bytes(tmp_path) == 4000 * 1024
    (group / "memory.max").write_text("2000000\n")
    assert free_bytes(tmp_path) == 1300000


def test_the_memory_that_may_be_taken() -> None:
    assert memory_limit(77) == 77
    assert memory_limit(0) == 0
    assert memory_limit(None) <= free_bytes() * 1.2
