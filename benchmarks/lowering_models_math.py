"""Models of old versions of ops that compute, and traps of each version.

Every entry is a name, the signature and body of a model in ONNX text, and feeds where made-up ones
would not do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lowering_models_layout import Entry


def _ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


MATH: dict[tuple[str, int], Sequence[Entry]] = {
    ("GlobalLpPool", 22): [
        ("p 2", "(float[1,2,4,4] x) => (float[1,2,1,1] y) { y = GlobalLpPool(x) }"),
        ("p 1", "(float[1,2,4,4] x) => (float[1,2,1,1] y) { y = GlobalLpPool<p=1>(x) }"),
    ],
    ("GroupNormalization", 18): [
        (
            "two groups",
            "(float[2,4,3,3] x, float[2] s, float[2] b) => (float[2,4,3,3] y) "
            "{ y = GroupNormalization<num_groups=2>(x, s, b) }",
        ),
    ],
    ("GroupNormalization", 21): [
        (
            "two groups",
            "(float[2,4,3,3] x, float[4] s, float[4] b) => (float[2,4,3,3] y) "
            "{ y = GroupNormalization<num_groups=2>(x, s, b) }",
        ),
        (
            "stash",
            "(float[2,4,3] x, float[4] s, float[4] b) => (float[2,4,3] y) "
            "{ y = GroupNormalization<num_groups=2, stash_type=1, epsilon=0.1>(x, s, b) }",
        ),
    ],
    ("MaxRoiPool", 22): [
        (
            "one",
            "(float[1,1,6,6] x, float[1,5] r) => (float[1,1,2,2] y) "
            "{ y = MaxRoiPool<pooled_shape=[2,2]>(x, r) }",
            {"r": np.array([[0, 0, 0, 4, 4]], np.float32)},
        ),
    ],
    ("MeanVarianceNormalization", 13): [
        (
            "default",
            "(float[2,3,4,4] x) => (float[2,3,4,4] y) { y = MeanVarianceNormalization(x) }",
        ),
        (
            "axes",
            "(float[2,3,4] x) => (float[2,3,4] y) { y = MeanVarianceNormalization<axes=[1,2]>(x) }",
        ),
    ],
    ("Multinomial", 22): [
        ("ten", "(float[2,4] x) => (int32[2,10] y) { y = Multinomial<sample_size=10>(x) }"),
    ],
    ("RoiAlign", 10): [
        (
            "avg",
            "(float[1,1,6,6] x, float[1,4] r, int64[1] b) => (float[1,1,2,2] y) "
            "{ y = RoiAlign<output_height=2, output_width=2, sampling_ratio=2>(x, r, b) }",
            {"r": np.array([[0.5, 0.5, 4, 4]], np.float32), "b": _ints(0)},
        ),
    ],
    ("RoiAlign", 16): [
        (
            f"{mode} {kind}",
            "(float[1,1,6,6] x, float[1,4] r, int64[1] b) => (float[1,1,2,2] y) "
            "{ y = RoiAlign<output_height=2, output_width=2, sampling_ratio=2, "
            f'mode="{kind}", coordinate_transformation_mode="{mode}">(x, r, b) }}',
            {"r": np.array([[0.5, 0.5, 4, 4]], np.float32), "b": _ints(0)},
        )
        for mode in ("half_pixel", "output_half_pixel")
        for kind in ("avg", "max")
    ],
    ("TopK", 10): [
        (
            "two",
            "(float[3,4] x) => (float[3,2] v, int64[3,2] i) "
            "{ k = Constant<value = int64[1] {2}>() v, i = TopK<axis=-1>(x, k) }",
        ),
        (
            "run time",
            "(float[3,4] x, int64[1] k) => (float[3,N] v, int64[3,N] i) { v, i = TopK(x, k) }",
            {"k": _ints(2)},
        ),
    ],
    ("TopK", 11): [
        (
            f"{kind} {largest} {axis}",
            f"({kind}[3,4] x) => ({kind}[A,B] v, int64[A,B] i) "
            f"{{ k = Constant<value = int64[1] {{2}}>() "
            f"v, i = TopK<axis={axis}, largest={largest}>(x, k) }}",
        )
        for kind in ("float", "int64", "int32", "double")
        for largest in (0, 1)
        for axis in (0, -1)
    ],
    ("Clip", 11): [
        ("none", "(float[4] x) => (float[4] y) { y = Clip(x) }"),
        ("min", "(float[4] x, float a) => (float[4] y) { y = Clip(x, a) }"),
        ("max", "(float[4] x, float b) => (float[4] y) { y = Clip(x, , b) }"),
        ("both", "(float[4] x, float a, float b) => (float[4] y) { y = Clip(x, a, b) }"),
        (
            "crossed",
            "(float[4] x, float a, float b) => (float[4] y) { y = Clip(x, a, b) }",
            {"a": np.array(1, np.float32), "b": np.array(-1, np.float32)},
        ),
    ],
    ("Clip", 12): [
        ("int", "(int32[4] x, int32 a, int32 b) => (int32[4] y) { y = Clip(x, a, b) }"),
        ("int64 max", "(int64[4] x, int64 b) => (int64[4] y) { y = Clip(x, , b) }"),
        ("uint8", "(uint8[4] x, uint8 b) => (uint8[4] y) { y = Clip(x, , b) }"),
        ("double", "(double[4] x, double b) => (double[4] y) { y = Clip(x, , b) }"),
        (
            "big int64",
            "(int64[2] x, int64 a) => (int64[2] y) { y = Clip(x, a) }",
            {"x": _ints(2**60 + 1, 5), "a": np.array(7, np.int64)},
        ),
    ],
    ("Clip", 13): [
        ("half", "(float16[4] x, float16 b) => (float16[4] y) { y = Clip(x, , b) }"),
        (
            "crossed",
            "(float[4] x, float a, float b) => (float[4] y) { y = Clip(x, a, b) }",
            {"a": np.array(1, np.float32), "b": np.array(-1, np.float32)},
        ),
    ],
    ("Dropout", 10): [
        ("ratio", "(float[3] x) => (float[3] y) { y = Dropout<ratio=0.3>(x) }"),
    ],
    ("Dropout", 12): [
        (
            "mask",
            "(float[3] x) => (float[3] y, bool[3] m) "
            "{ r = Constant<value = float {0.3}>() y, m = Dropout(x, r) }",
        ),
        (
            "ratio",
            "(float[3] x, float r) => (float[3] y) { y = Dropout(x, r) }",
            {"r": np.array(0.5, np.float32)},
        ),
        (
            "training, nothing dropped",
            "(float[3] x) => (float[3] y, bool[3] m) { r = Constant<value = float {0}>() "
            "t = Constant<value = bool {1}>() y, m = Dropout(x, r, t) }",
        ),
        (
            "training at run time",
            "(float[3] x, bool t) => (float[3] y) "
            "{ r = Constant<value = float {0}>() y = Dropout(x, r, t) }",
        ),
    ],
    ("BatchNormalization", 14): [
        (
            "training",
            "(float[4,3,5] x, float[3] s, float[3] b, float[3] m, float[3] v) => "
            "(float[4,3,5] y, float[3] n, float[3] w) "
            "{ y, n, w = BatchNormalization<training_mode=1, momentum=0.8>(x, s, b, m, v) }",
            {"v": np.array([1, 2, 3], np.float32)},
        ),
        (
            "inference",
            "(float[4,3,5] x, float[3] s, float[3] b, float[3] m, float[3] v) => (float[4,3,5] y) "
            "{ y = BatchNormalization(x, s, b, m, v) }",
            {"v": np.array([1, 2, 3], np.float32)},
        ),
    ],
    ("BatchNormalization", 15): [
        (
            "mixed types",
            "(float16[4,3,5] x, float16[3] s, float16[3] b, float[3] m, float[3] v) => "
            "(float16[4,3,5] y) { y = BatchNormalization(x, s, b, m, v) }",
            {"v": np.array([1, 2, 3], np.float32)},
        ),
    ],
    ("Pow", 12): [
        (f"{a} {b}", f"({a}[4] x, {b}[4] p) => ({a}[4] y) {{ y = Pow(x, p) }}")
        for a, b in (
            ("float", "int64"),
            ("float", "int32"),
            ("int32", "int32"),
            ("int64", "int64"),
            ("int64", "float"),
            ("int32", "float"),
            ("double", "float"),
            ("float", "double"),
        )
    ]
    + [
        (
            "big int64",
            "(int64[2] x, int64[2] p) => (int64[2] y) { y = Pow(x, p) }",
            {"x": _ints(3, 7), "p": _ints(35, 19)},
        ),
    ],
    ("Mod", 10): [
        (
            f"{kind} {fmod}",
            f"({kind}[6] x, {kind}[6] d) => ({kind}[6] y) {{ y = Mod<fmod={fmod}>(x, d) }}",
            {
                "x": np.array([-4, 7, 5, 4, -7, 8], kind.replace("float", "float32")),
                "d": np.array([2, -3, 8, -2, 3, 5], kind.replace("float", "float32")),
            },
        )
        for kind, fmod in (("int64", 0), ("int32", 0), ("int64", 1), ("int8", 0), ("float", 1))
    ]
    + [
        (
            "big",
            "(int64[2] x, int64[2] d) => (int64[2] y) { y = Mod(x, d) }",
            {"x": _ints(2**60 + 1, -(2**60) - 1), "d": _ints(10, 10)},
        ),
    ],
    ("CumSum", 11): [
        (
            f"{exclusive} {reverse} {axis}",
            f"(float[2,5] x) => (float[2,5] y) {{ a = Constant<value = int32 {{{axis}}}>() "
            f"y = CumSum<exclusive={exclusive}, reverse={reverse}>(x, a) }}",
        )
        for exclusive, reverse, axis in ((0, 0, 0), (1, 0, 1), (0, 1, -1), (1, 1, -2))
    ],
    ("Cast", 13): [
        ("to float", "(int64[3] x) => (float[3] y) { y = Cast<to=1>(x) }"),
        ("to bfloat16", "(float[3] x) => (float[3] y) { z = Cast<to=16>(x) y = Cast<to=1>(z) }"),
    ],
    ("Cast", 19): [
        ("to e4m3", "(float[3] x) => (float[3] y) { z = Cast<to=17>(x) y = Cast<to=1>(z) }"),
        (
            "to e4m3 unsaturated",
            "(float[3] x) => (float[3] y) { z = Cast<to=17, saturate=0>(x) y = Cast<to=1>(z) }",
        ),
        ("plain", "(float[3] x) => (int32[3] y) { y = Cast<to=6, saturate=1>(x) }"),
    ],
    ("Cast", 21): [
        ("to int4", "(float[3] x) => (float[3] y) { z = Cast<to=22>(x) y = Cast<to=1>(z) }"),
    ],
    ("CastLike", 15): [
        ("half", "(float[3] x, float16[1] t) => (float16[3] y) { y = CastLike(x, t) }"),
        ("bool", "(float[3] x, bool[1] t) => (bool[3] y) { y = CastLike(x, t) }"),
    ],
    ("GridSample", 16): [
        (
            f"{mode} {padding} {corners}",
            "(float[1,1,4,4] x, float[1,3,3,2] g) => (float[1,1,3,3] y) { y = GridSample<"
            f'mode="{mode}", padding_mode="{padding}", align_corners={corners}>(x, g) }}',
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    ],
    ("GridSample", 20): [
        (
            f"{mode}",
            "(float[1,1,4,4] x, float[1,3,3,2] g) => (float[1,1,3,3] y) "
            f'{{ y = GridSample<mode="{mode}">(x, g) }}',
        )
        for mode in ("linear", "nearest", "cubic")
    ]
    + [
        (
            "volume",
            "(float[1,1,4,4,4] x, float[1,2,2,2,3] g) => (float[1,1,2,2,2] y) "
            "{ y = GridSample(x, g) }",
        ),
    ],
    ("MaxPool", 12): [
        (
            "indices",
            "(float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i) "
            "{ y, i = MaxPool<kernel_shape=[2,2], strides=[2,2], storage_order=1>(x) }",
        ),
        ("int8", "(int8[1,1,4,4] x) => (int8[1,1,3,3] y) { y = MaxPool<kernel_shape=[2,2]>(x) }"),
    ],
    ("Gemm", 11): [
        ("no c", "(float[2,3] a, float[3,4] b) => (float[2,4] y) { y = Gemm(a, b) }"),
        (
            "no c, transposed",
            "(float[2,3] a, float[4,3] b) => (float[2,4] y) "
            "{ y = Gemm<transB=1, alpha=0.5>(a, b) }",
        ),
    ],
    ("Where", 16): [
        ("bool", "(bool[3] c, bool[3] a, bool[3] b) => (bool[3] y) { y = Where(c, a, b) }"),
    ],
    ("Einsum", 12): [
        (
            "matmul",
            "(float[2,3] a, float[3,4] b) => (float[2,4] y) "
            '{ y = Einsum<equation="ij,jk->ik">(a, b) }',
        ),
        (
            "int",
            "(int64[2,3] a, int64[3,4] b) => (int64[2,4] y) "
            '{ y = Einsum<equation="ij,jk->ik">(a, b) }',
        ),
    ],
    ("Round", 11): [
        (
            "halves",
            "(float[6] x) => (float[6] y) { y = Round(x) }",
            {"x": np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)},
        ),
        (
            "specials",
            "(float[5] x) => (float[5] y) { y = Round(x) }",
            {"x": np.array([np.inf, -np.inf, np.nan, 8388609, 16777217], np.float32)},
        ),
    ],
    ("IsInf", 10): [
        (
            f"{p} {n}",
            f"(float[4] x) => (bool[4] y) "
            f"{{ y = IsInf<detect_positive={p}, detect_negative={n}>(x) }}",
            {"x": np.array([np.inf, -np.inf, np.nan, 1], np.float32)},
        )
        for p in (0, 1)
        for n in (0, 1)
    ],
    ("ThresholdedRelu", 10): [
        (
            "alpha",
            "(float[5] x) => (float[5] y) { y = ThresholdedRelu<alpha=0.5>(x) }",
            {"x": np.array([0.5, 0.6, -1, np.nan, np.inf], np.float32)},
        ),
        ("int-like double", "(double[3] x) => (double[3] y) { y = ThresholdedRelu(x) }"),
    ],
    ("Max", 12): [
        (f"{kind}", f"({kind}[3] a, {kind}[3] b) => ({kind}[3] y) {{ y = Max(a, b) }}")
        for kind in ("int32", "int64", "uint8", "float16", "double")
    ],
    ("Min", 12): [
        (f"{kind}", f"({kind}[3] a, {kind}[3] b) => ({kind}[3] y) {{ y = Min(a, b) }}")
        for kind in ("int32", "int64", "uint8", "float16", "double")
    ],
}
