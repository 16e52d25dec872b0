"""Run models of odd types and judge whether a lowered one computes what the original does.

Two runtimes: onnxruntime without graph optimisation, which has kernels for most old versions of
ops, and `onnx.reference`, which knows the newest ones and every element type. Where both run the
original and the lowered model, onnxruntime decides.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from onnx import GraphProto, ModelProto

from onnx_fix.functions import every_node

Feeds = Mapping[str, Any]
Outputs = list[Any]
Outcome = Literal["right", "refused", "wrong", "invalid", "crash", "not run"]
"""``invalid``: the checker does not take the model at the opset asked for. ``not run``: it does,
and no runtime has kernels for it."""

NEWEST_ONLY = {
    "Softmax": 13,
    "LogSoftmax": 13,
    "Hardmax": 13,
    "BatchNormalization": 14,
    "RoiAlign": 16,
}
"""Ops to which onnx.reference gives the meaning of this version whatever the model says."""

RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
"""Ops whose values differ with every run; only shapes and types are compared."""


@dataclass(frozen=True)
class Verdict:
    """What came of lowering a case, and why it is not right."""

    outcome: Outcome
    message: str = ""


def by_onnxruntime(model: ModelProto, feeds: Feeds) -> Outputs:
    """The outputs by onnxruntime."""
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feeds)))


def by_reference(model: ModelProto, feeds: Feeds) -> Outputs:
    """The outputs by `onnx.reference`."""
    from onnx.reference import ReferenceEvaluator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(ReferenceEvaluator(model).run(None, dict(feeds)))


RUNTIMES: dict[str, Callable[[ModelProto, Feeds], Outputs]] = {
    "onnxruntime": by_onnxruntime,
    "onnx.reference": by_reference,
}


def run(model: ModelProto, feeds: Feeds, runtime: str) -> Outputs | str:
    """The outputs by one runtime, or why it gives none.

    Runtimes raise what they like on a model that they have no kernels for, the reference bare
    Python errors of all kinds.
    """
    if runtime == "onnx.reference":
        old = [op for op in ops(model.graph) if opset_of(model) < NEWEST_ONLY.get(op, 0)]
        if old:
            return f"onnx.reference knows the newest {old[0]} alone"
    try:
        return RUNTIMES[runtime](model, feeds)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def ops(graph: GraphProto) -> set[str]:
    """The ops of a graph and the bodies in it."""
    return {node.op_type for _, node in every_node(graph.node)}


def computed_otherwise(model: ModelProto) -> str:
    """Why onnxruntime is not to be compared with another source, empty where it is."""
    for node in model.graph.node:
        if node.op_type == "RoiAlign" and any(a.s == b"max" for a in node.attribute):
            return "onnxruntime computes RoiAlign with mode max otherwise than its text says"
    return ""


def invalid(model: ModelProto) -> str:
    """What the checker has against a model, empty where nothing."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        RuntimeError,
        ValueError,
    ) as error:
        return " ".join(str(error).split())[:300]
    return ""


def opset_of(model: ModelProto) -> int:
    """The opset of the default domain."""
    return max(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


TOLERANCES = {
    "float64": (1e-6, 1e-9),
    "float32": (1e-4, 1e-6),
    "float16": (5e-3, 1e-3),
    "bfloat16": (3e-2, 1e-2),
}
"""Relative and absolute, by element type; all others must be equal."""


def difference(have: Any, want: Any, values: bool = True) -> str:
    """How an output differs from the one wanted, empty where it does not."""
    if want is None or have is None:
        return "" if want is None and have is None else f"{have} instead of {want}"
    if isinstance(want, list | tuple):
        if not isinstance(have, list | tuple) or len(have) != len(want):
            return f"{have} instead of {want}"
        return next((d for h, w in zip(have, want, strict=True) if (d := difference(h, w))), "")
    mine, theirs = np.asarray(have), np.asarray(want)
    if mine.dtype.kind in "OSUT" and theirs.dtype.kind in "OSUT":
        return "" if mine.astype(str).tolist() == theirs.astype(str).tolist() else "other strings"
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
        return f"{mine.dtype}{list(mine.shape)} instead of {theirs.dtype}{list(theirs.shape)}"
    if not values:
        return ""
    if theirs.dtype.name in TOLERANCES:
        rtol, atol = TOLERANCES[theirs.dtype.name]
        a, b = mine.astype(np.float64), theirs.astype(np.float64)
        # What a sum (of a spectrum, say) rounds away goes with its largest terms.
        atol *= max(1.0, float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b))))
        same = np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    else:
        same = mine.tobytes() == theirs.tobytes() or np.array_equal(mine, theirs)
    return "" if same else f"{brief(mine)} instead of {brief(theirs)}"


def brief(array: Any) -> str:
    """The first values of an array."""
    return f"{np.array2string(np.asarray(array).ravel()[:8], precision=6, max_line_width=200)}"


def first_difference(have: Outputs, want: Outputs, values: bool = True) -> str:
    """How outputs differ from the ones wanted, empty where they do not."""
    if len(have) != len(want):
        return f"{len(have)} outputs instead of {len(want)}"
    pairs = zip(have, want, strict=True)
    return next((d for h, w in pairs if (d := difference(h, w, values))), "")


def compare(
    model: ModelProto, feeds: Feeds, expected: Mapping[str, Outputs], opset: int
) -> Verdict:
    """The verdict on a lowered model.

    Args:
        model: The lowered model.
        feeds: Its inputs.
        expected: What each source gives for the original, by the name of a runtime or "recorded".
        opset: The opset it was to be lowered to.
    """
    if opset_of(model) != opset:
        return Verdict("refused", f"stays at opset {opset_of(model)}")
    if message := invalid(model):
        return Verdict("invalid", message)
    values = not ops(model.graph) & RANDOM
    failures: list[str] = []
    outputs: dict[str, Outputs] = {}
    for runtime in RUNTIMES:
        have = run(model, feeds, runtime)
        if isinstance(have, str):
            failures.append(f"{runtime}: {have}")
            continue
        if runtime in expected:
            return _verdict(have, expected[runtime], values, runtime)
        outputs[runtime] = have
    for runtime, have in outputs.items():
        source = next(iter(expected))
        if message := computed_otherwise(model):
            return Verdict("not run", message)
        return _verdict(have, expected[source], values, f"{runtime}, original by {source}")
    return Verdict("not run", " ".join("; ".join(failures).split())[:300])


def _verdict(have: Outputs, want: Outputs, values: bool, source: str) -> Verdict:
    message = first_difference(have, want, values)
    return Verdict("wrong", f"{message} ({source})") if message else Verdict("right")
