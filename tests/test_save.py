"""Output appears whole or not at all, weights beside it, the input never touched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

import onnx_fix.save
from onnx_fix.errors import ModelError, UsageError
from onnx_fix.save import external_files, save


def weighty(folder: Path, location: str = "model.data") -> ModelProto:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        main (float[N, 4] x) => (float[N, 4] y) { y = Add (x, w) }"""
    )
    w = proto.graph.initializer.add()
    w.name, w.data_type, w.data_location = "w", TensorProto.FLOAT, TensorProto.EXTERNAL
    w.dims.extend([4])
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = w.external_data.add()
        entry.key, entry.value = key, value
    file = folder / location
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(np.asarray([1, 2, 3, 4], np.float32).tobytes())
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return proto


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    weighty(folder, "sub/model.data")
    return folder / "model.onnx"


def read(path: Path) -> ModelProto:
    proto = ModelProto()
    proto.ParseFromString(path.read_bytes())
    return proto


def test_weights_are_copied_beside_the_output(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    proto = read(source)
    files = external_files(proto, source.parent)
    save(proto, out / "fixed.onnx", files=files, source=source)
    assert sorted(p.name for p in out.rglob("*")) == ["fixed.onnx", "model.data", "sub"]
    # onnx itself refuses weights behind hard or symbolic links.
    assert not os.path.samefile(out / "sub/model.data", source.parent / "sub/model.data")
    loaded = onnx.load(out / "fixed.onnx")
    assert onnx.numpy_helper.to_array(loaded.graph.initializer[0]).tolist() == [1, 2, 3, 4]


def test_weights_are_cloned_where_the_file_system_can(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_copy(*_args: object) -> None:
        raise OSError("copied though it was cloned")

    def clone(read: int, written: int) -> bool:
        return os.write(written, os.read(read, 1000)) == 16

    monkeypatch.setattr(onnx_fix.save, "_clone", clone)
    monkeypatch.setattr("onnx_fix.save.shutil.copyfile", no_copy)
    out = tmp_path / "out"
    out.mkdir()
    proto = read(source)
    save(proto, out / "fixed.onnx", files=external_files(proto, source.parent), source=source)
    assert (out / "sub/model.data").read_bytes() == (source.parent / "sub/model.data").read_bytes()


def test_the_same_folder_shares_the_weights(source: Path) -> None:
    proto = read(source)
    before = (source.parent / "sub/model.data").stat()
    save(
        proto,
        source.parent / "fixed.onnx",
        files=external_files(proto, source.parent),
        source=source,
    )
    after = (source.parent / "sub/model.data").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_the_input_is_never_overwritten(source: Path) -> None:
    link = source.parent / "link.onnx"
    link.symlink_to(source)
    hard = source.parent / "hard.onnx"
    os.link(source, hard)
    for output in (source, link, hard, source.parent / "sub/../model.onnx"):
        with pytest.raises(UsageError, match="input"):
            save(read(source), output, files={}, source=source, force=True)


def test_an_existing_output_needs_force(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "there.onnx"
    output.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        save(read(source), output, files={}, source=source)
    assert output.read_text() == "mine"
    save(read(source), output, files={}, source=source, force=True)
    assert read(output) == read(source)


def test_a_stranger_s_data_file_is_not_replaced_unasked(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "sub/model.data").write_text("mine")
    proto = read(source)
    files = external_files(proto, source.parent)
    with pytest.raises(UsageError, match="no data file of this model"):
        save(proto, out / "fixed.onnx", files=files, source=source)
    assert (out / "sub/model.data").read_text() == "mine"
    assert not (out / "fixed.onnx").exists()


def test_a_failure_leaves_nothing_behind(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match="No space left"):
        save(
            read(source),
            out / "fixed.onnx",
            files=external_files(read(source), source.parent),
            source=source,
        )
    assert list(out.iterdir()) == []


def test_folders_are_checked_first(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        save(read(source), tmp_path / "nowhere/fixed.onnx", files={}, source=source)
    with pytest.raises(UsageError, match="is a folder"):
        save(read(source), tmp_path, files={}, source=source)


def test_missing_data_is_said_before_any_work(source: Path) -> None:
    (source.parent / "sub/model.data").unlink()
    with pytest.raises(ModelError, match="no such file"):
        external_files(read(source), source.parent)


def test_data_of_subgraphs_and_attributes_is_found(tmp_path: Path) -> None:
    proto = weighty(tmp_path)
    inner = helper.make_graph([], "inner", [], [])
    inner.initializer.append(proto.graph.initializer[0])
    inner.initializer[0].external_data[0].value = "inner.data"
    (tmp_path / "inner.data").write_bytes(bytes(16))
    proto.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner))
    assert set(external_files(proto, tmp_path)) == {"model.data", "inner.data"}
