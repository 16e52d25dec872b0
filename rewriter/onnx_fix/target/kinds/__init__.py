"""One evaluator for each kind of restriction of ``data/restrictions.json``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_fix.target.kinds import attention, attributes, control, einsum, inputs, shapes, types
from onnx_fix.target.kinds.always import always, needs_plugin
from onnx_fix.target.kinds.base import Entry, Evaluator, Hit, Hits, Names

__all__ = ["EVALUATORS", "NOT_EVALUATED", "Entry", "Evaluator", "Hit", "Hits", "Names"]

EVALUATORS: Mapping[str, Evaluator] = MappingProxyType(
    {
        "attribute_allowed_names": attributes.allowed_names,
        "attribute_allowed_values": attributes.allowed_values,
        "attribute_combination": attributes.allowed_values,
        "attribute_must_be_absent": attributes.must_be_absent,
        "attribute_must_be_present": attributes.must_be_present,
        "attribute_value_misread": attributes.value_misread,
        "axes_with_runtime_scales": inputs.runtime_scales_axes,
        "bidirectional_same_activations": control.same_activations,
        "body_reads_missing_condition": control.missing_condition,
        "both_branches_run": always("both branches run, and one result is chosen"),
        "bounds_dtype": types.bounds,
        "branch_output_names_differ": control.branch_output_names,
        "branch_shapes": control.branch_shapes,
        "broadcast": einsum.broadcast,
        "constant_value": inputs.constant_value,
        "data_dependent_shape": always("the length of the output depends on the data"),
        "differs_from_first": inputs.differs_from_first,
        "dims_equal": shapes.dims_equal,
        "dtype": types.allowed,
        "dtype_refused": types.refused,
        "dynamic_shape_bug": shapes.dynamic_outside_axes,
        "equation_characters": einsum.characters,
        "equation_feature": einsum.features,
        "even_elements": types.even_elements,
        "fixed_padded_output": always("the output has a fixed number of rows, padded"),
        "ignored_attribute": attributes.ignored,
        "ignored_input": inputs.ignored,
        "imported_as_loop": always("the node becomes a loop"),
        "input_must_be_absent": inputs.must_be_absent,
        "input_must_be_constant": inputs.must_be_constant,
        "input_must_be_present": inputs.must_be_present,
        "input_must_be_tensor": inputs.must_be_tensor,
        "kernel_rank": shapes.kernel_rank,
        "loop_condition_not_updated": control.condition_not_updated,
        "max_value": inputs.max_value,
        "min_rank": shapes.min_rank,
        "min_state_vars": control.min_state_vars,
        "needs_plugin": needs_plugin,
        "negative_indices_unsupported": inputs.negative_indices,
        "no_kernel": attention.no_kernel,
        "opset_semantics": shapes.opset_semantics,
        "optional_input_must_be_present": inputs.must_not_be_empty,
        "output_dtype": always("the output has another element type than ONNX says"),
        "outputs_max": inputs.outputs_max,
        "padded_dims": shapes.padded_dims,
        "precision_loss": types.precision_loss,
        "rank": shapes.ranks,
        "rank_equal": shapes.equal_ranks,
        "real_input_only": shapes.real_input,
        "scan_output_needs_trip_count": control.scan_outputs,
        "spatial_dims": shapes.spatial_dims,
        "state_shape_constant": control.state_shapes,
        "static_dim": shapes.static_dim,
        "static_dims_le": shapes.dims_at_most,
        "static_shape_only": shapes.static_only,
        "symmetric_pads_3d": shapes.symmetric_pads_3d,
        "vector_by_stack": shapes.vector_by_stack,
        "zero_point_must_be_zero": inputs.zero_point,
    }
)

NOT_EVALUATED: Mapping[str, str] = MappingProxyType({})
"""Kinds that no evaluator reads, each with the reason. Every kind is evaluated."""
