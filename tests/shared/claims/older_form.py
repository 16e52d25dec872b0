"""What ``older-form`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, Shape, of_text

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def _recurrent(op: str) -> Case:
    rows = _GATES[op] * 5
    sizes: dict[str, tuple[str, Shape]] = {"w": ("f4", (1, rows, 3)), "r": ("f4", (1, rows, 5))}
    return of_text(
        14,
        f"(float[B, T, 3] x, float[1, {rows}, 3] w, float[1, {rows}, 5] r) => "
        "(float[B, T, 1, 5] y, float[B, 1, 5] h)",
        f"y, h = {op} <layout = 1, hidden_size = 5> (x, w, r)",
        "trt-8.6",
        [{"x": ("f4", (b, t, 3)), **sizes} for b, t in ((2, 4), (1, 1), (4, 2))],
        tolerance=ROUNDED,
        by_reference=True,
    )


def _batch(outputs: str, names: str, target: str) -> Case:
    return of_text(
        15,
        "(float[N, 3, H] x, float[3] s, float[3] b, float[3] m, float[3] v) => " + outputs,
        f"{names} = BatchNormalization <training_mode = 1> (x, s, b, m, v)",
        target,
        [{"x": ("f4", (n, 3, 5)), **{k: ("f4", (3,)) for k in "sbmv"}} for n in (1, 2)],
        tolerance=2e-4,
        by_reference=True,
    )


def _resize(attributes: str, rest: str, target: str, sizes: str) -> Case:
    return of_text(
        18,
        "(float[N, 2, 4, 6] x) => (float[N, 2, H, W] y)",
        f"k = Constant <{sizes}> () y = Resize <{attributes}> (x, , {rest})",
        target,
        [{"x": ("f4", (n, 2, 4, 6))} for n in (1, 2)],
        tolerance=ROUNDED,
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("older-form", "ignored_attribute", "GRU"): _recurrent("GRU"),
    ("older-form", "ignored_attribute", "LSTM"): _recurrent("LSTM"),
    ("older-form", "ignored_attribute", "RNN"): _recurrent("RNN"),
    ("older-form", "ignored_attribute", "BatchNormalization"): _batch(
        "(float[N, 3, H] y)", "y", "trt-8.4"
    ),
    ("older-form", "attribute_allowed_values", "BatchNormalization"): _batch(
        "(float[N, 3, H] y)", "y", "trt-10.3"
    ),
    ("older-form", "outputs_max", "BatchNormalization"): _batch(
        "(float[N, 3, H] y, float[3] rm, float[3] rv)", "y, rm, rv", "rtx-1.7"
    ),
    ("older-form", "ignored_attribute", "Resize"): _resize(
        "axes = [2, 3]", "k", "trt-9.2", "value = float[2] {2.0, 1.5}"
    ),
    ("older-form", "attribute_allowed_values", "Resize"): _resize(
        'axes = [2, 3], keep_aspect_ratio_policy = "not_larger"',
        ", k",
        "trt-10.3",
        "value = int64[2] {8, 30}",
    ),
    ("older-form", "attribute_must_be_absent", "Split"): of_text(
        18,
        "(bool c, float[5] x) => (float[A] y)",
        "y = If (c) <then_branch = a () => (float[A] t) { t = Neg (x) }, else_branch = b () => "
        "(float[B] e) { e, f, g, h = Split <num_outputs = 4> (x) }>",
        "trt-10.3",
        [{"c": ("t", ()), "x": ("f4", (5,))}],
    ),
    ("older-form", "ignored_attribute", "Split"): of_text(
        18,
        "(float[N, 2] x) => (float[A, 2] a, float[B, 2] b, float[C, 2] c)",
        "a, b, c = Split <num_outputs = 3> (x)",
        "trt-9.2",
        [{"x": ("f4", (n, 2))} for n in (3, 5, 7, 8)],
    ),
}
