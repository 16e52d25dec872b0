"""OF4xx: element types."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_fix.check.finding import Code

CODES: Mapping[str, Code] = MappingProxyType(
    {
        "dtype": Code(
            "OF401",
            "dtype-not-taken",
            "the op does not take this element type",
            "The importer or the layer takes the types that the finding lists and refuses all "
            "others. Types count as the release sees them: INT64 is INT32 before 9.0, DOUBLE is "
            "FP32 since 8.0.",
            "Cast before and after the node in the network (`x.float()`), or keep the tensor in a "
            "type that the op takes.",
        ),
        "dtype_refused": Code(
            "OF402",
            "dtype-refused",
            "the op refuses this element type",
            "The importer or the layer refuses the type named, and takes the others. Most often "
            "it is BOOL or an integer type, for which the layer has no implementation.",
            "Cast to FLOAT or INT32 before the node and back after it, where the values allow it.",
        ),
        "bounds_dtype": Code(
            "OF403",
            "fp16-bound-misread",
            "a constant bound of half precision is read as if it were single precision",
            "The importer of Clip reads four bytes where the bound has two. There is no message, "
            "and the node clips to a meaningless value.",
            "Export in single precision and let the builder choose FP16 (trtexec: --fp16).",
        ),
        "precision_loss": Code(
            "OF404",
            "precision-loss",
            "integers are computed as floating-point numbers",
            "The release runs this op on INT32 by way of FP32, which holds integers up to "
            "16,777,216 exactly. Larger ones may be ranked wrongly.",
            "Nothing, if the values stay below that limit; else take a later release.",
        ),
        "output_dtype": Code(
            "OF405",
            "output-dtype",
            "the output has another element type than ONNX says",
            "The node makes INT32 where ONNX promises INT64. Every index that can occur fits, so "
            "numbers do not change; a binding or a plugin that expects INT64 sees another type.",
            "Nothing for layers of TensorRT; read the type of a binding from the engine.",
        ),
        "double_refused": Code(
            "OF406",
            "double",
            "the release has no DOUBLE",
            "TensorRT computes in FP32 at most. Since 8.0 the parser turns DOUBLE into FP32 by "
            "itself; before it refuses inputs, outputs and weights of that type.",
            "Export in single precision (`model.float()`), and mind numbers that Python makes "
            "double, such as those of NumPy.",
        ),
        "uint8_io": Code(
            "OF407",
            "uint8",
            "UINT8 is taken as input or output of the network only, or not at all",
            "Since 8.5 an input or output may be UINT8 if a Cast stands next to it; the ops "
            "between do not take it. Before, the type is not known.",
            "Cast to FLOAT right behind the input and to UINT8 right before the output; before 8.5 "
            "outside the network.",
        ),
        "bf16_fp8": Code(
            "OF408",
            "bfloat16-or-fp8",
            "the release does not know BFLOAT16 and FP8",
            "These types came with 9.0. An earlier parser fails to convert them.",
            "Export in FP32 or FP16.",
        ),
        "int4": Code(
            "OF409",
            "int4",
            "the release does not know INT4",
            "INT4 came with 10.0, for weights between QuantizeLinear and DequantizeLinear.",
            "Quantize to INT8, or take a later release.",
        ),
        "fp4": Code(
            "OF410",
            "fp4",
            "the release does not know FLOAT4E2M1",
            "FP4 came with 10.8, for weights between QuantizeLinear and DequantizeLinear.",
            "Quantize to INT8 or FP8, or take a later release.",
        ),
        "io_types_refused": Code(
            "OF411",
            "dtype-unknown-to-tensorrt",
            "TensorRT has no such element type",
            "16-bit integers, unsigned integers above 8 bits, strings and complex numbers have no "
            "counterpart in any release. The parser fails to convert the type, for inputs and "
            "weights alike.",
            "Keep such tensors out of the exported part of the network, or cast them to INT32, "
            "INT64 or FLOAT before.",
        ),
        "quantized_constant": Code(
            "OF412",
            "quantized-constant",
            "a constant of INT8 is read by an op that is not DequantizeLinear",
            "The parser takes the node; the builder refuses constants of INT8 that anything but "
            "DequantizeLinear, or a plugin, reads.",
            "Store the constant as INT32 or FLOAT and cast the other operand, or dequantize it.",
        ),
        "strong_typing": Code(
            "OF413",
            "operand-types-differ",
            "the operands of a node are of different element types",
            "Networks are strongly typed: no operand is cast to the type of the other. ONNX asks "
            "for one type as well, so the model is invalid, though older releases and other "
            "runtimes may take it.",
            "Cast one operand to the type of the other, best where the network is written.",
        ),
        "even_elements": Code(
            "OF414",
            "odd-number-of-4-bit-elements",
            "a tensor of 4-bit elements has an odd number of them",
            "Two elements share a byte. The parser or the builder refuses a tensor whose number of "
            "elements is odd.",
            "Pad the tensor to an even size before it is quantized.",
        ),
        "float_shape_tensor": Code(
            "OF415",
            "float-sizes",
            "sizes are computed as floating-point numbers",
            "The legacy exporter of PyTorch computes the sizes of `interpolate(scale_factor=...)` "
            "as a float: Shape, Cast, Mul, Floor, Cast. Before 8.4 everything that decides on a "
            "shape must be INT32 or BOOL, also in between, and the builder refuses the network.",
            "Compute sizes with whole numbers (`size=(h * 3 // 2, w * 3 // 2)` in place of "
            "`scale_factor=1.5`), or take 8.4 or later.",
        ),
    }
)
"""By kind of finding."""
