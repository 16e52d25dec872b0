"""Print plugins and their libraries for people, and give them as JSON-able data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from onnx_fix.plugin_libraries import BuiltLibrary, PluginSource, Use, default_folder
from onnx_fix.render_explain import console, say

_HEADINGS = {
    "needed": "needed, since the target lacks the op or takes it with fixed sizes alone",
    "optional": "optional, since the target takes the op itself (replace-gather-elements with "
    "the option everywhere writes the plugin there, too)",
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
    for line in (*_loaded(built), *_used(built)):
        say(out, line, 2)


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


def _loaded(built: BuiltLibrary) -> Iterator[str]:
    """How TensorRT comes to know the library."""
    if built.has_entry_points:
        by_trtexec = f"trtexec --dynamicPlugins={built.path.absolute()}, or by "
        yield (
            f"loaded by {'' if built.target.startswith('rtx-') else by_trtexec}the plugin registry "
            "of a program (loadLibrary, in Python load_library)"
        )
        if not built.linked:
            yield (
                "not linked with TensorRT, for none was found: a program that merely opens it "
                "must have loaded TensorRT with global symbols; --tensorrt-library names one to "
                "link with"
            )
        return
    yield (
        f"loaded by trtexec --plugins={built.path.absolute()}, or by a program that opens it "
        "(dlopen, in Python ctypes.CDLL) after TensorRT"
    )
    if not built.linked:
        yield (
            "not linked with TensorRT, for none was found: the program, if it is not trtexec, must "
            "have loaded TensorRT with global symbols; --tensorrt-library names one to link with"
        )


def _used(built: BuiltLibrary) -> Iterator[str]:
    """How this tool comes to know it."""
    if built.path.parent == default_folder() / built.target:
        yield f"found there by onnx-fix build and onnx-fix trtexec with --target {built.target}"
    else:
        yield f"onnx-fix build FIXED --plugin-library {built.path}"
        yield f"onnx-fix trtexec FIXED --plugin-library {built.path}"


def _described(built: BuiltLibrary) -> str:
    kind = {"V2": "IPluginV2DynamicExt", "V3": "IPluginV3"}.get(built.api, built.api)
    return f"{built.target}, {kind}, sm {' '.join(built.architectures)}"
