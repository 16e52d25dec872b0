"""SuperPoint and a matcher, fixed and chained: the matches are those of the originals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, load

from onnx_fix import fix
from onnx_fix.testing import run_model

POINTS = 24
FIXTURES = Path(__file__).parents[2] / "fixtures"
Found = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def image(seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (1, 1, 48, 64)).astype(np.float32)


def strongest(found: Found) -> Found:
    """The keypoints with the highest scores, as a program picks them between the two networks."""
    keypoints, scores, descriptors = found
    order = np.argsort(-scores, kind="stable")[:POINTS]
    return keypoints[order], scores[order], descriptors[order]


def detect(model: ModelProto, pixels: NDArray[np.float32]) -> Found:
    """What SuperPoint finds; of a bounded model the rows that its count says are valid."""
    names = [value.name for value in model.graph.output]
    given = dict(zip(names, run_model(model, {"image": pixels}), strict=True))
    count = int(given["keypoints_count"].reshape(-1)[0]) if "keypoints_count" in given else None
    return (
        given["keypoints"][:count],
        given["scores"][:count],
        given["descriptors"][:count],
    )


def match(model: ModelProto, pair: tuple[Found, Found]) -> list[NDArray[Any]]:
    keypoints, scores, descriptors = (
        np.stack([strongest(found)[k] for found in pair])[None] for k in range(3)
    )
    feeds = {
        "keypoints": keypoints.astype(np.float32) / np.float32(64),
        "descriptors": descriptors.astype(np.float32),
        "scores": scores.astype(np.float32),
    }
    inputs = {value.name for value in model.graph.input}
    return run_model(model, {name: feeds[name] for name in feeds if name in inputs})


@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
@pytest.mark.parametrize("matcher", ["superglue_match.legacy13", "lightglue_match.dynamo18"])
def test_the_matches_are_those_of_the_originals(matcher: str, target: str) -> None:
    detector = load(FIXTURES / "superpoint_points.dynamo18.onnx")
    second = load(FIXTURES / f"{matcher}.onnx")
    bounded = fix(detector, target=target, max_count={"*": 512}, plugins=False)
    fixed = fix(second, target=target, plugins=False)
    assert bounded.ok and fixed.ok
    for seed in (0, 2):
        images = image(seed), image(seed + 1)
        wanted = tuple(detect(detector, pixels) for pixels in images)
        have = tuple(detect(bounded.model, pixels) for pixels in images)
        for ours, theirs in zip(have, wanted, strict=True):
            assert len(theirs[0]) >= POINTS
            np.testing.assert_array_equal(ours[0], theirs[0])
        want_matches, want_scores = match(second, (wanted[0], wanted[1]))
        matches, scores = match(fixed.model, (have[0], have[1]))
        np.testing.assert_array_equal(matches, want_matches)
        np.testing.assert_allclose(scores, want_scores, rtol=1e-3, atol=1e-4)
