"""The TensorRT of this machine: the Python packages, then ``trtexec``."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys

from onnx_fix.errors import UsageError

TIMEOUT_S = 60.0
"""How long a package or program may take to say its version, in seconds."""

_TRTEXEC = re.compile(r"\[TensorRT v(\d+)\]")


def installed_target() -> str:
    """The name of the target that this machine has, such as ``trt-8.6.1``.

    Asks the packages ``tensorrt`` and ``tensorrt_rtx``, each in a process of its own because
    loading them can take seconds or fail in native code, then ``trtexec`` on PATH.

    Raises:
        UsageError: none of them is there, or none answers.
    """
    asked = []
    for package, prefix in (("tensorrt", "trt"), ("tensorrt_rtx", "rtx")):
        if importlib.util.find_spec(package) is None:
            continue
        asked.append(package)
        version = package_version(package)
        if version:
            return f"{prefix}-{version}"
    program = shutil.which("trtexec")
    if program is not None:
        asked.append("trtexec")
        version = trtexec_version(program)
        if version:
            return f"trt-{version}"
    found = f"{', '.join(asked)} did not say its version" if asked else (
        "neither the package tensorrt nor tensorrt_rtx is installed, and trtexec is not on PATH"
    )  # fmt: skip
    raise UsageError(
        f"target auto: {found}. Name the TensorRT release instead, such as --target trt-8.6."
    )


def _answer(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def package_version(package: str) -> str:
    script = f"import {package}; print('version=' + {package}.__version__)"
    match = re.search(r"version=(\d+(?:\.\d+)*)", _answer([sys.executable, "-c", script]))
    return match.group(1) if match else ""


def trtexec_version(program: str) -> str:
    """The version in trtexec's banner: ``v8601`` is 8.6.1, ``v100300`` is 10.3.0.

    Source: NV_TENSORRT_VERSION, which counts the major version in thousands up to 9 and in ten
    thousands since 10.
    """
    match = _TRTEXEC.search(_answer([program, "--help"]))
    if match is None:
        return ""
    number = int(match.group(1))
    scale = 10000 if number >= 10000 else 1000
    return f"{number // scale}.{number % scale // 100}.{number % 100}"
