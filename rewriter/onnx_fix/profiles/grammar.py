"""Profiles as text: ``n0=300:400:512,kpts=1x300x2:1x400x2:1x512x2,size=[16,16]:[32,32]:[64,64]``.

One item per dim or input, with commas between them. The part after the equal sign is MIN:OPT:MAX,
or one bound that stands for all three. A bound is a number (the size of a dim), a shape such as
``1x300x2`` (of an input), or values such as ``[16,16]`` (of an input whose values decide sizes). A
name that holds a comma, an equal sign, a quote or outer blanks stands in quotes, single or double;
the same quote within is written twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from onnx_fix.errors import UsageError
from onnx_fix.profiles.asked import Asked, Bound, Form, of_bounds, without_doubles

EXAMPLE = "n0=300:400:512, kpts0=1x300x2:1x400x2:1x512x2 or size=[16,16]:[32,32]:[64,64]"
_QUOTED = re.compile(r"""\s*(?:'((?:[^']|'')*)'|"((?:[^"]|"")*)")\s*""", re.DOTALL)
_PLAIN = re.compile(r"[^=,'\"]+")
_NUMBER = re.compile(r"\d+")
_SHAPE = re.compile(r"\d+(?:x\d+)+")
_VALUES = re.compile(r"\[\s*(?:-?\d+(?:\s*,\s*-?\d+)*)?\s*\]")
_RANGE = re.compile(r"(?:[^,\[\]]|\[[^\]]*\])*")
_FILES = (".yaml", ".yml")


def parse_profiles(texts: Iterable[str]) -> tuple[tuple[Asked, ...], ...]:
    """The profiles of several ``--profile`` options: a text is one, a file may hold several.

    Raises:
        UsageError: a text is not of the form, or a file cannot be read.
        PipelineError: a file is wrong; the message starts with ``file:line``.
    """
    found: list[tuple[Asked, ...]] = []
    for text in texts:
        path = file_of(text)
        if path is None:
            found.append(parse_profile(text))
        else:
            found.extend(_from_file(path))
    return tuple(found)


def file_of(text: str) -> Path | None:
    """The file that a text names: one that ends in .yaml or .yml, or stands behind an ``@``."""
    text = text.strip()
    if text.startswith("@"):
        return Path(text[1:])
    return Path(text) if text.endswith(_FILES) else None


def _from_file(path: Path) -> tuple[tuple[Asked, ...], ...]:
    from onnx_fix.pipeline import read_pipeline

    if not path.exists():
        raise UsageError(f"--profile {path}: there is no such file")
    found = read_pipeline(path).asked()
    if not found:
        raise UsageError(f"--profile {path}: has neither dims nor profiles")
    return found


def parse_profile(text: str) -> tuple[Asked, ...]:
    """The ranges of one profile.

    Raises:
        UsageError: the text is not of the form; the message shows the item that is not.
    """
    items: list[Asked] = []
    at = 0
    while True:
        item, at = _item(text, at)
        items.append(item)
        if at == len(text):
            break
        at += 1
    return without_doubles(items)


def _item(text: str, at: int) -> tuple[Asked, int]:
    """The item that starts at a place, and where it ends: at a comma or at the end of the text."""
    start = at
    quoted = _QUOTED.match(text, at)
    plain = _PLAIN.match(text, at)
    if quoted:
        single, double = quoted.groups()
        name = single.replace("''", "'") if single is not None else double.replace('""', '"')
        at = quoted.end()
    elif plain:
        name, at = plain.group().strip(), plain.end()
    else:
        name = ""
    if not name or text[at : at + 1] != "=":
        shown = text[start:].split(",", 1)[0].strip()
        raise UsageError(
            f"--profile: '{shown}' is no NAME=MIN:OPT:MAX; write such as {EXAMPLE}, or the name of "
            "a YAML file. A name with a comma, an equal sign or a quote stands in quotes"
        )
    found = _RANGE.match(text, at + 1)
    assert found is not None
    end = found.end()
    if end < len(text) and text[end] != ",":
        raise UsageError(f"--profile {name}: the bracket in '{text[at + 1 :]}' has no partner")
    return of_bounds(name, _bounds(name, found.group().strip())), end


def _bounds(name: str, text: str) -> Sequence[tuple[Form, Bound]]:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) not in (1, 3):
        raise UsageError(
            f"--profile {name}={text}: write MIN:OPT:MAX, or one bound for all three; such as "
            f"{EXAMPLE}"
        )
    read = [read_bound(part) for part in parts]
    for part, bound in zip(parts, read, strict=True):
        if bound is None:
            raise UsageError(
                f"--profile {name}={text}: '{part}' is no number, no shape such as 1x300x2, and "
                "no list of values such as [16,16]"
            )
    bounds = [bound for bound in read if bound is not None]
    return bounds * 3 if len(bounds) == 1 else bounds


def read_bound(text: str) -> tuple[Form, Bound] | None:
    """One bound; None where the text is none."""
    if _NUMBER.fullmatch(text):
        return "number", (int(text),)
    if _SHAPE.fullmatch(text):
        return "shape", tuple(int(size) for size in text.split("x"))
    if _VALUES.fullmatch(text):
        return "values", tuple(int(v) for v in re.findall(r"-?\d+", text))
    return None


def spell_profile(asked: Iterable[Asked]) -> str:
    """The text that reads back as these ranges."""
    return ",".join(f"{quoted(one.name)}={one}" for one in asked)


def quoted(name: str) -> str:
    """A name as it stands in a text: in quotes where it must."""
    plain = _PLAIN.fullmatch(name) and name == name.strip() and not name.startswith("@")
    return name if plain else "'" + name.replace("'", "''") + "'"
