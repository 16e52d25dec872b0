"""Read a command line that a person pasted: from a shell, a script, a README or a log."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from onnx_fix.errors import UsageError

PROGRAMS = ("trtexec", "tensorrt_rtx")
VARIABLE = "\0"
"""Stands in the arguments for the dollar sign of a variable, whose value is not known; a zero byte
cannot be part of an argument."""

_LOGGED = re.compile(r"&&&& \w+ TensorRT\.\w+(?: \[[^\]]*\])* # (.*)")
_CONTINUED = re.compile(r"[\\^`][ \t]*\r?\n[ \t]*(?:> )?")
_EXPANDED = re.compile(r"[A-Za-z_0-9{(@*#?]")
_ENDS = frozenset({"&&", "||", "|", ";", "&", "|&", ";;"})


@dataclass(frozen=True, slots=True)
class Pasted:
    """The program as it was called (empty where only arguments were pasted), and its arguments."""

    program: str
    arguments: tuple[str, ...]

    @property
    def tool(self) -> str:
        """The program without its folder and suffix."""
        return _tool(self.program)


def read_pasted(text: str) -> Pasted:
    """The call of trtexec, or of tensorrt_rtx, in a text.

    What stands before it (a prompt, variables, ``sudo``, ``docker run ...``) and after it (pipes,
    redirections, further commands) is left out. Line continuations are joined. The first line of
    trtexec's own log, which repeats the command without its quotes, is read too. Variables are not
    expanded: see ``VARIABLE``.

    Raises:
        UsageError: a quote is not closed, or there is no call in the text.
    """
    logged = _LOGGED.search(text)
    words = logged[1].split() if logged else _words(text)
    for at, word in enumerate(words):
        if _tool(word) in PROGRAMS:
            return Pasted(word, tuple(words[at + 1 :] if logged else _until_end(words[at + 1 :])))
    if words and words[0].startswith("--"):
        return Pasted("", tuple(_until_end(words)))
    raise UsageError(
        "there is no call of trtexec or tensorrt_rtx in the text; paste the whole command in "
        "quotes, such as --lint 'trtexec --onnx=m.onnx --fp16'"
    )


def _tool(word: str) -> str:
    return re.split(r"[/\\]", word)[-1].removesuffix(".exe")


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(_joined(text.strip()), posix=True, punctuation_chars=";&|<>\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError as error:
        raise UsageError(f"the pasted command cannot be read: {error}") from error


def _joined(text: str) -> str:
    """The text with its continued lines joined, which a quote may keep apart.

    The mark of a continued line is that of a POSIX shell, of cmd or of PowerShell; blanks after it
    are forgiven, and a prompt before the next line is left out. Variables are marked.
    """
    parts: list[str] = []
    quote = ""
    at = 0
    while at < len(text):
        mark = text[at]
        continued = _CONTINUED.match(text, at) if quote != "'" else None
        if continued and (mark == "\\" or not quote):
            parts.append("" if quote else " ")
            at = continued.end()
            continue
        escaped = mark == "\\" and quote != "'"
        if escaped and quote and text[at + 1 : at + 2] in ("$", "`"):
            parts.append(text[at + 1])
            at += 2
            continue
        if mark == "$" and quote != "'" and _EXPANDED.match(text, at + 1):
            mark = VARIABLE
        if mark in "'\"" and quote in ("", mark):
            quote = "" if quote else mark
        parts.append(text[at : at + 2] if escaped else mark)
        at += 2 if escaped else 1
    return "".join(parts)


def _until_end(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        operator = re.fullmatch(r"[;&|<>\n]+", word)
        if skip:
            skip = False
        elif word and not word.strip("\n") and following.startswith("-"):
            continue  # a line break that lost its mark
        elif word in _ENDS or word.startswith("#") or (operator and "\n" in word):
            break
        elif operator:
            skip = True
            if kept and kept[-1] in ("0", "1", "2"):
                kept.pop()
        else:
            kept.append(word)
    return kept
