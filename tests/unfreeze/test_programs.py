"""Random programs, exported at one or two sizes, made dynamic, and run at others.

What comes out computes what the program does, or nothing comes out.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto
from programs import Program, Values

from onnx_fix.errors import OnnxFixError
from onnx_fix.model import Model
from onnx_fix.target import choose_target
from onnx_fix.testing import run_model
from onnx_fix.unfreeze.job import Request, unfreeze

EXPORTS = (7, 8, 9, 10, 12, 13, 16, 17, 20)
BATCHES = (2, 3, 4)
UNSEEN = ({"n": 11, "m": 6, "b": 1}, {"n": 5, "m": 15, "b": 3}, {"n": 17, "m": 18, "b": 2})


def build(source: random.Random, most: int) -> Program:
    """A program of a few steps."""
    program = Program(source.randrange)
    program.start()
    program.grow(1 + source.randrange(most))
    return program


def sizes(source: random.Random, count: int) -> list[dict[str, int]]:
    """Sizes of exports that differ in every symbol."""
    chosen = {s: source.sample(EXPORTS, count) for s in "nm"}
    chosen["b"] = source.sample(BATCHES, count)
    return [{s: values[k] for s, values in chosen.items()} for k in range(count)]


def made(program: Program, at: Sequence[Values]) -> ModelProto | str:
    """The first export with dynamic dims; a reason why not."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for k, values in enumerate(at):
            path = Path(folder) / f"{k}.onnx"
            onnx.save(program.export(values), path)
            paths.append(path)
        model = Model(onnx.load(paths[0]), Path(folder), choose_target("trt-8.6")[0])
        try:
            found = unfreeze(model, Request(program.dynamic(), paths[1:]))
        except OnnxFixError as error:
            return str(error)
    assert found is not None
    return found.model


def difference(program: Program, model: ModelProto, values: Values) -> str:
    """Where a model with dynamic dims does otherwise than the program; empty where it does not."""
    feeds = program.feeds(values)
    wanted = run_model(program.export(values), feeds)
    try:
        outputs = run_model(model, feeds)
    except Exception as error:
        return f"at {values}: {error}"
    for port, got, expected in zip(model.graph.output, outputs, wanted, strict=True):
        if got.shape != expected.shape:
            return f"{port.name} at {values}: {got.shape} for {expected.shape}"
        if not np.allclose(got, expected, rtol=1e-3, atol=1e-4, equal_nan=True):
            return f"{port.name} at {values}: other numbers"
    return ""


def check(source: random.Random, exports: int, most: int = 6) -> str:
    """Build, export, make dynamic and compare; why there is no model, if there is none."""
    program = build(source, most)
    if not program.steps:
        return ""
    at = sizes(source, exports)
    model = made(program, at)
    if isinstance(model, str):
        return model
    for values in (*at, *UNSEEN):
        wrong = difference(program, model, values)
        assert not wrong, f"{program!r}\n{program.constants(at)}\n{at}\n{wrong}"
    return ""


@pytest.mark.parametrize("exports", [1, 2])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(source=st.randoms(use_true_random=False))
def test_equal_or_refused(exports: int, source: random.Random) -> None:
    check(source, exports)


@pytest.mark.slow
@pytest.mark.parametrize("exports", [1, 2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_many_of_them(exports: int, seed: int) -> None:
    source = random.Random(seed)
    for _ in range(40):
        check(source, exports, 9)


def test_most_are_made_from_two_exports() -> None:
    source = random.Random(0)
    reasons = [check(source, 2, 4) for _ in range(60)]
    assert reasons.count("") > 30, [r for r in reasons if r]
