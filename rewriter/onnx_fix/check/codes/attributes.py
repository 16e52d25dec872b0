"""OF3xx: attributes, equations, and the opset that a node follows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_fix.check.finding import Code

CODES: Mapping[str, Code] = MappingProxyType(
    {
        "attribute_allowed_names": Code(
            "OF301",
            "attribute-not-known",
            "an attribute is written that the importer does not know",
            "The importer reads a few attributes by name and needs one of them. This node carries "
            "its value in another, newer one, so the import fails for the one that is missing.",
            "Write the value in the older attribute (Constant: `value`).",
        ),
        "attribute_allowed_values": Code(
            "OF302",
            "attribute-value",
            "an attribute has a value that is not supported",
            "The layer behind the op has no such mode. The parser compares the attribute with a "
            "list of values and refuses all others, also where the attribute is left out and the "
            "default of ONNX is not in the list.",
            "Choose a supported value in the network and export again; the finding lists them.",
        ),
        "attribute_combination": Code(
            "OF303",
            "attribute-combination",
            "attributes and inputs are taken each, but not together",
            "The layer supports some pairs of settings only, such as a coordinate transformation "
            "of Resize with one mode and one way to give the size. The parser refuses the others.",
            "Export the interpolation with other settings (`align_corners`, scale factor in place "
            "of a size, or the reverse); the finding names the values that go together.",
        ),
        "attribute_must_be_absent": Code(
            "OF304",
            "attribute-must-be-absent",
            "an attribute may not be written, whatever its value",
            "The importer refuses the node as soon as this attribute is there; for some even the "
            "default value, which changes nothing, is refused.",
            "Export so that the attribute is not written, or take a release that reads it; a "
            "value other than the default needs another op.",
        ),
        "attribute_must_be_present": Code(
            "OF305",
            "attribute-must-be-present",
            "an attribute must be written, even where ONNX has a default",
            "The importer reads this attribute without a default of its own, and fails with "
            "'Attribute not found' where the node leaves it out.",
            "Write the attribute on the node; for Squeeze name the axes in the network "
            "(`x.squeeze(1)`).",
        ),
        "attribute_value_misread": Code(
            "OF306",
            "attribute-misread",
            "an attribute is read as another value",
            "The importer reads the attribute through the wrong field, or does not know a name "
            "that a later opset introduced and falls back to another mode. There is no message, "
            "and the engine computes something else.",
            "Export with the opset before the new spelling (GridSample: 16 to 19), or take a "
            "release that reads it.",
        ),
        "ignored_attribute": Code(
            "OF307",
            "ignored-attribute",
            "an attribute is not read",
            "The importer does not look at this attribute, so the node is built as if it had its "
            "default value, without a message. For `seed` and `sorted` that means other random "
            "numbers or an order nobody asked for; for most others the engine computes "
            "something else.",
            "Write the operation so that the default will do (smallest of TopK: negate the data; "
            "batch first in an LSTM: transpose outside), or take a release that reads it.",
        ),
        "opset_semantics": Code(
            "OF308",
            "older-opset-rule",
            "the op changed its meaning in an opset that the importer does not follow",
            "No release refuses a model for its opset. An op that means something else since "
            "then is imported by the old rule, without a message: Softmax of opset 13 still "
            "flattens in 7.x, GroupNormalization of opset 21 still reads one scale for a group.",
            "Export with the opset before the change (Softmax: 12, GroupNormalization: 20).",
        ),
        "axes_with_runtime_scales": Code(
            "OF309",
            "axes-with-runtime-scales",
            "Resize names axes, and its scales are computed at run time",
            "With scales that are not constant the parser takes `axes` only if they list all "
            "dimensions in order.",
            "Give the sizes or scales of all dimensions, or make the scales constant.",
        ),
        "equation_characters": Code(
            "OF310",
            "einsum-characters",
            "the equation holds characters that the parser refuses",
            "Labels of Einsum must be lower-case letters for TensorRT; ONNX takes upper case too.",
            "Rename the labels to lower case.",
        ),
        "equation_feature": Code(
            "OF311",
            "einsum-feature",
            "the equation has an ellipsis, a diagonal or more than two inputs",
            "The parser passes the equation on, and the layer of this release takes two operands, "
            "no ellipsis and no label twice in one term. The build fails.",
            "Write the product by matmul, transposes and sums in the network.",
        ),
        "pre_opset7_broadcast": Code(
            "OF312",
            "pre-opset-7-broadcast",
            "a node asks for the broadcasting of opset 6",
            "Before opset 7 elementwise ops broadcast where `broadcast` was 1, along `axis`. The "
            "parser knows the later rule alone and refuses such a node.",
            "Export with opset 7 or later, or convert the model by onnx.version_converter.",
        ),
    }
)
"""By kind of finding."""
