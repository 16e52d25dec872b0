"""ONNX's node tests with the outputs that they record, through a pass."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.contract import BasePass
from onnx_fix.testing import Feeds, run_model, run_pass, run_reference


def array(value: object) -> NDArray[np.generic]:
    """A recorded tensor as an array."""
    return np.asarray(numpy_helper.to_array(value) if isinstance(value, TensorProto) else value)


def feeds_of(model: ModelProto, given: Iterable[object]) -> Feeds:
    """The recorded inputs by name."""
    return {
        v.name: array(x) for v, x in zip(model.graph.input, given, strict=False) if x is not None
    }


def assert_recorded(
    pass_: BasePass,
    cases: Iterable[TestCase],
    target: str,
    *ops: str,
    tolerance: float = 0.0,
    reference: bool = False,
) -> tuple[list[str], dict[str, list[str]]]:
    """The tests of some ops that the pass changes, all with the recorded outputs, and the reasons
    for leaving the others."""
    changed, left = [], {}
    for case in cases:
        if case.model is None or not any(n.op_type in ops for n in case.model.graph.node):
            continue
        fixed, results = run_pass(pass_, case.model, target=target)
        if not any(r.changes for r in results):
            left[case.name] = [s.reason for r in results for s in r.skipped]
            continue
        changed.append(case.name)
        for given, wanted in case.data_sets or []:
            feeds = feeds_of(case.model, given)
            have = (run_reference if reference else run_model)(fixed, feeds)
            for out, want in zip(have, map(array, wanted), strict=True):
                assert (out.shape, out.dtype) == (want.shape, want.dtype), case.name
                np.testing.assert_allclose(
                    out.astype(np.float64),
                    want.astype(np.float64),
                    tolerance,
                    tolerance,
                    err_msg=case.name,
                )
    return changed, left
