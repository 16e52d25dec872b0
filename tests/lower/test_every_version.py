"""Every version of every op that onnx knows: decided, tested, and never lowered wrongly."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from by_path import benchmark
from onnx import ModelProto
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.lower import lower
from onnx_fix.lower.table import steps, table, undecided
from onnx_fix.raising import raise_opset

Case = Any


judge = benchmark("lowering_judge")
for part in ("models_layout", "models_math", "families", "by_hand"):
    benchmark(f"lowering_{part}")
made = benchmark("lowering_cases")


@cache
def one_op_cases() -> tuple[Case, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(made.all_cases(1))


def problem(model: ModelProto, feeds: Any, expected: Any, opset: int) -> tuple[str, str]:
    """What is wrong with what lowering gives, and "right", "refused" or "not run"."""
    before = model.SerializeToString(deterministic=True)
    done = lower(model, opset)
    assert model.SerializeToString(deterministic=True) == before
    if done.refusals:
        assert done.model == model
        assert all(r.reason and r.op and opset < r.opset for r in done.refusals)
        return "", "refused"
    if [(v.name, v.type) for v in done.model.graph.output] != [
        (v.name, v.type) for v in model.graph.output
    ]:
        return "other outputs", "wrong"
    verdict = judge.compare(done.model, feeds, expected, opset)
    if verdict.outcome in ("right", "not run"):
        return "", verdict.outcome
    return f"{verdict.outcome}: {verdict.message}", verdict.outcome


def wrong(cases: list[Case], opset: int) -> tuple[list[str], Counter[str]]:
    """What is wrong with the cases, and how many there are of each outcome."""
    faults, number = [], Counter[str]()
    for case in cases:
        if case.version > opset:
            text, outcome = problem(case.model, case.feeds, case.expected, opset)
            number[outcome] += 1
            if outcome == "not run" and not runs_nowhere(case):
                text = "valid, and no runtime runs it"
            if text:
                faults.append(f"{case.name}: {text}")
    return faults, number


def runs_nowhere(case: Case) -> bool:
    """Cases that may be lowered to what no runtime runs: bfloat16, and faults of runtimes."""
    return "bfloat16" in case.name or bool(judge.computed_otherwise(case.model))


def test_every_step_is_decided() -> None:
    assert undecided() == []


def test_no_rule_is_for_a_step_that_is_not() -> None:
    assert sorted(table().keys() - set(steps())) == []


def test_every_step_has_a_case() -> None:
    assert set(made.untested(one_op_cases())) == made.CANNOT_BE_JUDGED.keys()


def test_models_written_by_hand_are_valid() -> None:
    hand = benchmark("lowering_by_hand")
    assert hand.BY_HAND.keys() <= set(steps())
    faults = [
        f"{step}/{name}: {judge.invalid(model)}"
        for step in hand.BY_HAND.keys() - hand.NOT_TAKEN.keys()
        for name, model, _ in hand.by_hand(*step)
        if judge.invalid(model)
    ]
    assert faults == []


@pytest.mark.parametrize("step", sorted(made.CANNOT_BE_JUDGED))
def test_what_cannot_be_judged_is_valid_or_refused(step: tuple[str, int]) -> None:
    for _, model, _ in benchmark("lowering_by_hand").by_hand(*step):
        for opset in (17, 13, 11, 9):
            done = lower(model, opset)
            assert done.refusals or not judge.invalid(done.model)


@pytest.mark.parametrize(
    "opset",
    [13, 11, pytest.param(17, marks=pytest.mark.slow), pytest.param(9, marks=pytest.mark.slow)],
)
def test_one_op_models(opset: int) -> None:
    faults, number = wrong(list(one_op_cases()), opset)
    assert faults == []
    assert number["right"] > number["refused"]


@pytest.mark.slow
@pytest.mark.parametrize("opset", [17, 13, 11, 9])
def test_every_node_test_at_every_version(opset: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = made.all_cases(None, types=False, all_ranks=True)
    faults, _ = wrong(cases, opset)
    assert faults == []


@pytest.mark.slow
def test_the_page_is_up_to_date() -> None:
    page = benchmark("lowering_table")
    assert page.PAGE.read_text(encoding="utf-8") == page.page()


CHECKED_WRONGLY = {"STFT", "MeanVarianceNormalization"}
"""Ops whose node stays as it is, and whose shapes or body the newer checker finds fault with."""


@pytest.mark.parametrize("opset", [13, pytest.param(21, marks=pytest.mark.slow)])
def test_one_op_models_raised(opset: int) -> None:
    """The way up: each model of an older op version, written for a newer operator set."""
    faults, right = [], 0
    for case in one_op_cases():
        if judge.opset_of(case.model) >= opset or "bfloat16" in case.name:
            continue
        raised = raise_opset(case.model, opset)
        if raised.refusals:
            assert raised.model is case.model
            continue
        verdict = judge.compare(raised.model, case.feeds, case.expected, opset)
        right += verdict.outcome == "right"
        known = verdict.outcome == "invalid" and case.op in CHECKED_WRONGLY
        if verdict.outcome not in ("right", "not run") and not known:
            faults.append(f"{case.name}: {verdict.outcome}: {verdict.message}")
    assert faults == []
    assert right > 500


# -- node tests as they are, with what they record -------------------------------------------------


def recorded(case: TestCase, opset: int) -> str:
    """What is wrong with a node test that is lowered; empty too where no runtime runs it at all."""
    model = case.model
    assert model is not None
    if not case.data_sets or judge.opset_of(model) <= opset or judge.invalid(model):
        return ""
    names = [value.name for value in model.graph.input]
    for given, wanted in case.data_sets:
        feeds = dict(zip(names, (made.as_feed(g) for g in given), strict=False))
        want = [made.as_feed(w) for w in wanted]
        text, outcome = problem(model, feeds, {"recorded": want}, opset)
        if outcome == "wrong":  # does the original give what is recorded?
            first = {r: judge.run(model, feeds, r) for r in judge.RUNTIMES}
            runs = {r: o for r, o in first.items() if not isinstance(o, str)}
            text, outcome = problem(model, feeds, runs or {"recorded": want}, opset)
        if text:
            return text
    return ""


def in_default_domain(case: TestCase) -> bool:
    return case.model is not None and any(not o.domain for o in case.model.opset_import)


@pytest.mark.parametrize("opset", [13, 11])
def test_recorded_outputs(node_cases: list[TestCase], opset: int) -> None:
    sample = [c for c in node_cases if in_default_domain(c)][::8]
    faults = {case.name: text for case in sample if (text := recorded(case, opset))}
    assert faults == {}


@pytest.mark.slow
@pytest.mark.parametrize("opset", [13, 11])
def test_all_recorded_outputs(node_cases: list[TestCase], opset: int) -> None:
    cases = [c for c in node_cases if in_default_domain(c)]
    faults = {case.name: text for case in cases if (text := recorded(case, opset))}
    assert faults == {}


LOADED = {
    "AffineGrid": (13, 11),
    "BitShift": (13, 11, 9),
    "LinearAttention": (13, 11, 9),
    "Max": (11, 9),
    "Min": (11, 9),
}
"""Ops whose lowered node tests onnxruntime did not load once."""


@pytest.mark.parametrize(("op", "opset"), [(op, o) for op in LOADED for o in LOADED[op]])
def test_onnxruntime_loads(op: str, opset: int, node_cases: list[TestCase]) -> None:
    ran = 0
    for case in node_cases:
        model = case.model
        if model is None or {n.op_type for n in model.graph.node} != {op}:
            continue
        names = [value.name for value in model.graph.input]
        for given, wanted in case.data_sets or []:
            done = lower(model, opset) if judge.opset_of(model) > opset else None
            if done is None or done.refusals:
                continue
            feeds = dict(zip(names, (made.as_feed(g) for g in given), strict=False))
            have = judge.by_onnxruntime(done.model, feeds)
            assert judge.first_difference(have, [made.as_feed(w) for w in wanted]) == "", case.name
            ran += 1
    assert ran


def test_a_scan_that_gets_no_types() -> None:
    """The ranks of what a Scan reads and gives stay known where older ops tell less."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18]>
        g (float[N, 4, 6] x, float[2] z) => (float[N, 4, 2, 3] y, float[A] last) {
          n = Shape<start = 0, end = 1>(x)
          rest = Constant<value_ints = [4, 2, 3]>()
          axis = Constant<value_ints = [-1]>()
          shape = Concat<axis = 0>(n, rest)
          data = Reshape<allowzero = 0>(x, shape)
          last, y = Scan<num_scan_inputs = 1, body = b (s, e) => (t, r) {
            column = Unsqueeze(s, axis)
            flat = Squeeze(column, axis)
            t = Identity(flat)
            first = ReduceSum<keepdims = 0>(flat)
            r = Add(e, first)
          }>(z, data)
        }"""
    )
    z = np.array([1, 2], np.float32)
    for opset in (17, 13, 11):
        done = lower(model, opset)
        assert not done.refusals and judge.invalid(done.model) == ""
        for rows in (1, 3):
            x = np.random.default_rng(0).normal(size=(rows, 4, 6)).astype(np.float32)
            want = judge.by_onnxruntime(model, {"x": x, "z": z})
            have = judge.by_onnxruntime(done.model, {"x": x, "z": z})
            assert judge.first_difference(have, want) == ""


# -- many steps at once ----------------------------------------------------------------------------


def test_nodes_of_many_versions_in_nested_bodies() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 23]>
        g (bool c, float[N, 6] x) => (float[N, 6] y) {
          y = If<
            then_branch = t () => (float[N, 6] a) {
              axes = Constant<value_ints = [1]>()
              mean = ReduceMean<keepdims = 1>(x, axes)
              l, r = Split<axis = -1, num_outputs = 2>(x)
              lr = Concat<axis = 1>(r, l)
              s = Softmax<axis = 0>(lr)
              a = Sub(s, mean)
            },
            else_branch = e () => (float[N, 6] b) {
              n = Shape<start = 0, end = 1>(x)
              six = Constant<value_ints = [6]>()
              shape = Concat<axis = 0>(n, six)
              flat = Reshape(x, shape)
              b = Gelu(flat)
            }>(c)
        }"""
    )
    onnx.checker.check_model(model, full_check=True)
    random = np.random.default_rng(1)
    for opset in (17, 13, 11, 9):
        for rows in (1, 4):
            for branch in (True, False):
                x = random.normal(size=(rows, 6)).astype(np.float32)
                feeds = {"c": np.array(branch), "x": x}
                want = judge.run(model, feeds, "onnxruntime")
                assert not isinstance(want, str)
                text, outcome = problem(model, feeds, {"onnxruntime": want}, opset)
                assert (text, outcome) == ("", "right"), lower(model, opset).refusals
