"""The pass and the test that CONTRIBUTING.md shows work as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from onnx_fix.contract import BasePass
from onnx_fix.registry import passes_in

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()


def test_the_example_pass_and_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, test = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "hard_swish_to_mul.py").write_text(code)
    module = ModuleType("onnx_fix_passes.hard_swish_to_mul")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, str(tmp_path / "hard_swish_to_mul.py"), "exec"), module.__dict__)
    (cls,) = passes_in(module)
    assert issubclass(cls, BasePass) and cls.name == "hard-swish-to-mul"
    names: dict[str, object] = {}
    exec(compile(test, "CONTRIBUTING.md", "exec"), names)
    run = names["test_hard_swish"]
    assert callable(run)
    run()
