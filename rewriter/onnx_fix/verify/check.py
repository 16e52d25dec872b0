"""Run two models on the same feeds and compare what they give."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray

from onnx_fix.contract import Padded, Retyped
from onnx_fix.errors import UsageError
from onnx_fix.freezing import bound
from onnx_fix.functions import all_nodes
from onnx_fix.verify.compare import (
    Comparison,
    Tolerance,
    compare,
    default_tolerance,
    missing,
    widest,
)
from onnx_fix.verify.feeds import FeedMaker, Value
from onnx_fix.verify.padded import compare_padded
from onnx_fix.verify.pair import Outcome, Pair, Side
from onnx_fix.verify.result import Case, Verification, describe
from onnx_fix.verify.retyped import Ends
from onnx_fix.verify.runner import ORACLES, OracleName
from onnx_fix.verify.sizes import (
    Alternative,
    PlannedSizes,
    Profile,
    Profiles,
    Values,
    alternatives,
    first_of,
    plan,
)
from onnx_fix.verify.source import (
    ChainSource,
    ModelSource,
    PluginBody,
    Source,
    random_outputs,
)
from onnx_fix.verify.user_feeds import find_user_feeds, read_case

Model = onnx.ModelProto | str | Path
Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, label)`` before each case, and once at the end."""

OracleChoice = Literal["auto", "onnxruntime", "onnx.reference"]


def verify(
    before: Model,
    after: Model | Sequence[Model],
    *,
    before_dir: str | Path | None = None,
    after_dir: str | Path | None = None,
    reference: Model | None = None,
    reference_dir: str | Path | None = None,
    dims: Profiles | None = None,
    inputs_dir: str | Path | None = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    slack: float = 1.0,
    plugin_bodies: Sequence[PluginBody] = (),
    sizes: int = 3,
    oracle: OracleChoice = "auto",
    threads: int = 0,
    padded: Sequence[Padded] = (),
    frozen: Mapping[str, NDArray[np.generic]] | None = None,
    retyped: Sequence[Retyped] = (),
    values: Sequence[Values] = (),
    progress: Progress | None = None,
) -> Verification:
    """Compare what two models compute, on random feeds or the user's own.

    Each model is loaded once. The feeds follow the inputs that ``before`` declares. Where the
    original does not run at generated sizes, other sizes are tried before the case is given up as
    ``original failed``. onnxruntime judges, with graph optimisations off; where it lacks a kernel
    for either model, the reference implementation of onnx runs both.

    Args:
        before: The original, a model or a path. Neither it nor its folder is changed.
        after: The rewritten model, or the models that stand for it, which run in this order, each
            on inputs of ``before`` and outputs of those before it.
        before_dir: Folder of the original's external weights; a path's own folder by default.
        after_dir: The same for ``after``.
        reference: A model to compare against in place of ``before``, such as another export of the
            same network where ``before`` is invalid. Its inputs and outputs have the same names.
        reference_dir: Folder of its external weights.
        dims: Smallest, usual and largest size per symbol, of one profile or several; run in
            addition to generated sizes.
        inputs_dir: The user's own feeds, run in place of random ones (see `find_user_feeds`).
        seed: Case number i has the seed ``seed + i``.
        rtol: Relative tolerance for floats; by default `default_tolerance` of each output's dtype,
            or that of the narrowest float type the original computes with where that is wider.
        atol: Absolute tolerance for floats, likewise.
        slack: Factor on the default tolerances; those given by ``rtol`` and ``atol`` stand as they
            are.
        plugin_bodies: Bodies of plugin nodes, put into copies in memory alone.
        sizes: How many sets of sizes are generated (see `plan_sizes`).
        oracle: ``auto``, or the one to use for both models.
        threads: Threads within an operator; 0 leaves it to onnxruntime.
        padded: Outputs of ``after`` that are longer than the original's: only what their counts
            say is compared, and the counts themselves with the sizes in the original.
        frozen: Inputs of ``before`` that are constants in ``after``, with the values: ``before``
            is given these.
        retyped: Inputs and outputs of ``after`` that are of another element type: it is fed the
            same numbers in that type, and outputs are compared in it.
        values: Smallest, usual and largest elements of inputs whose values decide sizes, profile
            by profile as in ``dims``: fed in place of random ones at the sizes of the profile.
        progress: Told of each case before it runs.

    Raises:
        ModelError: A path is no readable model.
        UsageError: ``dims`` or ``inputs_dir`` do not suit the model.
    """
    original = ModelSource.of(before, before_dir, plugin_bodies)
    fixed: Source
    if isinstance(after, (onnx.ModelProto, str, Path)):
        fixed = ModelSource.of(after, after_dir, plugin_bodies)
    else:
        fixed = ChainSource.of(after, original.proto, after_dir, plugin_bodies)
    expected = original
    if reference is not None:
        expected = ModelSource.of(reference, reference_dir, plugin_bodies)
        _check_interface(original, expected)
    names: tuple[OracleName, ...] = ORACLES if oracle == "auto" else (oracle,)
    held = dict(frozen or {})
    ends = Ends(retyped)
    sides = Side(expected, threads, ends.original), Side(fixed, threads, ends.fixed)
    pair = Pair(*sides, names, held)
    judge = _Judge(expected, rtol, atol, slack, padded, ends)
    if inputs_dir is not None:
        cases = _user_cases(original.proto, inputs_dir, pair, judge, progress, held)
    else:
        shaped = bound(original.proto, held) if held else original.proto
        planned = plan(shaped, dims, sizes, values)
        cases = _random_cases(shaped, dims, planned, seed, pair, judge, progress, held)
    against = "original" if reference is None else "reference"
    return Verification(tuple(cases), seed, rtol, atol, against)


def _check_interface(original: ModelSource, reference: ModelSource) -> None:
    for what, ours, theirs in (
        ("inputs", original.inputs(), reference.inputs()),
        ("outputs", original.outputs(), reference.outputs()),
    ):
        if sorted(ours) != sorted(theirs):
            raise UsageError(
                f"the reference model's {what} are {', '.join(theirs)}; they must have the names "
                f"of the original's: {', '.join(ours)}"
            )


class _Judge:
    """Compares outputs, and knows which tolerance and which outputs a model calls for."""

    def __init__(
        self,
        expected: ModelSource,
        rtol: float | None,
        atol: float | None,
        slack: float,
        padded: Sequence[Padded],
        ends: Ends,
    ) -> None:
        self._ends = ends
        self._padded = {p.output: p for p in padded}
        self._counts = {name for p in padded for name, _ in p.counts}
        self._slack = slack
        self._rtol = rtol
        self._atol = atol
        self._narrowest = _narrowest_float(expected.proto)
        self._random = random_outputs(expected.proto)
        self._stated = {v.name: _stated_shape(v) for v in expected.proto.graph.output}

    def compare(self, outcome: Outcome) -> tuple[Comparison, ...]:
        """Compare output by output, and let go of each when done.

        Of an output that random operators take part in, only dtype and shape are compared.
        """
        found: list[Comparison] = []
        extra = [name for name in outcome.actual if name not in outcome.expected]
        counts = {name: outcome.actual.pop(name) for name in extra if name in self._counts}
        extra = [name for name in extra if name not in counts]
        for name in list(outcome.expected):
            wanted = outcome.expected.pop(name)
            if name not in outcome.actual:
                found.append(missing(name, "the fixed model has no such output"))
                continue
            got = outcome.actual.pop(name)
            limits = self._tolerance(wanted)
            wanted, limits = self._ends.output(name, wanted, limits)
            if name in self._padded:
                compared = compare_padded(self._padded[name], wanted, got, counts, limits)
            else:
                compared = compare(name, wanted, got, limits)
            if name in self._random:
                compared = _form_only(compared)
            found.append(compared)
        found += [missing(name, "the original has no such output") for name in extra]
        return tuple(found)

    def excluded(self, comparisons: Sequence[Comparison]) -> str:
        """Why the model itself excludes the feeds; empty where it does not.

        An input that decides a shape may be left only one value by the shape that the model states
        of its output. With another value the original gives what it says it never does; where that
        is all that differs, nothing is shown.
        """
        said = []
        for found in (c for c in comparisons if not c.ok):
            stated = self._stated.get(found.output)
            if stated is None or not found.dtype_equal or found.shape_equal:
                return ""
            if not _fits(found.shape, stated) or _fits(found.expected_shape, stated):
                return ""
            said.append(f"the original gives '{found.output}' a shape that it does not state")
        return "; ".join(said)

    def _tolerance(self, wanted: object) -> Tolerance | None:
        while isinstance(wanted, list) and wanted:
            wanted = wanted[0]
        if isinstance(wanted, Mapping) and wanted:
            wanted = next(iter(wanted.values()))
        if not isinstance(wanted, (np.ndarray, np.generic, float)):
            return None
        limits = default_tolerance(np.asarray(wanted).dtype)
        if self._narrowest is not None:
            limits = widest(limits, default_tolerance(self._narrowest))
        return Tolerance(
            limits.rtol * self._slack if self._rtol is None else self._rtol,
            limits.atol * self._slack if self._atol is None else self._atol,
        )


def _stated_shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """The sizes that a model states of an output, None where one is left open."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)


def _fits(shape: tuple[int, ...] | None, stated: tuple[int | None, ...]) -> bool:
    """Whether a shape is one of those stated."""
    if shape is None or len(shape) != len(stated):
        return False
    return all(s is None or s == size for size, s in zip(shape, stated, strict=True))


def _form_only(compared: Comparison) -> Comparison:
    return replace(
        compared,
        nan_equal=True,
        inf_equal=True,
        n_mismatched=0,
        note="random: only dtype and shape were compared"
        if compared.dtype_equal and compared.shape_equal
        else compared.note,
    )


def _narrowest_float(model: onnx.ModelProto) -> np.dtype[np.generic] | None:
    """Return the narrowest 16-bit float type of constants, inputs and casts; None without one."""
    types = {tensor.data_type for tensor in model.graph.initializer}
    types.update(value.type.tensor_type.elem_type for value in model.graph.input)
    for node in all_nodes(model):
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                types.add(attribute.i)
            elif attribute.type == onnx.AttributeProto.TENSOR:
                types.add(attribute.t.data_type)
    if onnx.TensorProto.BFLOAT16 in types:
        bfloat16: np.dtype[np.generic] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(np.float16) if onnx.TensorProto.FLOAT16 in types else None


def _judged(case: Case, judge: _Judge, outcome: Outcome) -> Case:
    if outcome.failed:
        status: Literal["original failed", "fixed failed"] = (
            "original failed" if outcome.failed == "original" else "fixed failed"
        )
        return replace(case, status=status, oracle=outcome.oracle, message=outcome.message)
    comparisons = judge.compare(outcome)
    # The user's own feeds are what the model is for, whatever it states.
    excluded = "" if case.source else judge.excluded(comparisons)
    if excluded:
        return replace(case, status="original failed", oracle=outcome.oracle, message=excluded)
    faults = [describe(comparison) for comparison in comparisons if not comparison.ok]
    return replace(
        case,
        status="differs" if faults else "equal",
        oracle=outcome.oracle,
        message="; ".join(faults[:4]),
        comparisons=comparisons,
    )


def _user_cases(
    model: onnx.ModelProto,
    inputs_dir: str | Path,
    pair: Pair,
    judge: _Judge,
    progress: Progress | None,
    frozen: Mapping[str, NDArray[np.generic]],
) -> Iterable[Case]:
    found = find_user_feeds(inputs_dir)
    broken = pair.load_failure()
    for number, user_case in enumerate(found):
        if progress:
            progress(number, len(found), user_case.name)
        start = time.perf_counter()
        feeds = read_case(user_case, model, frozen)
        blank = Case(user_case.name, {}, str(user_case.path), None, "", "equal")
        case = _judged(blank, judge, pair.run(feeds))
        if case.status == "original failed" and broken is None and pair.has_fallback:
            case = _settled(case, _judged(blank, judge, pair.fallback().run(feeds)))
        yield replace(case, seconds=time.perf_counter() - start)
    if progress:
        progress(len(found), len(found), "")


def _random_cases(
    model: onnx.ModelProto,
    dims: Profiles | None,
    planned: Sequence[PlannedSizes],
    seed: int,
    pair: Pair,
    judge: _Judge,
    progress: Progress | None,
    frozen: Mapping[str, NDArray[np.generic]],
) -> Iterator[Case]:
    runner = _RandomRun(model, first_of(dims), pair, judge, frozen)
    for number, sizes in enumerate(planned):
        if progress:
            progress(number, len(planned), _label(sizes.sizes))
        start = time.perf_counter()
        case = runner.run(sizes, seed + number)
        yield replace(case, seconds=time.perf_counter() - start)
    if progress:
        progress(len(planned), len(planned), "")


class _RandomRun:
    """Random feeds, set of sizes after set; remembers which sizes the original takes."""

    def __init__(
        self,
        model: onnx.ModelProto,
        dims: Profile | None,
        pair: Pair,
        judge: _Judge,
        frozen: Mapping[str, NDArray[np.generic]],
    ) -> None:
        self._model = model
        self._dims = dims
        self._pair = pair
        self._judge = judge
        self._maker = FeedMaker(model)
        self._frozen = frozen
        self._values: Mapping[str, tuple[int, ...]] = {}
        self._broken = pair.load_failure()
        self._rule: tuple[str, ...] | None = None
        self._second_helps = pair.has_fallback and self._broken is None

    def run(self, planned: PlannedSizes, seed: int) -> Case:
        """Try the planned sizes, then others, until one case compares something."""
        tries = [Alternative((), planned.sizes)]
        self._values = planned.values
        if self._broken is None:
            tries += alternatives(self._model, planned, self._dims)
        if self._rule is not None:
            # What made an earlier set run is tried first.
            tries.sort(key=lambda other: other.rule != self._rule)
        best: Case | None = None
        for number, other in enumerate(tries, 1):
            case = self._try(other.sizes, seed)
            if case.status != "original failed" and not _is_hollow(case):
                self._rule = other.rule or None
                return replace(case, tries=number)
            if best is None or (best.status == "original failed" != case.status):
                best = case
        assert best is not None
        if best.status == "original failed" and planned.origin != "ones":
            best = self._second_opinion(best, planned.sizes, seed)
        return replace(best, tries=len(tries))

    def _try(self, sizes: Mapping[str, int], seed: int, pair: Pair | None = None) -> Case:
        case = Case(_label(sizes), dict(sizes), None, seed, "", "equal")
        try:
            feeds = {**self._maker.make(sizes, seed), **self._frozen}
            feeds |= {n: _like(feeds[n], v) for n, v in self._values.items() if n in feeds}
        except UsageError as error:
            return replace(case, status="original failed", message=str(error))
        return _judged(case, self._judge, self._broken or (pair or self._pair).run(feeds))

    def _second_opinion(self, failed: Case, sizes: Mapping[str, int], seed: int) -> Case:
        if not self._second_helps:
            return failed
        case = _settled(failed, self._try(sizes, seed, self._pair.fallback()))
        # The reference is slow: once it has not helped, it is not asked again.
        self._second_helps = case.status != "original failed"
        return case


def _like(value: Value, elements: tuple[int, ...]) -> Value:
    """An array of the shape and type of another, with given elements where as many fit."""
    if isinstance(value, list) or value.size != len(elements):
        return value
    return np.asarray(elements).astype(value.dtype).reshape(value.shape)


def _settled(failed: Case, second: Case) -> Case:
    """Take the reference's word on an original that onnxruntime loads and does not run.

    onnxruntime lacks parts of some operators (a mask shape of Attention, say) and tells so as late
    as in the run. Where the reference fails too, nothing is known.
    """
    if second.status == "original failed":
        return replace(failed, message=f"{failed.message}; {second.message}")
    return replace(second, message="; ".join(filter(None, (second.message, failed.message))))


def _is_hollow(case: Case) -> bool:
    """Whether all outputs were empty, which shows little: no keypoint was found, say."""
    return case.status == "equal" and not any(c.n_elements for c in case.comparisons)


def _label(sizes: Mapping[str, int]) -> str:
    return " ".join(f"{name}={size}" for name, size in sizes.items()) or "fixed sizes"
