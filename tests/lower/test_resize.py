"""Resize with axes, sizes and coordinates that came later, and Upsample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]


def resize(
    attributes: str, arguments: str, constants: str, opset: int = 19, sizes: str = "N,C,4,6"
) -> str:
    return f"""<ir_version: 9, opset_import: ["": {opset}]> g (float[{sizes}] x)
        => (float[A,B,H,W] y) <{constants}> {{y = Resize<{attributes}>(x, {arguments})}}"""


X = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(np.float32)
WHOLE = "float[4] s = {1.0, 1.0, 2.0, 3.0}"
BROKEN = "float[4] s = {1.0, 1.0, 1.5, 0.7}"
FLOOR = 'coordinate_transformation_mode = "asymmetric", mode = "nearest", nearest_mode = "floor"'
ON_AXES = "float[2] s = {1.5, 2.0}"


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("scales", [WHOLE, BROKEN])
def test_scales(mode: str, coordinates: str, scales: str, check: Check) -> None:
    attributes = f'mode = "{mode}", coordinate_transformation_mode = "{coordinates}"'
    check(
        resize(attributes, ", s", scales), 11, [{"x": X}], want=["Resize"], runtimes=["onnxruntime"]
    )


def test_scales_and_sizes_of_some_axes(check: Check) -> None:
    for arguments, constants in ((", s", ON_AXES), (", , z", "int64[2] z = {7, 3}")):
        text = resize("axes = [-1, 2]", arguments, constants)
        check(text, 17, [{"x": X}], runtimes=["onnxruntime"])
        check(text, 11, [{"x": X}, {"x": X[:1, :2]}], runtimes=["onnxruntime"])


def test_scales_computed_at_run_time(check: Check) -> None:
    text = """<ir_version: 9, opset_import: ["": 19]> g (float[N,C,4,6] x, float[2] s)
        => (float[A,B,H,W] y) {y = Resize<axes = [2, 3], mode = "linear">(x, , s)}"""
    feeds = {"x": X, "s": np.array([2, 0.5], np.float32)}
    check(text, 11, [feeds], want=["Concat", "Gather", "Resize"], runtimes=["onnxruntime"])


@pytest.mark.parametrize(("policy", "sizes"), [("not_larger", "8, 20"), ("not_smaller", "5, 9")])
def test_kept_ratio(policy: str, sizes: str, check: Check, refusal: Refusal) -> None:
    attributes = f'axes = [2, 3], keep_aspect_ratio_policy = "{policy}"'
    text = resize(attributes, ", , z", f"int64[2] z = {{{sizes}}}")
    check(text, 11, [{"x": X}], runtimes=["onnxruntime"])
    assert "sizes that are known" in refusal(text.replace("C,4,6", "C,H,W", 1), 17)


def test_antialias(check: Check, refusal: Refusal) -> None:
    attributes = 'mode = "linear", antialias = 1'
    text = resize(attributes, ", s", WHOLE)
    check(text, 17, [{"x": X}], want=["Resize"], rtol=1e-6, atol=1e-6, runtimes=["onnxruntime"])
    assert "antialias" in refusal(resize(attributes, ", s", BROKEN), 17)


def test_symmetric_half_pixels(check: Check, refusal: Refusal) -> None:
    attributes = 'mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"'
    for arguments, constants in ((", s", WHOLE), (", , z", "int64[4] z = {2, 3, 5, 7}")):
        text = resize(attributes, arguments, constants)
        check(text, 18, [{"x": X}], rtol=1e-6, atol=1e-6)
    assert "cannot be ruled out" in refusal(resize(attributes, ", s", BROKEN), 18)


@pytest.mark.parametrize(
    ("attributes", "scales"),
    [
        ('mode = "nearest"', WHOLE),
        ('mode = "nearest", coordinate_transformation_mode = "pytorch_half_pixel"', WHOLE),
        (
            FLOOR,
            WHOLE,
        ),
        (
            FLOOR,
            "float[4] s = {1.0, 1.0, 1.5, 2.5}",
        ),
        ('mode = "linear", coordinate_transformation_mode = "asymmetric"', WHOLE),
    ],
)
@pytest.mark.parametrize("opset", [10, 9])
def test_what_resize_10_and_upsample_do(
    attributes: str, scales: str, opset: int, check: Check
) -> None:
    text = resize(attributes, ", s", scales)
    want = ["Resize" if opset == 10 else "Upsample"]
    check(text, opset, [{"x": X}], want=want, rtol=1e-6, atol=1e-6, runtimes=["onnxruntime"])


def test_sizes_as_scales(check: Check, refusal: Refusal) -> None:
    text = resize('mode = "nearest"', ", , z", "int64[4] z = {2, 3, 8, 18}", sizes="2,3,4,6")
    check(text, 9, [{"x": X}], want=["Upsample"], runtimes=["onnxruntime"])
    assert "sizes are not known" in refusal(text.replace("2,3,4,6", "N,3,4,6", 1), 10)


@pytest.mark.parametrize(
    ("attributes", "scales"),
    [
        ('mode = "cubic"', WHOLE),
        ('mode = "linear"', WHOLE),
        ('mode = "linear", coordinate_transformation_mode = "align_corners"', WHOLE),
        ('mode = "nearest"', BROKEN),
        ('mode = "nearest", coordinate_transformation_mode = "asymmetric"', WHOLE),
        (
            FLOOR.replace("floor", "ceil"),
            WHOLE,
        ),
    ],
)
def test_what_resize_10_does_not_do(attributes: str, scales: str, refusal: Refusal) -> None:
    reason = refusal(resize(attributes, ", s", scales), 10)
    assert "before opset 11" in reason or "Resize 10" in reason


def test_upsample_only_enlarges(refusal: Refusal) -> None:
    attributes = 'mode = "linear", coordinate_transformation_mode = "asymmetric"'
    assert "only enlarges" in refusal(resize(attributes, ", s", BROKEN), 9)
