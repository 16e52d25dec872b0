"""Models of old versions of ops that move data or run bodies, and traps of each version.

Every entry is a name, the signature and body of a model in ONNX text, and feeds where made-up ones
would not do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Entry = tuple[str, str] | tuple[str, str, Mapping[str, Any]]


def _ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


_LOOP = (
    "(int64 n, float[2] x) => (float[2] y, float[K, 2] z) { t = Constant<value = bool {1}>() "
    "y, z = Loop<body = b (int64 i, bool c, float[2] a) => (bool d, float[2] e, float[2] f) "
    "{ d = Identity(c) e = Add(a, x) f = Identity(e) }>(n, t, x) }"
)
_IF = (
    "(bool c, float[2,3] x) => (float[2,3] y) { y = If<"
    "then_branch = t () => (float[2,3] a) { a = Softmax<axis=0>(x) }, "
    "else_branch = e () => (float[2,3] b) { b = Neg(x) }>(c) }"
)
_SCAN = (
    "(float[2] s, float[3,2] x) => (float[2] y, float[3,2] z) { y, z = Scan<num_scan_inputs=1, "
    "body = b (float[2] a, float[2] i) => (float[2] o, float[2] p) "
    "{ o = Add(a, i) p = Identity(o) }>(s, x) }"
)

LAYOUT: dict[tuple[str, int], Sequence[Entry]] = {
    ("ConcatFromSequence", 11): [
        (
            "two",
            "(float[2,3] a, float[2,3] b) => (float[4,3] y) "
            "{ s = SequenceConstruct(a, b) y = ConcatFromSequence<axis=0>(s) }",
        ),
        (
            "new axis",
            "(float[2,3] a, float[2,3] b) => (float[2,3,2] y) "
            "{ s = SequenceConstruct(a, b) y = ConcatFromSequence<axis=-1, new_axis=1>(s) }",
        ),
    ],
    ("SequenceAt", 11): [
        (
            "constant",
            "(float[2] a, float[2] b) => (float[2] y) { s = SequenceConstruct(a, b) "
            "i = Constant<value = int64 {1}>() y = SequenceAt(s, i) }",
        ),
    ],
    ("SequenceConstruct", 11): [
        ("two", "(float[2] a, float[2] b) => (seq(float[2]) y) { y = SequenceConstruct(a, b) }"),
    ],
    ("SequenceEmpty", 11): [("float", "() => (seq(float) y) { y = SequenceEmpty<dtype=1>() }")],
    ("SequenceErase", 11): [
        (
            "first",
            "(float[2] a, float[2] b) => (seq(float[2]) y) { s = SequenceConstruct(a, b) "
            "i = Constant<value = int64 {0}>() y = SequenceErase(s, i) }",
        ),
    ],
    ("SequenceLength", 11): [
        (
            "two",
            "(float[2] a, float[2] b) => (int64 y) "
            "{ s = SequenceConstruct(a, b) y = SequenceLength(s) }",
        ),
    ],
    ("Optional", 15): [
        ("tensor", "(float[2] x) => (optional(float[2]) y) { y = Optional(x) }"),
    ],
    ("Optional", 28): [
        ("tensor", "(float[2] x) => (optional(float[2]) y) { y = Optional(x) }"),
    ],
    ("Squeeze", 11): [
        ("axes", "(float[1,2,1] x) => (float[2,1] y) { y = Squeeze<axes=[0]>(x) }"),
        ("negative", "(float[1,2,1] x) => (float[1,2] y) { y = Squeeze<axes=[-1]>(x) }"),
        ("all", "(float[1,2,1] x) => (float[2] y) { y = Squeeze(x) }"),
    ],
    ("Unsqueeze", 11): [
        ("axes", "(float[2,3] x) => (float[1,2,1,3] y) { y = Unsqueeze<axes=[0,2]>(x) }"),
        ("negative", "(float[2,3] x) => (float[2,3,1] y) { y = Unsqueeze<axes=[-1]>(x) }"),
        ("unordered", "(float[2,3] x) => (float[1,2,3,1] y) { y = Unsqueeze<axes=[-1,0]>(x) }"),
        ("scalar", "(float x) => (float[1] y) { y = Unsqueeze<axes=[0]>(x) }"),
    ],
    ("Squeeze", 13): [
        ("no axes", "(float[1,2,1] x) => (float[2] y) { y = Squeeze(x) }"),
    ],
    ("Unsqueeze", 13): [
        (
            "unordered",
            "(float[2,3] x) => (float[1,2,3,1] y) "
            "{ a = Constant<value = int64[2] {-1, 0}>() y = Unsqueeze(x, a) }",
        ),
        (
            "scalar axes",
            "(float[2,3] x) => (float[1,2,3] y) "
            "{ a = Constant<value_ints = [0]>() y = Unsqueeze(x, a) }",
        ),
    ],
    ("Split", 11): [
        (
            "parts",
            "(float[2,6] x) => (float[2,2] a, float[2,4] b) "
            "{ a, b = Split<axis=1, split=[2,4]>(x) }",
        ),
        ("negative", "(float[2,6] x) => (float[2,3] a, float[2,3] b) { a, b = Split<axis=-1>(x) }"),
    ],
    ("Split", 13): [
        ("equal", "(float[2,6] x) => (float[2,3] a, float[2,3] b) { a, b = Split<axis=-1>(x) }"),
    ],
    ("Split", 18): [
        (
            "uneven",
            "(float[2,7] x) => (float[2,3] a, float[2,3] b, float[2,1] c) "
            "{ a, b, c = Split<axis=-1, num_outputs=3>(x) }",
        ),
        (
            "even",
            "(float[2,6] x) => (float[2,3] a, float[2,3] b) "
            "{ a, b = Split<axis=1, num_outputs=2>(x) }",
        ),
    ],
    ("Slice", 10): [
        (
            "step",
            "(float[5,6] x) => (float[2,3] y) { s = Constant<value = int64[2] {0,1}>() "
            "e = Constant<value = int64[2] {4,7}>() a = Constant<value = int64[2] {0,1}>() "
            "t = Constant<value = int64[2] {2,2}>() y = Slice(x, s, e, a, t) }",
        ),
        (
            "plain",
            "(float[5,6] x) => (float[3,5] y) { s = Constant<value = int64[2] {1,0}>() "
            "e = Constant<value = int64[2] {4,-1}>() y = Slice(x, s, e) }",
        ),
        (
            "run time",
            "(float[5,6] x, int64[1] s, int64[1] e) => (float[N,6] y) { y = Slice(x, s, e) }",
            {"s": _ints(1), "e": _ints(3)},
        ),
    ],
    ("Slice", 11): [
        (
            "negative axis",
            "(float[5,6] x) => (float[5,2] y) { s = Constant<value = int64[1] {-2}>() "
            "e = Constant<value = int64[1] {9223372036854775807}>() "
            "a = Constant<value = int64[1] {-1}>() y = Slice(x, s, e, a) }",
        ),
        (
            "backwards",
            "(float[5,6] x) => (float[5,6] y) { s = Constant<value = int64[1] {-1}>() "
            "e = Constant<value = int64[1] {-9223372036854775807}>() "
            "a = Constant<value = int64[1] {1}>() t = Constant<value = int64[1] {-1}>() "
            "y = Slice(x, s, e, a, t) }",
        ),
        (
            "unsqueezed run time",
            "(float[5,6] x, int64[1] e) => (float[N,6] y) { s = Constant<value = int64[1] {0}>() "
            "a = Constant<value = int64[1] {0}>() y = Slice(x, s, e, a) }",
            {"e": _ints(3)},
        ),
    ],
    ("Pad", 11): [
        (
            f"{mode}",
            f"(float[2,5] x) => (float[A,B] y) {{ p = Constant<value = int64[4] {{1,2,0,3}}>() "
            f'y = Pad<mode="{mode}">(x, p) }}',
            {"x": np.arange(10, dtype=np.float32).reshape(2, 5)},
        )
        for mode in ("constant", "reflect", "edge")
    ]
    + [
        (
            "value",
            "(float[2,5] x) => (float[4,5] y) { p = Constant<value = int64[4] {1,0,1,0}>() "
            "v = Constant<value = float {2.5}>() y = Pad(x, p, v) }",
        ),
        (
            "negative",
            "(float[2,5] x) => (float[2,3] y) { p = Constant<value = int64[4] {0,-1,0,-1}>() "
            "y = Pad(x, p) }",
        ),
        (
            "run time value",
            "(float[2,5] x, float v) => (float[4,5] y) "
            "{ p = Constant<value = int64[4] {1,0,1,0}>() y = Pad(x, p, v) }",
        ),
        (
            "int",
            "(int64[2,5] x) => (int64[4,5] y) "
            "{ p = Constant<value = int64[4] {1,0,1,0}>() y = Pad(x, p) }",
        ),
    ],
    ("Pad", 18): [
        (
            f"axes {mode}",
            "(float[2,5] x) => (float[2,8] y) { p = Constant<value = int64[2] {2,1}>() "
            f'a = Constant<value = int64[1] {{-1}}>() y = Pad<mode="{mode}">(x, p, , a) }}',
        )
        for mode in ("constant", "reflect", "edge")
    ],
    ("Pad", 19): [
        (
            "wrap",
            "(float[2,5] x) => (float[2,8] y) { p = Constant<value = int64[4] {0,2,0,1}>() "
            'y = Pad<mode="wrap">(x, p) }',
        ),
    ],
    ("Reshape", 14): [
        (
            "zero is zero",
            "(float[0,3] x) => (float[3,0] y) "
            "{ s = Constant<value = int64[2] {3, 0}>() y = Reshape<allowzero=1>(x, s) }",
            {"x": np.zeros((0, 3), np.float32)},
        ),
        (
            "zero is kept",
            "(float[2,3] x) => (float[2,3] y) "
            "{ s = Constant<value = int64[2] {0, -1}>() y = Reshape<allowzero=0>(x, s) }",
        ),
        (
            "allowzero without zero",
            "(float[2,3] x) => (float[3,2] y) "
            "{ s = Constant<value = int64[2] {3, -1}>() y = Reshape<allowzero=1>(x, s) }",
        ),
        (
            "allowzero at run time",
            "(float[2,3] x, int64[2] s) => (float[A,B] y) { y = Reshape<allowzero=1>(x, s) }",
            {"s": _ints(3, 2)},
        ),
        (
            "allowzero at run time, zero",
            "(float[A,B] x, int64[2] s) => (float[C,D] y) { y = Reshape<allowzero=1>(x, s) }",
            {"s": _ints(3, 0), "x": np.zeros((0, 3), np.float32)},
        ),
    ],
    ("Shape", 15): [
        (
            f"{start} {end}",
            "(float[2,3,4] x) => (int64[N] y) "
            f"{{ y = Shape<start={start}{'' if end is None else f', end={end}'}>(x) }}",
        )
        for start, end in ((0, 1), (1, None), (-1, None), (0, -1), (-5, 9), (2, 1))
    ],
    ("ConstantOfShape", 20): [
        (
            kind,
            f"(int64[2] s) => ({kind}[A,B] y) "
            f"{{ y = ConstantOfShape<value = {kind}[1] {{{value}}}>(s) }}",
            {"s": _ints(2, 3)},
        )
        for kind, value in (("float", "1.5"), ("int64", "3"), ("bool", "1"), ("uint8", "7"))
    ],
    ("If", 11): [("branches", _IF.replace("Softmax<axis=0>", "Abs"))],
    ("If", 13): [("softmax inside", _IF)],
    ("If", 16): [("softmax inside", _IF)],
    ("Loop", 11): [("adds", _LOOP)],
    ("Loop", 13): [("adds", _LOOP)],
    ("Scan", 11): [
        ("adds", _SCAN),
        (
            "negative axis",
            _SCAN.replace("float[3,2] x", "float[2,3] x").replace(
                "num_scan_inputs=1", "num_scan_inputs=1, scan_input_axes=[-1]"
            ),
        ),
    ],
    ("DepthToSpace", 11): [
        (
            mode,
            f"(float[1,8,2,3] x) => (float[1,2,4,6] y) "
            f'{{ y = DepthToSpace<blocksize=2, mode="{mode}">(x) }}',
        )
        for mode in ("DCR", "CRD")
    ],
}
