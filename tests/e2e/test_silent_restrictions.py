"""What a release takes and computes otherwise is mended, or named below with the one thing that
cannot be done.

Every restriction whose effect is silent is tried at releases that it holds for, by the model
that shows it (``restriction_cases.txt``) and by larger ones: after the fix no silent finding is
left, and the numbers are those of the original.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper
from restriction_uses import CASES, ENTRIES, Use

from onnx_fix import fix
from onnx_fix.check import check
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.target.data import Release, main_line, read
from onnx_fix.target.restrictions import restrictions_of
from onnx_fix.testing import Feeds, run_model, run_reference

SILENT = frozenset({"wrong_result", "changes_shape", "changes_type"})

LEFT: dict[str, str] = {
    "NonMaxSuppression.fixed_padded_output.1": (
        "these releases have no tensor whose size depends on data, so nothing gives as many rows "
        "as boxes are kept; --max-count gives a number of them, and says how many are boxes"
    ),
    "NonZero.output_dtype.1": (
        "nothing computes otherwise: INT32 holds every index, and the next Cast or binding widens"
    ),
}
"""The restrictions that no pass mends unasked, and why."""

ASKED: dict[str, dict[str, Any]] = {
    "NonMaxSuppression.fixed_padded_output.1": {"max_count": {"*": 4}},
}
"""Options of the fix that mend one of them, and change the outputs."""

MORE: dict[str, list[str]] = {
    "ArgMax.ignored_attribute.1": ["FP32[N,4] select_last_index=1 axis=-1 keepdims=0"],
    "Gather.negative_indices_unsupported.1": ["FP32[3,N] const:INT64[2]=-1,-3"],
    "GridSample.attribute_value_misread.1": [
        'FP32[2,3,N,4] FP32[2,2,3,2] mode="cubic" align_corners=1 @20'
    ],
    "GRU.ignored_attribute.1": [
        "FP32[B,T,3] FP32[1,12,3] FP32[1,12,4] - - FP32[B,1,4] layout=1 hidden_size=4 -> ->"
    ],
    "Loop.loop_condition_not_updated.1": [
        "const:INT64[]=40 - FP32[N,2] body=$COUNTS",
        "INT64[] BOOL[] FP32[N,2] FP32[N,2] body=$SWAPS -> ->",
    ],
    "LSTM.ignored_attribute.1": [
        "FP32[B,T,3] FP32[1,16,3] FP32[1,16,4] - - FP32[B,1,4] FP32[B,1,4] layout=1 hidden_size=4 "
        "-> -> ->"
    ],
    "RNN.ignored_attribute.1": [
        "FP32[B,T,3] FP32[1,4,3] FP32[1,4,4] layout=1 hidden_size=4 -> -> @22"
    ],
    "LogSoftmax.opset_semantics.1": ["FP32[N,3,4] axis=1 @13", "FP32[N,3,4] axis=0 @18"],
    "Softmax.opset_semantics.1": ["FP32[N,3,4] axis=1 @13", "FP32[N,3,4] axis=0 @18"],
    "Resize.ignored_attribute.1": ["FP32[N,3,8,8] - - const:INT64[2]=9,12 axes=[3,2] @18"],
    "ScatterND.ignored_attribute.1": [
        'FP32[4,3] INT64[2,1] FP32[2,3] reduction="mul" @16',
        'FP32[4,3] INT64[2,1] FP32[2,3] reduction="max" @18',
    ],
    "Shape.ignored_attribute.1": ["FP32[N,M,3] start=1"],
    "Shape.ignored_attribute.2": ["FP32[N,M,3] end=-1"],
    "Split.ignored_attribute.1": ["FP32[N,2] num_outputs=3 -> -> -> @18"],
    "Split.ignored_input.1": ["FP32[2,5] const:INT64[2]=1,4 axis=1 -> -> @13"],
    "TopK.ignored_attribute.1": ["FP32[N,5] const:INT64[1]=2 largest=0 axis=1 -> -> @11"],
}
"""Larger uses: sizes that vary, more outputs."""

EMPTY = frozenset({"Reshape.ignored_attribute.1"})
"""Those whose model runs on empty tensors alone."""

ORDER = [*main_line(), *(r for r, v in read("releases")["releases"].items() if "base" in v)]


def silent(release: str) -> set[str]:
    """The ids of the entries that hold at a release and have a silent effect."""
    active = restrictions_of(Release.named(release), {})
    return {r.entry["id"] for r in _all(active) if r.entry["effect"] in SILENT}


def _all(active: dict[str, Any]) -> Iterator[Any]:
    for listed in active.values():
        yield from listed


RELEASES: dict[str, list[str]] = {}
for _release in ORDER:
    for _entry in silent(_release):
        RELEASES.setdefault(_entry, []).append(_release)


def named(release: str) -> str:
    return release if release.startswith("rtx") else f"trt-{release}"


def left(model: ModelProto, release: str) -> list[str]:
    """What a release would still compute otherwise, or may."""
    view = Model(model, None, load_target(release))
    return [
        f"{finding.op} {finding.kind}: {finding.why}"
        for scope in view.scopes
        for node in scope.graph.nodes
        for finding in scope.judge(node).findings
        if finding.effect in SILENT - {"changes_type"} and (finding.refuses or finding.in_doubt)
    ]


def feeds(model: ModelProto, smallest: int = 2) -> Feeds:
    """Random values; the dimensions that vary count up from ``smallest``."""
    random = np.random.default_rng(5)
    sizes: dict[str, int] = {}
    given: dict[str, NDArray[Any]] = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [
            d.dim_value
            if d.HasField("dim_value")
            else sizes.setdefault(d.dim_param, len(sizes) + smallest)
            for d in kind.shape.dim
        ]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if dtype.kind in "iub":
            given[value.name] = random.integers(0, 2, shape).astype(dtype)
        else:
            given[value.name] = random.random(shape).astype(dtype)
    return given


def outputs(model: ModelProto, given: Feeds) -> tuple[str, list[NDArray[Any]]]:
    """By onnxruntime, or by onnx.reference where it cannot run the model."""
    typed = onnx.shape_inference.infer_shapes(model)
    try:
        return "onnxruntime", run_model(typed, given)
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "onnxruntime":
            raise
        return "onnx.reference", run_reference(model, given)


def test_every_silent_restriction_is_tried() -> None:
    settled = {entry for release in ORDER for entry in silent(release)}
    assert settled == set(RELEASES) >= {"CumSum.differs_from_first.1", "LSTM.ignored_attribute.1"}
    assert set(LEFT) | set(MORE) <= settled
    assert not set(LEFT) & set(MORE)


def some(releases: list[str]) -> list[str]:
    """The first, the middle and the last, and those where the order of the passes changes."""
    ends = {releases[0], releases[len(releases) // 2], releases[-1]}
    return [r for r in releases if r in ends or r in ("8.4", "9.0", "10.8")]


@pytest.mark.parametrize("entry", sorted(set(RELEASES) - set(LEFT)))
def test_the_fix_mends_it(entry: str) -> None:
    mended(entry, some(RELEASES[entry]))


@pytest.mark.slow
@pytest.mark.parametrize("entry", sorted(set(RELEASES) - set(LEFT)))
def test_the_fix_mends_it_at_every_release(entry: str) -> None:
    mended(entry, RELEASES[entry])


def mended(entry: str, releases: list[str]) -> None:
    """No silent finding is left, and the numbers are the same."""
    case = next(c for c in CASES if c.entry == entry)
    for use in (case.hit, *MORE.get(entry, ())):
        model = Use(case.op, use).model
        given = feeds(model, 0 if entry in EMPTY else 2)
        _, want = outputs(model, given)
        tried: set[bytes] = set()
        for release in releases:
            assert left(model, release), (release, use)
            after = fix(model, target=named(release), verify=False).model
            assert left(after, release) == [], (release, use)
            key = after.SerializeToString(deterministic=True)
            if key in tried:
                continue
            tried.add(key)
            _, have = outputs(after, given)
            for got, wanted in zip(have, want, strict=True):
                assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
                half = got.dtype == np.float16
                np.testing.assert_allclose(
                    got.astype(np.float64),
                    wanted.astype(np.float64),
                    2e-2 if half else 1e-4,
                    2e-3 if half else 1e-5,
                    err_msg=f"{release} {use}",
                )


@pytest.mark.parametrize("entry", sorted(ASKED))
def test_an_option_mends_it(entry: str) -> None:
    """Nothing is computed otherwise then, and the rows that count are those of the original."""
    assert entry in LEFT
    case = next(c for c in CASES if c.entry == entry)
    model = Use(case.op, case.hit).model
    given = feeds(model)
    _, (want,) = outputs(model, given)
    for release in RELEASES[entry]:
        after = fix(model, target=named(release), **ASKED[entry]).model
        assert left(after, release) == [], release
        _, (have, count) = outputs(after, given)
        assert len(want) == int(count) <= len(have) == 4
        np.testing.assert_array_equal(have[: int(count)], want)


@pytest.mark.parametrize("entry", sorted(LEFT))
def test_what_is_left_is_told(entry: str) -> None:
    """The check says so, and the fix does not call the model ready."""
    case = next(c for c in CASES if c.entry == entry)
    assert len(LEFT[entry]) > 40
    for release in RELEASES[entry]:
        model = Use(case.op, case.hit).model
        after = fix(model, target=named(release), verify=False).model
        effect = Release.named(release).settle(ENTRIES[entry])["effect"]
        result = check(after, target=named(release))
        if effect == "changes_type":
            assert result.verdict == "ready"
            continue
        assert left(after, release), f"{entry} is mended at {release} now: take it out of LEFT"
        assert result.verdict == "blocked"
        severities = {f.severity.value for f in result.findings if f.op == case.op}
        assert "silent" in severities
