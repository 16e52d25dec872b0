"""Print plugins and their libraries for people, and give them as JSON-able data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from onnx_fix.plugin_libraries import BuiltLibrary, PluginSource, Use
from onnx_fix.render_explain import console, say

_HEADINGS = {
    "needed": "needed, since the target lacks the op or takes it with fixed sizes alone",
    "optional": "optional, since the target takes the op itself",
    "useless": "no use, since the parser takes no op for a plugin",
}


def render_built(built: BuiltLibrary, *, quiet: bool = False) -> None:
    """Say where a library lies and how it is loaded."""
    out = console()
    if quiet:
        say(out, str(built.path))
        return
    out.print(f"[bold]{escape(str(built.path))}[/]")
    say(out, _described(built), 2)
    if not built.linked:
        say(
            out,
            "no TensorRT library was found to link with: load this one by the plugin registry "
            "(load_library, trtexec --dynamicPlugins), or after TensorRT with global symbols",
            2,
        )
    say(out, f"onnx-fix build FIXED --plugin-library {built.path}", 2)
    say(out, f"onnx-fix trtexec FIXED --plugin-library {built.path}", 2)


def render_listed(
    plugin: PluginSource, where: Sequence[Use], built: Sequence[BuiltLibrary], place: Path
) -> None:
    """Print one plugin: the targets by need, and its libraries."""
    out = console()
    out.print(f"[bold]{escape(plugin.op)}[/] version {plugin.version}, for {plugin.replaces.op}")
    for need, heading in _HEADINGS.items():
        names = _runs([use.target if use.need == need else "" for use in where])
        if names:
            say(out, f"{heading}: {', '.join(names)}", 2)
    say(out, f"sources: {plugin.folder}", 2)
    for one in built:
        stale = "" if one.is_current(plugin) else "; older than the sources: build it again"
        say(out, f"library: {one.path} ({_described(one)}{stale})", 2)
    if not built:
        say(out, f"no library in {place}; onnx-fix plugins build makes one", 2)


def listed(
    plugin: PluginSource, where: Sequence[Use], built: Sequence[BuiltLibrary]
) -> dict[str, Any]:
    """One plugin as JSON-able data."""
    return {
        "op": plugin.op,
        "version": plugin.version,
        "namespace": plugin.namespace,
        "replaces": plugin.replaces.op,
        "sources": str(plugin.folder),
        "targets": {use.target: {"need": use.need, "why": use.why} for use in where},
        "libraries": [{**one.to_dict(), "current": one.is_current(plugin)} for one in built],
    }


def _runs(names: Sequence[str]) -> list[str]:
    """Names with three or more in a row as ``first to last``; empty strings end a row."""
    rows: list[list[str]] = [[]]
    for name in names:
        if name:
            rows[-1].append(name)
        elif rows[-1]:
            rows.append([])
    short = [[f"{row[0]} to {row[-1]}"] if len(row) > 2 else row for row in rows]
    return [text for row in short for text in row]


def _described(built: BuiltLibrary) -> str:
    kind = {"V2": "IPluginV2DynamicExt", "V3": "IPluginV3"}.get(built.api, built.api)
    return f"{built.target}, {kind}, sm {' '.join(built.architectures)}"
