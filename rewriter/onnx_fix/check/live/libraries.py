"""The libraries of a TensorRT package under the names by which TensorRT itself opens them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

_NUMBERED = re.compile(r"(lib\w+\.so)\.\d+")


def with_plain_names(environment: dict[str, str], package: str, folder: Path) -> dict[str, str]:
    """The environment of a process in which ``libNAME.so`` is found, too.

    To add a plugin the parser of TensorRT-RTX opens ``libtensorrt_rtx.so``, and ends the process
    where there is none. The wheels hold ``libtensorrt_rtx.so.1`` alone, so links are made in
    ``folder``; the dynamic loader sees that both are one file.
    """
    if not sys.platform.startswith("linux"):
        return environment
    spec = importlib.util.find_spec(f"{package}_libs")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    made = False
    for library in (path for place in places for path in sorted(Path(place).glob("*.so.*"))):
        match = _NUMBERED.fullmatch(library.name)
        if match is None or library.with_name(match.group(1)).exists():
            continue
        folder.mkdir(exist_ok=True)
        link = folder / match.group(1)
        if not link.is_symlink():
            link.symlink_to(library.resolve())
        made = True
    if not made:
        return environment
    paths = [str(folder.resolve()), environment.get("LD_LIBRARY_PATH", "")]
    return {**environment, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths))}
