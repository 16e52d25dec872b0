"""TensorRT's names of ONNX element types.

Source: ``TensorProto.DataType`` of onnx.proto; the names are those that the data files and
NVIDIA's operator tables use.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NAMES: Mapping[int, str] = MappingProxyType(
    {
        1: "FP32",
        2: "UINT8",
        3: "INT8",
        4: "UINT16",
        5: "INT16",
        6: "INT32",
        7: "INT64",
        8: "STRING",
        9: "BOOL",
        10: "FP16",
        11: "DOUBLE",
        12: "UINT32",
        13: "UINT64",
        14: "COMPLEX64",
        15: "COMPLEX128",
        16: "BF16",
        17: "FP8",
        18: "FP8_E4M3FNUZ",
        19: "FP8_E5M2",
        20: "FP8_E5M2FNUZ",
        21: "UINT4",
        22: "INT4",
        23: "FP4",
        24: "FP8_E8M0",
        25: "UINT2",
        26: "INT2",
        27: "FP6_E2M3",
        28: "FP6_E3M2",
    }
)
"""``TensorProto.DataType`` number to name. FP8 alone means E4M3FN, the one TensorRT knows."""


def names_inside(*, int64_is_int32: bool, double_is_fp32: bool) -> Mapping[int, str]:
    """The names as a parser sees them that narrows INT64 (before 9.0) or DOUBLE (since 8.0)."""
    names = dict(NAMES)
    if int64_is_int32:
        names[7] = "INT32"
    if double_is_fp32:
        names[11] = "FP32"
    return MappingProxyType(names)
