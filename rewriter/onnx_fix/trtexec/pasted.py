"""Read a command line that a person pasted: from a shell, a script, a README or a log."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from onnx_fix.errors import UsageError

PROGRAMS = ("trtexec", "tensorrt_rtx")
_LOGGED = re.compile(r"&&&& \w+ TensorRT\.\w+(?: \[[^\]]*\])* # (.*)")
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
    trtexec's own log, which repeats the command without its quotes, is read too.

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
    # A prompt of the continued line may stand before its text.
    joined = re.sub(r"[\\^`][ \t]*\r?\n[ \t]*(?:> )?", " ", text.strip())
    lexer = shlex.shlex(joined, posix=True, punctuation_chars=";&|<>\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError as error:
        raise UsageError(f"the pasted command cannot be read: {error}") from error


def _until_end(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if skip:
            skip = False
        elif word.strip("\n") == "" and word and following.startswith("-"):
            continue  # a line break that lost its backslash
        elif word in _ENDS or "\n" in word or word.startswith("#"):
            break
        elif re.fullmatch(r"[<>&]+", word):
            skip = True
            if kept and kept[-1] in ("0", "1", "2"):
                kept.pop()
        else:
            kept.append(word)
    return kept
