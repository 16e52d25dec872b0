"""Every number that a question names can be answered, and the answers are used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from by_path import benchmark

from onnx_fix.errors import UsageError
from onnx_fix.model import Model
from onnx_fix.symbolic.size import size
from onnx_fix.target import choose_target
from onnx_fix.unfreeze.job import Request, Unfrozen, unfreeze

ROOT = Path(__file__).parents[2]


BENCH = benchmark("unfreeze")


def made(frozen: Any, also: list[Path], assume: dict[str, str]) -> Unfrozen:
    path = frozen.path("a")
    model = Model(onnx.load(path), path.parent, choose_target("trt-8.6")[0])
    found = unfreeze(model, Request(frozen.dynamic, also, assume))
    assert found is not None
    return found


def truth(frozen: Any) -> dict[str, str]:
    """What the numbers of the export are, as two exports show."""
    both = made(frozen, [frozen.path("b")], {})
    analysis = both.analysis
    solver = analysis.solver
    found = {}
    for line in both.lines:
        table = re.match(r"(.+), read by .+, is (?:expand\(|float\()*([^,()]+)[,)]", line)
        if table is not None:
            found[table[1]] = table[2]
    for name, place in analysis.propagation.places.items():
        value = solver.now(size(name))
        if not solver.unknowns(value):
            found[str(place)] = str(value)
    return found


def answered(frozen: Any, known: dict[str, str]) -> tuple[Unfrozen, dict[str, str]]:
    """Answer question after question."""
    assume: dict[str, str] = {}
    for _ in range(40):
        try:
            return made(frozen, [], assume), assume
        except UsageError as error:
            lines = [line[4:] for line in str(error).splitlines() if line.startswith("  - ")]
        before = len(assume)
        for line in lines:
            if ", read by" in line.split(" (")[0]:
                place = line.split(", read by")[0]
                assume[place] = known.get(place, "constant")
            else:
                for place in re.split(r", ", line.split(" (")[0]):
                    if place in known:
                        assume[place] = known[place]
        assert len(assume) > before, lines
    raise AssertionError("questions come again and again")


@pytest.mark.parametrize("name", ["shifted_windows.legacy17", "rotary_matcher.legacy17"])
def test_answers_make_a_refused_export_dynamic(name: str) -> None:
    frozen = BENCH.Frozen(name)
    known = truth(frozen)
    with pytest.raises(UsageError, match="may"):
        made(frozen, [], {})
    found, assume = answered(frozen, known)
    assert assume
    scored = BENCH.score(found.model, frozen)
    assert scored.right, (assume, scored.verdicts)


def test_an_answer_that_was_another_number() -> None:
    frozen = BENCH.Frozen("rotary_matcher.legacy17")
    with pytest.raises(UsageError, match="that was 41 at the export, not 24"):
        made(frozen, [], {"/Constant_63_output_0[1]": "n1"})


def test_an_answer_to_no_question() -> None:
    frozen = BENCH.Frozen("rotary_matcher.legacy17")
    with pytest.raises(UsageError, match="no number at nothing"):
        made(frozen, [], {"nothing[0]": "n1"})
