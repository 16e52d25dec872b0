"""OF7xx: shapes that depend on data, limits of use, and speed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_fix.check.finding import Code

CODES: Mapping[str, Code] = MappingProxyType(
    {
        "data_dependent_shape": Code(
            "OF701",
            "data-dependent-shape",
            "the size of the output depends on the data",
            "How many elements come out is known only when the engine runs. The application needs "
            "an output allocator, the builder assumes the largest size that can occur, and many "
            "later layers that need shapes from the profile do not take such a tensor.",
            "Use a form of fixed size in the network: a mask in place of a list of indices, TopK "
            "with a bound in place of NonZero.",
        ),
        "differs_from_first": Code(
            "OF704",
            "differs-from-first",
            "the node may be computed as another one of its op",
            "Users report that an engine with several cumulative sums along different axes, or in "
            "different directions, gives the results of one of them for all, without a message. "
            "Sums that are alike in both are right.",
            "Let onnx-fix write the later ones in other ops, or take a release that is not named.",
        ),
        "fixed_padded_output": Code(
            "OF702",
            "fixed-padded-output",
            "the output has a fixed number of rows, padded",
            "ONNX gives one row for each box that is kept; the plugin behind this release's "
            "importer gives a fixed number of rows and fills the rest. What reads the result as "
            "if every row counted computes something else, without a message.",
            "Bound it with --max-count NAME=K, which writes it in other ops and counts what is "
            "valid, use the EfficientNMS plugin with its count output, or take 8.5 or later.",
        ),
        "imported_as_loop": Code(
            "OF703",
            "imported-as-loop",
            "the node becomes a loop",
            "The release has no layer for the op and builds a loop over the axis, one small step "
            "for each element. It is right, and slow on long axes; it also counts as a loop for "
            "what may be fused with it.",
            "Nothing, if the axis is short; else use a matrix product with a triangular matrix, or "
            "take a later release.",
        ),
    }
)
"""By kind of finding."""
