"""``--format json``: every finding, for programs."""

from __future__ import annotations

import json

from onnx_fix.check.formats.grouping import Results
from onnx_fix.check.result import SCHEMA_VERSION, TOOL, worst_exit_code


def render(results: Results, *, verbose: int = 0) -> str:
    """One JSON document in ASCII, with a list ``models`` even where there is one.

    ``verbose`` changes nothing: all is there.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": TOOL,
        "exit_code": worst_exit_code(results),
        "models": [result.to_dict() for result in results],
    }
    return json.dumps(document, indent=1) + "\n"
