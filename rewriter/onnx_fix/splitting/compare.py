"""Compare parts, run one after the other, with the model they were cut from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import ModelProto

from onnx_fix.comparing import ROUNDING_SLACK, Progress, rounds_otherwise
from onnx_fix.pipeline import Pipeline
from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.plugin_table import bodies_of, expanded
from onnx_fix.profiles import Shapes
from onnx_fix.report import summarise
from onnx_fix.splitting.job import Made

if TYPE_CHECKING:
    from onnx_fix.verify import Verification


@dataclass(frozen=True)
class Comparison:
    """Compares parts, run one after the other, with the original."""

    model: ModelProto | Path
    folder: Path | None
    settings: Pipeline
    inputs: str | Path | None
    dims: Sequence[Mapping[str, tuple[int, int, int]]]
    values: Sequence[Mapping[str, Shapes]]
    reference: ModelProto | str | Path | None
    opset: int

    def __call__(self, models: Sequence[ModelProto | Path], made: Sequence[Made]) -> Verification:
        from onnx_fix.verify import verify

        checks = self.settings.verify
        changes = [c for p in made if p.fixed is not None for c in p.fixed.report.changes]
        return verify(
            self.model,
            models,
            before_dir=self.folder,
            after_dir=self.folder if isinstance(models[0], ModelProto) else models[0].parent,
            dims=self.dims or None,
            values=self.values,
            inputs_dir=self.inputs,
            seed=checks.seed,
            rtol=checks.rtol,
            atol=checks.atol,
            slack=ROUNDING_SLACK if rounds_otherwise(changes) else 1.0,
            plugin_bodies=[*bodies_of(expanded(self.settings.plugins)), *plugin_bodies(self.opset)],
            sizes=checks.sizes,
            reference=self.reference,
        )


def why(compare: Comparison, found: Verification, made: Sequence[Made], progress: Progress) -> str:
    """Why nothing is written: nothing was compared, or which part is guilty."""
    if found.status == "no evidence":
        return f"{summarise(found)}\n  nothing is written; --no-verify writes without a comparison"
    message = f"the parts compute something else, so nothing is written; {summarise(found)}"
    if compare.reference is not None:
        return message
    plain = [replace(p, fixed=None) for p in made]
    for number in range(len(made) + 1):
        progress(f"looking for the guilty part ({number} of {len(made)})")
        parts = [*made[:number], *plain[number:]]
        if compare([p.model for p in parts], made).status == "differs":
            break
    guilty = (
        f"the first guilty one is part {number - 1}, by its fix; please report it"
        if number
        else "they do so before they are fixed; where the export is not at fault, please report it"
    )
    return f"{message}\n{guilty}"
