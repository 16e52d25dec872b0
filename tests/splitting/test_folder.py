"""The folder of the parts appears whole or not at all, and nothing else is deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnx_fix.errors import UsageError
from onnx_fix.splitting.folder import check_folder, copy_data, new_folder
from onnx_fix.splitting.manifest import NAME


def fill(folder: Path, text: str = "old") -> Path:
    folder.mkdir()
    (folder / NAME).write_text(text)
    (folder / "part-0-engine.plan").write_text("built")
    return folder


def test_a_new_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_folder(out, None, force=False)
    with new_folder(out) as staging:
        (staging / "a").write_text("1")
        assert not out.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (out / "a").read_text() == "1"
    assert out.stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    check_folder(out, None, force=False)
    with new_folder(out) as staging:
        (staging / "a").write_text("1")
    assert [p.name for p in out.iterdir()] == ["a"]


def test_an_error_leaves_everything_as_it_was(tmp_path: Path) -> None:
    out = fill(tmp_path / "out")
    with pytest.raises(KeyError), new_folder(out) as staging:
        (staging / "a").write_text("1")
        raise KeyError
    assert sorted(p.name for p in out.iterdir()) == [NAME, "part-0-engine.plan"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_cannot_be_put_in_place_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = fill(tmp_path / "out")
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if source.name == "new":
            raise PermissionError(13, "not allowed")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(UsageError, match=r"writing .*out failed: not allowed"), new_folder(out):
        pass
    assert (out / NAME).read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_old_folder_that_cannot_be_put_back_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = fill(tmp_path / "out")
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if source.name != "out":
            raise PermissionError(13, "not allowed")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(UsageError), new_folder(out):
        pass
    (kept,) = tmp_path.rglob(NAME)
    assert kept.read_text() == "old"


def test_force_replaces_only_what_split_wrote(tmp_path: Path) -> None:
    out = fill(tmp_path / "out")
    with pytest.raises(UsageError, match="not empty; pass --force"):
        check_folder(out, None, force=False)
    check_folder(out, None, force=True)
    with new_folder(out) as staging:
        (staging / NAME).write_text("new")
    assert [p.name for p in out.iterdir()] == [NAME]
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"has no manifest\.json.*--force would delete"):
        check_folder(other, None, force=True)


def test_folders_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match="is no folder"):
        check_folder(file, None, force=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is a link"):
        check_folder(link, None, force=True)
    with pytest.raises(UsageError, match="there is no such folder"):
        check_folder(tmp_path / "no" / "out", None, force=False)
    out = fill(tmp_path / "out")
    (out / "model.onnx").write_text("")
    with pytest.raises(UsageError, match="holds the input"):
        check_folder(out, out / "model.onnx", force=True)
    monkeypatch.chdir(out)
    for path in (Path(), Path(".."), out):
        with pytest.raises(UsageError, match="the folder you are in, or one above"):
            check_folder(path, None, force=True)


def test_data_files_keep_their_places(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"123")
    copy_data(tmp_path / "out", {"a/b.data": tmp_path / "w"})
    assert (tmp_path / "out/a/b.data").read_bytes() == b"123"
