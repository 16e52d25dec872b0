"""The command ``onnx-fix check``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from onnx_fix.cli_errors import errors
from onnx_fix.cli_options import Release, verbose_option
from onnx_fix.errors import ModelError, UsageError


class LiveChoice(Enum):
    """Whether the installed TensorRT is asked."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


def parse_dims(given: list[str]) -> dict[str, tuple[int, int, int]]:
    """``N=16:256:512`` means min 16, opt 256, max 512; ``N=256`` means all three.

    Raises:
        UsageError: the text has another form, or the sizes are not in order.
    """
    dims: dict[str, tuple[int, int, int]] = {}
    for text in given:
        name, _, sizes = text.rpartition("=")
        parts = sizes.split(":")
        if not name or len(parts) not in (1, 3) or not all(p.isdigit() for p in parts):
            raise UsageError(f"--dims {text}: write NAME=MIN:OPT:MAX, such as N=16:256:512")
        low, opt, high = (int(p) for p in (parts * 3 if len(parts) == 1 else parts))
        if not low <= opt <= high:
            raise UsageError(f"--dims {text}: min <= opt <= max must hold")
        dims[name] = (low, opt, high)
    return dims


def register(app: typer.Typer) -> None:
    """Add the command to the program."""

    @app.command(name="check")
    def check_command(
        models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Models to check.")],
        target: Release = None,
        dims: Annotated[
            list[str] | None,
            typer.Option("--dims", help="Range of a symbolic dim: N=16:256:512. May be repeated."),
        ] = None,
        output_format: Annotated[
            str, typer.Option("--format", help="human, json, sarif or github.")
        ] = "human",
        select: Annotated[
            list[str] | None,
            typer.Option("--select", help="Report these codes only (prefixes and names, too)."),
        ] = None,
        ignore: Annotated[
            list[str] | None,
            typer.Option("--ignore", help="Leave out these codes; OF204:/head/* for single nodes."),
        ] = None,
        baseline: Annotated[
            Path | None, typer.Option("--baseline", help="File of findings that are accepted.")
        ] = None,
        write_baseline: Annotated[
            Path | None,
            typer.Option("--write-baseline", help="Accept what is found now, in this file."),
        ] = None,
        live: Annotated[
            LiveChoice,
            typer.Option("--live", help="Ask the installed TensorRT as well; auto: if it is T."),
        ] = LiveChoice.AUTO,
        build: Annotated[
            bool, typer.Option("--build", help="Let the live builder build an engine, too.")
        ] = False,
        run: Annotated[
            bool,
            typer.Option(
                "--run", help="Run a model that holds its sizes, to show at which it breaks."
            ),
        ] = False,
        timeout: Annotated[
            float,
            typer.Option("--timeout", help="Seconds after which the live parser is given up."),
        ] = 120.0,
        verbose: Annotated[int, verbose_option("Name every node.")] = 0,
    ) -> None:
        """Say what a TensorRT release will refuse or compute wrongly, and what mends it.

        Exit codes: 0 ready; 1 blocked; 2 wrong usage or a bad file; 4 a fault of onnx-fix itself;
        5 not certain.
        """
        with errors():
            from rich.console import Console

            from onnx_fix.check import check
            from onnx_fix.check.baseline import write_baseline as write
            from onnx_fix.check.formats import renderer
            from onnx_fix.check.result import worst_exit_code

            terminal = Console()
            render = renderer(output_format, color=terminal.is_terminal and not terminal.no_color)
            ranges = parse_dims(dims or [])
            results = []
            unreadable = 0
            for model in models:
                try:
                    result = check(
                        model,
                        target=target,
                        dims=ranges,
                        select=select or (),
                        ignore=ignore or (),
                        # A file that is written anew accepts what the old one did.
                        baseline=baseline if write_baseline is None else None,
                        live=live.value,
                        build=build,
                        timeout_s=timeout,
                        run=run,
                    )
                except ModelError as error:
                    # The other models are still worth a word.
                    typer.echo(f"error: {error}", err=True)
                    unreadable = error.exit_code
                else:
                    results.append(result)
            if write_baseline is not None:
                write(write_baseline, results)
            if results or output_format != "human":
                typer.echo(render(results, verbose=verbose), nl=False)
            code = worst_exit_code(results) if write_baseline is None else 0
        if unreadable or code:
            raise typer.Exit(unreadable or code)
