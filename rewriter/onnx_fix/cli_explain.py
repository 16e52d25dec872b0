"""The commands ``onnx-fix explain`` and ``onnx-fix targets``."""

from __future__ import annotations

import codecs
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnx_fix.cli_errors import errors
from onnx_fix.cli_options import OutputFormat, check_format, target_option, verbose_option
from onnx_fix.errors import UsageError

if TYPE_CHECKING:
    from onnx_fix.model import Model
    from onnx_fix.target import Target

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""

    @app.command(name="explain")
    def explain_command(
        what: Annotated[
            str,
            typer.Argument(
                metavar="WHAT", help="A message, a log file, - for standard input, or an op."
            ),
        ] = "-",
        model: Annotated[
            Path | None,
            typer.Argument(metavar="[MODEL]", help="The model, to name its nodes."),
        ] = None,
        target: Annotated[
            str | None, target_option("The release: trt-8.6, rtx-1.7, ..., auto.")
        ] = None,
        output_format: OutputFormat = "human",
        verbose: Annotated[int, verbose_option("Name every node and meaning.")] = 0,
    ) -> None:
        """Say what an error message, a whole log, or an op means, and what mends it.

        Exit codes: 0 all is explained; 1 something is not in our data; 2 wrong usage or a bad file.
        """
        with errors():
            check_format(output_format)
            if _is_op(what) and model is None:
                known = _op(what, target, output_format)
            else:
                known = _text(what, model, target, output_format, verbose)
        if not known:
            raise typer.Exit(1)

    @app.command(name="targets")
    def targets_command(
        first: Annotated[
            str | None, typer.Argument(metavar="[TARGET]", help="A release to show in full.")
        ] = None,
        second: Annotated[
            str | None,
            typer.Argument(metavar="[OTHER]", help="Another: what changed from the first to it."),
        ] = None,
        output_format: OutputFormat = "human",
    ) -> None:
        """List the releases that are known, show one, or say what changed between two."""
        with errors():
            check_format(output_format)
            _targets(first, second, output_format == "json")


def _is_op(what: str) -> bool:
    """A single word that is no file names an op."""
    return (
        what != "-"
        and re.fullmatch(r"[\w.]+(?:::\w+)?", what) is not None
        and not what.endswith((".log", ".txt", ".onnx"))
        and not _is_file(what)
    )


def _is_file(what: str) -> bool:
    try:
        return Path(what).is_file()
    except (OSError, ValueError):
        return False  # a message is too long, or too odd, for a name


def _op(what: str, target: str | None, output_format: str) -> bool:
    from onnx_fix.explain import explain_op
    from onnx_fix.target import load_target

    found = explain_op(what, None if target is None else load_target(target))
    if output_format == "json":
        typer.echo(json.dumps(found.to_dict(), indent=1))
    else:
        from onnx_fix.render_explain import render_op

        render_op(found)
    return found.known


def _text(
    what: str, model: Path | None, target: str | None, output_format: str, verbose: int
) -> bool:
    from onnx_fix.explain import SCHEMA_VERSION, explain_log, release_in
    from onnx_fix.target import default_target, load_target

    text, source = read_text(what)
    if not text.strip():
        raise UsageError(f"{source} is empty: nothing to explain")
    said = release_in(text)
    chosen = load_target(target) if target is not None else said
    work = None if model is None else _model(model, chosen or default_target())
    found = explain_log(text, work, target=chosen)
    note = _note(chosen, target is None, model is not None)
    if output_format == "json":
        data = {
            "schema_version": SCHEMA_VERSION,
            "source": source,
            "target": None if chosen is None else chosen.name,
            "explanations": [one.to_dict() for one in found],
        }
        typer.echo(json.dumps(data, indent=1))
    else:
        from onnx_fix.render_explain import render_log

        render_log(found, source, note, verbose)
    return bool(found) and all(one.kind != "unknown" for one in found)


def _note(chosen: Target | None, from_log: bool, model: bool) -> str:
    if chosen is None:
        return (
            "the log does not name its release and no --target is given: the model is judged by "
            "the newest release that has each message"
            if model
            else ""
        )
    return f"the log was written by TensorRT {chosen.release}" if from_log else ""


def _model(path: Path, target: Target) -> Model:
    from onnx_fix.load import load_proto
    from onnx_fix.model import Model

    return Model(load_proto(path), path.parent, target)


def read_text(what: str) -> tuple[str, str]:
    """The text that an argument means, and how to call it: standard input, a file, or itself.

    Raises:
        UsageError: the file cannot be read, is a model, or nothing is piped in.
    """
    if what == "-":
        if sys.stdin.isatty():
            raise UsageError(
                "nothing is piped in; pass a message, a log file or an op, or pipe a log: "
                "trtexec ... 2>&1 | onnx-fix explain"
            )
        return decode(sys.stdin.buffer.read()), "standard input"
    if not _is_file(what):
        if re.fullmatch(r"\S+\.(?:log|txt|onnx)", what):
            raise UsageError(f"{what}: there is no such file")
        return what, "the message"
    if what.endswith(".onnx"):
        raise UsageError(
            f"{what} is a model; give the message or log first and the model after it, or run "
            "onnx-fix check"
        )
    try:
        return decode(Path(what).read_bytes()), what
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {error.strerror or error}") from error


def decode(data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 as PowerShell writes it; what is neither is replaced."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace").replace("\r\n", "\n")
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def _targets(first: str | None, second: str | None, as_json: bool) -> None:
    from onnx_fix.compare_targets import SCHEMA_VERSION, compare
    from onnx_fix.list_targets import describe_target, list_targets, listed_to_dict
    from onnx_fix.render_targets import render_detail, render_diff, render_list
    from onnx_fix.target import load_target

    if first is None:
        every = list_targets()
        if as_json:
            listed = [listed_to_dict(one) for one in every]
            typer.echo(json.dumps({"schema_version": SCHEMA_VERSION, "targets": listed}, indent=1))
        else:
            render_list(every)
    elif second is None:
        detail = describe_target(load_target(first))
        if as_json:
            typer.echo(json.dumps(detail.to_dict(), indent=1))
        else:
            render_detail(detail)
    else:
        diff = compare(load_target(first), load_target(second))
        if as_json:
            typer.echo(json.dumps(diff.to_dict(), indent=1))
        else:
            render_diff(diff)
