"""Cut a model in parts and fix those for the target, until each of them is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from onnx import ModelProto, ValueInfoProto

from onnx_fix.api import FixResult, fix
from onnx_fix.comparing import Progress
from onnx_fix.errors import ModelError, UsageError
from onnx_fix.functions import Calls
from onnx_fix.inlining import inline
from onnx_fix.model import Model
from onnx_fix.pipeline import Pipeline
from onnx_fix.save import LARGEST
from onnx_fix.scope import TypeInfo
from onnx_fix.splitting import cut
from onnx_fix.splitting.divide import Section, divide
from onnx_fix.splitting.extract import Extractor, defaults
from onnx_fix.splitting.manifest import Part, Tensor, tensor_of
from onnx_fix.splitting.network import Network, apart
from onnx_fix.target import Target
from onnx_fix.verify.symbols import fed_inputs

MOST_CUTS = 32
"""More nodes than this are not cut at unasked: so many parts help nobody."""

_MOST_ROUNDS = 8
"""How often nodes are added that only a part shows to be refused."""


@dataclass(frozen=True)
class Made:
    """One part: as it was cut out, and as it was fixed (None for the host)."""

    section: Section
    plain: ModelProto
    fixed: FixResult | None

    @property
    def model(self) -> ModelProto:
        return self.plain if self.fixed is None else self.fixed.model

    def serialized(self) -> bytes:
        if self.model.ByteSize() > LARGEST:
            raise ModelError(
                "a part has more than 2 GiB of weights inside the model file, which protobuf "
                "cannot write; export the model with external data"
            )
        return self.model.SerializeToString(deterministic=True)


@dataclass
class Job:
    """Cutting one model, again and again until every part is taken."""

    origin: ModelProto
    folder: Path | None
    target: Target
    pipeline: Pipeline | None
    plugins: bool
    opset: int | None
    progress: Progress
    network: Network = field(init=False)
    extractor: Extractor = field(init=False)

    def __post_init__(self) -> None:
        self.network = Network(Model(self.origin, self.folder, self.target), self._hint)
        self.extractor = Extractor(self.network)

    @cached_property
    def whole(self) -> FixResult:
        """The model fixed as a whole."""
        self.progress("looking for what cannot be built")
        return self._fixed(self.origin)

    @cached_property
    def _after(self) -> Model:
        return Model(self.whole.model, self.folder, self.target)

    def _hint(self, name: str) -> TypeInfo:
        """The type of a tensor that the model does not tell, as an invalid export, but its fixed
        form does: names and values of the tensors that stay are the same."""
        tensor = self._after.main.tensors.get(name)
        return TypeInfo() if tensor is None else apart(self._after.type_of(tensor))

    def parts(self, at: Sequence[str]) -> list[Made]:
        """The parts, those for the target fixed."""
        if at:
            return self._made(cut.named(self.network, at))
        cuts = self._refused(self.whole)
        if not cuts:
            raise UsageError(
                f"{self.target.name} takes every node of the model after the fix, so there is "
                "nothing to cut; use onnx-fix fix, or name nodes with --at"
            )
        for _ in range(_MOST_ROUNDS):
            self._limit(cuts)
            made = self._made(sorted(cuts))
            more = {c for p in made if p.fixed is not None for c in self._refused(p.fixed)} - cuts
            if not more:
                break
            cuts |= more
        return made

    def _made(self, cuts: Sequence[int]) -> list[Made]:
        found = []
        sections = divide(self.network, cuts)
        for number, section in enumerate(sections, 1):
            self.progress(f"fixing part {number} of {len(sections)}")
            plain = self.extractor.model(section)
            engine = section.kind == "engine"
            found.append(Made(section, plain, self._fixed(plain) if engine else None))
        return found

    def _fixed(self, model: ModelProto) -> FixResult:
        made = fix(
            model,
            target=self.target,
            pipeline=self.pipeline,
            plugins=self.plugins,
            opset=self.opset,
            verify=False,
            base_dir=self.folder,
        )
        if any(change.padded for change in made.report.changes):
            raise UsageError(
                "the pipeline bounds how much a node finds (max_count), which changes the outputs "
                "of the model; split leaves them as they are: take max_count out, or use "
                "onnx-fix fix"
            )
        return made

    def _refused(self, result: FixResult) -> set[int]:
        report = result.report
        return set(cut.refused(self.network, report.refused, report.changes, result.model))

    def _limit(self, cuts: set[int]) -> None:
        if len(cuts) > MOST_CUTS:
            labels = ", ".join(self.network.label(c) for c in sorted(cuts)[:5])
            raise UsageError(
                f"{self.target.name} refuses {len(cuts)} nodes after the fix ({labels}, ...), and "
                "a model in so many parts helps nobody; name those to cut at with --at, or choose "
                "another target"
            )

    def tensor(self, value: ValueInfoProto) -> Tensor:
        """A declared tensor as the manifest has it."""
        return tensor_of(value, data_dependent=self.extractor.is_data_dependent(value))

    def entry(self, part: Made, name: str, sha256: str) -> Part:
        """A part as the manifest has it."""
        optional = defaults(part.model)
        return Part(
            file=name,
            kind=part.section.kind,
            sha256=sha256,
            nodes=tuple(self.network.label(c) for c in part.section.cuts),
            refused=0 if part.fixed is None else len(part.fixed.report.refused),
            inputs=(
                *(self.tensor(v) for v in fed_inputs(part.model)),
                *(tensor_of(v, has_default=True) for v in optional),
            ),
            outputs=tuple(self.tensor(v) for v in part.model.graph.output),
        )


def inlined(model: ModelProto) -> ModelProto:
    """The model without local functions, so that what they hold can be cut at, too."""
    calls = Calls.of(model)
    if not calls.order:
        return model
    result, _ = inline(calls, calls.order, "split")
    return result
