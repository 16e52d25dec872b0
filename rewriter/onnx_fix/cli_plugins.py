"""The commands ``onnx-fix plugins build`` and ``onnx-fix plugins list``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from onnx_fix.cli_errors import errors
from onnx_fix.cli_options import OutputFormat, check_format
from onnx_fix.cli_output import progress
from onnx_fix.errors import UsageError

EXIT_CODES = (
    "Exit codes: 0 done; 1 the compiler refuses the sources; 2 wrong usage, or a compiler, CMake "
    "or the headers of TensorRT are missing; 4 a fault of onnx-fix itself."
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Build the TensorRT plugins that onnx-fix ships, and list them.",
    )
    app.add_typer(group, name="plugins")
    _register_build(group)
    _register_list(group)


def _register_build(group: typer.Typer) -> None:
    @group.command(name="build", epilog=EXIT_CODES)
    def build_command(
        tensorrt_root: Annotated[
            Path | None,
            typer.Option(
                "--tensorrt-root",
                help="The SDK of TensorRT or TensorRT-RTX, or a folder of its headers; the usual "
                "places (also TENSORRT_ROOT) are searched if absent.",
            ),
        ] = None,
        tensorrt_library: Annotated[
            Path | None,
            typer.Option(
                "--tensorrt-library",
                help="libnvinfer or libtensorrt_rtx, if it does not lie beside the headers.",
            ),
        ] = None,
        cuda_root: Annotated[
            Path | None,
            typer.Option("--cuda-root", help="The CUDA toolkit; that of nvcc on PATH if absent."),
        ] = None,
        arch: Annotated[
            list[str] | None,
            typer.Option(
                "--arch",
                metavar="CC",
                help="Compute capability of the GPU, such as 8.6; by default those that the "
                "toolkit knows. May be repeated.",
            ),
        ] = None,
        api: Annotated[
            str,
            typer.Option(
                "--api",
                help="V2 (IPluginV2DynamicExt, TensorRT 7 to 10) or V3 (IPluginV3, 10 and later); "
                "V3 where there is a choice.",
            ),
        ] = "",
        output: Annotated[
            Path | None,
            typer.Option(
                "--output", "-o", metavar="DIR", help="Folder of the library; a cache if absent."
            ),
        ] = None,
        jobs: Annotated[
            int, typer.Option("--jobs", "-j", min=0, help="Compilers at once; 0 for all cores.")
        ] = 0,
        verbose: Annotated[
            bool, typer.Option("--verbose", "-v", help="Print what CMake and the compilers say.")
        ] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help="Print the path of the library alone.")
        ] = False,
    ) -> None:
        """Compile the plugin library for one TensorRT release, the one whose headers are found.

        Takes nvcc, CMake 3.18, a C++ compiler, and the headers of TensorRT.
        """
        with errors():
            from onnx_fix.plugin_libraries import Request, build, shipped
            from onnx_fix.render_plugins import render_built

            if api not in ("", "V2", "V3"):
                raise UsageError(f"--api {api}: choose V2 or V3")
            request = Request(
                tensorrt_root=tensorrt_root,
                tensorrt_library=tensorrt_library,
                cuda_root=cuda_root,
                architectures=tuple(arch or ()),
                api=api,
                output=output,
                jobs=jobs,
            )
            found = shipped()
            if not found:
                raise UsageError("no installed package ships plugins; install onnx-fix anew")
            for plugin in found:
                with progress(quiet or verbose) as tell:
                    tell(f"compiling {plugin.library}")
                    say = (lambda line: typer.echo(line, nl=False, err=True)) if verbose else None
                    built = build(plugin, request, say or (lambda _line: None))
                render_built(built, quiet=quiet)


def _register_list(group: typer.Typer) -> None:
    @group.command(name="list", epilog=EXIT_CODES)
    def list_command(
        folder: Annotated[
            Path | None,
            typer.Option(
                "--in", metavar="DIR", help="Look for built libraries here, not in the cache."
            ),
        ] = None,
        output_format: OutputFormat = "human",
    ) -> None:
        """Say what the plugins are for, which targets need them, and which libraries are built."""
        with errors():
            from onnx_fix.plugin_libraries import built_in, default_folder, shipped, uses
            from onnx_fix.render_plugins import listed, render_listed

            check_format(output_format)
            place = folder if folder is not None else default_folder()
            if folder is not None and not folder.is_dir():
                raise UsageError(f"--in {folder}: there is no such folder")
            found = [
                (plugin, list(uses(plugin)), [b for b in built_in(place) if plugin.op in b.ops])
                for plugin in shipped()
            ]
            if output_format == "json":
                typer.echo(json.dumps([listed(*one) for one in found], indent=1))
            else:
                for one in found:
                    render_listed(*one, place)
