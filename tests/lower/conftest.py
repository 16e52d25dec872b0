"""Lower a model, and compare what it computes before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidGraph, NotImplemented

from onnx_fix.lower import lower
from onnx_fix.testing import as_proto, run_model

Feeds = Mapping[str, Any]


def _by_reference(model: ModelProto, feeds: Feeds) -> list[Any]:
    return list(ReferenceEvaluator(model).run(None, dict(feeds)))


def _lowered(model: ModelProto | str, opset: int) -> ModelProto:
    lowered = lower(as_proto(model), opset)
    assert not lowered.refusals, lowered.refusals
    assert [o.version for o in lowered.model.opset_import if not o.domain] == [opset]
    onnx.checker.check_model(lowered.model, full_check=True)
    return lowered.model


def _ops(model: ModelProto) -> list[str]:
    return [n.op_type for n in model.graph.node if n.op_type != "Constant"]


def _same(got: NDArray[Any], want: NDArray[Any], rtol: float, atol: float) -> None:
    assert got.dtype == want.dtype and got.shape == want.shape
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)
    if rtol == atol == 0.0:
        real = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got[real]), np.signbit(want[real]))


@pytest.fixture
def check() -> Callable[..., ModelProto]:
    """Lower ``model`` to ``opset``; the lowered model.

    It must be valid, be the ops ``want`` (constants aside), and give for every feed what the
    original gives, in each of the ``runtimes`` that runs the original; one must.
    """

    def compare(
        model: ModelProto | str,
        opset: int,
        feeds: Sequence[Feeds],
        *,
        want: Sequence[str] | None = None,
        rtol: float = 0.0,
        atol: float = 0.0,
        runtimes: Sequence[str] = ("onnxruntime", "reference"),
    ) -> ModelProto:
        proto, after = as_proto(model), _lowered(model, opset)
        if want is not None:
            assert _ops(after) == list(want)
        answered = 0
        for runtime in runtimes:
            run = run_model if runtime == "onnxruntime" else _by_reference
            for feed in feeds:
                try:
                    wanted = run(proto, feed)
                except (InvalidGraph, NotImplemented, TypeError, ValueError):
                    continue
                answered += 1
                for got, expected in zip(run(after, feed), wanted, strict=True):
                    _same(got, expected, rtol, atol)
        assert answered
        return after

    return compare


@pytest.fixture
def below() -> Callable[..., list[str]]:
    """Lower ``model`` to ``opset``; the op types of the result, constants aside.

    It must be valid, and give for every feed what the original gives by onnxruntime: to the bit, or
    within ``rtol`` and ``atol``. ``expected`` states the outputs where no runtime runs the
    original, and ``by_reference`` runs both with ``onnx.reference``.
    """

    def compare(
        model: ModelProto | str,
        opset: int,
        *feeds: Feeds,
        rtol: float = 0.0,
        atol: float = 0.0,
        expected: list[Any] | None = None,
        by_reference: bool = False,
        original_by_reference: bool = False,
    ) -> list[str]:
        proto, after = as_proto(model), _lowered(model, opset)
        for feed in feeds:
            first = _by_reference if by_reference or original_by_reference else run_model
            second = _by_reference if by_reference else run_model
            wanted = expected if expected is not None else first(proto, feed)
            for want, got in zip(wanted, second(after, feed), strict=True):
                _same(got, want, rtol, atol)
        return _ops(after)

    return compare


@pytest.fixture
def refused() -> Callable[[ModelProto | str, int], str]:
    """The reason why a model cannot be lowered; the original comes back."""

    def reason(model: ModelProto | str, opset: int) -> str:
        proto = as_proto(model)
        lowered = lower(proto, opset)
        assert lowered.refusals and lowered.model is proto
        return lowered.refusals[0].reason

    return reason


@pytest.fixture
def refusal(
    refused: Callable[[ModelProto | str, int], str],
) -> Callable[[ModelProto | str, int], str]:
    """The same by another name."""
    return refused
