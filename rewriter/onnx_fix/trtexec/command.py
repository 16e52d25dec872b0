"""Make the command line that builds an engine from a model."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto

from onnx_fix.errors import UsageError
from onnx_fix.load import stored_tensors
from onnx_fix.plugin_libraries import noted
from onnx_fix.profiles import Profile
from onnx_fix.target import Target
from onnx_fix.target.trtexec import (
    Flag,
    behaves,
    options,
    program,
    spans,
    strongly_typed_only,
)
from onnx_fix.target.trtexec import replaced_by as replacement
from onnx_fix.trtexec.finding import LintFinding
from onnx_fix.trtexec.inputs import ModelInput, inputs_of
from onnx_fix.trtexec.lint import BY_REGISTRY, lint_arguments
from onnx_fix.trtexec.lint_flags import in_words
from onnx_fix.trtexec.shape_lists import SHAPE_FLAGS, spell_list

PRECISIONS = ("--fp16", "--bf16", "--int8", "--fp8", "--int4", "--best")
"""Options that let kernels of less precision in, in the order that they are written."""

ENGINE_SUFFIX = ".engine"
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asks of a build; what is left out is not written.

    ``output`` is the engine's file, by default the model's with the suffix ``.engine``;
    ``workspace`` is in MiB; ``precisions`` are some of ``PRECISIONS``; ``extra`` is appended as it
    stands.
    """

    output: Path | None = None
    precisions: tuple[str, ...] = ()
    workspace: int | None = None
    build_only: bool = False
    timing_cache: Path | None = None
    version_compatible: bool = False
    optimization_level: int | None = None
    plugin_libraries: tuple[Path, ...] = ()
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A program, its arguments in order, and what a person should know about them."""

    program: str
    arguments: tuple[str, ...]
    notes: tuple[LintFinding, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether it does all that was asked, as far as is known."""
        return not any(note.severity == "error" for note in self.notes)

    @property
    def output(self) -> Path | None:
        """The file that the engine is written to."""
        flag = "--saveEngine="
        named = [a.removeprefix(flag) for a in self.arguments if a.startswith(flag)]
        return Path(named[0]) if named else None

    def text(self, *, one_line: bool = False) -> str:
        """The command for a POSIX shell, over several lines where it is long."""
        words = [quoted(word) for word in (self.program, *self.arguments)]
        joined = " ".join(words)
        return joined if one_line or len(joined) <= _WIDTH else " \\\n    ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """The command as plain data."""
        return {
            "program": self.program,
            "arguments": list(self.arguments),
            "notes": [note.to_dict() for note in self.notes],
        }


def quoted(word: str) -> str:
    """A word for a POSIX shell: as ``shlex.quote``, but easy to read around single quotes."""
    flag, equals, value = word.partition("=")
    if re.fullmatch(r"[\w@%+=:,./'*-]*'[\w@%+=:,./'*-]*", value) and shlex.quote(flag) == flag:
        return f'{flag}{equals}"{value}"'
    return shlex.quote(word)


def command(
    model: ModelProto,
    path: Path,
    target: Target,
    profiles: Sequence[Profile] = (),
    asked: Options | None = None,
) -> Command:
    """The command line for a model and a release.

    Args:
        model: The model; weights are not looked at.
        path: Its file, as it is to stand in the command line.
        target: The release, whose options are written and no others. What it lacks of the options
            asked for is said in the notes.
        profiles: Shapes of the dynamic inputs; one, or several where the release takes them.
        asked: What else is asked of the build.

    Raises:
        UsageError: a dynamic input has no shapes, or something cannot be written.
    """
    asked = asked or Options()
    if asked.output is not None and asked.output.absolute() == path.absolute():
        raise UsageError(f"the engine would replace the model {path}; name another --output")
    known = options(target.release)
    inputs = inputs_of(model)
    _complete(inputs, profiles)
    notes: list[LintFinding] = []
    arguments = [
        f"--onnx={path}",
        f"--saveEngine={asked.output or path.with_suffix(ENGINE_SUFFIX)}",
        *_explicit_batch(known, target.release, inputs),
        *_shapes(profiles, known, target),
        *_precisions(asked, known, target, model, notes),
        *_workspace(asked, known),
        *_rest(asked, known, target, notes),
        *_plugins(asked, known, target, notes),
        *asked.extra,
    ]
    notes += lint_arguments(arguments, model, path, target)
    return Command(program(target.release), tuple(arguments), tuple(dict.fromkeys(notes)))


def _complete(inputs: Mapping[str, ModelInput], profiles: Sequence[Profile]) -> None:
    dynamic = [one for one in inputs.values() if one.dynamic]
    for number, profile in enumerate(profiles or [Profile(())]):
        lacking = [one for one in dynamic if profile.of(one.name) is None]
        if lacking:
            symbols = dict.fromkeys(
                d for one in lacking for d in one.dims or () if isinstance(d, str)
            )
            names = ", ".join(one.name for one in lacking)
            example = ",".join(f"{s}=MIN:OPT:MAX" for s in symbols) or f"{lacking[0].name}=..."
            which = f"profile {number} has no shapes" if profiles else "there are no shapes"
            raise UsageError(
                f"{which} for the dynamic inputs {names}: pass --profile '{example}' with numbers"
            )


def _explicit_batch(
    known: Mapping[str, Flag], release: str, inputs: Mapping[str, ModelInput]
) -> Iterator[str]:
    """It is needed in the oldest releases, and usual with dynamic shapes until it is deprecated."""
    flag = known.get("--explicitBatch")
    if flag is None or flag.deprecated:
        return
    dynamic = any(one.dynamic for one in inputs.values())
    if dynamic or behaves(release, "onnx_wants_explicit_batch"):
        yield flag.name


def _shapes(
    profiles: Sequence[Profile], known: Mapping[str, Flag], target: Target
) -> Iterator[str]:
    written = [profile for profile in profiles if profile.inputs]
    several = len(written) > 1
    if several and "--profile" not in known:
        since = in_words(spans("--profile"))
        raise UsageError(
            f"{program(target.release)} of {target.name} is not known to build several profiles "
            f"({since}): pass one --profile, or build by the API"
        )
    for number, profile in enumerate(written):
        if several:
            yield f"--profile={number}"
        for place, flag in enumerate(SHAPE_FLAGS):
            yield f"{flag}={spell_list((r.name, r.shapes[place]) for r in profile.inputs)}"


def _precisions(
    asked: Options,
    known: Mapping[str, Flag],
    target: Target,
    model: ModelProto,
    notes: list[LintFinding],
) -> Iterator[str]:
    for name in PRECISIONS:
        if name not in asked.precisions:
            continue
        if name in known:
            yield name
        elif strongly_typed_only(target.release):
            notes.append(_in_the_model(name, target, model))
        else:
            notes.append(_lacks(name, target))


def _in_the_model(name: str, target: Target, model: ModelProto) -> LintFinding:
    has = {"--fp16": TensorProto.FLOAT16, "--bf16": TensorProto.BFLOAT16}.get(name)
    if has is not None and any(tensor.data_type == has for tensor in stored_tensors(model)):
        return LintFinding(
            "note",
            "precision-of-the-model",
            f"{target.name} has no {name}: networks are strongly typed. The model has weights of "
            f"{TensorProto.DataType.Name(has)}, and they are kept as they are",
            argument=name,
        )
    return LintFinding(
        "error",
        "precision-of-the-model",
        f"{target.name} has no {name}: networks are strongly typed",
        replacement(name),
        name,
    )


def _lacks(name: str, target: Target, mend: str = "") -> LintFinding:
    return LintFinding(
        "error",
        "no-such-option",
        f"{program(target.release)} of {target.name} has no {name} ({in_words(spans(name))})",
        mend,
        name,
    )


def _workspace(asked: Options, known: Mapping[str, Flag]) -> Iterator[str]:
    if asked.workspace is not None:
        pools = "--memPoolSize" in known
        yield f"--{'memPoolSize=workspace:' if pools else 'workspace='}{asked.workspace}"


def _rest(
    asked: Options, known: Mapping[str, Flag], target: Target, notes: list[LintFinding]
) -> Iterator[str]:
    wanted: list[tuple[str, str]] = []
    if asked.build_only:
        wanted.append(("--skipInference" if "--skipInference" in known else "--buildOnly", ""))
    if asked.timing_cache is not None:
        wanted.append(("--timingCacheFile", f"={asked.timing_cache}"))
    if asked.version_compatible:
        wanted.append(("--versionCompatible", ""))
    if asked.optimization_level is not None:
        wanted.append(("--builderOptimizationLevel", f"={asked.optimization_level}"))
    for name, value in wanted:
        if name in known:
            yield name + value
        else:
            notes.append(_lacks(name, target))


def _plugins(
    asked: Options, known: Mapping[str, Flag], target: Target, notes: list[LintFinding]
) -> Iterator[str]:
    flag = known.get("--staticPlugins") or known["--plugins"]
    for library in asked.plugin_libraries:
        own = noted(library)
        # What trtexec merely opens finds TensorRT only if it was linked with it: since 8.6 trtexec
        # loads TensorRT without global symbols. The registry loads it in any case.
        by_registry = own is not None and own.has_entry_points and BY_REGISTRY in known
        if not library.is_file():
            notes.append(
                LintFinding(
                    "error",
                    "plugin-library-missing",
                    f"there is no plugin library {library}",
                    argument=str(library),
                )
            )
        # A name without a folder would be searched for in the library path.
        named = library if len(library.parts) > 1 else f"./{library}"
        yield f"{BY_REGISTRY if by_registry else flag.name}={named}"
    if asked.plugin_libraries and flag.evidence == "inferred":
        notes.append(
            LintFinding(
                "warning",
                "not-confirmed",
                f"that {program(target.release)} takes {flag.name} is concluded from trtexec, not "
                "seen",
                argument=flag.name,
            )
        )
