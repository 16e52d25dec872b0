"""The command line that builds an engine: made for a model and a release, read, checked, run.

``command`` makes it, ``lint`` checks one that a person wrote, ``run`` runs it and explains a
failure. Which options a release takes is data (``onnx_fix.target.trtexec``).
"""

from onnx_fix.trtexec.command import Command, Options, command
from onnx_fix.trtexec.finding import LintFinding, Severity
from onnx_fix.trtexec.lint import lint, lint_arguments
from onnx_fix.trtexec.running import Ran, find_program, run

__all__ = [
    "Command",
    "LintFinding",
    "Options",
    "Ran",
    "Severity",
    "command",
    "find_program",
    "lint",
    "lint_arguments",
    "run",
]
