"""One rewriting job: a model, a target and the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.contract import Change, ModelPass, PassResult
from onnx_fix.engine import Engine, Step
from onnx_fix.errors import ModelError
from onnx_fix.freezing import bound
from onnx_fix.load import check_loaded, load_proto, stored_tensors
from onnx_fix.model import Model
from onnx_fix.pipeline import Pipeline
from onnx_fix.profiles import Asked
from onnx_fix.target import Target
from onnx_fix.verify.symbols import symbols
from onnx_fix.weights import is_external

Observer = Callable[[Model, PassResult], None]


@dataclass(frozen=True)
class Job:
    """One rewriting job that can be run again up to some change, which bisection needs."""

    proto: ModelProto
    base_dir: Path | None
    target: Target
    steps: Sequence[Step]
    rounds: int

    def frozen(self) -> dict[str, NDArray[np.generic]]:
        """The inputs that become constants, with their values."""
        found: dict[str, NDArray[np.generic]] = {}
        for step in self.steps:
            if isinstance(step.pass_, ModelPass):
                found.update(step.pass_.frozen_inputs(self.proto))
        return found

    def fixed_dims(self) -> dict[str, int]:
        """The symbols of inputs that become numbers, with these; not those of frozen inputs, which
        are numbers then already."""
        found: dict[str, int] = {}
        for step in self.steps:
            if isinstance(step.pass_, ModelPass):
                found.update(step.pass_.fixed_dims(self.proto))
        left = symbols(bound(self.proto, self.frozen())) if found else {}
        return {name: number for name, number in found.items() if name in left}

    def made_dynamic(self, changes: Sequence[Change]) -> bool:
        """Whether changes made dims of inputs symbols."""
        return any(change.pass_name in self._adding_dims() for change in changes)

    def _adding_dims(self) -> set[str]:
        passes = (step.pass_ for step in self.steps)
        return {p.name for p in passes if isinstance(p, ModelPass) and p.adds_dims()}

    def sizes_that_run(self, model: Model) -> dict[str, int]:
        """Sizes at which a model is known to run, where it does at few."""
        found: dict[str, int] = {}
        for step in self.steps:
            if isinstance(step.pass_, ModelPass) and step.pass_.adds_dims():
                found.update(step.pass_.sizes_that_run(model))
        return found

    def known_to_original(self, profiles: Sequence[Sequence[Asked]]) -> list[list[Asked]]:
        """The ranges that the original can have: dims that become dynamic are numbers there."""
        known = symbols(self.proto)
        free = not self._adding_dims()
        return [[one for one in ranges if free or one.name in known] for ranges in profiles]

    def other_exports(self) -> list[Path]:
        """The models that the result is to equal besides the original."""
        passes = (step.pass_ for step in self.steps)
        found = (p.other_exports() for p in passes if isinstance(p, ModelPass))
        return [Path(path) for paths in found for path in paths]

    def model(self) -> Model:
        """The model as it came."""
        return Model(self.proto, self.base_dir, self.target)

    def rewrite(
        self, model: Model, limit: int | None = None, after_each: Observer | None = None
    ) -> list[PassResult]:
        """Take the steps, all of them or the first ``limit`` changes."""
        engine = Engine(model, limit=limit, after_each=after_each)
        return engine.run(self.steps, rounds=self.rounds)

    def up_to(self, limit: int) -> Model:
        """The model after the first ``limit`` changes."""
        model = self.model()
        if limit:
            self.rewrite(model, limit)
        return model


def job_of(
    model: ModelProto | str | Path,
    target: Target,
    settings: Pipeline,
    folder: Path,
    plugins: bool,
    base_dir: Path | None,
) -> tuple[Job, Path | None]:
    """The job for a model or its file, and the file.

    Raises:
        ModelError: the model cannot be read.
        PipelineError: a step cannot be made.
    """
    path: Path | None = None
    if isinstance(model, ModelProto):
        proto = model
        check_loaded(proto, "the model")
        check_weights(proto, base_dir)
    else:
        path = Path(model)
        proto = load_proto(path)
        base_dir = path.parent
    steps = settings.steps(folder)
    if not plugins:
        steps = [_without_plugins(s) for s in steps]
    return Job(proto, base_dir, target, steps, settings.rounds), path


def check_weights(proto: ModelProto, base_dir: Path | None) -> None:
    """Refuse a model in memory whose weights lie nobody knows where.

    Raises:
        ModelError: it has external weights, and no folder was given.
    """
    if base_dir is None and any(is_external(t) for t in stored_tensors(proto)):
        raise ModelError(
            "the model keeps weights in other files, and a ModelProto does not say where; pass "
            "the path of the model file"
        )


def _without_plugins(step: Step) -> Step:
    wanted = step.pass_.without_plugins
    return replace(step, pass_=replace(step.pass_, **wanted)) if wanted else step
