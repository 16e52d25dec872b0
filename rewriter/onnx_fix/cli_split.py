"""The commands ``onnx-fix split`` and ``onnx-fix run``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from onnx_fix.cli_errors import errors
from onnx_fix.cli_options import (
    Config,
    ExportedModel,
    Feeds,
    NoPlugins,
    Quiet,
    ReplaceOutput,
    force_option,
    inputs_option,
    target_option,
    verbose_option,
)
from onnx_fix.cli_output import progress
from onnx_fix.errors import UsageError


class BackendChoice(Enum):
    """What runs the parts for the target."""

    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"


SPLIT_EXIT_CODES = (
    "Exit codes: 0 written, and the target takes every node of the parts for it; 1 written, but "
    "nodes remain that it refuses (they are listed); 2 wrong usage, a bad file, or nothing to cut; "
    "3 the parts compute something else, or nothing could be compared: nothing was written; 4 a "
    "fault of onnx-fix itself."
)
RUN_EXIT_CODES = (
    "Exit codes: 0 run; 2 wrong usage, a bad file, or a part that does not run; 4 a fault of "
    "onnx-fix itself."
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""

    @app.command(name="split", epilog=SPLIT_EXIT_CODES)
    def split_command(
        model: ExportedModel,
        output: Annotated[
            Path, typer.Option("--output", "-o", help="Folder to write the parts into; new.")
        ],
        target: Annotated[
            str | None, target_option("TensorRT release, such as trt-7.2, or auto.")
        ] = None,
        at: Annotated[
            list[str] | None,
            typer.Option(
                "--at",
                metavar="NODE",
                help="Cut at this node (its name, or a tensor that it makes); by default at the "
                "nodes that are refused after the fix. May be repeated.",
            ),
        ] = None,
        config: Config = None,
        no_plugins: NoPlugins = False,
        opset: Annotated[
            int | None, typer.Option("--opset", help="Operator set to write the parts for.")
        ] = None,
        no_verify: Annotated[
            bool, typer.Option("--no-verify", help="Do not compare the parts with the original.")
        ] = False,
        inputs: Feeds = None,
        reference: Annotated[
            Path | None,
            typer.Option(
                "--reference",
                help="Another export of the same network to compare with, if MODEL cannot run.",
            ),
        ] = None,
        force: Annotated[
            bool, force_option("Replace a folder that this command wrote before.")
        ] = False,
        verbose: Annotated[int, verbose_option("Print every tensor between.")] = 0,
        quiet: Quiet = False,
    ) -> None:
        """Cut MODEL in parts at the nodes that a TensorRT release does not build."""
        with errors():
            from onnx_fix.render_split import render_split
            from onnx_fix.splitting import split

            with progress(quiet) as tell:
                result = split(
                    model,
                    output,
                    target=target,
                    at=at or (),
                    pipeline=config,
                    plugins=not no_plugins,
                    opset=opset,
                    verify=not no_verify,
                    inputs=inputs,
                    reference=reference,
                    force=force,
                    progress=tell,
                )
            render_split(result, str(model), verbose=verbose, quiet=quiet)
            if not result.ok:
                raise typer.Exit(1)

    @app.command(name="run", epilog=RUN_EXIT_CODES)
    def run_command(
        folder: Annotated[
            Path, typer.Argument(metavar="DIR", help="A folder that onnx-fix split wrote.")
        ],
        inputs: Annotated[Path, inputs_option("npz file with an array for each input.")],
        output: Annotated[
            Path, typer.Option("--output", "-o", help="npz file to write the outputs to.")
        ],
        backend: Annotated[
            BackendChoice, typer.Option("--backend", help="What runs the parts for the target.")
        ] = BackendChoice.ONNXRUNTIME,
        force: ReplaceOutput = False,
    ) -> None:
        """Run a model in parts on feeds from a file."""
        with errors():
            from onnx_fix.parts import read_feeds, run_parts, write_results

            if output.exists() and not force:
                raise UsageError(f"{output} exists; pass --force to replace it")
            results = run_parts(folder, read_feeds(inputs), backend.value)
            write_results(output, results)
            for name, value in results.items():
                typer.echo(f"{name}: {value.dtype.name} {list(value.shape)}")
