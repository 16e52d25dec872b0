"""OF5xx: ranks and dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_fix.check.finding import Code

CODES: Mapping[str, Code] = MappingProxyType(
    {
        "rank": Code(
            "OF501",
            "rank",
            "an input has a rank that the op does not take",
            "The importer or the layer is written for tensors of the ranks that the finding "
            "lists, and refuses others. Where the rank is not known to shape inference the "
            "finding is uncertain.",
            "Reshape before and after the node so that the rank fits: merge leading axes, or add "
            "one of size 1.",
        ),
        "min_rank": Code(
            "OF502",
            "min-rank",
            "an input has too few dimensions",
            "The op works on the last dimensions of its input, and there are fewer. The model is "
            "most likely wrong for ONNX too.",
            "Add the missing axes with Unsqueeze.",
        ),
        "rank_equal": Code(
            "OF503",
            "ranks-differ",
            "inputs that must have one rank have different ones",
            "The importer compares the ranks of these inputs and refuses unequal ones. ONNX asks "
            "for the same, so the model is most likely wrong.",
            "Correct the shapes in the network; see which tensor has lost or gained an axis.",
        ),
        "max_rank": Code(
            "OF504",
            "max-rank",
            "a tensor has more than 8 dimensions",
            "No tensor of TensorRT has more than 8 dimensions. The import or the build fails.",
            "Merge axes that are always used together.",
        ),
        "spatial_dims": Code(
            "OF505",
            "spatial-dims",
            "pooling or resizing works on too many dimensions",
            "The layer works on the last few dimensions only: up to three for pooling and linear "
            "interpolation, two for cubic. Others may not be pooled or resized.",
            "Move axes that are not worked on into the batch axis by Reshape, or work on the axes "
            "one after the other.",
        ),
        "kernel_rank": Code(
            "OF506",
            "kernel-rank",
            "the kernel does not fit the rank of the data",
            "A kernel of k sizes needs data of rank k + 2: batch, channels, k spatial sizes. Data "
            "without its batch axis, which PyTorch allows and exports as it is, makes an invalid "
            "node. TensorRT takes a rank-3 tensor for 1-D data and then fails on the kernel.",
            "Export the network with a batch axis (`x[None]`).",
        ),
        "padded_dims": Code(
            "OF507",
            "padded-dims",
            "dimensions are padded that the layer cannot pad",
            "The padding layer of this release pads two dimensions, in 7.x the last two only.",
            "Pad other dimensions by Concat with zeros, or transpose before and after the node.",
        ),
        "symmetric_pads_3d": Code(
            "OF508",
            "asymmetric-pads-3d",
            "a 3-D deconvolution is padded unevenly",
            "The layer takes one number for both sides of a dimension. The parser compares the two "
            "halves of `pads` and refuses unequal ones.",
            "Use even padding and cut the result by Slice.",
        ),
        "static_dims_le": Code(
            "OF509",
            "dims-too-large",
            "an input is larger than the data it writes to",
            "The parser compares static dims and refuses indices that have a larger one than the "
            "data. ONNX allows no such node along most axes either.",
            "Correct the shapes, or split the indices.",
        ),
        "static_dim": Code(
            "OF510",
            "static-dim",
            "one dimension must be known at build time",
            "The builder needs the length along one axis. A dynamic one fails, whatever the "
            "profile says.",
            "Export with that dimension fixed (leave it out of dynamic_axes or dynamic_shapes).",
        ),
        "static_shape_only": Code(
            "OF511",
            "static-shape-only",
            "the op works on static shapes only",
            "The importer computes something from the dims while it parses, so none may be "
            "dynamic. With a symbolic or unknown dim it fails.",
            "Export with fixed sizes, or fix the dims (--static); for Squeeze name the axes.",
        ),
        "dynamic_shape_bug": Code(
            "OF512",
            "dynamic-shape-bug",
            "a fault of the parser with dynamic dims",
            "The parser computes a shape wrongly where a dim is dynamic and then refuses its own "
            "result.",
            "Give the sizes of all dimensions, or scales that are constant; or fix the dim "
            "(--static).",
        ),
        "broadcast": Code(
            "OF513",
            "einsum-broadcast",
            "a label of Einsum has size 1 in one operand and another size elsewhere",
            "ONNX broadcasts such a label; the layer of this release wants one size everywhere. "
            "Where sizes are symbolic or unknown nobody can say.",
            "Expand the operand before the node, or write the product by matmul and mul.",
        ),
        "real_input_only": Code(
            "OF514",
            "real-signal-only",
            "the signal is complex",
            "The layer transforms real signals: the last dimension must be 1.",
            "Transform real and imaginary part each and combine the results.",
        ),
        "dims_equal": Code(
            "OF515",
            "dims-differ",
            "two inputs that must have one size along a dimension have different ones",
            "The layer wants equal sizes where ONNX allows different ones. The import fails.",
            "Pad the smaller tensor to the size of the other, or write the op by simpler ones.",
        ),
        "vector_by_stack": Code(
            "OF516",
            "vector-by-stack",
            "a vector is multiplied by a stack of matrices",
            "The importer gives the vector a row axis and afterwards drops another axis than that "
            "one. It fails, or the product has a wrong shape without a message.",
            "Unsqueeze the vector before the node and squeeze the product.",
        ),
    }
)
"""By kind of finding."""
