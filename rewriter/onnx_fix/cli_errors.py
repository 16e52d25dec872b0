"""Errors of the command line: one message, the right exit code, never a traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from onnx_fix.errors import OnnxFixError


@contextmanager
def errors() -> Iterator[None]:
    """Turn errors into one message and their exit code."""
    try:
        yield
    except OnnxFixError as error:
        _fail(f"error: {error}", error.exit_code)
    except MemoryError:
        _fail("error: there is not enough memory for this model", 2)
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written", 130)
    except Exception as error:  # the last line of defence: our own fault, said as such
        if os.environ.get("ONNX_FIX_TRACEBACK"):
            raise
        _fail(
            f"onnx-fix has a fault: {type(error).__name__}: {error}\nNothing was written. Please "
            "report it with the model, the command, and the traceback that the same command prints "
            "with ONNX_FIX_TRACEBACK=1 set.",
            4,
        )


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
