"""Restrictions on If, Loop and the recurrent ops."""

from __future__ import annotations

from itertools import zip_longest

from onnx_fix.target.facts import Dim, NodeFacts
from onnx_fix.target.kinds.base import NOTHING, Entry, Hit, Hits, Names
from onnx_fix.target.kinds.bodies import Body, read_body
from onnx_fix.target.values import attribute, constant, given

_NO_BODY: Hits = (Hit("the body of the node cannot be read", certain=False),)


def _branches(node: NodeFacts) -> tuple[Body, Body] | None:
    then, other = (read_body(attribute(node, name)) for name in ("then_branch", "else_branch"))
    return None if then is None or other is None else (then, other)


def branch_output_names(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The two branches may not give one name to the outputs of one place."""
    branches = _branches(node)
    if branches is None:
        return _NO_BODY
    for left, right in zip(branches[0].outputs, branches[1].outputs, strict=False):
        if left.name == right.name:
            return (Hit(f"both branches call their output '{left.name}'", left.name),)
    return NOTHING


def branch_shapes(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The outputs of the branches broadcast to each other, or are of one rank."""
    branches = _branches(node)
    if branches is None:
        return _NO_BODY
    doubt: Hits = NOTHING
    for left, right in zip(branches[0].outputs, branches[1].outputs, strict=False):
        if left.shape is None or right.shape is None:
            text = f"the branches do not declare the shape of '{left.name}'"
            doubt = doubt or (Hit(text, left.name, certain=False),)
            continue
        shapes = f"'{left.name}' {list(left.shape)} and '{right.name}' {list(right.shape)}"
        if entry["rule"] == "same_rank":
            if len(left.shape) != len(right.shape):
                return (Hit(f"the branches give {shapes}, of unequal rank", left.name),)
            continue
        fits = _broadcastable(left.shape, right.shape)
        if fits is False:
            return (Hit(f"the branches give {shapes}, which do not broadcast", left.name),)
        if fits is None:
            doubt = doubt or (Hit(f"the branches give {shapes}", left.name, certain=False),)
    return doubt


def _broadcastable(left: tuple[Dim, ...], right: tuple[Dim, ...]) -> bool | None:
    answer: bool | None = True
    for a, b in zip_longest(reversed(left), reversed(right), fillvalue=1):
        if a == 1 or b == 1 or (a == b and a is not None):
            continue
        if isinstance(a, int) and isinstance(b, int):
            return False
        answer = None
    return answer


def missing_condition(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """With no condition given, the body may not read its own condition input."""
    if given(node, 1) is not None:
        return NOTHING
    body = read_body(attribute(node, "body"))
    if body is None:
        return _NO_BODY
    if len(body.inputs) < 2:
        return NOTHING
    name = body.inputs[1].name
    if name not in body.read and all(port.name != name for port in body.outputs):
        return NOTHING
    return (Hit(f"no condition is given, and the body reads '{name}'", name),)


def condition_not_updated(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The condition from outside is used in every round, whatever the body says."""
    body = read_body(attribute(node, "body"))
    if body is None:
        return _NO_BODY
    if len(body.inputs) < 2 or not body.outputs:
        return NOTHING
    origin = body.origin(body.outputs[0].name)
    if origin == body.inputs[1].name:
        return NOTHING
    outside = given(node, 1)
    held = constant(outside)
    starts_true = outside is None or (held is not None and bool(held.all()))
    if body.truths.get(origin) and starts_true:
        return NOTHING
    name = body.outputs[0].name
    return (Hit(f"the condition '{name}' that the body computes is not used", name),)


def min_state_vars(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """A loop carries at least ``min`` tensors."""
    carried = len(node.inputs) - 2
    if carried >= entry["min"]:
        return NOTHING
    return (Hit(f"the loop carries {max(carried, 0)} tensors, {entry['min']} is needed"),)


def scan_outputs(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """A loop that stacks outputs needs a trip count."""
    carried = max(len(node.inputs) - 2, 0)
    stacked = [tensor.name for tensor in node.outputs[carried:] if tensor.name]
    if given(node, 0) is not None or not stacked:
        return NOTHING
    return (Hit(f"'{stacked[0]}' is stacked over the rounds, without a trip count", stacked[0]),)


def state_shapes(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """A carried tensor keeps its shape."""
    body = read_body(attribute(node, "body"))
    if body is None:
        return _NO_BODY
    doubt: Hits = NOTHING
    for before, after in zip(body.inputs[2:], body.outputs[1:], strict=False):
        if before.name == after.name or body.origin(after.name) == before.name:
            continue
        text = f"'{before.name}' enters a round and '{after.name}' leaves it"
        if before.shape is None or after.shape is None:
            doubt = doubt or (Hit(f"{text}, of shapes not declared", after.name, certain=False),)
            continue
        pairs = list(zip(before.shape, after.shape, strict=False))
        if len(before.shape) != len(after.shape) or any(
            isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs
        ):
            shapes = f"{list(before.shape)} and {list(after.shape)}"
            return (Hit(f"{text}, of shapes {shapes}", after.name),)
        if any(a != b or a is None for a, b in pairs):
            doubt = doubt or (Hit(f"{text}, perhaps of other shape", after.name, certain=False),)
    return doubt


def same_activations(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Both directions use the same activations, alphas and betas."""
    if attribute(node, "direction", "forward") != "bidirectional":
        return NOTHING
    for name in ("activations", "activation_alpha", "activation_beta"):
        if name in node.unresolved:
            return (Hit(f"attribute {name} is not known", certain=False),)
        value = attribute(node, name)
        if not isinstance(value, (list, tuple)) or not value:
            continue
        half = len(value) // 2
        if list(value[:half]) != list(value[half:]):
            certain = len(value) % 2 == 0
            return (Hit(f"{name} {list(value)} differ by direction", certain=certain),)
    return NOTHING
