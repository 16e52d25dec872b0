"""Exports at fixed sizes made dynamic: as the dynamic export at every size, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from by_path import benchmark

import onnx_fix
from onnx_fix.errors import OnnxFixError

ROOT = Path(__file__).parents[2]
FROZEN = ROOT / "fixtures" / "frozen"
SETS = sorted({".".join(path.name.split(".")[:2]) for path in FROZEN.glob("*.a.onnx")})

LOST = {
    "causal_text.dynamo18": "embedding_1",
    "vit_positions.dynamo18": "upsample_bicubic2d",
}
"""Exports that no longer hold what other sizes need, and the table that says so."""

FROM_ONE = {"states.dynamo18", "states.legacy17", "vit_positions.legacy17"}
"""Sets of which one export tells all."""

FROM_TWO = {
    "anchor_grids.dynamo18",
    "anchor_grids.legacy17",
    "causal_text.legacy17",
    "lightglue.dynamo18",
    "point_matcher.dynamo18",
    "point_matcher.legacy17",
    "rotary_matcher.dynamo18",
    "rotary_matcher.legacy17",
    "rotary_text.dynamo18",
    "rotary_text.legacy17",
    "shifted_windows.legacy17",
    "skip_unet.dynamo18",
    "skip_unet.legacy17",
    "states.dynamo18",
    "states.legacy17",
    "superglue.legacy17",
    "vit_positions.legacy17",
}
"""Sets of which two exports tell all."""


BENCH = benchmark("unfreeze")


def outcome(name: str, also: tuple[str, ...]) -> Any:
    """The score of what is made of the export at ``a``, or the message of a refusal."""
    frozen = BENCH.Frozen(name)
    try:
        fixed = onnx_fix.fix(
            frozen.path("a"),
            target="rtx-1.7",
            dynamic=frozen.dynamic,
            also=[frozen.path(ending) for ending in also],
        )
    except OnnxFixError as error:
        return str(error)
    assert all(port.type.tensor_type.shape.dim for port in fixed.model.graph.input)
    return BENCH.score(fixed.model, frozen)


@pytest.mark.parametrize("name", SETS)
def test_two_exports_give_the_dynamic_one_or_a_reason(name: str) -> None:
    found = outcome(name, ("b",))
    if isinstance(found, str):
        assert name not in FROM_TWO, found
        assert LOST.get(name, "") in found
    else:
        assert found.right, found
        assert name not in LOST


@pytest.mark.parametrize("name", SETS)
def test_one_export_gives_the_dynamic_one_or_a_question(name: str) -> None:
    found = outcome(name, ())
    if isinstance(found, str):
        assert name not in FROM_ONE, found
        assert "nothing is written" in found
    else:
        assert found.right, found
        assert name not in LOST
