"""OF6xx: If, Loop, Scan and the recurrent ops."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_fix.check.finding import Code

CODES: Mapping[str, Code] = MappingProxyType(
    {
        "branch_output_names_differ": Code(
            "OF601",
            "branch-output-names",
            "both branches of an If call an output by the same name",
            "The release registers the outputs of both branches in one table and refuses a name "
            "that comes twice. ONNX allows it, since the branches are separate graphs.",
            "Rename the output of one branch.",
        ),
        "branch_shapes": Code(
            "OF602",
            "branch-shapes",
            "the branches of an If give results of different shape",
            "The result of an If has one shape for the builder: the outputs of the branches must "
            "broadcast to each other, since 10.0 be of one rank. A model that returns an empty "
            "tensor in one branch fails the build. Where the branches declare no shapes nobody "
            "can say.",
            "Reshape or pad in the branches so that ranks agree, or decide outside the network "
            "which of two engines runs.",
        ),
        "both_branches_run": Code(
            "OF603",
            "both-branches-run",
            "both branches of an If are computed, and one result is chosen",
            "8.0 imports both branches and a Select. It costs the time of both, their shapes must "
            "broadcast, and an invalid computation in the branch not taken is still made.",
            "Decide the condition at export time, or take a later release.",
        ),
        "body_reads_missing_condition": Code(
            "OF604",
            "missing-loop-condition",
            "a Loop without condition has a body that reads it",
            "The condition is left out, so the importer registers no tensor for the body's input, "
            "and a node that reads it fails with 'Node input was not registered'.",
            "Give a constant true as the condition.",
        ),
        "loop_condition_not_updated": Code(
            "OF605",
            "loop-condition-not-updated",
            "the condition that the body computes is not used",
            "The release uses the condition from outside in every round. A loop that is to stop "
            "early runs until its trip count, without a message.",
            "Make the body harmless in the rounds that are too many (a Where on the condition), "
            "unroll the loop at export time, or take a later release.",
        ),
        "min_state_vars": Code(
            "OF606",
            "loop-without-state",
            "a Loop carries no tensor from round to round",
            "The importer reads the first carried tensor without looking whether there is one.",
            "Carry a tensor that the body hands on unchanged.",
        ),
        "scan_output_needs_trip_count": Code(
            "OF607",
            "scan-output-without-trip-count",
            "a Loop stacks outputs and has no trip count",
            "The length of the stacked output is taken to be 1024 where no trip count is given; "
            "longer results do not fit. TensorRT-RTX refuses such a loop.",
            "Give the most rounds there can be as the trip count.",
        ),
        "state_shape_constant": Code(
            "OF608",
            "loop-state-shape",
            "a tensor carried through a Loop changes its shape",
            "The layer keeps one shape for a carried tensor in all rounds. A body that grows a "
            "list by Concat fails the build. Where shapes are not declared nobody can say.",
            "Write into a tensor of the final size, or stack results as a scan output.",
        ),
        "bidirectional_same_activations": Code(
            "OF609",
            "activations-by-direction",
            "the directions of a recurrent op use different activations",
            "The layer has one set of activations for both directions, and the parser refuses "
            "unequal ones.",
            "Use two nodes, one for each direction, and Concat their results.",
        ),
    }
)
"""By kind of finding."""
