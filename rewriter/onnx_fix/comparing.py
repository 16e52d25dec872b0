"""Compare a rewritten model with its original, and name the change that made it differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.bisect import first_bad
from onnx_fix.contract import Change, Exactness, PassResult
from onnx_fix.errors import InternalError, VerificationError
from onnx_fix.job import Job, Observer
from onnx_fix.load import opset_of
from onnx_fix.model import Model
from onnx_fix.pipeline import VerifySettings
from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.profiles import Shapes
from onnx_fix.report import Report, describe, summarise
from onnx_fix.repro import write_repro
from onnx_fix.unfreeze.trials import with_held

if TYPE_CHECKING:
    from onnx_fix.verify import Verification

Progress = Callable[[str], None]

ROUNDING_SLACK = 10.0
"""Factor on the default tolerances where a change declares that it rounds otherwise.

The defaults allow for one reordered sum. What a deep network does to a difference of some units
roundoff early on is another factor: 4e-5 of probabilities was seen where a LayerNorm's sum was
split in two, which is rounding and nothing else.
"""


def rounds_otherwise(changes: Sequence[Change]) -> bool:
    """Whether a change declares that it changes rounding."""
    return any(c.exactness is Exactness.ROUNDING for c in changes)


@dataclass(frozen=True)
class Comparison:
    """Compares a rewritten model with the original of its job."""

    job: Job
    path: Path | None
    settings: VerifySettings
    inputs: str | Path | None
    dims: Sequence[Mapping[str, tuple[int, int, int]]]
    values: Sequence[Mapping[str, Shapes]]
    reference: ModelProto | str | Path | None
    frozen: Mapping[str, NDArray[np.generic]]
    held: Mapping[str, int]

    def __call__(self, after: ModelProto, changes: Sequence[Change] = ()) -> Verification:
        proto = self.path if self.path is not None else self.job.proto
        others = self.job.other_exports()
        # Elsewhere the original does not run, or broadcasts where it should not.
        mine = replace(self, dims=with_held(self.dims, self.held))
        found = mine._with(proto, self.job.base_dir, after, changes)
        for path in others:
            alone = replace(self, dims=(), values=(), held={})
            cases = alone._with(path, path.parent, after, changes).cases
            named = [replace(case, label=f"{path.name}: {case.label}") for case in cases]
            found = replace(found, cases=(*found.cases, *named))
        return found

    def _with(
        self,
        before: ModelProto | Path,
        before_dir: Path | None,
        after: ModelProto,
        changes: Sequence[Change],
    ) -> Verification:
        from onnx_fix.verify import verify

        return verify(
            before,
            after,
            before_dir=before_dir,
            after_dir=self.job.base_dir,
            dims=self.dims or None,
            values=self.values,
            inputs_dir=None if self.inputs is None else Path(self.inputs),
            seed=self.settings.seed,
            rtol=self.settings.rtol,
            atol=self.settings.atol,
            slack=ROUNDING_SLACK if rounds_otherwise(changes) else 1.0,
            plugin_bodies=plugin_bodies(opset_of(self.job.proto.opset_import), self.job.steps),
            sizes=self.settings.sizes,
            padded=[p for change in changes for p in change.padded],
            frozen=self.frozen,
            retyped=[r for change in changes for r in change.retyped],
            reference=self.reference,
        )


def observer(each: str, compare: Comparison) -> Observer | None:
    """What is checked after every pass that changed something."""
    done: list[Change] = []

    def check(model: Model, result: PassResult) -> None:
        if not result.changes:
            return
        proto = model.to_proto()
        try:
            onnx.checker.check_model(proto)
        except onnx.checker.ValidationError as error:
            raise InternalError(
                f"after pass {result.pass_name} the model is invalid: {error}"
            ) from error
        done.extend(result.changes)
        if each == "numbers":
            verification = compare(proto, done)
            if verification.status == "differs":
                raise VerificationError(
                    f"after pass {result.pass_name} (round {result.round}) the model computes "
                    f"something else, so nothing is written; {summarise(verification)}"
                )

    return None if each == "off" else check


def guilty(
    job: Job, report: Report, compare: Comparison, repro: str | Path | None, progress: Progress
) -> str:
    """Name the change that made the numbers differ, and leave a reproducer where asked."""
    changes = report.changes

    def differs(count: int) -> bool:
        progress(f"looking for the guilty change ({count} of {len(changes)})")
        return compare(job.up_to(count).to_proto(), changes[:count]).status == "differs"

    change = changes[first_bad(len(changes), differs) - 1]
    verification = report.verification
    worst = "" if verification is None else summarise(verification)
    message = (
        f"the rewritten model computes something else, so nothing is written; {worst}\n"
        f"the first guilty change is number {change.number} of {len(changes)}: {describe(change)}\n"
        f'leave it out with `except: {{nodes: ["{change.old[0]}"]}}` under {change.pass_name} in a '
        "pipeline file (see onnx-fix init) and please report it; where it is rounding that you can "
        "live with, set `verify: {rtol: ..., atol: ...}` there"
    )
    if repro is not None:
        folder = Path(repro)
        before = job.up_to(change.number - 1)
        step = next(s for s in job.steps if s.pass_.name == change.pass_name)
        write_repro(folder, before, step.pass_, change, message)
        message += f"\na reproducer is in {folder}: run `onnx-fix` as its README.txt says"
    return message
