"""The tables in real exports: learned from one of them, they are those of the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onnx_fix import fix
from onnx_fix.symbolic import Size, parse_size, size
from onnx_fix.unfreeze.align import Aligned, align
from onnx_fix.unfreeze.learn import learn
from onnx_fix.unfreeze.tables import Recipe, Sample, Unknown, recognise

FOLDER = Path(__file__).parents[2] / "fixtures/frozen"
SETS = sorted(p.name.removesuffix(".a.onnx") for p in FOLDER.glob("*.a.onnx"))
Array = NDArray[Any]
LEARNED = {"vit_positions.dynamo18", "causal_text.dynamo18"}
"""Networks with a resized or cut table of parameters, which is no rule."""


def sizes_of(symbols: set[str]) -> list[Size]:
    """Sizes that occur in these networks."""
    texts = [f"{s}{more}" for s in sorted(symbols) for more in ("", " + 1")]
    texts += [f"{s} + {t}" for s in sorted(symbols) for t in sorted(symbols) if s < t]
    if {"H", "W"} <= symbols:
        ways = [f"(%s + {d - 1})//{d}" for d in (4, 8, 16, 32)]
        products = [f"({w % 'H'})*({w % 'W'})" for w in ways]
        texts += [w % s for w in ways for s in "HW"] + products + [" + ".join(products[1:])]
    return [parse_size(t) for t in texts]


def tables(name: str) -> Iterator[tuple[list[Size], list[Sample], list[Size]]]:
    """The float and integer tables that differ between the two exports, with their dims."""
    models = [onnx.load(FOLDER / f"{name}.{which}.onnx") for which in "ab"]
    (sidecar,) = FOLDER.glob(f"{name}.a.*json")
    dims = json.loads(sidecar.read_text())["dims"]
    at = [{s: dims[s][which] for s in dims} for which in "ab"]
    found = align(models[0], models[1:])
    assert isinstance(found, Aligned), found
    known = sizes_of(set(dims))
    for difference in found.differences:
        a, b = difference.values
        if a.shape == b.shape:
            continue
        shape = []
        for pair in zip(a.shape, b.shape, strict=True):
            choice = learn(pair, at, preferred=[size(pair[0]), *known]).candidates
            shape.append(choice[0])
        yield shape, [Sample(v, w) for v, w in zip((a, b), at, strict=True)], known


def close(recipe: Recipe, sample: Sample) -> bool:
    made = recipe.make(sample.values)
    same = made.shape == sample.array.shape and made.dtype == sample.array.dtype
    wide = [x.astype(np.float64) for x in (made, sample.array)]
    return same and bool(np.allclose(wide[0], wide[1], rtol=1e-6, atol=1e-6))


@pytest.mark.parametrize("name", SETS)
def test_tables_of_exports(name: str) -> None:
    refused = 0
    for dims, samples, known in tables(name):
        one = recognise(dims, samples[:1], known=known)
        both = recognise(dims, samples, known=known)
        # Never a guess: what one export teaches holds in the other.
        assert isinstance(one, Unknown) or close(one, samples[1]), (dims, str(one))
        assert isinstance(both, Recipe) or name in LEARNED, both
        refused += isinstance(both, Unknown)
        assert isinstance(both, Unknown) or all(close(both, s) for s in samples)
    assert refused == (name in LEARNED)


def test_there_are_exports() -> None:
    assert len(SETS) > 10


def test_one_constant_that_is_two_in_another_export() -> None:
    """An index n0 and an index n1 are one constant where both sizes are the same."""
    export = FOLDER / "rotary_matcher.dynamo18.same.onnx"
    dynamic = {"kpts0:1": "n0", "kpts1:1": "n1", "desc0:1": "n0", "desc1:1": "n1"}
    other = FOLDER / "rotary_matcher.dynamo18.b.onnx"
    # It raises where the fixed model is not the other export at the size of that one.
    assert fix(export, target="rtx-1.7", dynamic=dynamic, also=[other]).model
