"""Help for the tests of passes, for ours and for those of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.contract import BasePass, PassResult
from onnx_fix.engine import Engine, Step
from onnx_fix.model import Model
from onnx_fix.target import Target, load_target

Feeds = Mapping[str, NDArray[np.generic]]


def as_proto(model: ModelProto | str) -> ModelProto:
    """A model, parsed from ONNX text where it is a string."""
    return onnx.parser.parse_model(model) if isinstance(model, str) else model


def run_pass(
    pass_: BasePass | Sequence[BasePass],
    model: ModelProto | str,
    *,
    target: str | Target = "trt-7.2",
    rounds: int = 12,
    base_dir: Path | None = None,
) -> tuple[ModelProto, list[PassResult]]:
    """Run passes to a fixed point; the rewritten model (checked in full) and the results."""
    chosen = load_target(target) if isinstance(target, str) else target
    work = Model(as_proto(model), base_dir, chosen)
    passes = [pass_] if isinstance(pass_, BasePass) else list(pass_)
    results = Engine(work).run([Step(p) for p in passes], rounds=rounds)
    after = work.to_proto()
    if not any(n.domain.startswith("trt.") for n in after.graph.node):
        onnx.checker.check_model(after, full_check=False)
    return after, results


def run_model(model: ModelProto, feeds: Feeds) -> list[NDArray[np.generic]]:
    """The outputs by onnxruntime without graph optimisation."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(v) for v in session.run(None, dict(feeds))]


def run_reference(model: ModelProto, feeds: Feeds) -> list[NDArray[np.generic]]:
    """The outputs by ``onnx.reference``."""
    from onnx.reference import ReferenceEvaluator

    return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, dict(feeds))]


def assert_same_outputs(
    before: ModelProto,
    after: ModelProto,
    feeds: Feeds,
    *,
    exact: bool = True,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    reference: bool = False,
) -> None:
    """Run both models on the same feeds; dtype, shape, NaN pattern and values must agree."""
    run = run_reference if reference else run_model
    for output, want, have in zip(
        before.graph.output, run(before, feeds), run(after, feeds), strict=True
    ):
        assert want.dtype == have.dtype, (output.name, want.dtype, have.dtype)
        assert want.shape == have.shape, (output.name, want.shape, have.shape)
        if exact:
            np.testing.assert_array_equal(have, want, err_msg=output.name)
        else:
            np.testing.assert_allclose(
                have.astype(np.float64), want.astype(np.float64), rtol, atol, err_msg=output.name
            )


def ops(model: ModelProto) -> list[str]:
    """The op types of the main graph in order, which is what most tests assert."""
    return [n.op_type for n in model.graph.node]


def assert_rewrites(
    pass_: BasePass,
    before: ModelProto | str,
    *,
    after: Sequence[str],
    feeds: Sequence[Feeds] = (),
    target: str | Target = "trt-7.2",
    exact: bool = True,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    reference: bool = False,
) -> ModelProto:
    """The pass turns ``before`` into a model of the ops ``after`` that computes the same.

    Names of inputs and outputs, their types and the metadata must have survived, a second run must
    change nothing, and both models give the same numbers on every one of ``feeds``.
    """
    proto = as_proto(before)
    copy = proto.SerializeToString(deterministic=True)
    fixed, _ = run_pass(pass_, proto, target=target)
    assert proto.SerializeToString(deterministic=True) == copy, "the pass changed its argument"
    assert ops(fixed) == list(after), ops(fixed)
    assert list(fixed.graph.input) == list(proto.graph.input)
    assert list(fixed.graph.output) == list(proto.graph.output)
    assert list(fixed.metadata_props) == list(proto.metadata_props)
    again, results = run_pass(pass_, fixed, target=target)
    assert not any(r.changes for r in results), "a second run changes the model again"
    assert again == fixed
    for feed in feeds:
        assert_same_outputs(
            proto, fixed, feed, exact=exact, rtol=rtol, atol=atol, reference=reference
        )
    return fixed


def skip_reasons(
    pass_: BasePass, model: ModelProto | str, *, target: str | Target = "trt-7.2"
) -> list[str]:
    """The reasons with which a pass leaves the nodes of a model alone; it must change nothing."""
    proto = as_proto(model)
    after, results = run_pass(pass_, proto, target=target)
    assert not any(r.changes for r in results), [r.changes for r in results]
    assert after == proto
    return [s.reason for r in results for s in r.skipped]
