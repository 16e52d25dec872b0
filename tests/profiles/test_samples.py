"""Profiles from sample inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, parser

from onnx_fix.errors import UsageError
from onnx_fix.profiles import from_inputs, parse_profile

MODEL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, N, 2] a, float[N, M] b, int64[2] s) => (float y)
{ c = Reshape (b, s)  y = ReduceSum <keepdims = 0> (c) }"""


def model() -> ModelProto:
    return parser.parse_model(MODEL)


def sample(n: int, m: int, s: tuple[int, int] | None = None) -> dict[str, NDArray[np.generic]]:
    return {
        "a": np.zeros((1, n, 2), np.float32),
        "b": np.zeros((n, m), np.float32),
        "s": np.asarray(s or (m, n), np.int64),
    }


def write(folder: Path, *samples: dict[str, NDArray[np.generic]]) -> Path:
    for number, arrays in enumerate(samples):
        np.savez(folder / f"s{number}.npz", **arrays)  # type: ignore[arg-type]
    return folder


def test_smallest_median_and_largest_size(tmp_path: Path) -> None:
    folder = write(tmp_path, sample(9, 4), sample(1, 4), sample(5, 4), sample(100, 4))
    found = from_inputs(model(), folder)
    assert found.profile.ranges == {"N": (1, 5, 100), "M": (4, 4, 4)}
    assert found.profile.values == {"s": ((4, 1), (4, 5), (4, 100))}
    assert found.seen.samples == ("s0.npz", "s1.npz", "s2.npz", "s3.npz")
    (note,) = found.notes
    assert note.startswith("all 4 samples agree in M: ")


def test_one_sample_is_said(tmp_path: Path) -> None:
    found = from_inputs(model(), write(tmp_path, sample(3, 2)))
    assert found.profile.ranges == {"N": (3, 3, 3), "M": (2, 2, 2)}
    assert "one sample alone, s0.npz" in found.notes[0]


def test_types_and_other_arrays_do_not_matter(tmp_path: Path) -> None:
    arrays = sample(3, 2) | {"a": np.zeros((1, 3, 2), np.float16), "k": np.zeros(5)}
    found = from_inputs(model(), write(tmp_path, arrays, sample(4, 3)))
    assert found.profile.ranges == {"N": (3, 3, 4), "M": (2, 2, 3)}
    assert found.notes == ("passed over, as the model has no such input: k",)


def test_given_ranges_stand(tmp_path: Path) -> None:
    folder = write(tmp_path, sample(9, 4), sample(1, 4))
    found = from_inputs(model(), folder, parse_profile("b=1x2:5x4:20x8"))
    assert found.profile.ranges == {"N": (1, 5, 20), "M": (2, 4, 8)}
    found = from_inputs(model(), folder, parse_profile("M=2:4:8,s=[1,1]:[2,2]:[3,3]"))
    assert found.profile.ranges == {"N": (1, 1, 9), "M": (2, 4, 8)}
    assert found.profile.values == {"s": ((1, 1), (2, 2), (3, 3))}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"b": np.zeros((4, 2), np.float32)}, "with N = 3 as in the inputs before it"),
        ({"a": np.zeros((2, 3, 2), np.float32)}, "expected float32 of shape [1, N, 2]"),
        ({"a": np.zeros((3, 2), np.float32)}, "has shape [3, 2], expected float32 of shape"),
        ({"a": None}, "holds no 'a'"),
    ],
)
def test_samples_that_do_not_suit_the_model(
    tmp_path: Path, change: dict[str, NDArray[np.generic] | None], what: str
) -> None:
    arrays = sample(3, 2) | change
    folder = write(tmp_path, {k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(UsageError) as caught:
        from_inputs(model(), folder)
    assert what in str(caught.value) and "s0.npz" in str(caught.value)


def test_an_input_without_a_rank(tmp_path: Path) -> None:
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float x) => (float y) { y = Abs (x) }'
    )
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    folder = write(
        tmp_path,
        {"x": np.zeros((2, 9), np.float32)},
        {"x": np.zeros((4, 3), np.float32)},
    )
    found = from_inputs(proto, folder).profile.of("x")
    assert found is not None and found.shapes == ((2, 3), (2, 3), (4, 9))
    write(tmp_path, {"x": np.zeros(3, np.float32)})
    with pytest.raises(UsageError, match="different numbers of dims"):
        from_inputs(proto, folder)


def test_no_samples(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no feeds"):
        from_inputs(model(), tmp_path)
