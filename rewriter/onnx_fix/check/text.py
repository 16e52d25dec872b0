"""Names out of a model, made fit for one line of text: ONNX allows any character in them."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})?")


def visible(text: str) -> str:
    """The text on one line, with line breaks, terminal controls and the like spelled out.

    For people to read; a backslash stays as it is, so there is no way back.
    """
    return (
        text if text.isprintable() else "".join(c if c.isprintable() else _spell(c) for c in text)
    )


def escape_line(text: str) -> str:
    """As ``visible``, but every text has its own line: ``unescape_line`` gives it back."""
    return visible(text.replace("\\", "\\\\"))


def unescape_line(line: str) -> str:
    """The text that ``escape_line`` made the line of.

    Raises:
        ValueError: a backslash begins no known escape.
    """

    def one(match: re.Match[str]) -> str:
        what = match[1]
        if what is None:
            raise ValueError(f"no known escape begins at '{line[match.start() :][:6]}'")
        return "\\" if what == "\\" else _character(int(what[1:], 16))

    return _ESCAPE.sub(one, line)


def _spell(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _character(code: int) -> str:
    if code > 0x10FFFF:
        raise ValueError(f"there is no character {code:#x}")
    return chr(code)
