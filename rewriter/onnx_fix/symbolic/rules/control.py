"""If, Loop and Scan: their bodies are followed with what is known of what they read."""

from __future__ import annotations

from onnx_fix.scope import Scope
from onnx_fix.symbolic.step import Shape, Step


def _if(step: Step) -> list[Shape | None]:
    branches = [_outputs(step, scope) for scope in _bodies(step)]
    out: list[Shape | None] = []
    for k in range(len(step.node.outputs)):
        found = [b[k] for b in branches if k < len(b)]
        first = found[0] if found else None
        same = first is not None and all(s == first for s in found)
        out.append(first if same else step.opaque(k))
    return out


def _loop(step: Step) -> list[Shape | None]:
    (body,) = _bodies(step)[:1] or (None,)
    if body is None:
        return [step.opaque(k) for k in range(len(step.node.outputs))]
    states = [step.shape(k) for k in range(2, len(step.node.inputs))]
    inputs = body.graph.inputs
    given: list[Shape | None] = [(), (), *states]
    for tensor, shape in zip(inputs, given, strict=False):
        step.owner.shapes[id(tensor)] = shape
    made = _outputs(step, body)[1:]
    out: list[Shape | None] = []
    for k in range(len(step.node.outputs)):
        if k < len(states):
            kept = k < len(made) and made[k] is not None and made[k] == states[k]
            out.append(states[k] if kept else step.opaque(k))
        else:
            element = made[k] if k < len(made) else None
            out.append(step.opaque(k) if element is None else (step.fresh(k, 0), *element))
    return out


def _scan(step: Step) -> list[Shape | None]:
    (body,) = _bodies(step)[:1] or (None,)
    scanned = step.number("num_scan_inputs", 0)
    states = len(step.node.inputs) - scanned
    axes = step.ints("scan_input_axes") or [0] * scanned
    plain = step.opset >= 9 and not any(step.ints("scan_output_axes") or ())
    if body is None or not plain or any(axes):
        return [step.opaque(k) for k in range(len(step.node.outputs))]
    length = None
    for k, tensor in enumerate(body.graph.inputs):
        shape = step.shape(k)
        if shape is not None and k >= states and shape:
            length = shape[0] if length is None else step.same(length, shape[0])
            shape = shape[1:]
        step.owner.shapes[id(tensor)] = shape
    made = _outputs(step, body)
    out: list[Shape | None] = []
    for k in range(len(step.node.outputs)):
        element = made[k] if k < len(made) else None
        if k < states:
            out.append(element if element == step.shape(k) else step.opaque(k))
        else:
            if element is None or length is None:
                out.append(step.opaque(k))
            else:
                out.append((length, *element))
    return out


def _bodies(step: Step) -> list[Scope]:
    return step.owner.model.inner_scopes(step.node)


def _outputs(step: Step, scope: Scope) -> list[Shape | None]:
    """The shapes of a body's outputs, after following it."""
    step.owner.scope(scope)
    found: list[Shape | None] = []
    for tensor in scope.graph.outputs:
        shape = step.owner.shape(tensor, Step(step.owner, scope, step.node), -1)
        found.append(shape)
    return found


SHAPES = {"If": _if, "Loop": _loop, "Scan": _scan}
