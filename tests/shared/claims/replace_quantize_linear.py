"""What ``replace-quantize-linear`` claims."""

from __future__ import annotations

from claim import Case, of_text

PAIR = "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)"
SCALE = "s = Constant <value = float {0.5}> () "


def case(target: str, nodes: str, inputs: str = "", kind: str = "") -> Case:
    """A pair of nodes that is read at several sizes."""
    more = {"s": ("f4", ())} if "float s" in inputs else {}
    more |= {"z": (kind, ())} if kind else {}
    feeds = [{"x": ("f4", (n,)), **more} for n in (1, 7)]
    return of_text(13, f"(float[N] x{inputs}) => (float[N] y)", nodes, target, feeds)


def zero(dtype: str, value: int) -> str:
    return SCALE + f"z = Constant <value = {dtype} {{{value}}}> () " + PAIR


BARE = SCALE + "q = QuantizeLinear (x, s) y = DequantizeLinear (q, s)"

_OF: dict[tuple[str, str], Case] = {
    ("dtype_refused", "QuantizeLinear"): case("trt-8.6", zero("uint8", 0)),
    ("dtype_refused", "DequantizeLinear"): case("trt-8.6", zero("uint8", 0)),
    ("uint8_io", "QuantizeLinear"): case("trt-7.2", zero("uint8", 0)),
    ("uint8_io", "DequantizeLinear"): case("trt-7.2", zero("uint8", 0)),
    ("zero_point_must_be_zero", "QuantizeLinear"): case("trt-8.6", zero("int8", 3)),
    ("zero_point_must_be_zero", "DequantizeLinear"): case("trt-8.6", zero("int8", 3)),
    ("input_must_be_constant", "QuantizeLinear"): case("trt-7.2", PAIR, ", float s, int8 z", "i1"),
    ("input_must_be_constant", "DequantizeLinear"): case(
        "trt-7.2", PAIR, ", float s, int8 z", "i1"
    ),
    ("input_must_be_present", "QuantizeLinear"): case("trt-8.6", BARE),
    ("input_must_be_present", "DequantizeLinear"): case("trt-8.6", BARE),
}

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-quantize-linear", kind, op): one for (kind, op), one in _OF.items()
}
