"""The command ``onnx-fix profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnx_fix.cli_errors import errors
from onnx_fix.cli_options import (
    Quiet,
    RangesConfig,
    Release,
    inputs_option,
    profile_option,
    read_config,
)
from onnx_fix.cli_output import progress

EXIT_CODES = (
    "Exit codes: 0 the profiles can work (warnings may be told); 1 one cannot work; 2 wrong usage, "
    "a bad file, or ranges that do not suit the model; 4 a fault of onnx-fix itself."
)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""

    @app.command(name="profile", epilog=EXIT_CODES)
    def profile_command(
        model: Annotated[Path, typer.Argument(metavar="FIXED", help="The fixed model.")],
        profile: Annotated[
            list[str] | None,
            profile_option(
                "min:opt:max of dims (n0=300:400:512), inputs (kpts=1x300x2:1x400x2:1x512x2) "
                "or values of shape tensors (size=[16,16]:[32,32]:[64,64]), with commas between; "
                "or a YAML file. May be repeated: each is one profile."
            ),
        ] = None,
        inputs: Annotated[
            Path | None,
            inputs_option(
                "Folder of npz or npy samples: the smallest, median and largest size seen "
                "for what the other options leave open."
            ),
        ] = None,
        config: RangesConfig = None,
        target: Release = None,
        no_run: Annotated[
            bool, typer.Option("--no-run", help="Infer sizes, and do not run the model.")
        ] = False,
        timeout: Annotated[
            float, typer.Option("--timeout", min=1.0, help="Seconds for the runs of one profile.")
        ] = 300.0,
        as_yaml: Annotated[
            bool,
            typer.Option(
                "--yaml",
                help="Print the profiles as dims or profiles of a pipeline file; all else goes to "
                "standard error.",
            ),
        ] = False,
        quiet: Quiet = False,
    ) -> None:
        """Say which shapes an engine would be built for, and whether the model works there."""
        with errors():
            from rich.console import Console

            from onnx_fix.load import load_proto
            from onnx_fix.pipeline import named_target
            from onnx_fix.profiles.check import check_profile
            from onnx_fix.profiles.collect import collect, profiles_yaml
            from onnx_fix.render_profile import render_profile
            from onnx_fix.target import choose_target

            proto = load_proto(model)
            pipeline = read_config(config)
            chosen, note = choose_target(named_target(target, pipeline))
            collected = collect(proto, profile or (), pipeline, inputs)
            console = Console(highlight=False, soft_wrap=True, stderr=as_yaml)
            if not quiet:
                for line in filter(None, (note, *collected.notes)):
                    console.print(line, markup=False)
            blocked = False
            many = len(collected.profiles) > 1
            for number, one in enumerate(collected.profiles):
                if not one.inputs and not quiet:
                    console.print("no input is dynamic: the engine needs no profile")
                with progress(quiet) as tell:
                    findings = check_profile(
                        proto,
                        one,
                        chosen,
                        base_dir=model.parent,
                        run=not no_run,
                        timeout_s=timeout,
                        progress=tell,
                    )
                render_profile(console, number if many else None, one, findings, quiet=quiet)
                blocked = blocked or any(f.severity == "error" for f in findings)
            if as_yaml and any(one.inputs for one in collected.profiles):
                typer.echo(profiles_yaml(proto, collected.profiles), nl=False)
            if blocked:
                raise typer.Exit(1)
