"""The command line: parse, call, print, exit code. No logic.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from onnx_fix.cli_build import EngineJob, SeveralCapabilities, settings_of
from onnx_fix.cli_build import register as register_build
from onnx_fix.cli_check import register as register_check
from onnx_fix.cli_errors import errors
from onnx_fix.cli_explain import register as register_explain
from onnx_fix.cli_options import (
    Capabilities,
    Config,
    ExportedModel,
    Feeds,
    NoPlugins,
    PrecisionName,
    Quiet,
    ReplaceOutput,
    force_option,
    profile_option,
    target_option,
    verbose_option,
)
from onnx_fix.cli_output import progress, write_text
from onnx_fix.cli_plugins import register as register_plugins
from onnx_fix.cli_profile import register as register_profile
from onnx_fix.cli_split import register as register_split
from onnx_fix.cli_trtexec import register as register_trtexec
from onnx_fix.errors import UsageError

if TYPE_CHECKING:
    from onnx_fix.api import FixResult

EXIT_CODES = (
    "Exit codes: 0 fixed, and nothing is left that the target refuses; 1 written, but nodes remain "
    "that it refuses (they are listed); 2 wrong usage, a bad file or a bad pipeline; 3 the numbers "
    "differ, nothing was written; 4 a fault of onnx-fix itself. Where --engine builds none, the "
    "fixed model stays, and the code is that of onnx-fix build: 1, 2 or 5."
)


class _DefaultToFix(TyperGroup):
    """``onnx-fix model.onnx -o out.onnx`` means ``onnx-fix fix model.onnx -o out.onnx``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {"--help", "--version", "--install-completion", "--show-completion"}
        if args and args[0] not in own and args[0] not in self.commands:
            args = ["fix", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="onnx-fix",
    cls=_DefaultToFix,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Rewrite an exported ONNX model so that TensorRT builds it.\n\n"
    "`onnx-fix MODEL -o FIXED` is the main job.",
    epilog=EXIT_CODES,
)

TargetName = Annotated[
    str | None,
    target_option(
        "TensorRT release: trt-7.2, trt-8.6, rtx-1.7, ..., or auto for the installed one."
    ),
]
Opset = Annotated[
    int | None,
    typer.Option("--opset", help="Operator set to write; by default that of the model."),
]
MaxCount = Annotated[
    list[str] | None,
    typer.Option(
        "--max-count",
        metavar="NAME=K",
        help="Let a NonZero or NonMaxSuppression (by its name or its output's; * for all) find K "
        "at most, with padding and a count. Outputs change. May be repeated.",
    ),
]
Freeze = Annotated[
    list[str] | None,
    typer.Option(
        "--freeze",
        metavar="NAME=VALUE",
        help="Make an input a constant: k=3, axes=[0,1] or w=@w.npy. The model has fewer inputs. "
        "May be repeated.",
    ),
]
Static = Annotated[
    list[str] | None,
    typer.Option(
        "--static",
        metavar="DIM=SIZE",
        help="Make a dynamic dim of the inputs a number: batch=1, or image:2=480 by axis. The "
        "model takes that size alone. May be repeated.",
    ),
]
RetypeIo = Annotated[
    bool,
    typer.Option(
        "--retype-io",
        help="Give inputs and outputs of an element type that the target lacks a wider one "
        "(INT16: INT32). The caller feeds that.",
    ),
]
Dynamic = Annotated[
    list[str] | None,
    typer.Option(
        "--dynamic",
        metavar="INPUT:AXIS=SYMBOL",
        help="Make a dim of an input dynamic that the export made a number, and the sizes that "
        "derive from it: kpts0:1=n0. May be repeated.",
    ),
]
Unfreeze = Annotated[
    bool,
    typer.Option(
        "--unfreeze",
        help="Make the dims that MODEL declares dynamic so, where numbers in it hold them to one "
        "size (`onnx-fix check` tells: OF804).",
    ),
]
Also = Annotated[
    list[Path] | None,
    typer.Option(
        "--also",
        metavar="MODEL",
        help="An export of the same network at other sizes, for --dynamic to learn from and to be "
        "compared with. May be repeated.",
    ),
]
Assume = Annotated[
    list[str] | None,
    typer.Option(
        "--assume",
        metavar="PLACE=SIZE",
        help="What a number is that --dynamic asks for: 'val_12[1]=n0', or constants for all that "
        "are open. May be repeated.",
    ),
]
Report = Annotated[
    Path | None, typer.Option("--report", help="Write the report as JSON to this file.")
]
Verbose = Annotated[int, verbose_option("Print every change and skip.")]


def _version(show: bool) -> None:
    if show:
        from onnx_fix import __version__

        typer.echo(f"onnx-fix {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command(name="fix", cls=SeveralCapabilities, epilog=EXIT_CODES)
def fix_command(
    model: ExportedModel,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the result.")],
    target: TargetName = None,
    config: Config = None,
    no_plugins: NoPlugins = False,
    opset: Opset = None,
    max_count: MaxCount = None,
    freeze: Freeze = None,
    static: Static = None,
    retype_io: RetypeIo = False,
    dynamic: Dynamic = None,
    unfreeze: Unfreeze = False,
    also: Also = None,
    assume: Assume = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not compare the result with the original.")
    ] = False,
    inputs: Feeds = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            help="Another export of the same network to compare with, if MODEL itself cannot run.",
        ),
    ] = None,
    report: Report = None,
    repro: Annotated[
        Path | None,
        typer.Option(
            "--repro", help="If the numbers differ, leave a reproducer in this new folder."
        ),
    ] = None,
    engine: Annotated[
        Path | None,
        typer.Option(
            "--engine",
            help="Then build an engine with the TensorRT of this machine (see onnx-fix build).",
        ),
    ] = None,
    profile: Annotated[
        list[str] | None,
        profile_option(
            "Sizes of dynamic inputs for --engine: n=1:16:64,x=1x3:4x3:8x3, or a YAML file. "
            "May be repeated for several profiles."
        ),
    ] = None,
    precision: PrecisionName = "as-is",
    compute_capability: Capabilities = None,
    force: Annotated[bool, force_option("Replace the output if it exists.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Rewrite MODEL for a TensorRT release and write the result. The default command."""
    with errors():
        from onnx_fix.api import fix
        from onnx_fix.freezing import parse_freezes
        from onnx_fix.pipeline_options import parse_counts
        from onnx_fix.render import render_report
        from onnx_fix.save import check_output
        from onnx_fix.static_dims import parse_static
        from onnx_fix.unfreeze.request import parse_assume, parse_dynamic

        check_output(output, model if model.exists() else None, force=force)
        job = None
        if engine is not None:
            job = EngineJob.of(
                engine,
                model=model,
                output=output,
                target=target,
                config=config,
                profiles=profile or (),
                inputs=inputs,
                settings=settings_of(precision=precision, capabilities=compute_capability or ()),
                changes_inputs=bool(freeze or static or dynamic),
                force=force,
            )
        elif profile or compute_capability or precision != "as-is":
            raise UsageError("--profile, --precision and --compute-capability are for --engine")
        with progress(quiet) as tell:
            result = fix(
                model,
                target=target if job is None else job.target,
                pipeline=config,
                plugins=not no_plugins,
                opset=opset,
                max_count=parse_counts(max_count or ()),
                freeze=parse_freezes(freeze or ()),
                static=parse_static(static or ()),
                retype_io=retype_io,
                dynamic=parse_dynamic(dynamic or ()),
                unfreeze=unfreeze,
                also=also or (),
                assume=parse_assume(assume or ()),
                verify=not no_verify,
                inputs=inputs,
                profiles=() if job is None else job.asked,
                reference=reference,
                repro=repro,
                progress=tell,
            )
        _write(result, model, output, force)
        said = result.report.to_dict()
        if report is not None:
            write_text(report, json.dumps(said, indent=1) + "\n")
        render_report(result.report, verbose=verbose, quiet=quiet, output=output)
        if job is not None:
            built = job.build(output, quiet=quiet, verbose=verbose)
            if report is not None:
                said = {**said, "engine": built.to_dict()}
                write_text(report, json.dumps(said, indent=1) + "\n")
            if built.exit_code:
                raise typer.Exit(built.exit_code)
        if not result.ok:
            raise typer.Exit(1)


@app.command(name="plan")
def plan_command(
    model: ExportedModel,
    target: TargetName = None,
    config: Config = None,
    no_plugins: NoPlugins = False,
    opset: Opset = None,
    max_count: MaxCount = None,
    freeze: Freeze = None,
    static: Static = None,
    retype_io: RetypeIo = False,
    dynamic: Dynamic = None,
    unfreeze: Unfreeze = False,
    also: Also = None,
    assume: Assume = None,
    report: Report = None,
    verbose: Verbose = 0,
) -> None:
    """Say what would be done and why, and write no model."""
    with errors():
        from onnx_fix.api import plan
        from onnx_fix.freezing import parse_freezes
        from onnx_fix.pipeline_options import parse_counts
        from onnx_fix.render import render_report
        from onnx_fix.static_dims import parse_static
        from onnx_fix.unfreeze.request import parse_assume, parse_dynamic

        made = plan(
            model,
            target=target,
            pipeline=config,
            plugins=not no_plugins,
            opset=opset,
            max_count=parse_counts(max_count or ()),
            freeze=parse_freezes(freeze or ()),
            static=parse_static(static or ()),
            retype_io=retype_io,
            dynamic=parse_dynamic(dynamic or ()),
            unfreeze=unfreeze,
            also=also or (),
            assume=parse_assume(assume or ()),
        )
        if report is not None:
            write_text(report, json.dumps(made.report.to_dict(), indent=1) + "\n")
        render_report(made.report, verbose=verbose, dry=True)
        if not made.report.ok:
            raise typer.Exit(1)


@app.command(name="init")
def init_command(
    model: ExportedModel,
    target: TargetName = None,
    no_plugins: NoPlugins = False,
    opset: Opset = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write; standard output if absent."),
    ] = None,
    force: ReplaceOutput = False,
) -> None:
    """Write the pipeline file that the planner would use for MODEL, with comments."""
    with errors():
        from onnx_fix.api import plan
        from onnx_fix.init_file import commented

        if output is not None and output.exists() and not force:
            raise UsageError(f"{output} exists; pass --force to replace it")
        made = plan(model, target=target, plugins=not no_plugins, opset=opset)
        text = commented(made, model)
        if output is None:
            typer.echo(text, nl=False)
        else:
            write_text(output, text)


@app.command(name="schema")
def schema_command() -> None:
    """Print the JSON Schema of pipeline files, for editors."""
    with errors():
        from onnx_fix.pipeline import json_schema

        typer.echo(json.dumps(json_schema(), indent=1))


@app.command(name="passes")
def passes_command(
    name: Annotated[str | None, typer.Argument(help="A pass; all are listed if absent.")] = None,
) -> None:
    """List the passes, or show the documentation of one."""
    with errors():
        from onnx_fix.render import render_pass, render_passes

        if name is None:
            render_passes()
        else:
            render_pass(name)


def _write(result: FixResult, model: Path, output: Path, force: bool) -> None:
    from onnx_fix.save import save

    data: Any = model.read_bytes() if result.unchanged else result.model
    save(data, output, files=result.files, source=model, force=force)


register_build(app)
register_check(app)
register_explain(app)
register_split(app)
register_trtexec(app)
register_profile(app)
register_plugins(app)


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
