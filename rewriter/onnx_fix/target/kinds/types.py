"""Restrictions on element types."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from onnx_fix.target.facts import NodeFacts, TensorFacts
from onnx_fix.target.kinds.base import NOTHING, Entry, Hit, Hits, Names, spelled
from onnx_fix.target.values import attribute, given, integer, label


def _concerned(entry: Entry, node: NodeFacts) -> Iterator[tuple[str, TensorFacts]]:
    wanted = entry["inputs"]
    for index in range(len(node.inputs)) if wanted == "all" else wanted:
        tensor = given(node, index)
        if tensor is not None:
            yield label(index, tensor, entry.get("name", "")), tensor
    for index in entry.get("outputs", ()):
        if index < len(node.outputs) and node.outputs[index].name:
            tensor = node.outputs[index]
            if not tensor.dtype and "output_attribute" in entry:
                tensor = replace(tensor, dtype=integer(attribute(node, entry["output_attribute"])))
            yield f"output {index} '{tensor.name}'", tensor


def _judge(entry: Entry, node: NodeFacts, names: Names, *, listed_is_bad: bool) -> Hits:
    doubt: Hits = NOTHING
    for called, tensor in _concerned(entry, node):
        if not tensor.dtype:
            doubt = doubt or (
                Hit(f"the element type of {called} is not known", tensor.name, certain=False),
            )
            continue
        name = names.get(tensor.dtype, f"type {tensor.dtype}")
        if (name in entry["dtypes"]) is listed_is_bad:
            rule = "not taken" if listed_is_bad else f"not one of {spelled(entry['dtypes'])}"
            return (Hit(f"{called} is {name}, {rule}", tensor.name),)
    return doubt


def allowed(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """The tensors concerned must be of one of ``dtypes``."""
    return _judge(entry, node, names, listed_is_bad=False)


def refused(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """The tensors concerned must not be of one of ``dtypes``."""
    return _judge(entry, node, names, listed_is_bad=True)


def bounds(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """Constant inputs of ``dtypes`` are read with the wrong element size."""

    def is_weights(index: int) -> bool:
        tensor = given(node, index)
        return tensor is not None and tensor.constness == "initializer"

    constants = [index for index in entry["inputs"] if is_weights(index)]
    return _judge({**entry, "inputs": constants}, node, names, listed_is_bad=True)


def even_elements(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """Data of two elements a byte has an even number of them, where all dimensions are static.

    One of ``inputs`` shows the element type, input ``of`` the shape.
    """
    data = given(node, entry["of"])
    if data is None or data.shape is None or not all(isinstance(d, int) for d in data.shape):
        return NOTHING
    count = math.prod(size for size in data.shape if isinstance(size, int))
    if count % 2 == 0 or not _judge(entry, node, names, listed_is_bad=True):
        return NOTHING
    return (Hit(f"{label(entry['of'], data)} has {count} elements of 4 bits", data.name),)


def precision_loss(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """Integers run as FP32; only a warning, so an unknown type says nothing."""
    tensor = given(node, entry["input"])
    if tensor is None or not tensor.dtype or names.get(tensor.dtype) not in entry["dtypes"]:
        return NOTHING
    return (Hit(f"{label(entry['input'], tensor)} is ranked as FP32", tensor.name),)
