"""A minimal model for every claim of a pass, by pass, kind of finding and op."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_fix.testing import Feeds

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A minimal model with a finding on ``target``.

    ``feeds`` gives shape and type of each input for each run. ``ops`` says at which ops the finding
    is where the claim is about any. ``twin`` computes the same and runs, where the model does not.
    ``first`` is the pass that runs earlier and does the same.
    """

    model: ModelProto | str
    target: str
    feeds: Sequence[dict[str, tuple[str, Shape]]]
    ops: tuple[str, ...] = ()
    twin: ModelProto | str | None = None
    first: str = ""
    tolerance: float = 0.0
    by_reference: bool = False

    def inputs(self) -> list[Feeds]:
        """The feeds of each run."""
        return [arrays(given) for given in self.feeds]


def text(opset: int, signature: str, nodes: str, more: str = "") -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}{more}]> g {signature} {{ {nodes} }}'


def of_text(
    opset: int,
    signature: str,
    nodes: str,
    target: str,
    feeds: Sequence[dict[str, tuple[str, Shape]]],
    **more: Any,
) -> Case:
    return Case(text(opset, signature, nodes), target, feeds, **more)


ROUNDED = 2e-5
ADDED = ', reduction = "add"'


def unbatched(op: str, attributes: str, sizes: Shape, weights: Shape = ()) -> Case:
    """An op on data without batch axis, and the same with one put in and taken out."""
    dims = ", ".join(map(str, sizes))
    w, more = (", w", f", float[{', '.join(map(str, weights))}] w") if weights else ("", "")
    signature = f"(float[{dims}] x{more}) => (float[{', '.join('CHW'[: len(sizes)])}] y)"
    feeds: dict[str, tuple[str, Shape]] = {"x": ("f4", sizes)}
    if weights:
        feeds["w"] = ("f4", weights)
    return of_text(
        13,
        signature,
        f"y = {op} <{attributes}> (x{w})",
        "trt-8.6",
        [feeds],
        twin=text(
            13,
            signature,
            "zero = Constant <value = int64[1] {0}> () batched = Unsqueeze (x, zero) "
            f"pooled = {op} <{attributes}> (batched{w}) y = Squeeze (pooled, zero)",
        ),
        tolerance=ROUNDED,
    )


def clip(dtype: str, kind: str, target: str, nodes: str, inputs: str = "", opset: int = 13) -> Case:
    names = [part.split()[-1] for part in inputs.split(",") if part]
    return of_text(
        opset,
        f"({dtype}[N] x{inputs}) => ({dtype}[N] y)",
        nodes,
        target,
        [{"x": (kind, (n,)), **{name: (kind, ()) for name in names}} for n in (1, 5)],
    )


def einsum(target: str, equation: str, *shapes: Shape, dtype: str = "float") -> Case:
    names = "abc"[: len(shapes)]
    kind = {"float": "f4", "int32": "i4"}[dtype]
    inputs = ", ".join(
        f"{dtype}[{', '.join(map(str, shape))}] {name}"
        for name, shape in zip(names, shapes, strict=True)
    )
    rank = len(equation.split("->")[1])
    result = f"{dtype}[{', '.join('PQRS'[:rank])}] y"
    return Case(
        text(
            13,
            f"({inputs}) => ({result})",
            f'y = Einsum <equation = "{equation}"> ({", ".join(names)})',
        ),
        target,
        [{name: (kind, shape) for name, shape in zip(names, shapes, strict=True)}],
        tolerance=ROUNDED,
    )


def reduction(
    op: str, nodes: str, target: str = "trt-8.6", opset: int = 18, out: str = "N, 1"
) -> Case:
    """A reduction of positive numbers, whose logarithm is there."""
    signature = f"(float[N, 3] x) => (float[{out}] y)"
    return of_text(
        opset,
        signature,
        f"p = Abs (x) one = Constant <value = int64[1] {{1}}> () {nodes}".replace("OP", op),
        target,
        [{"x": ("f4", (n, 3))} for n in (1, 4)],
        tolerance=ROUNDED,
    )


def calls(domain: str, name: str) -> ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13, "{domain}" : 1]>
        g (float[N] x) => (float[N] y) {{ t = {domain}.{name} (x) y = Abs (t) }}
        <opset_import: ["" : 13], domain: "{domain}">
        {name} (a) => (b) {{ r = Neg (a) b = Exp (r) }}"""
    )


def built(nodes: list[NodeProto]) -> ModelProto:
    """A model of three floats in and out."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "xy")
    imports = [helper.make_opsetid("", 13)]
    graph = helper.make_graph(nodes, "g", [x], [y])
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def empty_name() -> ModelProto:
    """The ONNX text has no way to write an empty name at the end."""
    k = helper.make_tensor("k", TensorProto.FLOAT, [], [0.25])
    constant = helper.make_node("Constant", [], ["k"], value=k)
    return built([constant, helper.make_node("Clip", ["x", "k", ""], ["y"])])


def sparse() -> ModelProto:
    value = helper.make_sparse_tensor(
        helper.make_tensor("values", TensorProto.FLOAT, [1], [2.5]),
        helper.make_tensor("indices", TensorProto.INT64, [1], [1]),
        [3],
    )
    constant = helper.make_node("Constant", [], ["k"], sparse_value=value)
    return built([constant, helper.make_node("Add", ["x", "k"], ["y"])])


def norm(nodes: str, opset: int = 18, target: str = "trt-8.6") -> Case:
    eps = "one = Constant <value = int64[1] {1}> () eps = Constant <value = float {0.001}> () "
    return of_text(
        opset,
        "(float[N, 3] x) => (float[N, 3] y)",
        f"{eps}{nodes} c = Max (n, eps) y = Div (x, c)",
        target,
        [{"x": ("f4", (n, 3))} for n in (1, 4)],
        tolerance=ROUNDED,
    )


def gather(dtype: str, kind: str, target: str, indices: str, dims: str = "2, 4") -> Case:
    nodes = (
        f"i = Constant <value = int64[2, 2] {{{indices}}}> () y = GatherElements <axis = 1> (x, i)"
    )
    return of_text(
        13,
        f"({dtype}[{dims}] x) => ({dtype}[2, 2] y)",
        nodes,
        target,
        [{"x": (kind, (2, 4))}],
    )


def sampled(target: str, data: str) -> Case:
    """Pixels of images or volumes at places in and around them."""
    dims = len(data) - 1
    places = "PQR"[:dims]
    return of_text(
        20,
        f"(float[N, {', '.join(data)}] x, float[N, {', '.join(places)}, {dims}] grid)"
        f" => (float[N, C, {', '.join(places)}] y)",
        'y = GridSample <mode = "linear"> (x, grid)',
        target,
        [
            {
                "x": ("f4", (batch, 3, *(4, 5, 2)[:dims])),
                "grid": ("f4", (batch, *(6, 3, 2)[:dims], dims)),
            }
            for batch in (1, 2)
        ],
        tolerance=ROUNDED,
    )


WHERE = (
    "n = NonZero (m) i = Transpose <perm = [1, 0]> (n) v = Constant <value = float {7.0}> () "
    "s = Shape (i) zero = Constant <value = int64[1] {0}> () "
    "one = Constant <value = int64[1] {1}> () k = Slice (s, zero, one) e = Expand (v, k) "
    "y = ScatterND (x, i, e)"
)


def selected(mask: str, kind: str, target: str) -> Case:
    return of_text(
        13,
        f"(float[2, 3] x, {mask}[2, 3] m) => (float[2, 3] y)",
        WHERE,
        target,
        [{"x": ("f4", (2, 3)), "m": (kind, (2, 3))}],
    )


SUMS = "axis = Constant <value = int64 {1}> () y = CumSum (x, axis)"
FOLDED = "k = Constant <value = int64 {-1}> () axis = Neg (k) y = CumSum (x, axis)"
HALF = "k = Constant <value = float16 {14336}> () y = Clip (x, k)"
W = "w0 = Constant <value = float[1, 1, 1, 1] {2.0}> () "
THREE: Sequence[dict[str, tuple[str, Shape]]] = [{"x": ("f4", (3,))}]
IMAGE: Sequence[dict[str, tuple[str, Shape]]] = [{"x": ("f4", (1, 1, 2, 2))}]
TAKEN = "reduce-axes-input"
CLAIMED_OPS = [
    f"Reduce{op}" for op in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "SumSquare")
]

UNBATCHED: Sequence[tuple[str, str, list[int], int, Shape]] = (
    ("kernel_rank", "AveragePool", [2, 2], 3, ()),
    ("kernel_rank", "Conv", [2, 2], 3, (3, 2, 2, 2)),
    ("kernel_rank", "ConvTranspose", [2, 2], 3, (2, 3, 2, 2)),
    ("kernel_rank", "LpPool", [2, 2], 3, ()),
    ("kernel_rank", "MaxPool", [2, 2], 3, ()),
    ("rank", "ConvTranspose", [2], 2, (4, 3, 2)),
    ("spatial_dims", "AveragePool", [2], 2, ()),
    ("spatial_dims", "MaxPool", [2], 2, ()),
)
EINSUMS: Sequence[tuple[str, str, str, tuple[Shape, ...], str]] = (
    ("broadcast", "trt-8.6", "bij,bjk->bik", ((1, 2, 3), (4, 3, 2)), "float"),
    ("dtype", "trt-8.6", "ij,jk->ik", ((2, 3), (3, 2)), "int32"),
    ("equation_characters", "trt-8.6", "Ij,jK->IK", ((2, 3), (3, 2)), "float"),
    ("equation_feature", "trt-8.6", "ij,jk,kl->il", ((2, 3), (3, 2), (2, 4)), "float"),
    ("no_importer", "trt-7.2", "ij,jk->ik", ((2, 3), (3, 2)), "float"),
)

GATHERS = (
    ("dtype_refused", ("bool", "?", "trt-8.4", "0, 3, 1, 1")),
    ("negative_indices_unsupported", ("float", "f4", "trt-8.0", "0, -1, 1, 1")),
    ("no_importer", ("float", "f4", "trt-7.2", "0, -1, 1, 1")),
    ("static_shape_only", ("float", "f4", "trt-8.0", "0, 3, 1, 1", "2, N")),
)

PADS = (
    ("attribute_allowed_values", 11, "trt-7.2", 'y = Pad <mode = "edge"> (x, k)'),
    (
        "constant_value",
        11,
        "trt-7.2",
        "v = Constant <value = float {1.5}> () y = Pad (x, k, v)",
    ),
    (
        "input_must_be_absent",
        18,
        "trt-8.6",
        "h = Constant <value = int64[2] {1, 2}> () a = Constant <value = int64[1] {-1}> () "
        "v = Constant <value = float {1.5}> () y = Pad (x, h, v, a)",
    ),
    ("input_must_be_constant", 11, "trt-8.0", "q = Abs (p) y = Pad (x, q)"),
    (
        "padded_dims",
        11,
        "trt-7.2",
        "j = Constant <value = int64[6] {1, 0, 2, 0, 0, 1}> () y = Pad (x, j)",
    ),
)
MOVED = {
    "Concat": "y = Concat <axis = 1> (x, c)",
    "Expand": "s = Constant <value = int64[2] {1, 1}> () y = Expand (x, s)",
    "Gather": "s = Constant <value = int64[2] {1, 0}> () y = Gather <axis = 1> (x, s)",
    "Slice": "s = Constant <value = int64[2] {0, 1}> () e = Constant <value = int64[2] {9, 2}> () "
    "y = Slice (x, s, e)",
    "Split": "z, w = Split <axis = 1> (x) y = And (z, w)",
    "Tile": "s = Constant <value = int64[2] {1, 3}> () y = Tile (x, s)",
    "Where": "y = Where (c, x, c)",
}

CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("batch-pooling", kind, op): unbatched(
            op, f"kernel_shape = {sizes}", (2, 4, 4)[-n:], weights
        )
        for kind, op, sizes, n, weights in UNBATCHED
    },
    ("clip-to-min-max", "bounds_dtype", "Clip"): clip("float16", "f2", "trt-8.4", HALF),
    ("clip-to-min-max", "dtype", "Clip"): clip(
        "float16", "f2", "trt-8.2", "y = Clip (x, low)", ", float16 low"
    ),
    ("clip-to-min-max", "dtype_refused", "Clip"): clip(
        "int32", "i4", "trt-7.2", "k = Constant <value = int32 {0}> () y = Clip (x, k)"
    ),
    ("clip-to-min-max", "input_must_be_constant", "Clip"): clip(
        "float", "f4", "trt-7.2", "y = Clip (x, low)", ", float low"
    ),
    ("clip-to-min-max", "optional_input_must_be_present", "Clip"): Case(
        empty_name(), "trt-7.2", THREE
    ),
    ("constant-value", "attribute_allowed_names", "Constant"): of_text(
        13,
        "(float[N] x) => (float[N] y)",
        "k = Constant <value_float = 0.5> () y = Add (x, k)",
        "trt-7.2",
        THREE,
    ),
    ("constant-value", "attribute_must_be_absent", "Constant"): Case(
        sparse(),
        "trt-8.6",
        THREE,
        twin=text(
            13,
            "(float[3] x) => (float[3] y)",
            "k = Constant <value = float[3] {0.0, 2.5, 0.0}> () y = Add (x, k)",
        ),
    ),
    ("constant-value", "attribute_value_misread", "Constant"): of_text(
        13,
        "(float[2, 3] x) => (float[3, 2] y)",
        "k = Constant <value_ints = [3, 2]> () y = Reshape (x, k)",
        "trt-8.6",
        [{"x": ("f4", (2, 3))}],
    ),
    **{
        ("einsum-to-matmul", kind, "Einsum"): einsum(target, equation, *shapes, dtype=dtype)
        for kind, target, equation, shapes, dtype in EINSUMS
    },
    ("expand-functions", "no_importer", "*"): of_text(
        18,
        "(float[N, 3] x) => (float[N, 3] y)",
        "y = Mish (x)",
        "trt-8.6",
        [{"x": ("f4", (n, 3))} for n in (1, 4)],
        ops=("Mish",),
        tolerance=ROUNDED,
    ),
    ("expand-functions", "no_kernel", "Attention"): of_text(
        23,
        "(float[B, 2, 4, 16] q, float[B, 2, S, 16] k, bool[4, S] m) => (float[B, 2, 4, 16] y)",
        "y = Attention (q, k, k, m)",
        "rtx-1.7",
        [
            {"q": ("f4", (n, 2, 4, 16)), "k": ("f4", (n, 2, 3, 16)), "m": ("?", (4, 3))}
            for n in (1, 2)
        ],
        tolerance=ROUNDED,
    ),
    ("expand-functions", "opset_semantics", "GroupNormalization"): of_text(
        21,
        "(float[N, 4, H] x, float[4] s, float[4] b) => (float[N, 4, H] y)",
        "y = GroupNormalization <num_groups = 2> (x, s, b)",
        "trt-10.3",
        [{"x": ("f4", (n, 4, 3)), "s": ("f4", (4,)), "b": ("f4", (4,))} for n in (1, 2)],
        tolerance=ROUNDED,
    ),
    ("expand-functions", "outputs_max", "LayerNormalization"): of_text(
        17,
        "(float[N, 4] x, float[4] s) => (float[N, 4] y, float[N, 1] mean)",
        "y, mean = LayerNormalization (x, s)",
        "trt-10.3",
        [{"x": ("f4", (n, 4)), "s": ("f4", (4,))} for n in (1, 2)],
        tolerance=ROUNDED,
    ),
    ("fold-constants", "*", "*"): of_text(
        13,
        "(float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y)",
        W + "w = Neg (w0) y = Conv (x, w)",
        "trt-7.2",
        IMAGE,
        ops=("Conv",),
    ),
    **{
        ("fold-if", kind, "If"): of_text(
            13,
            "(float[N, 1] x) => (float[P] y)",
            "s = Shape (x) k = Constant <value = int64 {1}> () d = Gather (s, k) c = Equal (d, k) "
            "y = If (c) < then_branch = t () => (float[A] a) { "
            "ax = Constant <value = int64[1] {1}> () a = Squeeze (x, ax) }, "
            f"else_branch = e () => ({other} >",
            target,
            [{"x": ("f4", (n, 1))} for n in (1, 4)],
        )
        for kind, target, other in (
            ("branch_output_names_differ", "trt-8.0", "float[B, C] a) { a = Identity (x) }"),
            ("branch_shapes", "trt-10.3", "float[B, C] b) { b = Identity (x) }"),
            ("input_must_be_constant", "trt-7.2", "float[B, C] b) { b = Identity (x) }"),
        )
    },
    ("inline-functions", "domain_ignored", "*"): Case(
        calls("my", "Relu"), "trt-8.6", THREE, ops=("Relu",)
    ),
    **{
        ("move-bools", "dtype_refused", op): of_text(
            11,
            "(bool[N, 2] x, bool[N, 2] c) => (bool[P, Q] y)",
            nodes,
            "trt-7.2",
            [{"x": ("?", (n, 2)), "c": ("?", (n, 2))} for n in (1, 4)],
            by_reference=True,
        )
        for op, nodes in MOVED.items()
    },
    **{
        ("replace-arg-max", "dtype_refused", op): of_text(
            13,
            "(int32[N, 4] x) => (int64[N, 1] y)",
            f"y = {op} <axis = 1> (x)",
            "trt-8.5",
            [{"x": ("i4", (n, 4))} for n in (1, 9)],
        )
        for op in ("ArgMax", "ArgMin")
    },
    **{
        ("replace-arg-max", "ignored_attribute", op): of_text(
            13,
            "(float[N, M] x) => (int64[N, 1] y)",
            f"z = Floor (x) y = {op} <axis = 1, select_last_index = 1> (z)",
            "trt-7.2",
            [{"x": ("f4", (n, 7))} for n in (1, 9)],
        )
        for op in ("ArgMax", "ArgMin")
    },
    **{
        ("replace-gather-nd", kind, "GatherND"): of_text(
            13,
            f"({dtype}[3, 4] x, bool[N, 2] m) => ({dtype}[N] y)",
            "i = Cast <to = 7> (m) y = GatherND (x, i)",
            target,
            [{"x": (code, (3, 4)), "m": ("?", (n, 2))} for n in (1, 5)],
        )
        for kind, dtype, code, target in (
            ("dtype_refused", "bool", "?", "trt-8.4"),
            ("no_importer", "float", "f4", "trt-7.2"),
        )
    },
    ("compress-to-gather", "no_importer", "Compress"): of_text(
        13,
        "(float[N, 3] x, bool[N] c) => (float[K, 3] y)",
        "y = Compress <axis = 0> (x, c)",
        "trt-10.3",
        [{"x": ("f4", (n, 3)), "c": ("?", (n,))} for n in (1, 9)],
    ),
    ("replace-is-inf", "no_importer", "IsInf"): of_text(
        13,
        "(float[N] x) => (bool[N] y)",
        "z = Log (x) y = IsInf (z)",
        "trt-8.4",
        [{"x": ("f4", (n,))} for n in (1, 9)],
    ),
    ("replace-is-nan", "no_importer", "IsNaN"): of_text(
        13,
        "(float[N] x) => (bool[N] y)",
        "z = Log (x) y = IsNaN (z)",
        "trt-7.2",
        [{"x": ("f4", (n,))} for n in (1, 9)],
    ),
    ("replace-mod", "no_importer", "Mod"): of_text(
        13,
        "(int64[N] x) => (int64[N] y)",
        "k = Constant <value = int64 {-3}> () y = Mod (x, k)",
        "trt-8.4",
        [{"x": ("i8", (n,))} for n in (1, 9)],
    ),
    **{
        ("replace-pad", kind, "Pad"): of_text(
            opset,
            "(float[N, 3, 4] x, int64[6] p) => (float[P, Q, R] y)",
            f"k = Constant <value = int64[6] {{0, 1, 2, 0, 0, 1}}> () {nodes}",
            target,
            [{"x": ("f4", (n, 3, 4)), "p": ("i8", (6,))} for n in (1, 4)],
        )
        for kind, opset, target, nodes in PADS
    },
    **{
        ("replace-scatter-elements", kind, op): of_text(
            opset,
            "(float[N, 5] x, int64[N, 2] i, float[N, 2] v) => (float[N, 5] y)",
            f"y = {op} <axis = 1{more}> (x, i, v)",
            target,
            [{"x": ("f4", (n, 5)), "i": ("i8", (n, 2)), "v": ("f4", (n, 2))} for n in (1, 5)],
            tolerance=ROUNDED,
        )
        for kind, op, opset, target, more in (
            ("attribute_allowed_values", "ScatterElements", 16, "rtx-1.7", ADDED),
            ("ignored_attribute", "ScatterElements", 16, "trt-8.6", ADDED),
            ("no_importer", "Scatter", 10, "trt-7.2", ""),
            ("no_importer", "ScatterElements", 11, "trt-7.2", ""),
        )
    },
    **{
        ("replace-scatter-nd", kind, "ScatterND"): of_text(
            opset,
            "(float[M, 4] x, int64[N, 1] i, float[N, 4] v) => (float[M, 4] y)",
            f"y = ScatterND{more} (x, i, v)",
            target,
            [{"x": ("f4", (9, 4)), "i": ("i8", (n, 1)), "v": ("f4", (n, 4))} for n in (1, 5)],
            tolerance=ROUNDED,
        )
        for kind, opset, target, more in (
            ("attribute_allowed_values", 16, "trt-10.9", f"<{ADDED[2:]}>"),
            ("attribute_must_be_absent", 16, "trt-10.3", f"<{ADDED[2:]}>"),
            ("ignored_attribute", 16, "trt-8.6", f"<{ADDED[2:]}>"),
            ("no_importer", 11, "trt-7.2", ""),
        )
    },
    ("squeeze-axes", "attribute_must_be_present", "Squeeze"): of_text(
        11,
        "(float[1, 3] x) => (float[3] y)",
        "y = Squeeze (x)",
        "trt-7.2",
        [{"x": ("f4", (1, 3))}],
    ),
    ("count-from-front", "negative_indices_unsupported", "Gather"): of_text(
        11,
        "(float[N, 4] x) => (float[N, 2] y)",
        "i = Constant <value = int64[2] {-1, 0}> ()  y = Gather <axis = 1> (x, i)",
        "trt-7.2",
        [{"x": ("f4", (n, 4))} for n in (1, 3)],
    ),
    ("normalize", "no_importer", "LpNormalization"): of_text(
        13,
        "(float[N, 3] x) => (float[N, 3] y)",
        "y = LpNormalization <axis = 1> (x)",
        "trt-7.2",
        [{"x": ("f4", (n, 3))} for n in (1, 4)],
        tolerance=ROUNDED,
    ),
    ("normalize", "dtype", "LpNormalization"): of_text(
        22,
        "(bfloat16[N, 3] x) => (bfloat16[N, 3] y)",
        "y = LpNormalization <axis = 1> (x)",
        "trt-10.3",
        [{"x": ("bf", (n, 3))} for n in (1, 4)],
        tolerance=2e-2,
        by_reference=True,
    ),
    ("normalize", "ignored_input", "ReduceL1"): norm("n = ReduceL1 (x, one)"),
    ("normalize", "ignored_input", "ReduceL2"): norm("n = ReduceL2 (x, one)"),
    ("normalize", "ignored_input", "ReduceSum"): norm(
        "a = Abs (x) n = ReduceSum (a, one)", 13, "trt-7.2"
    ),
    ("normalize", "ignored_input", "ReduceSumSquare"): norm(
        "q = ReduceSumSquare (x, one) n = Sqrt (q)"
    ),
    **{(TAKEN, "ignored_input", op): reduction(op, "y = OP (p, one)") for op in CLAIMED_OPS},
    (TAKEN, "ignored_input", "ReduceSum"): reduction("ReduceSum", "y = OP (p, one)", "trt-7.2", 13),
    (TAKEN, "ignored_input", "ReduceProd"): reduction(
        "ReduceProd",
        "none = Constant <value = int64[0] {}> () y = OP <noop_with_empty_axes = 1> (p, none)",
        out="N, 3",
    ),
    **{
        (TAKEN, "ignored_attribute", op): reduction(
            op, "y = OP <noop_with_empty_axes = 1> (p)", out="N, 3"
        )
        for op in (*CLAIMED_OPS, "ReduceSum", "ReduceProd")
    },
    ("remove-identity", "input_must_be_constant", "*"): of_text(
        13,
        "(float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y)",
        W + "w = Identity (w0) y = Conv (x, w)",
        "trt-7.2",
        IMAGE,
        ops=("Conv",),
        first="fold-constants",
    ),
    ("remove-unused", "*", "*"): of_text(
        13,
        "(float[N] x) => (float[N] y)",
        "u = Unique (x) y = Abs (x)",
        "trt-8.6",
        THREE,
        ops=("Unique",),
    ),
    ("replace-cum-sum", "input_must_be_constant", "CumSum"): of_text(
        13,
        "(float[2, 3] x) => (float[2, 3] y)",
        FOLDED,
        "trt-8.6",
        [{"x": ("f4", (2, 3))}],
        first="fold-constants",
        tolerance=ROUNDED,
    ),
    ("replace-cum-sum", "no_importer", "CumSum"): of_text(
        12,
        "(float[2, N] x) => (float[2, N] y)",
        SUMS,
        "trt-7.2",
        [{"x": ("f4", (2, n))} for n in (1, 5)],
        tolerance=ROUNDED,
    ),
    ("replace-cum-sum", "static_shape_only", "CumSum"): of_text(
        12,
        "(float[2, N] x) => (float[2, N] y)",
        SUMS,
        "trt-7.2-tip",
        [{"x": ("f4", (2, n))} for n in (1, 5)],
        tolerance=ROUNDED,
    ),
    **{("replace-gather-elements", kind, "GatherElements"): gather(*use) for kind, use in GATHERS},
    ("replace-grid-sample", "attribute_value_misread", "GridSample"): sampled("trt-8.6", "CHW"),
    ("replace-grid-sample", "no_importer", "GridSample"): sampled("trt-7.2", "CHW"),
    ("replace-grid-sample", "rank", "GridSample"): sampled("trt-8.6", "CDHW"),
    ("replace-non-zero", "dtype", "NonZero"): selected("uint8", "u1", "trt-8.6"),
    ("replace-non-zero", "needs_plugin", "NonZero"): selected("bool", "?", "rtx-1.7"),
    ("replace-non-zero", "no_importer", "NonZero"): selected("bool", "?", "trt-7.2"),
    ("shape-to-slice", "ignored_attribute", "Shape"): of_text(
        15,
        "(float[N, 3, M] x) => (int64[2] y)",
        "y = Shape <start = 1> (x)",
        "trt-8.6",
        [{"x": ("f4", (2, 3, 4))}],
    ),
    ("spell-defaults", "attribute_must_be_absent", "ScatterND"): of_text(
        16,
        "(float[4] x, float[2] u) => (float[4] y)",
        'i = Constant <value = int64[2, 1] {0, 2}> () y = ScatterND <reduction = "none"> (x, i, u)',
        "trt-10.3",
        [{"x": ("f4", (4,)), "u": ("f4", (2,))}],
    ),
    ("spell-defaults", "attribute_must_be_present", "Reshape"): of_text(
        14,
        "(float[2, 3] x) => (float[6] y)",
        "k = Constant <value = int64[1] {-1}> () y = Reshape (x, k)",
        "trt-8.2",
        [{"x": ("f4", (2, 3))}],
    ),
}


def arrays(given: dict[str, tuple[str, Shape]]) -> Feeds:
    """Random values: integers around zero, masks, numbers of both signs."""
    random = np.random.default_rng(7)
    made: dict[str, NDArray[Any]] = {}
    for name, (kind, shape) in given.items():
        if kind == "?":
            made[name] = random.random(shape) < 0.5
        elif kind[0] in "iu":
            low, high = (0, 2) if kind[0] == "u" else (-4, 5)
            made[name] = random.integers(low, high, shape, dtype=kind)
        elif kind == "bf":
            bfloat16 = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)
            made[name] = random.standard_normal(shape).astype(bfloat16)
        else:
            made[name] = random.standard_normal(shape).astype(kind)
    return made


@pytest.fixture(scope="session")
def claim_cases() -> dict[tuple[str, str, str], Case]:
    """The cases; ``*`` stands for any op."""
    return CASES
