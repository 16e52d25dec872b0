"""Restrictions on which inputs and outputs a node has, and on their being constant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnx_fix.target.facts import NodeFacts
from onnx_fix.target.kinds.base import NOTHING, Entry, Hit, Hits, Names
from onnx_fix.target.values import (
    UNKNOWN,
    attribute,
    constant,
    given,
    integer,
    label,
    normalized,
    rank,
    same,
)


def must_be_constant(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The input must be weights to the parser; ``foldable_ok``: or fold to a constant.

    ``foldable_through``: or come from weights by way of these ops alone.
    """
    index = entry.get("opset_input", {}).get(str(node.opset), entry["input"])
    tensor = given(node, index)
    if tensor is None or tensor.constness == "initializer":
        return NOTHING
    name = label(index, tensor, entry.get("name", ""))
    if tensor.constness == "foldable":
        if entry.get("foldable_ok"):
            return NOTHING
        if "foldable_through" in entry:
            origin = tensor.origin()
            if origin is not None and origin.ops <= set(entry["foldable_through"]):
                return NOTHING
        return (Hit(f"{name} is computed from constants but is not an initializer", tensor.name),)
    return (Hit(f"{name} depends on a network input; it must be constant", tensor.name),)


def must_be_present(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The optional input must be there."""
    if given(node, entry["input"]) is not None:
        return NOTHING
    return (Hit(f"{label(entry['input'], None, entry.get('name', ''))} must be given"),)


def must_be_absent(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The optional inputs must not be there."""
    indices = entry["inputs"] if "inputs" in entry else [entry["input"]]
    names = entry.get("name", "")
    called = names if isinstance(names, list) else [names]
    hits = []
    for index, name in zip(indices, called, strict=True):
        tensor = given(node, index)
        if tensor is not None:
            hits.append(Hit(f"{label(index, tensor, name)} is not taken", tensor.name))
    return tuple(hits)


def must_not_be_empty(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """An optional input may be left off the end, but not be given as the empty name."""
    index = entry["input"]
    if index >= len(node.inputs) or node.inputs[index].name:
        return NOTHING
    name = label(index, None, entry.get("name", ""))
    return (Hit(f"{name} is given as the empty name; leave it off the list of inputs instead"),)


def must_be_tensor(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The input must not be an initializer."""
    tensor = given(node, entry["input"])
    if tensor is None or tensor.constness != "initializer":
        return NOTHING
    return (Hit(f"{label(entry['input'], tensor)} is an initializer", tensor.name),)


def ignored(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The input is not read, so it must say what the importer assumes."""
    index = entry["input"]
    tensor = given(node, index)
    if tensor is None:
        return NOTHING
    harmless = _harmless(entry.get("harmless", {}), index, node)
    if harmless:
        return NOTHING
    name = label(index, tensor, entry.get("name", ""))
    return (Hit(f"{name} is not read", tensor.name, certain=harmless is False),)


def _harmless(rule: Entry, index: int, node: NodeFacts) -> bool | None:
    """Whether the ignored input changes nothing; None where only the rank would tell."""
    value = constant(given(node, index))
    if value is None:
        return False
    if "all_values_equal" in rule:
        return bool((value == value[:1]).all())
    numbers = [int(item) for item in value]
    if "iota_of_rank" in rule:
        dims = rank(given(node, rule["iota_of_rank"]))
        if dims is None:
            return None if numbers == list(range(len(numbers))) else False
        return [normalized(item, dims) for item in numbers] == list(range(dims))
    if "axes_cover_rank_of" in rule:
        if not numbers:
            return integer(attribute(node, "noop_with_empty_axes", 0)) == 0
        dims = rank(given(node, rule["axes_cover_rank_of"]))
        if dims is None:
            return None
        return {normalized(item, dims) for item in numbers} >= set(range(dims))
    return False


def constant_value(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """A constant (by attribute up to ``attribute_opset_max``) must have one value.

    An input that is not constant is the business of ``input_must_be_constant``.
    """
    wanted = entry["value"]
    if node.opset <= entry.get("attribute_opset_max", 0):
        value = attribute(node, entry["attribute"], wanted)
        if value is UNKNOWN:
            return (Hit(f"attribute {entry['attribute']} is not known", certain=False),)
        if same(value, wanted):
            return NOTHING
        return (Hit(f"{entry['attribute']} is {value}, not {wanted}"),)
    tensor = given(node, entry["input"])
    if tensor is None or tensor.constness == "runtime":
        return NOTHING
    held = constant(tensor)
    name = label(entry["input"], tensor)
    if held is None:
        return (Hit(f"the value of {name} is not known", tensor.name, certain=False),)
    if (held == np.asarray(wanted)).all():
        return NOTHING
    return (Hit(f"{name} is {held[0]}, not {wanted}", tensor.name),)


def max_value(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """An input may not exceed ``max``; an unknown one is bounded by the axis it counts along."""
    tensor = given(node, entry["input"])
    if tensor is None:
        return NOTHING
    limit = entry["max"]
    name = label(entry["input"], tensor, entry.get("name", ""))
    value = constant(tensor)
    if value is not None and value.size:
        largest = int(value.max())
        if largest <= limit:
            return NOTHING
        return (Hit(f"{name} is {largest}, more than {limit}", tensor.name),)
    axis = integer(attribute(node, entry["axis_of"]["attribute"], entry["axis_of"]["default"]))
    data = given(node, entry["axis_of"]["input"])
    if data is not None and data.shape is not None and axis is not None:
        place = normalized(axis, len(data.shape))
        size = data.shape[place] if 0 <= place < len(data.shape) else None
        if isinstance(size, int) and size <= limit:
            return NOTHING
    return (Hit(f"{name} is not known and may exceed {limit}", tensor.name, certain=False),)


def negative_indices(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Negative indices are not counted from the end."""
    tensor = given(node, entry["input"])
    if tensor is None:
        return NOTHING
    value = constant(tensor)
    name = label(entry["input"], tensor)
    if value is None:
        if tensor.nonnegative(_indexed_size(node), _indexed_dim(node)):
            return NOTHING
        return (Hit(f"{name} may hold negative indices", tensor.name, certain=False),)
    lowest = min((int(index) for index in value), default=0)
    if lowest >= 0:
        return NOTHING
    return (Hit(f"{name} holds the negative index {lowest}", tensor.name),)


def _indexed_size(node: NodeFacts) -> int | None:
    """The size of the dim that a Gather or GatherElements indexes, where it is known."""
    data, axis = given(node, 0), attribute(node, "axis")
    shape = None if data is None else data.shape
    axis = axis if isinstance(axis, int) else 0
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    size = shape[axis]
    return size if isinstance(size, int) else None


def _indexed_dim(node: NodeFacts) -> tuple[str, int] | None:
    """The name of the tensor that is indexed, and the axis; None where an axis refers to a
    parameter of the enclosing function."""
    data, axis = given(node, 0), attribute(node, "axis")
    if data is None or "axis" in node.unresolved:
        return None
    return data.name, axis if isinstance(axis, int) else 0


def zero_point(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The zero point must be zero."""
    tensor = given(node, entry["input"])
    if tensor is None:
        return NOTHING
    value = constant(tensor)
    name = label(entry["input"], tensor, "zero_point")
    if value is None:
        return (Hit(f"{name} is not known to be zero", tensor.name, certain=False),)
    if not (value != 0).any():
        return NOTHING
    return (Hit(f"{name} is not zero", tensor.name),)


def runtime_scales_axes(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Attribute ``axes`` beside scales that are not constant must be 0 to rank-1."""
    axes = attribute(node, "axes")
    if axes is UNKNOWN:
        return (Hit("attribute axes is not known", certain=False),)
    if not isinstance(axes, (list, tuple)) or not axes:
        return NOTHING
    dims = rank(given(node, 0))
    if list(axes) != list(range(len(axes))):
        return (Hit(f"axes {list(axes)} beside scales computed at run time"),)
    if dims is None:
        return (Hit("the rank of the data is not known", certain=False),)
    return NOTHING if dims == len(axes) else (Hit(f"axes leave out dimensions of rank {dims}"),)


def outputs_max(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """No more than ``max`` outputs may be named."""
    named = [tensor.name for tensor in node.outputs if tensor.name]
    if len(named) <= entry["max"]:
        return NOTHING
    return (Hit(f"{len(named)} outputs are named, {entry['max']} is made", named[entry["max"]]),)


def differs_from_first(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """Another node of the op stands before it in the network, with another ``axis`` (an input) or
    another value of one of ``attributes``, which maps them to their defaults."""
    first = node.first()
    if first is None or _place(first) == _place(node):
        return NOTHING
    doubtful = False
    for name, theirs, own in _settings(entry, first, node):
        if theirs is UNKNOWN or own is UNKNOWN:
            doubtful = True
        elif theirs != own:
            return (Hit(f"{name} is {own}, and {theirs} in '{first.name}'"),)
    if not doubtful:
        return NOTHING
    return (Hit(f"whether it is as '{first.name}' is not known", certain=False),)


def _place(node: NodeFacts) -> tuple[str, str]:
    return node.scope, node.outputs[0].name if node.outputs else node.name


def _settings(
    entry: Entry, first: NodeFacts, node: NodeFacts
) -> Iterator[tuple[str, object, object]]:
    """What may differ: its name, and its value in both nodes."""
    for name, default in entry["attributes"].items():
        yield name, attribute(first, name, default), attribute(node, name, default)
    index = entry["axis"]
    theirs, own = given(first, index), given(node, index)
    shared = theirs is not None and own is not None and theirs.name == own.name
    if not (shared and first.scope == node.scope) or rank(given(node, 0)) != rank(given(first, 0)):
        yield "axis", _axis_input(first, index), _axis_input(node, index)


def _axis_input(node: NodeFacts, index: int) -> object:
    """The axis that an input gives, from the front where the rank is known."""
    value = constant(given(node, index))
    if value is None or value.size != 1:
        return UNKNOWN
    axis, dims = int(value[0]), rank(given(node, 0))
    if axis >= 0:
        return axis
    return UNKNOWN if dims is None else axis + dims
