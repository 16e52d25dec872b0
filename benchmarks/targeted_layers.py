"""Hand-made models about layers, reductions, pads, element types and contributed ops."""

from __future__ import annotations

from collections.abc import Iterator

from targeted_cases import IMAGE, Question

TYPES = ("float16", "bfloat16", "double", "int8", "uint8", "int16", "int32", "int64", "uint32")


def layer_models() -> Iterator[Question]:
    """Questions about layers and element types."""
    yield from _normalisation()
    yield from _reductions()
    yield from _pads_and_shapes()
    yield from _types()
    yield from _pools_and_convolutions()
    yield from _contributed()


def _normalisation() -> Iterator[Question]:
    weights = "float[8] w = {1, 1, 1, 1, 1, 1, 1, 1}, float[8] b = {0, 0, 0, 0, 0, 0, 0, 0}"
    data = "float[N,4,8] x"
    norm = "LayerNormalization"
    yield Question("layer_norm", f"g ({data}) => (float y) <{weights}> {{ y = {norm}(x, w, b) }}")
    yield Question(
        "layer_norm_no_bias", f"g ({data}) => (float y) <{weights}> {{ y = {norm}(x, w) }}"
    )
    yield Question(
        "layer_norm_three_outputs",
        f"g ({data}) => (float y, float m, float d) <{weights}> {{ y, m, d = {norm}(x, w, b) }}",
    )
    yield Question(
        "layer_norm_at_run_time",
        f"g ({data}, float[8] w, float[8] b) => (float y) {{ y = {norm}(x, w, b) }}",
    )
    for opset, size in ((18, 2), (21, 4)):
        ones, zeros = ", ".join("1" * size), ", ".join("0" * size)
        yield Question(
            f"group_norm_{opset}",
            f"g ({data}) => (float y) <float[{size}] w = {{{ones}}}, float[{size}] b = {{{zeros}}}>"
            " { y = GroupNormalization<num_groups = 2>(x, w, b) }",
            opset,
        )
    yield Question(
        "instance_norm",
        f"g ({IMAGE}) => (float y) <float[3] s = {{1, 1, 1}}, float[3] b = {{0, 0, 0}}>"
        " { y = InstanceNormalization(x, s, b) }",
    )
    yield Question(
        "instance_norm_at_run_time",
        f"g ({IMAGE}, float[3] s, float[3] b)"
        f" => (float y) {{ y = InstanceNormalization(x, s, b) }}",
    )
    yield Question(
        "batch_norm_training",
        f"g ({IMAGE}) => (float y, float p, float q)"
        f" <float[3] s = {{1, 1, 1}}, float[3] b = {{0, 0, 0}},"
        " float[3] m = {0, 0, 0}, float[3] v = {1, 1, 1}>"
        " { y, p, q = BatchNormalization<training_mode = 1>(x, s, b, m, v) }",
    )
    for p in (1, 2, 3):
        yield Question(
            f"lp_norm_{p}",
            f"g ({data}) => (float y) {{ y = LpNormalization<p = {p}, axis = 1>(x) }}",
        )
    yield Question("lp_norm_int32", "g (int32[2,4] x) => (int32 y) { y = LpNormalization(x) }")
    yield Question(
        "dropout_training_off",
        f"g ({data}) => (float y) <float r = {{0.5}}, bool t = {{0}}> {{ y = Dropout(x, r, t) }}",
    )


def _reductions() -> Iterator[Question]:
    for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2"):
        data = "float[N,4,8] x"
        yield Question(
            f"{op}_constant_axes",
            f"g ({data}) => (float y) <int64[1] a = {{1}}> {{ y = {op}(x, a) }}",
            18,
        )
        yield Question(
            f"{op}_axes_at_run_time",
            f"g (float[2,4,8] x, int64[1] a) => (float y) {{ y = {op}(x, a) }}",
            18,
            values={"a": [1]},
        )
        yield Question(
            f"{op}_nothing_to_do",
            f"g ({data}) => (float y) {{ y = {op}<noop_with_empty_axes = 1>(x) }}",
            18,
        )


def _pads_and_shapes() -> Iterator[Question]:
    data = "float[N,4,8] x"
    edges = "int64[6] p = {0, 1, 1, 0, 1, 1}"
    for mode in ("constant", "edge", "reflect", "wrap"):
        yield Question(
            f"pad_{mode}",
            f'g ({data}) => (float y) <{edges}> {{ y = Pad<mode = "{mode}">(x, p) }}',
            19,
        )
    yield Question(
        "pad_axes",
        f"g ({data}) => (float y)"
        f" <int64[2] p = {{1, 1}}, int64[1] a = {{2}}> {{ y = Pad(x, p, , a) }}",
        18,
    )
    yield Question(
        "pad_value_at_run_time",
        f"g ({data}, float v) => (float y) <{edges}> {{ y = Pad(x, p, v) }}",
    )
    yield Question("split_in_three_of_seven", "g (float[7,4] x) => (float a, float b, float c)"
                   " { a, b, c = Split<num_outputs = 3>(x) }", 18)  # fmt: skip
    yield Question(
        "split_at_run_time",
        "g (float[8,4] x, int64[2] s) => (float a, float b) { a, b = Split(x, s) }",
        values={"s": [3, 5]},
    )
    yield Question(
        "shape_from_to", f"g ({data}) => (int64 y) {{ y = Shape<start = 1, end = 2>(x) }}"
    )
    yield Question("squeeze_all", "g (float[N,1,4] x) => (float y) { y = Squeeze(x) }")
    yield Question(
        "one_hot",
        "g (int64[N] x) => (float y) <int64 d = {10}, float[2] v = {0, 1}> { y = OneHot(x, d, v) }",
    )
    yield Question(
        "range_float_at_run_time",
        "g (float l) => (float y) <float s = {0}, float d = {1}> { y = Range(s, l, d) }",
    )
    yield Question(
        "range_int64_at_run_time",
        "g (int64 l) => (int64 y) <int64 s = {0}, int64 d = {1}> { y = Range(s, l, d) }",
        values={"l": [5]},
    )


def _types() -> Iterator[Question]:
    for kind in TYPES:
        yield Question(f"input_of_{kind}", f"g ({kind}[N] x) => ({kind} y) {{ y = Identity(x) }}")
        yield Question(
            f"add_{kind}", f"g ({kind}[N,4] x, {kind}[N,4] z) => ({kind} y) {{ y = Add(x, z) }}"
        )
    for number, name in (
        (2, "uint8"),
        (5, "int16"),
        (8, "string"),
        (10, "float16"),
        (11, "double"),
    ):
        yield Question(
            f"cast_to_{name}", f"g (float[N] x) => ({name} y) {{ y = Cast<to = {number}>(x) }}"
        )
    yield Question("constant_string", 'g () => (string y) { y = Constant<value_string = "x">() }')
    for rank in (8, 9):
        dims = ",".join(["1"] * (rank - 2) + ["2", "2"])
        yield Question(f"rank_{rank}", f"g (float[{dims}] x) => (float y) {{ y = Relu(x) }}")


def _pools_and_convolutions() -> Iterator[Question]:
    yield Question(
        "max_pool_indices",
        f"g ({IMAGE}) => (float y, int64 i) {{ y, i = MaxPool<kernel_shape = [2, 2]>(x) }}",
    )
    yield Question(
        "average_pool_dilated",
        f"g ({IMAGE}) => (float y)"
        f" {{ y = AveragePool<kernel_shape = [2, 2], dilations = [2, 2]>(x) }}",
        19,
    )
    yield Question(
        "average_pool_line",
        "g (float[N,3,8] x) => (float y) { y = AveragePool<kernel_shape = [2]>(x) }",
    )
    yield Question(
        "conv_line",
        "g (float[N,3,8] x) => (float y) <float[1,3,1] w = {1, 1, 1}> { y = Conv(x, w) }",
    )
    yield Question(
        "conv_weights_at_run_time",
        f"g ({IMAGE}, float[4,3,3,3] w) => (float y) {{ y = Conv(x, w) }}",
    )
    yield Question(
        "conv_transpose_weights_at_run_time",
        f"g ({IMAGE}, float[3,4,3,3] w) => (float y) {{ y = ConvTranspose(x, w) }}",
    )
    yield Question(
        "non_max_suppression",
        "g (float[1,100,4] b, float[1,2,100] s)"
        " => (int64 y) <int64[1] k = {10}, float[1] i = {0.5},"
        " float[1] t = {0.1}> { y = NonMaxSuppression(b, s, k, i, t) }",
    )
    yield Question(
        "roi_align",
        f"g ({IMAGE}, float[K,4] r, int64[K] b) => (float y)"
        " { y = RoiAlign<output_height = 2, output_width = 2>(x, r, b) }",
    )
    yield Question(
        "deform_conv",
        "g (float[1,1,3,3] x, float[1,1,2,2] w, float[1,8,2,2] o) => (float y)"
        " { y = DeformConv<kernel_shape = [2, 2], pads = [0, 0, 0, 0]>(x, w, o) }",
        19,
    )
    yield Question("dft", "g (float[1,8,1] x) => (float y) { y = DFT<axis = 1>(x) }")
    window = ", ".join("1" * 16)
    yield Question(
        "stft",
        "g (float[1,64,1] x) => (float y)"
        f" <int64 s = {{8}}, float[16] w = {{{window}}}> {{ y = STFT(x, s, w) }}",
    )


def _contributed() -> Iterator[Question]:
    """Ops of com.microsoft; the shapes are plausible rather than those of a real network."""
    ones = {
        "Gelu": "x", "FastGelu": "x", "QuickGelu": "x", "BiasGelu": "x, w", "Inverse": "x",
        "LayerNormalization": "x, w", "SkipLayerNormalization": "x, x, w", "Trilu": "x",
        "SimplifiedLayerNormalization": "x, w", "SkipSimplifiedLayerNormalization": "x, x, w",
        "Unique": "w", "QGemm": "x, w", "RotaryEmbedding": "x, w", "GridSample": "x, w",
        "FusedConv": "x, w", "MatMulNBits": "x, w",
    }  # fmt: skip
    for op, inputs in ones.items():
        yield Question(
            f"microsoft_{op}",
            f"g (float[2,4,8] x, float[8] w) => (float y) {{ y = com.microsoft.{op}({inputs}) }}",
            domains=("com.microsoft",),
        )
    for op, settings in (
        ("Attention", "num_heads = 2"),
        ("MultiHeadAttention", "num_heads = 2"),
        ("GroupQueryAttention", "num_heads = 2, kv_num_heads = 2"),
    ):
        yield Question(
            f"microsoft_{op}",
            f"g (float[2,4,8] q, float[2,4,8] k, float[2,4,8] v) => (float y)"
            f" {{ y = com.microsoft.{op}<{settings}>(q, k, v) }}",
            domains=("com.microsoft",),
        )
    yield Question(
        "microsoft_FusedMatMul",
        "g (float[2,4,8] a, float[2,8,4] b) => (float y) { y = com.microsoft.FusedMatMul(a, b) }",
        domains=("com.microsoft",),
    )
    for op, kind in (("QuantizeLinear", "int8"), ("DequantizeLinear", "float")):
        source = "float" if op == "QuantizeLinear" else "int8"
        yield Question(
            f"microsoft_{op}",
            f"g ({source}[2,4,8] x) => ({kind} y) <float s = {{0.1}}, int8 z = {{0}}>"
            f" {{ y = com.microsoft.{op}(x, s, z) }}",
            domains=("com.microsoft",),
        )
