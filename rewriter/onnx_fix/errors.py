"""What can go wrong, as one exception family; each class carries the exit code it ends in."""

from __future__ import annotations


class OnnxFixError(Exception):
    """Base of every error that onnx-fix raises on purpose.

    The message says what is wrong, where, and how to mend it; the command line prints it as it
    stands, without a traceback.
    """

    exit_code: int = 2


class UsageError(OnnxFixError):
    """Wrong options, an output that may not be written, a target nobody knows."""


class OptionError(UsageError):
    """An option of a pass that does not exist or has a value of the wrong type."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


class ModelError(OnnxFixError):
    """The model file cannot be read, or is not a model that can be worked on."""


class PipelineError(OnnxFixError):
    """The pipeline file is wrong; the message starts with ``file:line``."""


class VerificationError(OnnxFixError):
    """The rewritten model computes something else; nothing was written."""

    exit_code = 3


class InternalError(OnnxFixError):
    """A fault of onnx-fix itself, such as a pass that proposes an invalid rewrite."""

    exit_code = 4
