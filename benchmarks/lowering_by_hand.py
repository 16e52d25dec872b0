"""Models of old versions of ops that no node test of today spells, and traps of each version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from lowering_families import families
from lowering_models_layout import LAYOUT, Entry
from lowering_models_math import MATH
from onnx import ModelProto, helper

BY_HAND: dict[tuple[str, int], Sequence[Entry]] = {**LAYOUT, **MATH}

NOT_TAKEN: dict[tuple[str, int], str] = {
    ("GroupNormalization", 18): "onnx calls the version withdrawn, and exporters wrote it",
    ("MeanVarianceNormalization", 13): "the body of the function that onnx ships lacks the default",
}
"""Versions of which the checker does not take a model that runtimes run, and why."""


def by_hand(op: str, version: int) -> Iterator[tuple[str, ModelProto, dict[str, Any]]]:
    """The models written by hand for a version of an op: name, model, feeds."""
    for entry in (*BY_HAND.get((op, version), ()), *families(op, version)):
        name, text = entry[0], entry[1]
        given = dict(entry[2]) if len(entry) == 3 else {}
        model = onnx.parser.parse_model(
            f'<ir_version: {8 if version < 18 else 10}, opset_import: ["": {version}]> g {text}'
        )
        yield name, model, made_up(model, given)


def made_up(model: ModelProto, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for all inputs, the same at every call; symbolic dims are 3."""
    random = np.random.default_rng(7)
    feeds: dict[str, Any] = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        if value.name in given:
            feeds[value.name] = given[value.name]
            continue
        shape = [d.dim_value if d.HasField("dim_value") else 3 for d in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if dtype.kind == "b":
            feeds[value.name] = np.asarray(random.random(shape) > 0.5)
        elif dtype.kind in "iu":
            feeds[value.name] = np.asarray(random.integers(1, 9, shape), dtype)
        else:
            feeds[value.name] = np.asarray(random.normal(size=shape)).astype(dtype)
    return feeds
