"""Print what ``onnx-fix split`` made."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from onnx_fix.render import render_blockers
from onnx_fix.report import summarise
from onnx_fix.splitting import SplitResult
from onnx_fix.splitting.manifest import NAME, Part, Tensor


def render_split(
    result: SplitResult, source: str, *, verbose: int = 0, quiet: bool = False
) -> None:
    """Print the parts, what is left in them, and how the comparison went."""
    console = Console(highlight=False, soft_wrap=True)
    if not quiet:
        if result.target_note:
            console.print(escape(result.target_note))
        parts = result.manifest.parts
        console.print(
            f"[bold]{escape(source)}[/] for [bold]{result.target.name}[/]: {len(parts)} parts"
        )
        for part in parts:
            _part(console, part, result, verbose)
    left = result.refused
    for name in dict.fromkeys(name for name, _ in left):
        mine = [b for n, b in left if n == name]
        count = "1 node is" if len(mine) == 1 else f"{len(mine)} nodes are"
        console.print(f"[bold]{count} left in {name} that {result.target.name} refuses:[/]")
        render_blockers(console, mine, verbose)
    for name, made in result.fixes.items():
        for finding in made.report.whole:
            console.print(f"[bold]{name}: {finding.code.code}:[/] {escape(finding.why)}")
    if quiet:
        return
    if result.ok:
        console.print(f"nothing is left in a part that {result.target.name} is known to refuse")
    said = result.verification
    text = summarise(said) if said is not None else result.verification_note
    console.print(f"verification: {escape(text)}")
    console.print(f"written: {escape(str(result.folder))} ({NAME} says how the parts go together)")


def _part(console: Console, part: Part, result: SplitResult, verbose: int) -> None:
    fixed = result.fixes.get(part.file)
    if fixed is None:
        what = f"{', '.join(part.nodes)} on the host"
    else:
        count = len(fixed.report.changes)
        what = f"{len(fixed.model.graph.node)} nodes, {count} change{'s'[: count != 1]}"
    console.print(f"  {escape(part.file)}: {escape(what)}")
    if verbose:
        for way, tensors in (("in", part.inputs), ("out", part.outputs)):
            for tensor in tensors:
                console.print(f"      {way:3} {escape(_spelled(tensor))}")
    else:
        names = [", ".join(t.name for t in tensors) for tensors in (part.inputs, part.outputs)]
        console.print(escape(f"      {names[0]} -> {names[1]}"))


def _spelled(tensor: Tensor) -> str:
    shape = "?" if tensor.shape is None else f"[{', '.join(map(str, tensor.shape))}]"
    more = ", its size depends on the data" if tensor.data_dependent else ""
    return f"{tensor.name}: {tensor.dtype} {shape}{more}"
