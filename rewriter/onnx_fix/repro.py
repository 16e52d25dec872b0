"""A failure as a folder that can be run again."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

from onnx_fix.contract import BasePass, Change
from onnx_fix.errors import UsageError
from onnx_fix.model import Model
from onnx_fix.pipeline import NodeFilter, PassEntry, Pipeline
from onnx_fix.save import external_files, save

_LIBRARIES = ("onnx-fix", "onnx", "onnx-graphsurgeon", "onnxruntime", "onnxsim", "numpy")


def write_repro(folder: Path, before: Model, pass_: BasePass, change: Change, message: str) -> None:
    """Write the model right before a change, a pipeline of that change alone, and how to run it.

    Raises:
        UsageError: the folder exists or cannot be made.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise UsageError(f"{folder} exists; name a new folder for the reproducer") from error
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror or error}") from error
    proto = before.to_proto()
    save(proto, folder / "before.onnx", files=external_files(proto, before.base_dir))
    exactly = change.old[0].replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    options = {k: v for k, v in pass_.options().items() if not pass_.is_default(k)}
    pipeline = Pipeline(
        target=before.target.name,
        passes=(
            PassEntry(name=change.pass_name, options=options, only=NodeFilter(nodes=(exactly,))),
        ),
        rounds=1,
    )
    (folder / "pipeline.yaml").write_text(pipeline.to_yaml(), encoding="utf-8")
    versions = "\n".join(f"{name} {version(name)}" for name in _LIBRARIES)
    (folder / "README.txt").write_text(
        f"{message}\n\nTo see it again:\n"
        "onnx-fix before.onnx -o after.onnx --config pipeline.yaml\n\n"
        f"{versions}\nPython {platform.python_version()} on {platform.platform()}\n",
        encoding="utf-8",
    )
