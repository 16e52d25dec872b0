"""The rules of the house, held by tests rather than by folklore."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from onnx_fix import registry
from onnx_fix.contract import BasePass, ModelPass, Pass
from onnx_fix.pipeline import configure

ROOT = Path(__file__).parent.parent
PASSES = sorted(
    p for p in (ROOT / "passes/onnx_fix_passes").glob("*.py") if not p.name.startswith("_")
)
SOURCES = sorted(p for d in ("rewriter", "passes", "plugins") for p in (ROOT / d).rglob("*.py"))


def all_passes() -> list[type[BasePass]]:
    return list(registry.installed().values())


def test_one_pass_per_module_named_like_it() -> None:
    for path in PASSES:
        mine = [c for c in all_passes() if c.__module__ == f"onnx_fix_passes.{path.stem}"]
        assert [c.name for c in mine] == [path.stem.replace("_", "-")], path.name


def test_every_pass_has_a_test_file() -> None:
    for path in PASSES:
        assert (ROOT / f"tests/passes/test_{path.stem}.py").exists(), path.name


@pytest.mark.parametrize("cls", all_passes(), ids=lambda c: c.name)
def test_passes_are_documented_and_frozen(cls: type[BasePass]) -> None:
    doc = cls.__doc__ or ""
    for heading in ("Before:", "After:", "Exact:", "Since:"):
        assert re.search(rf"^\s*{heading}", doc, re.MULTILINE), heading
    assert dataclasses.is_dataclass(cls) and issubclass(cls, Pass | ModelPass)
    assert getattr(cls, "__dataclass_params__").frozen  # noqa: B009
    instance = cls()
    assert configure(cls, instance.options()) == instance, "options do not survive the pipeline"


@pytest.mark.parametrize("cls", all_passes(), ids=lambda c: c.name)
def test_every_option_has_a_default_and_a_string(cls: type[BasePass]) -> None:
    from onnx_fix.render import _option_docs

    docs = _option_docs(cls)
    for option in dataclasses.fields(cls):
        assert option.default is not dataclasses.MISSING, option.name
        assert docs.get(option.name), option.name


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    found = imports(path)
    if "rewriter" in path.parts:
        assert not any(m.startswith(("onnx_fix_passes", "onnx_fix_plugins")) for m in found)
    own = f"onnx_fix_passes.{path.stem}"
    for module in found:
        if "passes" in path.parts and module.startswith("onnx_fix_passes."):
            other = module.split(".")[1]
            assert other.startswith("_") or module == own, f"{path.name} imports another pass"


@pytest.mark.parametrize("path", PASSES, ids=lambda p: p.stem)
def test_passes_read_no_weights_and_compare_no_versions(path: Path) -> None:
    tree = ast.parse(path.read_text())
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "values":
            # A dictionary's values() is called; a tensor's values is a property.
            assert id(node) in called, f"{path.name}:{node.lineno} reads the values of a tensor"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.fullmatch(r"(trt|rtx)-\d+(\.\d+)*", node.value), (
                f"{path.name}:{node.lineno} names a release; ask the target"
            )


def test_no_file_is_a_drawer() -> None:
    long = {p.relative_to(ROOT).as_posix(): n for p in SOURCES if (n := lines(p)) > 450}
    assert not long


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_the_declared_dependencies_are_those_imported() -> None:
    tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = (re.split(r"[<>=\[]", d)[0] for d in project["dependencies"])
    declared = {name.replace("-", "_").lower() for name in names}
    modules = {"pyyaml": "yaml", "protobuf": "google"}
    used = {m.split(".")[0] for p in SOURCES for m in imports(p)}
    assert {modules.get(d, d) for d in declared} <= used, "a dependency that nothing imports"


def test_the_readme_commands_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in re.findall(r"fixtures/[\w.]+\.onnx", readme):
        assert (ROOT / name).exists(), name
    known = registry.installed()
    for name in re.findall(r"^\| `([a-z-]+)` \|", readme, re.MULTILINE):
        assert name in known, name
