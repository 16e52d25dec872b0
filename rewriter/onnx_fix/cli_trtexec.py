"""The command ``onnx-fix trtexec``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnx_fix.cli_errors import errors
from onnx_fix.cli_options import (
    OutputFormat,
    RangesConfig,
    check_format,
    inputs_option,
    profile_option,
    read_config,
    target_option,
)
from onnx_fix.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

    from onnx_fix.explain import Explanation
    from onnx_fix.pipeline import Pipeline
    from onnx_fix.profiles import Profile
    from onnx_fix.target import Target
    from onnx_fix.trtexec import Command, LintFinding

EXIT_CODES = (
    "Exit codes: 0 the command is sound (with --run: there is an engine now); 1 printed, but it "
    "does not do all that was asked, or --lint found an error or a warning (with --run: no "
    "engine); 2 wrong usage or a bad file; 4 a fault of onnx-fix itself."
)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""

    @app.command(name="trtexec", epilog=EXIT_CODES)
    def trtexec_command(
        model: Annotated[Path, typer.Argument(metavar="FIXED", help="The model to build.")],
        extra: Annotated[
            list[str] | None,
            typer.Argument(metavar="[-- OPTION...]", help="Options to append as they stand."),
        ] = None,
        target: Annotated[
            str | None, target_option("The release: trt-7.2, rtx-1.7, ..., auto.")
        ] = None,
        profile: Annotated[
            list[str] | None,
            profile_option(
                "Shapes of the dynamic inputs, min:opt:max of dims or inputs: "
                "n=1:8:64,x=1x3x8:4x3x8:8x3x8, or a pipeline file. May be repeated."
            ),
        ] = None,
        inputs: Annotated[
            Path | None,
            inputs_option("Folder of samples: their sizes, for what --profile leaves open."),
        ] = None,
        config: RangesConfig = None,
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="The engine; by default FIXED as .engine."),
        ] = None,
        fp16: Annotated[bool, typer.Option("--fp16", help="Allow FP16 kernels.")] = False,
        bf16: Annotated[bool, typer.Option("--bf16", help="Allow BF16 kernels.")] = False,
        int8: Annotated[bool, typer.Option("--int8", help="Allow INT8 kernels.")] = False,
        fp8: Annotated[bool, typer.Option("--fp8", help="Allow FP8 kernels.")] = False,
        int4: Annotated[bool, typer.Option("--int4", help="Allow INT4 weights.")] = False,
        best: Annotated[bool, typer.Option("--best", help="Allow all precisions.")] = False,
        workspace: Annotated[
            int | None, typer.Option("--workspace", metavar="MIB", min=0, help="Workspace in MiB.")
        ] = None,
        build_only: Annotated[
            bool, typer.Option("--build-only", help="Stop after the build.")
        ] = False,
        timing_cache: Annotated[
            Path | None, typer.Option("--timing-cache", help="File of the timing cache.")
        ] = None,
        version_compatible: Annotated[
            bool, typer.Option("--version-compatible", help="An engine for later releases, too.")
        ] = False,
        optimization_level: Annotated[
            int | None, typer.Option("--optimization-level", min=0, max=5, help="0 to 5.")
        ] = None,
        plugin_library: Annotated[
            list[Path] | None,
            typer.Option("--plugin-library", help="Library of a plugin. May be repeated."),
        ] = None,
        one_line: Annotated[
            bool, typer.Option("--one-line", help="Print the command on one line.")
        ] = False,
        lint: Annotated[
            str | None,
            typer.Option(
                "--lint",
                metavar="TEXT",
                help="Check this command, as it was pasted, instead; - reads standard input.",
            ),
        ] = None,
        run: Annotated[
            bool, typer.Option("--run", help="Run the command, and explain a failure.")
        ] = False,
        trtexec: Annotated[
            Path | None, typer.Option("--trtexec", help="The program, or its folder, for --run.")
        ] = None,
        log: Annotated[
            Path | None, typer.Option("--log", help="Write the log of --run to this file, too.")
        ] = None,
        output_format: OutputFormat = "human",
    ) -> None:
        """Print the command that builds FIXED with a TensorRT release, check one, or run it.

        The command alone goes to standard output, what there is to say to standard error.
        """
        with errors():
            from onnx_fix.load import load_proto
            from onnx_fix.pipeline import named_target
            from onnx_fix.target import choose_target
            from onnx_fix.trtexec import Options, command
            from onnx_fix.trtexec.command import PRECISIONS

            check_format(output_format)
            if run and lint is not None:
                raise UsageError("--lint checks a command and --run runs one: give one of the two")
            if run and output_format == "json":
                raise UsageError("--run streams a log, which --format json has no place for")
            _only_with_run(run, trtexec, log)
            proto = load_proto(model)
            pipeline = read_config(config)
            chosen, note = choose_target(named_target(target, pipeline))
            if note:
                typer.echo(f"note: {note}", err=True)
            libraries = tuple(plugin_library or ())
            if not libraries and lint is None:
                libraries = _own_libraries(proto, chosen)
            switches = (fp16, bf16, int8, fp8, int4, best)
            asked = Options(
                output=output,
                precisions=tuple(name for name, on in zip(PRECISIONS, switches, strict=True) if on),
                workspace=workspace,
                build_only=build_only,
                timing_cache=timing_cache,
                version_compatible=version_compatible,
                optimization_level=optimization_level,
                plugin_libraries=libraries,
                extra=_extra(extra or ()),
            )
            if lint is not None:
                if asked != Options() or profile or inputs or one_line:
                    raise UsageError("--lint checks the command as it is: give no options of it")
                code = _lint(lint, proto, model, chosen, output_format)
            else:
                made = command(
                    proto, model, chosen, _profiles(proto, profile, pipeline, inputs), asked
                )
                if run:
                    code = _run(made, proto, model, chosen, trtexec, log)
                else:
                    code = _print(made, one_line=one_line, as_json=output_format == "json")
        if code:
            raise typer.Exit(code)


def _own_libraries(proto: ModelProto, target: Target) -> tuple[Path, ...]:
    """What ``onnx-fix plugins build`` made for this target, as far as the model needs it."""
    from onnx_fix.plugin_libraries import built_of

    paths = built_of(proto, target)
    for path in paths:
        typer.echo(f"note: with the plugin library built for {target.name}, {path}", err=True)
    return paths


def _only_with_run(run: bool, trtexec: Path | None, log: Path | None) -> None:
    for name, value in (("--trtexec", trtexec), ("--log", log)):
        if value is not None and not run:
            raise UsageError(f"{name} is for --run")


def _extra(extra: Sequence[str]) -> tuple[str, ...]:
    for word in extra:
        if not word.startswith("-"):
            raise UsageError(
                f"'{word}' is no option; name one model, and options of trtexec after --"
            )
    return tuple(extra)


def _profiles(
    proto: ModelProto, texts: list[str] | None, pipeline: Pipeline | None, inputs: Path | None
) -> tuple[Profile, ...]:
    from onnx_fix.profiles.collect import collect

    if not texts and inputs is None and (pipeline is None or not pipeline.asked()):
        return ()
    found = collect(proto, texts or (), pipeline, inputs)
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    return found.profiles


def _print(made: Command, *, one_line: bool, as_json: bool) -> int:
    if as_json:
        typer.echo(json.dumps({"text": made.text(one_line=True), **made.to_dict()}, indent=1))
    else:
        typer.echo(made.text(one_line=one_line))
        _notes(made.notes)
    return 0 if made.sound else 1


def _notes(notes: Sequence[LintFinding]) -> None:
    from onnx_fix.check.text import visible

    for note in notes:
        typer.echo(visible(str(note)), err=True)


def _lint(text: str, proto: ModelProto, path: Path, target: Target, output_format: str) -> int:
    from onnx_fix.check.text import visible
    from onnx_fix.trtexec import lint

    if text == "-":
        if sys.stdin.isatty():
            raise UsageError("nothing is piped in; pass the command in quotes after --lint")
        text = sys.stdin.read()
    found = lint(text, proto, path, target)
    if output_format == "json":
        typer.echo(json.dumps([one.to_dict() for one in found], indent=1))
    else:
        for one in found:
            typer.echo(visible(str(one)))
        if not found:
            typer.echo(f"nothing is wrong with it at {target.name}")
    return 1 if any(one.severity != "note" for one in found) else 0


def _run(
    made: Command,
    proto: ModelProto,
    path: Path,
    target: Target,
    given: Path | None,
    log: Path | None,
) -> int:
    from onnx_fix.model import Model
    from onnx_fix.trtexec import find_program, run
    from onnx_fix.trtexec.running import ended

    _notes(made.notes)
    if not made.sound:
        typer.echo("error: the command is not sound, and was not run", err=True)
        return 1
    program = find_program(made.program, given)
    typer.echo(made.text(), err=True)
    ran = run(made, program, _tell, model=Model(proto, path.parent, target), target=target)
    if log is not None:
        try:
            log.write_text(ran.log, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{log} cannot be written: {error.strerror or error}") from error
    if ran.says is not None and ran.says.release != target.release:
        typer.echo(
            f"warning: this is the program of {ran.says.name}, and the command was made for "
            f"{target.name}",
            err=True,
        )
    if ran.ok:
        typer.echo(f"the engine is {made.output}", err=True)
        return 0
    _explain(ran.explanations, program, ended(ran.exit_code), wrote=ran.wrote)
    return 1


def _tell(line: str) -> None:
    typer.echo(line, nl=False)
    sys.stdout.flush()


def _explain(explanations: Sequence[Explanation], program: str, how: str, *, wrote: bool) -> None:
    from onnx_fix.render_explain import render_log

    left = "" if wrote else ", and no engine was written"
    typer.echo(f"error: {program} {how}{left}", err=True)
    render_log(explanations, "the log", "")
