"""Print what came of a build, and how far it is, for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from onnx_fix.building.command import spelled
from onnx_fix.building.result import Attempt, BuildResult, Guilty, Progress
from onnx_fix.render_explain import console, few, render_log, say

Tell = Callable[[Progress], None]

PLAIN_EVERY = 10.0
"""Seconds between two lines on the same phase where there is no terminal."""
_OUTER = 2
_LAYERS = 20

_WORDS = {
    "refused": "",
    "died": "it ",
    "timed out": "it ",
    "out of memory": "it ",
    "not written": "the engine was built and could not be written: ",
    "lacking": "the profile lacks ",
    "unsupported": "it cannot do what is asked: ",
    "unusable": "it cannot be used here: ",
}


def size_of(count: int) -> str:
    """Bytes in words."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} bytes"


def render_build(result: BuildResult, *, verbose: int = 0, quiet: bool = False) -> None:
    """Print how a build went; with ``quiet`` only what is wrong."""
    out = console()
    if result.ok:
        _built(out, result, verbose, quiet)
    else:
        _failed(out, result, verbose)
    if not quiet or not result.ok:
        for note in (*result.notes, *result.last.notes):
            say(out, f"note: {note}", 0 if not result.ok else 2)


def _built(out: Console, result: BuildResult, verbose: int, quiet: bool) -> None:
    last = result.last
    if result.fell_back:
        asked = result.settings.precision
        out.print(
            f"[bold red]not {asked}:[/] the build in {asked} failed: "
            + escape(_how(result.attempts[0]))
        )
        say(out, f"so the engine was built in {last.precision}, which is slower and larger", 4)
        _layers(out, result, asked)
    _explanations(result, verbose)
    if quiet:
        return
    size, seconds = size_of(result.engine_bytes), f"{result.seconds:.1f} s"
    memory = f", {size_of(result.peak_bytes)} of memory at most" if result.peak_bytes else ""
    out.print(
        f"[bold]{escape(str(result.engine))}[/] for [bold]{result.target}[/]: {size}, built by "
        f"{escape(result.builder.label)} in {seconds}{memory}"
    )
    for number, profile in enumerate(result.profiles, 1):
        which = f"profile {number}" if len(result.profiles) > 1 else "profile"
        say(out, f"{which}: {spelled(profile)}", 2)
    for capability in result.settings.compute_capabilities[:1]:
        more = ", ".join(result.settings.compute_capabilities[1:])
        say(out, f"for compute capability {capability}{', ' if more else ''}{more}", 2)
    if last.warnings:
        count = len(last.warnings)
        hint = "" if verbose else " (see --verbose)"
        say(out, f"{count} warning{'s'[: count != 1]} of the builder{hint}", 2)
        for text in last.warnings if verbose else ():
            say(out, text, 4)
    say(out, f"record: {result.sidecar}", 2)


def _how(tried: Attempt) -> str:
    """How an attempt ended, with where it was."""
    text = f"{_WORDS.get(tried.status, '')}{tried.detail}"
    if tried.status in ("died", "timed out", "out of memory"):
        text += f" while {tried.stage or 'starting'}"
        text += f" ({tried.at})" if tried.at else ""
    return text


def _layers(out: Console, result: BuildResult, asked: str) -> None:
    guilty: Guilty | None = result.guilty
    if guilty is None:
        say(out, "which layers are at fault was not looked for", 4)
        return
    if guilty.layers:
        more = "" if guilty.complete else "; there may be more, the time was up"
        say(out, f"{asked} fails at {few(guilty.layers, _LAYERS)}{more}", 4)
    else:
        say(out, f"which layers are at fault was not found in {guilty.builds} builds", 4)


def _failed(out: Console, result: BuildResult, verbose: int) -> None:
    name = escape(result.builder.label)
    for tried in result.attempts:
        how = f" in {tried.precision}" if len(result.attempts) > 1 else ""
        out.print(f"[bold red]no engine{how}:[/] {name}: {escape(_how(tried))}")
    _explanations(result, verbose)
    if result.status == "timed out":
        say(out, "give it more time with --time-limit, or lower --optimization-level", 4)
    elif result.status == "out of memory":
        say(out, "give it more with --memory-limit, or lower --workspace or the profile", 4)


def _explanations(result: BuildResult, verbose: int) -> None:
    if result.explanations:
        render_log(result.explanations, "the log of the builder", "", verbose)


@contextmanager
def show_progress(quiet: bool) -> Iterator[Tell | None]:
    """Show the phases of the builder: bars on a terminal, plain lines elsewhere."""
    terminal = Console(stderr=True)
    if quiet:
        yield None
    elif terminal.is_terminal:
        with _bars(terminal) as tell:
            yield tell
    else:
        yield _Lines()


@contextmanager
def _bars(terminal: Console) -> Iterator[Tell]:
    """One bar for each depth of the phases; the innermost change too often to be kept."""
    from rich import progress as rich

    with rich.Progress(
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TimeElapsedColumn(),
        console=terminal,
        transient=True,
    ) as shown:
        first = shown.add_task("loading TensorRT and parsing", total=None)
        tasks: dict[int, tuple[str, rich.TaskID]] = {}

        def tell(event: Progress) -> None:
            shown.update(first, visible=False)
            for depth in [d for d in tasks if d > event.depth]:
                shown.remove_task(tasks.pop(depth)[1])
            if event.depth in tasks and (event.done or tasks[event.depth][0] != event.phase):
                shown.remove_task(tasks.pop(event.depth)[1])
            if event.done:
                return
            if event.depth not in tasks:
                words = "  " * event.depth + escape(event.phase)
                tasks[event.depth] = event.phase, shown.add_task(words, total=event.steps)
            shown.update(tasks[event.depth][1], completed=event.step, total=event.steps)

        yield tell


class _Lines:
    """A line for each outer phase, and one now and then where a phase takes long."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def __call__(self, event: Progress) -> None:
        if event.depth >= _OUTER or event.done:
            return
        now = time.monotonic()
        if event.phase not in self._said:
            print(f"{'  ' * event.depth}{event.phase}", file=sys.stderr)
        elif now - self._said[event.phase] >= PLAIN_EVERY:
            steps = f"{event.step} of {event.steps}"
            print(f"{'  ' * event.depth}{event.phase}: {steps}", file=sys.stderr)
        else:
            return
        self._said[event.phase] = now
