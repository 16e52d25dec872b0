"""Models of ops that are spelled alike: reductions, pooling, recurrence, resizing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from lowering_models_layout import Entry

REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
RESIZED = {"x": np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) ** 1.5}
CONSTANT = "Constant<{}>()"


def families(op: str, version: int) -> Iterator[Entry]:
    """Ops that are spelled alike."""
    if op.startswith("Reduce") and op.removeprefix("Reduce") in REDUCTIONS:
        yield from _reduction(op, version)
    if op in ("Softmax", "LogSoftmax", "Hardmax"):
        for axis in (0, 1, 2, -1, -2, -4):
            text = f"(float[2,3,4,5] x) => (float[2,3,4,5] y) {{ y = {op}<axis={axis}>(x) }}"
            yield f"axis {axis}", text
        yield "no axis", f"(float[2,3,4] x) => (float[2,3,4] y) {{ y = {op}(x) }}"
        yield "vector", f"(float[5] x) => (float[5] y) {{ y = {op}<axis=0>(x) }}"
    if op in ("ArgMax", "ArgMin"):
        ties = {"x": np.array([[2, 2, 1], [1, 3, 3]], np.float32)}
        for axis in (0, -1):
            body = f"{op}<axis={axis}, keepdims=0>(x)"
            yield f"axis {axis}", f"(float[2,3] x) => (int64[N] y) {{ y = {body} }}", ties
        if version >= 12:
            body = f"{op}<axis=-1, select_last_index=1>(x)"
            yield "last", f"(float[2,3] x) => (int64[2,1] y) {{ y = {body} }}", ties
            for kind in ("int32", "uint8"):
                yield f"last {kind}", f"({kind}[2,3] x) => (int64[2,1] y) {{ y = {body} }}"
    if op in ("RNN", "GRU", "LSTM"):
        yield from _recurrent(op, version)
    if op in ("RandomNormal", "RandomUniform"):
        yield "plain", f"() => (float[2,3] y) {{ y = {op}<shape=[2,3]>() }}"
        yield "half", f"() => (float16[2,3] y) {{ y = {op}<shape=[2,3], dtype=10>() }}"
    if op in ("RandomNormalLike", "RandomUniformLike"):
        yield "plain", f"(float[2,3] x) => (float[2,3] y) {{ y = {op}(x) }}"
        yield "double", f"(float[2,3] x) => (double[2,3] y) {{ y = {op}<dtype=11>(x) }}"
    if op in ("AveragePool", "MaxPool", "LpPool"):
        yield from _pools(op, version)
    if op in ("Resize",):
        yield from _resizes(version)
    if op in ("QuantizeLinear", "DequantizeLinear"):
        yield from _quantization(op, version)
    if op == "Constant":
        yield from _constants(version)


def _reduction(op: str, version: int) -> Iterator[Entry]:
    positive = {"x": np.abs(np.random.default_rng(3).normal(size=(2, 3, 4))).astype(np.float32)}
    as_input = version >= (13 if op == "ReduceSum" else 18)
    for name, axes, keep, shape in (
        ("one", [1], 1, "2,1,4"),
        ("negative", [-1], 0, "2,3"),
        ("two", [0, -1], 0, "3"),
        ("all", None, 1, "1,1,1"),
        ("all flat", None, 0, ""),
    ):
        kept = f"keepdims={keep}"
        head = f"(float[2,3,4] x) => (float{f'[{shape}]' if shape else ''} y)"
        if axes is None:
            yield f"hand {name}", f"{head} {{ y = {op}<{kept}>(x) }}", positive
        elif as_input:
            constant = CONSTANT.format(f"value = int64[{len(axes)}] {{{str(axes)[1:-1]}}}")
            body = f"a = {constant} y = {op}<{kept}>(x, a)"
            yield f"hand {name}", f"{head} {{ {body} }}", positive
        else:
            yield f"hand {name}", f"{head} {{ y = {op}<axes={axes}, {kept}>(x) }}", positive
    if as_input:
        nothing = {**positive, "a": np.zeros(0, np.int64)}
        for noop in (0, 1):
            shape = "2,3,4" if noop else "1,1,1"
            body = f"y = {op}<noop_with_empty_axes={noop}>(x, a)"
            head = f"(float[2,3,4] x, int64[0] a) => (float[{shape}] y)"
            yield f"no axes, noop {noop}", f"{head} {{ {body} }}", nothing
            body = f"y = {op}<noop_with_empty_axes={noop}>(x)"
            text = f"(float[2,3,4] x) => (float[{shape}] y) {{ {body} }}"
            yield f"omitted axes, noop {noop}", text, positive
    for kind in ("int32", "int64", "double"):
        attribute = "keepdims=0" if as_input else "axes=[0], keepdims=0"
        shape = "" if as_input else "[3]"
        body = f"{op}<{attribute}>(x)"
        yield f"hand {kind}", f"({kind}[2,3] x) => ({kind}{shape} y) {{ y = {body} }}"


def _recurrent(op: str, version: int) -> Iterator[Entry]:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    weights = f"float[1,{gates * 2},3] w, float[1,{gates * 2},2] r, float[1,{gates * 4}] b"
    last = ", c" if op == "LSTM" else ""
    ends = ", float[1,4,2] c" if op == "LSTM" else ""
    body = f"y, h{last} = {op}<hidden_size=2>(x, w, r, b)"
    head = f"(float[5,4,3] x, {weights}) => (float[5,1,4,2] y, float[1,4,2] h{ends})"
    yield "time first", f"{head} {{ {body} }}"
    if version >= 14:
        ends = ", float[4,1,2] c" if op == "LSTM" else ""
        body = f"y, h{last} = {op}<hidden_size=2, layout=1>(x, w, r, b)"
        head = f"(float[4,5,3] x, {weights}) => (float[4,5,1,2] y, float[4,1,2] h{ends})"
        yield "batch first", f"{head} {{ {body} }}"
        start = "float[4,1,2] h0" + (", float[4,1,2] c0" if op == "LSTM" else "")
        states = "h0" + (", c0" if op == "LSTM" else "")
        body = f"y, h = {op}<hidden_size=2, layout=1>(x, w, r, b, , {states})"
        head = f"(float[4,5,3] x, {weights}, {start}) => (float[4,5,1,2] y, float[4,1,2] h)"
        yield "batch first with states", f"{head} {{ {body} }}"
        body = f"_, h = {op}<hidden_size=2, layout=1>(x, w, r)"
        weights = f"float[1,{gates * 2},3] w, float[1,{gates * 2},2] r"
        body = f", h = {op}<hidden_size=2, layout=1>(x, w, r)"
        yield "last state", f"(float[4,5,3] x, {weights}) => (float[4,1,2] h) {{ {body} }}"


def _pools(op: str, version: int) -> Iterator[Entry]:
    kernel = "kernel_shape=[3,3]"
    options = ["strides=[2,2], pads=[1,1,1,1]", 'auto_pad="SAME_UPPER", strides=[2,2]']
    ceil = version >= (18 if op == "LpPool" else 10)
    dilated = version >= {"AveragePool": 19, "MaxPool": 10, "LpPool": 18}[op]
    if ceil:
        options += ["ceil_mode=1, strides=[2,2]", "ceil_mode=1, strides=[2,2], pads=[1,1,1,1]"]
    if op == "AveragePool":
        options += [f"count_include_pad=1, {o}" for o in options]
    if dilated:
        options += ["dilations=[2,2]", "dilations=[2,2], pads=[1,1,1,1]", "dilations=[1,1]"]
        options.append("dilations=[2,2], ceil_mode=1, strides=[2,2]")
    for option in options:
        head = "(float[1,2,8,8] x) => (float[1,2,H,W] y)"
        yield option, f"{head} {{ y = {op}<{kernel}, {option}>(x) }}"


def _resizes(version: int) -> Iterator[Entry]:
    head = "(float[1,1,4,4] x) => (float[1,1,H,W] y)"
    if version == 10:
        for mode in ("nearest", "linear"):
            for scales in ("1,1,2,2", "1,1,1.5,2.5", "1,1,0.5,0.5"):
                constant = CONSTANT.format(f"value = float[4] {{{scales}}}")
                body = f's = {constant} y = Resize<mode="{mode}">(x, s)'
                yield f"{mode} {scales}", f"{head} {{ {body} }}", RESIZED
        return
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    modes += ["half_pixel_symmetric"] if version >= 19 else []
    shapes = {
        "scales 2,2": ("float[4] {1,1,2,2}", ""),
        "scales .6,1.7": ("float[4] {1,1,0.6,1.7}", ""),
        "sizes 8,8": ("", "int64[4] {1,1,8,8}"),
        "sizes 3,6": ("", "int64[4] {1,1,3,6}"),
    }
    for how, (scales, sizes) in shapes.items():
        extra = 'nearest_mode="floor"'
        nearest = [("nearest", extra), ("nearest", 'nearest_mode="round_prefer_floor"')]
        for mode, more in [*nearest, ("linear", ""), ("cubic", "")]:
            for coordinates in modes:
                attributes = f'mode="{mode}", coordinate_transformation_mode="{coordinates}"'
                attributes += f", {more}" if more else ""
                parts = f"s = {CONSTANT.format(f'value = {scales}')} " if scales else ""
                parts += f"z = {CONSTANT.format(f'value = {sizes}')} " if sizes else ""
                empty = "" if version >= 13 else "r"
                if empty:
                    parts += f"r = {CONSTANT.format('value = float[0] {}')} "
                    parts += "" if scales else f"s = {CONSTANT.format('value = float[0] {}')} "
                scale_name = "s" if scales or empty else ""
                inputs = f"x, {empty}, {scale_name}" + (", z" if sizes else "")
                body = f"{parts}y = Resize<{attributes}>({inputs})"
                yield f"{mode} {more} {coordinates} {how}", f"{head} {{ {body} }}", RESIZED


def _quantization(op: str, version: int) -> Iterator[Entry]:
    there = op == "QuantizeLinear"
    x, y = ("float", "uint8") if there else ("uint8", "float")
    scale = {"s": np.array(0.25, np.float32), "z": np.array(3, np.uint8)}
    if there:
        scale["x"] = np.array([[-1.0, 0.125, 0.375], [100.0, 2.0, 2.1]], np.float32)
    text = f"({x}[2,3] x, float s, uint8 z) => ({y}[2,3] y) {{ y = {op}(x, s, z) }}"
    yield "scalar", text, scale
    if version >= 13:
        for axis, size in ((0, 2), (1, 3), (-1, 3), (-2, 2)):
            text = f"({x}[2,3] x, float[{size}] s, uint8[{size}] z) => ({y}[2,3] y)"
            given = {"s": np.arange(1, size + 1, dtype=np.float32) / 4}
            given["z"] = np.arange(size, dtype=np.uint8)
            yield f"axis {axis}", f"{text} {{ y = {op}<axis={axis}>(x, s, z) }}", given
    if version >= 21:
        given = {"s": np.array([[0.25, 0.5]], np.float32), "z": np.array([[1, 2]], np.uint8)}
        text = f"({x}[2,2] x, float[1,2] s, uint8[1,2] z) => ({y}[2,2] y)"
        yield "blocked", f"{text} {{ y = {op}<axis=0, block_size=2>(x, s, z) }}", given


def _constants(version: int) -> list[Entry]:
    found: list[Entry] = [
        ("float tensor", "() => (float[2] y) { y = Constant<value = float[2] {1, 2}>() }"),
        ("int tensor", "() => (int64[2] y) { y = Constant<value = int64[2] {1, 2}>() }"),
    ]
    if version >= 12:
        found += [
            ("float", "() => (float y) { y = Constant<value_float = 1.5>() }"),
            ("floats", "() => (float[2] y) { y = Constant<value_floats = [1.5, 2.5]>() }"),
            ("int", "() => (int64 y) { y = Constant<value_int = 3>() }"),
            ("ints", "() => (int64[2] y) { y = Constant<value_ints = [3, 4]>() }"),
        ]
    return found
