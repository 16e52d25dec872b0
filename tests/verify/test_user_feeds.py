"""The user's own feeds: what is found, and what is said of wrong files."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

from onnx_fix.errors import UsageError
from onnx_fix.verify import load_user_feeds, verify


@pytest.fixture
def model() -> onnx.ModelProto:
    return parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
           g (float[N,3] x, int64[N] ids) => (float[N,3] y)
           { c = Cast <to=1> (ids) m = Constant <value_ints=[1]> () u = Unsqueeze (c, m)
             y = Add (x, u) }"""
    )


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, allow_pickle=True, **arrays)


def good(n: int = 4) -> dict[str, np.ndarray]:
    return {"x": np.ones((n, 3), np.float32), "ids": np.arange(n)}


def test_npz_files_and_folders_of_npy_are_cases(tmp_path: Path, model: onnx.ModelProto) -> None:
    save(tmp_path / "b.npz", good(2))
    (tmp_path / "a").mkdir()
    for name, array in good(5).items():
        np.save(tmp_path / "a" / f"{name}.npy", array)
    cases = dict(load_user_feeds(tmp_path, model))
    assert {name: np.shape(feeds["x"]) for name, feeds in cases.items()} == {
        "b.npz": (2, 3),
        "a": (5, 3),
    }
    result = verify(model, model, inputs_dir=tmp_path)
    assert [(case.label, case.status) for case in result.cases] == [
        ("b.npz", "equal"),
        ("a", "equal"),
    ]


def test_input_names_that_no_file_can_have(tmp_path: Path, model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "net/x:0"
    model.graph.node[-1].input[0] = "net/x:0"
    np.save(tmp_path / "net_x_0.npy", good()["x"])
    np.save(tmp_path / "ids.npy", good()["ids"])
    ((_, feeds),) = load_user_feeds(tmp_path, model)
    assert sorted(feeds) == ["ids", "net/x:0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": None}, r"case.npz: holds no 'ids', expected int64 of shape \[N\]"),
        ({"more": np.ones(2)}, "no input 'more'; it has: x, ids"),
        ({"x": np.ones((4, 3))}, r"'x' is float64, expected float32 of shape \[N, 3\]"),
        ({"x": np.ones((4, 2), np.float32)}, r"'x' has shape \[4, 2\], expected float32"),
        ({"x": np.ones(4, np.float32)}, r"'x' has shape \[4\], expected float32"),
        ({"ids": np.arange(5)}, r"'ids' has shape \[5\].*with N = 4"),
    ],
)
def test_wrong_arrays_are_named(
    tmp_path: Path,
    model: onnx.ModelProto,
    change: dict[str, np.ndarray | None],
    message: str,
) -> None:
    arrays = {k: v for k, v in (good() | change).items() if v is not None}
    save(tmp_path / "case.npz", arrays)
    with pytest.raises(UsageError, match=message):
        verify(model, model, inputs_dir=tmp_path)


def test_folders_without_feeds_and_broken_files(tmp_path: Path, model: onnx.ModelProto) -> None:
    with pytest.raises(UsageError, match="holds no feeds"):
        list(load_user_feeds(tmp_path, model))
    with pytest.raises(UsageError, match="no such folder"):
        list(load_user_feeds(tmp_path / "gone", model))
    (tmp_path / "case.npz").write_bytes(b"no archive")
    with pytest.raises(UsageError, match=r"case\.npz: cannot be read as a numpy file"):
        list(load_user_feeds(tmp_path, model))


def test_objects_are_not_unpickled(tmp_path: Path, model: onnx.ModelProto) -> None:
    np.savez(tmp_path / "case.npz", x=np.array([{}], dtype=object), ids=np.arange(4))
    with pytest.raises(UsageError, match="cannot be read"):
        list(load_user_feeds(tmp_path, model))


def test_strings_and_bfloat16_survive_numpy_files(tmp_path: Path) -> None:
    built = parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
           g (string[2] s, bfloat16[2] h) => (string[2] t, bfloat16[2] k)
           { t = Identity (s) k = Identity (h) }"""
    )
    halves = np.array([1.5, -2], np.float32).astype(ml_dtypes.bfloat16)
    np.savez(tmp_path / "case.npz", s=np.array(["a", "bc"]), h=halves)
    ((_, feeds),) = load_user_feeds(tmp_path, built)
    assert isinstance(feeds["h"], np.ndarray) and feeds["h"].dtype == ml_dtypes.bfloat16
    result = verify(built, built, inputs_dir=tmp_path)
    assert result.status == "equal"
