"""Cut a model in parts at nodes that the target does not build.

``split`` is the public door; ``onnx-fix split`` calls it. ``onnx_fix.parts`` runs the parts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnx import ModelProto

from onnx_fix import __version__
from onnx_fix.api import FixResult
from onnx_fix.comparing import Progress
from onnx_fix.errors import InternalError, UsageError, VerificationError
from onnx_fix.job import check_weights
from onnx_fix.load import check_loaded, load_proto, opset_of, stored_tensors
from onnx_fix.pipeline import Pipeline, named_target, read_pipeline
from onnx_fix.profiles import Ranges, asked_of, symbol_ranges, value_ranges
from onnx_fix.report import Blocker, source_name, summarise
from onnx_fix.save import external_files
from onnx_fix.splitting.compare import Comparison, why
from onnx_fix.splitting.divide import Section
from onnx_fix.splitting.extract import defaults
from onnx_fix.splitting.folder import check_folder, copy_data, new_folder
from onnx_fix.splitting.job import Job, Made, inlined
from onnx_fix.splitting.manifest import NAME, Manifest, Original, hash_of, tensor_of
from onnx_fix.target import Target, choose_target
from onnx_fix.verify.symbols import fed_inputs
from onnx_fix.weights import external_location, is_external

if TYPE_CHECKING:
    from onnx_fix.verify import Verification


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
    dims: Ranges | None = None,
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
    chosen, note = choose_target(named_target(target, pipeline))
    progress("reading the model")
    if isinstance(model, ModelProto):
        check_loaded(model, "the model")
        origin = model
        digest = hash_of(model.SerializeToString(deterministic=True))
        folder = None if base_dir is None else Path(base_dir)
        check_weights(origin, folder)
    else:
        origin, folder = load_proto(Path(model)), Path(model).parent
        digest = hash_of(Path(model).read_bytes())
    files = external_files(origin, folder)
    job = Job(inlined(origin), folder, chosen, pipeline, plugins, opset, progress)
    made = job.parts(at)
    names = _file_names([p.section for p in made], files)
    checks = _settings(pipeline)
    verification: Verification | None = None
    said = "not verified, as asked"
    with new_folder(place) as staging:
        progress("writing")
        copy_data(staging, _used(made, files))
        hashes = []
        for part, name in zip(made, names, strict=True):
            written = part.serialized()
            hashes.append(hash_of(written))
            (staging / name).write_bytes(written)
        _check(origin, path, [staging / name for name in names])
        if verify and checks.verify.enabled:
            progress("comparing with the original")
            before = model if isinstance(model, ModelProto) else Path(model)
            asked = [asked_of(dims)] if dims else checks.asked()
            ranges = symbol_ranges(origin, asked)
            values = value_ranges(origin, asked)
            opset_version = opset_of(origin.opset_import)
            compare = Comparison(
                before, folder, checks, inputs, ranges, values, reference, opset_version
            )
            verification = compare([staging / name for name in names], made)
            if verification.status != "equal":
                raise VerificationError(why(compare, verification, made, progress))
            said = summarise(verification).splitlines()[0]
        manifest = Manifest(
            tool=f"onnx-fix {__version__}",
            target=chosen.name,
            original=Original(
                name=path.name if path is not None else source_name(model),
                sha256=digest,
                inputs=(
                    *(tensor_of(v) for v in fed_inputs(origin)),
                    *(tensor_of(v, has_default=True) for v in defaults(origin)),
                ),
                outputs=tuple(job.tensor(v) for v in origin.graph.output),
            ),
            parts=tuple(map(job.entry, made, names, hashes)),
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


def _file_names(sections: Sequence[Section], files: Mapping[str, Path]) -> list[str]:
    """``part-0-engine.onnx`` and so on; no file of weights has such a name."""
    stem = "part"
    while any(location.startswith(f"{stem}-") or location == NAME for location in files):
        if NAME in files:
            raise UsageError(f"the model keeps weights in {NAME}; save it with another location")
        stem += "_"
    return [f"{stem}-{number}-{s.kind}.onnx" for number, s in enumerate(sections)]


def _used(made: Sequence[Made], files: Mapping[str, Path]) -> dict[str, Path]:
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


__all__ = ["SplitResult", "split"]
