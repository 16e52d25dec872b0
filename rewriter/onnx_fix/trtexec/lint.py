"""Check a command line against the release and the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from onnx import ModelProto

from onnx_fix.functions import all_nodes
from onnx_fix.plugin_libraries import noted
from onnx_fix.target import Target
from onnx_fix.target.data import Release, read
from onnx_fix.target.trtexec import behaves, is_rtx, options, program
from onnx_fix.trtexec.finding import LintFinding
from onnx_fix.trtexec.inputs import inputs_of
from onnx_fix.trtexec.lint_flags import lint_flags
from onnx_fix.trtexec.lint_shapes import lint_shapes
from onnx_fix.trtexec.needs import plugin_needs, weight_files
from onnx_fix.trtexec.pasted import VARIABLE, read_pasted
from onnx_fix.trtexec.shape_lists import SHAPE_FLAGS

_SCALED = ("QuantizeLinear", "DequantizeLinear")
BY_REGISTRY = "--dynamicPlugins"
"""Loads a plugin library by the plugin registry; the others open it."""
_PLUGIN_FLAGS = ("--plugins", "--staticPlugins", "--dynamicPlugins", "--safetyPlugins")


def lint(text: str, model: ModelProto, path: Path, target: Target) -> list[LintFinding]:
    """What is wrong with a command that a person wrote, for a model and a release.

    Args:
        text: The command as it was pasted, with what stands around it.
        model: The model that it is to build; weights are not looked at.
        path: Its file.
        target: The release.

    Raises:
        UsageError: the text cannot be read, or there is no call of the program in it.
    """
    pasted = read_pasted(text)
    found = []
    if pasted.tool and pasted.tool != program(target.release):
        own = program(target.release)
        found.append(
            LintFinding(
                "error",
                "other-program",
                f"{pasted.tool} is not the program of {target.name}, which is {own}",
                "name the release that is meant with --target"
                if is_rtx(target.release)
                else f"write {own}, or name the release that is meant with --target",
                pasted.program,
            )
        )
    unknown = [argument for argument in pasted.arguments if VARIABLE in argument]
    if unknown:
        found.append(
            LintFinding(
                "note",
                "not-expanded",
                f"variables of the shell are not expanded, so that {' '.join(unknown)} could not "
                "be checked in full",
                "paste the command with their values, as set -x prints it",
            )
        )
    found += lint_arguments(pasted.arguments, model, path, target)
    return [_shown(finding) for finding in found]


def _shown(finding: LintFinding) -> LintFinding:
    """The finding with variables as they were written."""
    return replace(
        finding,
        message=finding.message.replace(VARIABLE, "$"),
        mend=finding.mend.replace(VARIABLE, "$"),
        argument=finding.argument.replace(VARIABLE, "$"),
    )


def lint_arguments(
    arguments: Sequence[str], model: ModelProto, path: Path, target: Target
) -> list[LintFinding]:
    """What is wrong with the arguments of the program; as `lint`."""
    inputs = inputs_of(model)
    found = [
        *lint_flags(arguments, target),
        *_file(arguments, path),
        *_batch(arguments, target),
        *_quantized(arguments, model, target),
        *lint_shapes(arguments, inputs, target.release, _no_inputs(model)),
        *_plugins(arguments, model, target),
        *_weights(model, path),
    ]
    return list(dict.fromkeys(found))


def _no_inputs(model: ModelProto) -> dict[str, str]:
    """Names that are easily taken for inputs."""
    weights = {tensor.name: "a weight" for tensor in model.graph.initializer}
    return weights | {value.name: "an output" for value in model.graph.output}


def _file(arguments: Sequence[str], path: Path) -> Iterator[LintFinding]:
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if flag != "--onnx" or not value or VARIABLE in value:
            continue
        named = Path(value).expanduser()
        same = named == path or (named.exists() and path.exists() and named.samefile(path))
        if not same and (named.exists() or named.name != path.name):
            yield LintFinding(
                "warning",
                "other-model",
                f"--onnx names {value}, and the model that was checked is {path}",
                f"write --onnx={path}",
                argument,
            )


def _batch(arguments: Sequence[str], target: Target) -> Iterator[LintFinding]:
    names = {argument.partition("=")[0] for argument in arguments}
    if (
        behaves(target.release, "onnx_wants_explicit_batch")
        and "--onnx" in names
        and not names & {"--explicitBatch", "--shapes", *SHAPE_FLAGS}
    ):
        yield LintFinding(
            "warning",
            "no-explicit-batch",
            f"trtexec of {target.name} takes the batch for implicit unless it is told otherwise",
            "add --explicitBatch",
        )


def _quantized(
    arguments: Sequence[str], model: ModelProto, target: Target
) -> Iterator[LintFinding]:
    """INT8 without scales builds, runs fast, and computes something else."""
    names = {argument.partition("=")[0] for argument in arguments} & set(options(target.release))
    asked = next((name for name in ("--int8", "--best") if name in names), "")
    if asked and "--fp8" in names and behaves(target.release, "int8_excludes_fp8"):
        yield LintFinding(
            "error",
            "int8-and-fp8",
            f"{asked} and --fp8 exclude each other, and together end the run",
            "leave one of the two",
            "--fp8",
        )
    if (
        asked
        and "--calib" not in names
        and behaves(target.release, "int8_scales_made_up")
        and not any(node.op_type in _SCALED for node in all_nodes(model))
    ):
        yield LintFinding(
            "warning",
            "int8-without-scales",
            f"{asked}: the model has no QuantizeLinear nodes and there is no --calib, so that "
            "trtexec makes the scales up; the engine is good for timing, its numbers are wrong",
            "give --calib=CACHE, quantize the model, or use --fp16",
            asked,
        )


def _own_library(argument: str, target: Target) -> Iterator[LintFinding]:
    """What is wrong with a library that onnx-fix has built, and the way it is loaded."""
    flag, _, value = argument.partition("=")
    own = noted(Path(value).expanduser())
    if own is None:
        return
    fit = own.fit(target)
    foreign = fit == "foreign"
    if fit != "fits":
        yield LintFinding(
            "error" if foreign else "warning",
            "plugin-library-of-another-release",
            f"the plugin library {value} was built for {own.target}, and "
            + (f"{target.name} does not take it" if foreign else f"{target.name} may not take it"),
            f"onnx-fix plugins build compiles it with the headers of {target.name}",
            argument,
        )
    elif flag != BY_REGISTRY and BY_REGISTRY in options(target.release) and not own.linked:
        yield LintFinding(
            "warning",
            "plugin-library-not-linked",
            f"the plugin library {value} is not linked with TensorRT, and what {flag} opens does "
            "not find the TensorRT of trtexec then",
            f"write {BY_REGISTRY}={value}"
            if own.has_entry_points
            else f"onnx-fix plugins build compiles it with the headers of {target.name}",
            argument,
        )


def _plugins(arguments: Sequence[str], model: ModelProto, target: Target) -> Iterator[LintFinding]:
    given = [a for a in arguments if a.partition("=")[0] in _PLUGIN_FLAGS]
    for argument in given:
        value = argument.partition("=")[2]
        if "/" in value and VARIABLE not in value and not Path(value).expanduser().is_file():
            yield LintFinding(
                "error",
                "plugin-library-missing",
                f"there is no plugin library {value}",
                argument=argument,
            )
        yield from _own_library(argument, target)
    rule = next(e for e in read("plugins")["mapping"] if e["id"] == "no_fallback")
    without = Release.named(target.release).within(rule)
    for need in plugin_needs(model, target):
        many = f"{need.count} nodes {need.op}" if need.count > 1 else f"a node {need.op}"
        if without:
            yield LintFinding(
                "error",
                "no-plugin-by-name",
                f"the model has {many}, and the parser of {target.name} takes no op for a plugin",
                "run onnx-fix with --no-plugins, or build with a later release",
                need.op,
            )
        elif not given:
            known = options(target.release)
            ways = ["--staticPlugins", "--plugins"]
            if need.own:
                ways.insert(0, BY_REGISTRY)  # linked with TensorRT or not
            flag = next(way for way in ways if way in known)
            own = (
                "the library of this plugin of onnx-fix"
                if need.own
                else f"a library that registers a plugin creator named {need.op}"
            )
            yield LintFinding(
                "error",
                "plugin-library-needed",
                f"the model has {many}, which {target.name} has no importer and no plugin for: "
                f"{own} is needed",
                f"add {flag}=LIBRARY (--plugin-library LIBRARY here)"
                + ("; onnx-fix plugins build compiles it" if need.own else ""),
                need.op,
            )


def _weights(model: ModelProto, path: Path) -> Iterator[LintFinding]:
    locations, faults = weight_files(model, path.parent)
    for fault in faults:
        yield LintFinding("error", "weights-missing", fault)
    if locations and not faults:
        some = ", ".join(locations[:3]) + (
            f" and {len(locations) - 3} more" if len(locations) > 3 else ""
        )
        yield LintFinding(
            "note",
            "weights-beside",
            f"the weights lie in {some}, which is looked for in the folder of the model file, "
            "wherever the command runs",
            "keep them together",
        )
