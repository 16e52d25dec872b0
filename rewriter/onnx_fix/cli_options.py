"""Options that several commands have. What one command alone has stands with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnx_fix.errors import UsageError

if TYPE_CHECKING:
    from onnx_fix.pipeline import Pipeline


def target_option(text: str) -> Any:
    """``--target``, with what it is for in the command."""
    return typer.Option("--target", "-t", help=text)


def profile_option(text: str) -> Any:
    """``--profile``, with how ranges are written."""
    return typer.Option("--profile", "-p", metavar="RANGES", help=text)


def inputs_option(text: str) -> Any:
    """``--inputs``, with what the files are for."""
    return typer.Option("--inputs", help=text)


def force_option(text: str) -> Any:
    """``--force``, with what it lets the command replace."""
    return typer.Option("--force", "-f", help=text)


def verbose_option(text: str) -> Any:
    """``--verbose``, with what is printed then."""
    return typer.Option("--verbose", "-v", count=True, help=text)


ExportedModel = Annotated[Path, typer.Argument(metavar="MODEL", help="The exported model.")]
Release = Annotated[str | None, target_option("TensorRT release, such as trt-8.6, or auto.")]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Pipeline file (see onnx-fix init).")
]
RangesConfig = Annotated[
    Path | None, typer.Option("--config", "-c", help="Pipeline file with dims or profiles.")
]
NoPlugins = Annotated[
    bool, typer.Option("--no-plugins", help="Make no plugin nodes, plain ONNX only.")
]
Feeds = Annotated[Path | None, inputs_option("Folder of npz or npy feeds to compare with.")]
Capabilities = Annotated[
    list[str] | None,
    typer.Option(
        "--compute-capability",
        metavar="X.Y ...",
        help="GPUs to build for without one at hand, TensorRT-RTX only: 8.6 8.9 12.0, or current.",
    ),
]
PrecisionName = Annotated[
    str,
    typer.Option(
        "--precision",
        help="as-is: the types of the model; fp16, bf16: the builder may lower FP32; fp32.",
    ),
]
ReplaceOutput = Annotated[bool, force_option("Replace the output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong.")]
OutputFormat = Annotated[str, typer.Option("--format", help="human or json.")]


def read_config(config: Path | None) -> Pipeline | None:
    """The pipeline file of ``--config``, where one is named.

    Raises:
        PipelineError: it is no pipeline file.
    """
    from onnx_fix.pipeline import read_pipeline

    return None if config is None else read_pipeline(config)


def check_format(output_format: str) -> None:
    """Refuse a format that there is not.

    Raises:
        UsageError: it is neither of ``OutputFormat``.
    """
    if output_format not in ("human", "json"):
        raise UsageError(f"--format {output_format}: choose human or json")
