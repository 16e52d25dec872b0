"""Cut a model in parts at nodes that the target does not build.

``split`` is the public door; ``onnx-fix split`` calls it. ``onnx_fix.parts`` runs the parts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnx import ModelProto

from onnx_fix import __version__
from onnx_fix.api import (
    ROUNDING_SLACK,
    FixResult,
    Progress,
    check_weights,
    fix,
    reference_functions,
    rounds_otherwise,
)
from onnx_fix.errors import InternalError, ModelError, UsageError, VerificationError
from onnx_fix.functions import Calls
from onnx_fix.inlining import inline
from onnx_fix.load import check_loaded, load_proto, opset_of, stored_tensors
from onnx_fix.model import Model
from onnx_fix.pipeline import Pipeline, read_pipeline
from onnx_fix.report import Blocker, source_name, summarise
from onnx_fix.save import LARGEST, external_files
from onnx_fix.scope import TypeInfo
from onnx_fix.splitting import cut
from onnx_fix.splitting.divide import Section, divide
from onnx_fix.splitting.extract import Extractor, defaults
from onnx_fix.splitting.folder import check_folder, copy_data, new_folder
from onnx_fix.splitting.manifest import NAME, Manifest, Original, Part, Tensor, hash_of, tensor_of
from onnx_fix.splitting.network import Network, apart
from onnx_fix.target import Target, choose_target
from onnx_fix.verify.symbols import fed_inputs
from onnx_fix.weights import external_location, is_external

if TYPE_CHECKING:
    from onnx_fix.verify import Verification

MOST_CUTS = 32
"""More nodes than this are not cut at unasked: so many parts help nobody."""

_MOST_ROUNDS = 8
"""How often nodes are added that only a part shows to be refused."""


@dataclass(frozen=True)
class SplitResult:
    """What ``split`` gives back: the manifest, and how each part was fixed."""

    folder: Path
    manifest: Manifest
    target: Target
    target_note: str
    fixes: Mapping[str, FixResult]
    """By the file of an engine part."""
    verification: Verification | None = None
    verification_note: str = ""
    seconds: float = 0.0

    @property
    def refused(self) -> list[tuple[str, Blocker]]:
        """Nodes that the target refuses in the parts for it, with the file of the part."""
        return [(name, b) for name, made in self.fixes.items() for b in made.report.refused]

    @property
    def ok(self) -> bool:
        """Whether nothing is left in any part for the target that it surely refuses."""
        return all(made.ok for made in self.fixes.values())


def split(
    model: ModelProto | str | Path,
    output: str | Path,
    *,
    target: str | Target | None = None,
    at: Sequence[str] = (),
    pipeline: Pipeline | str | Path | None = None,
    plugins: bool = True,
    opset: int | None = None,
    verify: bool = True,
    inputs: str | Path | None = None,
    dims: Mapping[str, tuple[int, int, int]] | None = None,
    reference: ModelProto | str | Path | None = None,
    base_dir: str | Path | None = None,
    force: bool = False,
    progress: Progress = lambda _message: None,
) -> SplitResult:
    """Cut a model at nodes that the target does not build, and write the parts into a folder.

    Every node that is cut at becomes a part for the host, together with those that are ready at the
    same time; what does not depend on it comes before, what does comes after. The parts for the
    target are fixed for it. Run one after the other the parts must compute what the model did:
    otherwise nothing is written.

    Args:
        model: A path, or a model, which is never changed.
        output: The folder to write: new, or empty.
        target: A release such as ``trt-7.2``; the default is that of ``fix``.
        at: Names of nodes (or of tensors that they make) to cut at; by default the nodes that the
            target refuses after the fix.
        pipeline: As for ``fix``; so are ``plugins``, ``opset``, ``inputs``, ``dims``,
            ``reference`` and ``base_dir``.
        verify: Whether to compare the parts, run one after the other, with the original.
        force: Replace a folder that ``split`` wrote earlier, with all that is in it.
        progress: Is told what is going on, in a few words.

    Raises:
        ModelError: the model cannot be read or worked on.
        UsageError: there is nothing to cut, a node cannot be cut at, or the folder may not be
            written.
        PipelineError: a fault in the pipeline file.
        VerificationError: the parts compute something else, or nothing could be compared.
        InternalError: a fault of onnx-fix.
    """
    start = time.perf_counter()
    place = Path(output)
    path = None if isinstance(model, ModelProto) else Path(model)
    check_folder(place, path, force=force)
    if isinstance(pipeline, str | Path):
        # A part has no path of its own that relative names could start from.
        pipeline = _anchored(Path(pipeline))
    named_target = pipeline.target if target is None and pipeline is not None else target
    chosen, note = choose_target(named_target)
    progress("reading the model")
    if isinstance(model, ModelProto):
        check_loaded(model, "the model")
        origin, data = model, b""
        folder = None if base_dir is None else Path(base_dir)
        check_weights(origin, folder)
    else:
        origin, folder = load_proto(Path(model)), Path(model).parent
        data = Path(model).read_bytes()
    files = external_files(origin, folder)
    job = _Job(_inlined(origin), folder, chosen, pipeline, plugins, opset, progress)
    made = job.parts(at)
    names = _file_names([p.section for p in made], files)
    checks = _settings(pipeline)
    verification: Verification | None = None
    said = "not verified, as asked"
    with new_folder(place) as staging:
        progress("writing")
        copy_data(staging, _used(made, files))
        for part, name in zip(made, names, strict=True):
            (staging / name).write_bytes(part.serialized())
        _check(origin, path, [staging / name for name in names])
        if verify and checks.verify.enabled:
            progress("comparing with the original")
            compare = _Comparison(
                model if isinstance(model, ModelProto) else Path(model),
                folder,
                checks,
                inputs,
                dims,
                reference,
            )
            verification = compare([staging / name for name in names], made)
            if verification.status != "equal":
                raise VerificationError(_why(compare, verification, made, progress))
            said = summarise(verification).splitlines()[0]
        manifest = Manifest(
            tool=f"onnx-fix {__version__}",
            target=chosen.name,
            original=Original(
                name=path.name if path is not None else source_name(model),
                sha256=hash_of(data or origin.SerializeToString(deterministic=True)),
                inputs=(
                    *(tensor_of(v) for v in fed_inputs(origin)),
                    *(tensor_of(v, has_default=True) for v in defaults(origin)),
                ),
                outputs=tuple(job.tensor(v) for v in origin.graph.output),
            ),
            parts=tuple(job.entry(p, n) for p, n in zip(made, names, strict=True)),
            external_data=tuple(sorted(_used(made, files))),
            verification=said,
        )
        (staging / NAME).write_text(manifest.to_json(), encoding="utf-8", newline="\n")
    return SplitResult(
        place,
        manifest,
        chosen,
        note,
        {n: p.fixed for p, n in zip(made, names, strict=True) if p.fixed is not None},
        verification,
        said if verification is None else "",
        time.perf_counter() - start,
    )


@dataclass(frozen=True)
class _Made:
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
class _Job:
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

    def parts(self, at: Sequence[str]) -> list[_Made]:
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

    def _made(self, cuts: Sequence[int]) -> list[_Made]:
        found = []
        sections = divide(self.network, cuts)
        for number, section in enumerate(sections, 1):
            self.progress(f"fixing part {number} of {len(sections)}")
            plain = self.extractor.model(section)
            engine = section.kind == "engine"
            found.append(_Made(section, plain, self._fixed(plain) if engine else None))
        return found

    def _fixed(self, model: ModelProto) -> FixResult:
        return fix(
            model,
            target=self.target,
            pipeline=self.pipeline,
            plugins=self.plugins,
            opset=self.opset,
            verify=False,
            base_dir=self.folder,
        )

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

    def tensor(self, value: onnx.ValueInfoProto) -> Tensor:
        """A declared tensor as the manifest has it."""
        return tensor_of(value, data_dependent=self.extractor.is_data_dependent(value))

    def entry(self, part: _Made, name: str) -> Part:
        """A part as the manifest has it."""
        optional = defaults(part.model)
        return Part(
            file=name,
            kind=part.section.kind,
            sha256=hash_of(part.serialized()),
            nodes=tuple(self.network.label(c) for c in part.section.cuts),
            refused=0 if part.fixed is None else len(part.fixed.report.refused),
            inputs=(
                *(self.tensor(v) for v in fed_inputs(part.model)),
                *(tensor_of(v, has_default=True) for v in optional),
            ),
            outputs=tuple(self.tensor(v) for v in part.model.graph.output),
        )


def _anchored(path: Path) -> Pipeline:
    """A pipeline file whose custom passes are named by absolute paths."""
    read = read_pipeline(path)
    custom = tuple(
        str((path.parent / source).resolve()) if source.endswith(".py") else source
        for source in read.custom
    )
    return read.model_copy(update={"custom": custom})


def _settings(pipeline: Pipeline | None) -> Pipeline:
    return Pipeline() if pipeline is None else pipeline


def _inlined(model: ModelProto) -> ModelProto:
    """The model without local functions, so that what they hold can be cut at, too."""
    calls = Calls.of(model)
    if not calls.order:
        return model
    inlined, _ = inline(calls, calls.order, "split")
    return inlined


def _file_names(sections: Sequence[Section], files: Mapping[str, Path]) -> list[str]:
    """``part-0-engine.onnx`` and so on; no file of weights has such a name."""
    stem = "part"
    while any(location.startswith(f"{stem}-") or location == NAME for location in files):
        if NAME in files:
            raise UsageError(f"the model keeps weights in {NAME}; save it with another location")
        stem += "_"
    return [f"{stem}-{number}-{s.kind}.onnx" for number, s in enumerate(sections)]


def _used(made: Sequence[_Made], files: Mapping[str, Path]) -> dict[str, Path]:
    """The files of weights that a part reads from."""
    used = {external_location(t) for p in made for t in stored_tensors(p.model) if is_external(t)}
    return {location: file for location, file in files.items() if location in used}


def _check(origin: ModelProto, path: Path | None, parts: Sequence[Path]) -> None:
    """Let onnx check the parts, where it has nothing to say against the original.

    Raises:
        InternalError: a part is no valid model.
    """
    try:
        onnx.checker.check_model(origin if path is None else str(path))
    except (onnx.checker.ValidationError, ValueError):
        return
    for part in parts:
        try:
            onnx.checker.check_model(str(part))
        except onnx.checker.ValidationError as error:
            raise InternalError(f"{part.name} is no valid model: {error}") from error


@dataclass(frozen=True)
class _Comparison:
    """Compares parts, run one after the other, with the original."""

    model: ModelProto | Path
    folder: Path | None
    settings: Pipeline
    inputs: str | Path | None
    dims: Mapping[str, tuple[int, int, int]] | None
    reference: ModelProto | str | Path | None

    def __call__(self, models: Sequence[ModelProto | Path], made: Sequence[_Made]) -> Verification:
        from onnx_fix.verify import verify

        before = self.model if isinstance(self.model, ModelProto) else load_proto(self.model)
        checks = self.settings.verify
        changes = [c for p in made if p.fixed is not None for c in p.fixed.report.changes]
        ranges = {k: (d.min, d.opt, d.max) for k, d in self.settings.dims.items()}
        return verify(
            self.model,
            models,
            before_dir=self.folder,
            after_dir=self.folder if isinstance(models[0], ModelProto) else models[0].parent,
            dims=self.dims or ranges or None,
            inputs_dir=self.inputs,
            seed=checks.seed,
            rtol=checks.rtol,
            atol=checks.atol,
            slack=ROUNDING_SLACK if rounds_otherwise(changes) else 1.0,
            plugin_bodies=reference_functions(opset_of(before.opset_import)),
            sizes=checks.sizes,
            reference=self.reference,
        )


def _why(
    compare: _Comparison, found: Verification, made: Sequence[_Made], progress: Progress
) -> str:
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
        f"the first guilty one is part {number - 1}, by its fix"
        if number
        else "the parts do so before they are fixed: a fault of the cut"
    )
    return f"{message}\n{guilty}; please report it"


__all__ = ["MOST_CUTS", "SplitResult", "split"]
