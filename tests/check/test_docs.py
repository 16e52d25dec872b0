"""The pages under docs/ are those that the source gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onnx_fix import docs, registry

FOLDER = Path(__file__).parents[2] / "docs"


def test_the_pages_are_up_to_date() -> None:
    assert docs.stale(FOLDER) == [], "run python -m onnx_fix.docs"


def test_stale_pages_are_told_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert docs.main([str(tmp_path)]) == 0
    assert docs.main([str(tmp_path), "--check"]) == 0
    assert capsys.readouterr().out == ""
    page = tmp_path / "checks/OF101.md"
    page.write_text(page.read_text() + "more\n")
    (tmp_path / "targets.md").unlink()
    left = tmp_path / "checks/OF199.md"
    left.write_text(f"{docs.GENERATED}\n")
    own = tmp_path / "checks/notes.md"
    own.write_text("by hand\n")
    assert docs.stale(tmp_path) == ["checks/OF101.md", "checks/OF199.md", "targets.md"]
    assert docs.main([str(tmp_path), "--check"]) == 1
    assert "OF101.md is not up to date" in capsys.readouterr().out
    assert docs.main([str(tmp_path)]) == 0
    assert docs.stale(tmp_path) == [] and not left.exists() and own.exists()


def test_links_lead_somewhere() -> None:
    pages = docs.pages()
    for path, text in pages.items():
        for link in re.findall(r"\]\(([^)]+\.md)\)", text):
            assert (FOLDER / path).parent.joinpath(link).resolve().is_relative_to(FOLDER), link
            assert (FOLDER / path).parent.joinpath(link).resolve().exists(), (path, link)


def test_every_pass_and_every_claim_is_on_a_page() -> None:
    pages = docs.pages()
    for cls in registry.default_order():
        page = pages[f"passes/{cls.name}.md"]
        for heading in ("**Before:**", "**After:**", "**Exact:**"):
            assert heading in page, (cls.name, heading)
        assert all(claim.only in page for claim in cls.mends)
        assert f"({cls.name}.md)" in pages["passes/README.md"]
