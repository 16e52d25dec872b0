"""Hand-made models for what the node tests of ONNX leave open, most of one node each.

`node_models` and `targeted_layers.layer_models` have the ops, `targeted_control.control_models`
control flow, functions, domains and versions. Each model asks one question, which its name says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import onnx.parser
from onnx import GraphProto, ModelProto
from rtx_pool import Values

from onnx_fix.functions import bodies_of


@dataclass(frozen=True)
class Question:
    """A model in ONNX text: ``graph`` and, after it, functions; ``values`` of shape inputs."""

    name: str
    graph: str
    opset: int = 17
    domains: tuple[str, ...] = ()
    values: Values = field(default_factory=dict)
    ir: int = 0

    def model(self) -> ModelProto:
        """The parsed model."""
        imports = ", ".join(f'"{d}" : {v}' for d, v in self._imports().items())
        ir = self.ir or (8 if self.opset < 19 else 10)
        head = f"<ir_version: {ir}, opset_import: [{imports}]>"
        model = onnx.parser.parse_model(f"{head} {self.graph}")
        _forget_shapes(model.graph)
        return model

    def _imports(self) -> Mapping[str, int]:
        return {"": self.opset, **dict.fromkeys(self.domains, 1)}


def _forget_shapes(graph: GraphProto) -> None:
    """Leave outputs without a shape, which the text calls scalars, to inference."""
    for port in graph.output:
        port.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for body in bodies_of(node):
            _forget_shapes(body)


IMAGE = "float[N,3,8,8] x"
RESIZE_MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "half_pixel_symmetric",
    "tf_crop_and_resize",
)


def node_models() -> Iterator[Question]:
    """Questions about ops that select, sample and contract."""
    yield from _einsum()
    yield from _bounds_and_sums()
    yield from _gather_and_scatter()
    yield from _top_k()
    yield from _resize()


def _einsum() -> Iterator[Question]:
    for name, equation, count in (
        ("batched", "bij,bjk->bik", 2),
        ("capital", "Bij,Bjk->Bik", 2),
        ("ellipsis", "...ij,...jk->...ik", 2),
        ("diagonal", "bii->bi", 1),
        ("trace", "bii->b", 1),
        ("three", "bij,bjk,bkl->bil", 3),
        ("implicit", "bij,bjk", 2),
        ("to_scalar", "bij->", 1),
    ):
        ports = ", ".join(f"float[N,4,4] x{i}" for i in range(count))
        names = ", ".join(f"x{i}" for i in range(count))
        yield Question(
            f"einsum_{name}",
            f'g ({ports}) => (float y) {{ y = Einsum<equation="{equation}">({names}) }}',
        )
    pair = 'y = Einsum<equation="bij,bjk->bik">(a, b)'
    yield Question("einsum_int32", f"g (int32[2,4,4] a, int32[2,4,4] b) => (int32 y) {{ {pair} }}")
    yield Question(
        "einsum_one_beside_four", f"g (float[1,4,4] a, float[4,4,4] b) => (float y) {{ {pair} }}"
    )


def _bounds_and_sums() -> Iterator[Question]:
    data = "float[N,4,8] x"
    yield Question("clip_low_at_run_time", f"g ({data}, float a) => (float y) {{ y = Clip(x, a) }}")
    yield Question(
        "clip_high_at_run_time",
        f"g ({data}, float b) => (float y) <float a = {{0}}> {{ y = Clip(x, a, b) }}",
    )
    yield Question(
        "clip_int64",
        "g (int64[N,4] x) => (int64 y) <int64 a = {0}, int64 b = {5}> { y = Clip(x, a, b) }",
    )
    yield Question(
        "clip_high_only", f"g ({data}) => (float y) <float b = {{5}}> {{ y = Clip(x, , b) }}"
    )
    for name, ports, settings in (
        ("float", data, ""),
        ("exclusive_reverse", data, "<exclusive = 1, reverse = 1>"),
        ("int64", "int64[N,4] x", ""),
        ("int32", "int32[N,4] x", ""),
    ):
        kind = ports.split("[")[0]
        yield Question(
            f"cum_sum_{name}",
            f"g ({ports}) => ({kind} y) <int64 a = {{1}}> {{ y = CumSum{settings}(x, a) }}",
        )
    yield Question(
        "cum_sum_axis_at_run_time",
        "g (float[2,4,8] x, int64 a) => (float y) { y = CumSum(x, a) }",
        values={"a": [1]},
    )
    for settings in ("", "<fmod = 1>"):
        yield Question(
            f"mod_float{settings and '_fmod'}",
            f"g (float[N] a, float[N] b) => (float y) {{ y = Mod{settings}(a, b) }}",
        )
    yield Question(
        "is_inf_negative_only", "g (float[N] x) => (bool y) { y = IsInf<detect_positive = 0>(x) }"
    )
    yield Question(
        "where_bool", "g (bool[N] c, bool[N] a, bool[N] b) => (bool y) { y = Where(c, a, b) }"
    )
    yield Question(
        "add_half_to_float", "g (float[N] a, float16[N] b) => (float y) { y = Add(a, b) }"
    )


def _gather_and_scatter() -> Iterator[Question]:
    for kind in ("float", "bool", "int64"):
        yield Question(f"non_zero_{kind}", f"g ({kind}[N,4] x) => (int64 y) {{ y = NonZero(x) }}")
    yield Question(
        "unique",
        "g (float[N] x) => (float a, int64 b, int64 c, int64 d) { a, b, c, d = Unique(x) }",
    )
    yield Question("compress", "g (float[N] x, bool[N] c) => (float y) { y = Compress(x, c) }")
    for kind in ("float", "bool"):
        yield Question(
            f"gather_elements_{kind}",
            f"g ({kind}[N,4] x, int64[N,2] i)"
            f" => ({kind} y) {{ y = GatherElements<axis = 1>(x, i) }}",
        )
    yield Question(
        "gather_nd_batched",
        "g (float[N,4,5] x, int64[N,3,1] i) => (float y) { y = GatherND<batch_dims = 1>(x, i) }",
    )
    grid = "float[N,3,8,8] x, float[N,4,4,2] i"
    for opset, modes in (
        (16, ("bilinear", "nearest", "bicubic")),
        (20, ("linear", "nearest", "cubic")),
    ):
        for mode in modes:
            yield Question(
                f"grid_sample_{opset}_{mode}",
                f'g ({grid}) => (float y) {{ y = GridSample<mode = "{mode}">(x, i) }}',
                opset,
            )
    for padding in ("zeros", "border", "reflection"):
        settings = f'<padding_mode = "{padding}", align_corners = 1>'
        yield Question(
            f"grid_sample_padding_{padding}",
            f"g ({grid}) => (float y) {{ y = GridSample{settings}(x, i) }}",
        )
    yield Question(
        "grid_sample_volume",
        "g (float[1,3,4,8,8] x, float[1,2,4,4,3] i) => (float y) { y = GridSample(x, i) }",
        20,
    )
    ports = "float[N,4] x, int64[M,1] i, float[M,4] u"
    yield Question("scatter_nd_11", f"g ({ports}) => (float y) {{ y = ScatterND(x, i, u) }}", 11)
    for reduction in ("none", "add", "max"):
        yield Question(
            f"scatter_nd_{reduction}",
            f'g ({ports}) => (float y) {{ y = ScatterND<reduction = "{reduction}">(x, i, u) }}',
            18,
        )
    ports = "float[N,4] x, int64[M,4] i, float[M,4] u"
    for reduction in ("none", "add", "mul", "max", "min"):
        yield Question(
            f"scatter_elements_{reduction}",
            f"g ({ports}) => (float y)"
            f' {{ y = ScatterElements<reduction = "{reduction}">(x, i, u) }}',
            18,
        )


def _top_k() -> Iterator[Question]:
    def top(name: str, data: str, k: int = 5, settings: str = "") -> Question:
        kind = data.split("[")[0]
        return Question(
            f"top_k_{name}",
            f"g ({data} x) => ({kind} y, int64 i)"
            f" <int64[1] k = {{{k}}}> {{ y, i = TopK{settings}(x, k) }}",
        )

    yield top("constant", "float[N,100]")
    yield top("smallest", "float[N,100]", settings="<largest = 0>")
    yield top("unsorted", "float[N,100]", settings="<sorted = 0>")
    yield top("of_5000", "float[N,9000]", 5000)
    yield top("of_one_dimension", "float[100]")
    for kind in ("int32", "int64", "float16", "bfloat16"):
        yield top(kind, f"{kind}[N,100]")
    yield Question(
        "top_k_at_run_time",
        "g (float[N,100] x, int64[1] k) => (float y, int64 i) { y, i = TopK(x, k) }",
        values={"k": [5]},
    )


def _resize() -> Iterator[Question]:
    doubled = "float[4] s = {1, 1, 2, 2}"
    for mode in RESIZE_MODES:
        for coordinates in (
            *COORDINATES,
            *(("tf_half_pixel_for_nn",) if mode == "nearest" else ()),
        ):
            crop = coordinates == "tf_crop_and_resize"
            region = "float[8] r = {0, 0, 0.2, 0.2, 1, 1, 0.8, 0.8}, " if crop else ""
            settings = f'<mode = "{mode}", coordinate_transformation_mode = "{coordinates}">'
            yield Question(
                f"resize_{mode}_{coordinates}",
                f"g ({IMAGE}) => (float y) <{region}{doubled}>"
                f" {{ y = Resize{settings}(x, {'r' if crop else ''}, s) }}",
                19,
            )
    linear = 'mode = "linear"'
    yield Question(
        "resize_sizes_at_run_time",
        f"g (float[1,3,8,8] x, int64[4] z) => (float y) {{ y = Resize<{linear}>(x, , , z) }}",
        values={"z": [1, 3, 16, 16]},
    )
    yield Question(
        "resize_scales_at_run_time",
        f"g ({IMAGE}, float[4] s) => (float y) {{ y = Resize<{linear}>(x, , s) }}",
    )
    for name, ports in (("dynamic", IMAGE), ("static", "float[1,3,8,8] x")):
        yield Question(
            f"resize_axes_and_sizes_{name}",
            f"g ({ports}) => (float y)"
            f" <int64[2] z = {{16, 16}}> {{ y = Resize<{linear}, axes = [2, 3]>(x, , , z) }}",
            18,
        )
    yield Question(
        "resize_axes_and_scales",
        f"g ({IMAGE}) => (float y)"
        f" <float[2] s = {{2, 2}}> {{ y = Resize<{linear}, axes = [2, 3]>(x, , s) }}",
        18,
    )
    yield Question(
        "resize_antialias",
        f"g ({IMAGE}) => (float y) <{doubled}> {{ y = Resize<{linear}, antialias = 1>(x, , s) }}",
        18,
    )
    policy = 'keep_aspect_ratio_policy = "not_larger"'
    yield Question(
        "resize_not_larger",
        f"g ({IMAGE}) => (float y)"
        f" <int64[4] z = {{1, 3, 12, 16}}> {{ y = Resize<{linear}, {policy}>(x, , , z) }}",
        18,
    )
    yield Question(
        "resize_to_the_shape_of_another",
        f"g ({IMAGE}, float[N,3,H,W] like)"
        f" => (float y) <int64[1] two = {{2}}, int64[1] four = {{4}},"
        " int64[1] zero = {0}> { a = Shape(like) hw = Slice(a, two, four) b = Shape(x)"
        f" nc = Slice(b, zero, two) z = Concat<axis = 0>(nc, hw) y = Resize<{linear}>(x, , , z) }}",
    )
