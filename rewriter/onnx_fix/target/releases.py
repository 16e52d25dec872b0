"""Names of targets: which release a name means."""

from __future__ import annotations

import re
from dataclasses import dataclass

from onnx_fix.errors import UsageError
from onnx_fix.target.data import main_line, read

DEFAULT = "trt-7.2"
_NAME = re.compile(r"^(?:(trt|tensorrt|rtx|tensorrt-rtx|trt-rtx)-?)?v?(\d+(?:\.\d+)*)$")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A listed release, and a note where it is not the one that was asked for."""

    name: str
    release: str
    note: str = ""


def target_name(release: str) -> str:
    """``8.6`` -> ``trt-8.6``; ``rtx-1.7`` stays."""
    return release if release.startswith("rtx-") else f"trt-{release}"


def known_targets() -> list[str]:
    """The names of all targets, oldest release first, side releases last."""
    releases = read("releases")["releases"]
    sides = [name for name in releases if "base" in releases[name]]
    return [target_name(name) for name in (*main_line(), *sides)]


def resolve(name: str) -> Resolved:
    """The listed release that behaves like the one named.

    A release between two listed ones behaves like the lower one; one above the newest is taken as
    the newest.

    Raises:
        UsageError: the name is no target; the message lists the known ones.
    """
    text = name.strip().lower().replace("_", "-")
    for known in known_targets():
        if text in (known, known.removeprefix("trt-")):
            return Resolved(known, known.removeprefix("trt-"))
    match = _NAME.match(text)
    if match is None:
        raise UsageError(_unknown(name))
    family, version = match.groups()
    if family in ("rtx", "tensorrt-rtx", "trt-rtx"):
        return _nearest_rtx(version)
    return _nearest_main(name, version)


def _numbers(version: str) -> tuple[int, ...]:
    """The parts of a version, at least two: ``8`` counts as ``8.0``."""
    parts = tuple(int(part) for part in version.split("."))
    return parts if len(parts) > 1 else (*parts, 0)


def _nearest_main(name: str, version: str) -> Resolved:
    wanted = _numbers(version)
    below = [release for release in main_line() if _numbers(release) <= wanted]
    if not below:
        raise UsageError(_unknown(name))
    release = below[-1]
    if release == main_line()[-1] and wanted[:2] > _numbers(release):
        note = f"TensorRT {version} is newer than all that is known; judged as {release}"
    else:
        note = f"TensorRT {version} is judged as {release}"
    return Resolved(target_name(release), release, note)


def _nearest_rtx(version: str) -> Resolved:
    releases = read("releases")["releases"]
    known = sorted((r for r in releases if r.startswith("rtx-")), key=lambda r: _numbers(r[4:]))
    below = [release for release in known if _numbers(release[4:]) <= _numbers(version)]
    release = below[-1] if below else known[0]
    return Resolved(release, release, f"TensorRT-RTX {version} is judged as {release[4:]}")


def _unknown(name: str) -> str:
    import difflib  # only for this message

    known = known_targets()
    text = name.strip().lower()
    close = difflib.get_close_matches(text, [*known, "auto"], n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    listed = ", ".join(known)
    return f"no target is called '{name}'.{hint} Known targets: {listed}, auto."
