"""Fixtures that many tests share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from onnx import ModelProto
from onnx.backend.test.case.test_case import TestCase

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"


@cache
def _node_cases() -> list[TestCase]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return list(collect_testcases(None))


@pytest.fixture(scope="session")
def node_cases() -> list[TestCase]:
    """All ONNX backend node tests that the installed onnx ships, with recorded outputs."""
    return _node_cases()


@pytest.fixture(scope="session")
def node_models(node_cases: list[TestCase]) -> dict[str, ModelProto]:
    """The models of all ONNX backend node tests, by name of the test."""
    return {c.name: c.model for c in node_cases if c.model is not None}


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of exported models that the repository ships."""
    return FIXTURES
