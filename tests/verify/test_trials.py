"""At which sizes a model runs."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper
from onnx.parser import parse_model

from onnx_fix.verify.source import ModelSource
from onnx_fix.verify.trials import MOST_ELEMENTS, trials


def source(text: str, size: int = 24) -> ModelSource:
    model = parse_model('<ir_version: 8, opset_import: ["" : 17]> ' + text)
    model.graph.initializer.append(numpy_helper.from_array(np.array([size, 8, 8]), "s"))
    return ModelSource.of(model)


RESHAPE = "g (float[T, 64] x) => (float[a, b, c] y) { y = Reshape (x, s) }"


def test_what_runs_and_what_does_not() -> None:
    ran = trials(source(RESHAPE), [{"T": 24}, {"T": 25}], 60)
    assert [t.sizes["T"] for t in ran] == [24, 25]
    assert not ran[0].error and "Reshape" in ran[1].error


def test_nothing_is_learned_of_what_was_not_run() -> None:
    given = source(RESHAPE)
    assert trials(given, [{"T": MOST_ELEMENTS}, {"U": 3}], 60) == []
    assert trials(given, [{"T": 24}], 0) == []
    broken = "g (float[T, 64] x) => (float[a, b, c] y) { y = NoSuchOp (x, s) }"
    assert trials(source(broken), [{"T": 24}], 60) == []


def test_a_run_that_takes_too_long_is_ended() -> None:
    """A Loop of so many turns would take hours."""
    text = """g (int64[T] n, float[T, 64] x, bool go) => (float[a, b] y) {
        many = Constant <value = int64 {100000000000}> ()
        y = Loop (many, go, x) <body = b (int64 i, bool c, float[d, e] v) => (bool k, float[f, h] w)
        { k = Identity (c) w = Identity (v) }>
        r = Reshape (x, s)
    }"""
    assert all(not t.error for t in trials(source(text, 3), [{"T": 3}], 1.0))
