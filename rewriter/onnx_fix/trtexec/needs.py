"""What a model needs beside its own file: libraries of plugins, and files of weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from onnx_fix.errors import ModelError
from onnx_fix.functions import all_nodes
from onnx_fix.load import stored_tensors
from onnx_fix.scope import STANDARD_DOMAINS
from onnx_fix.target import Target
from onnx_fix.target.dispatch import OWN_PLUGINS
from onnx_fix.weights import data_path, external_location, is_external


@dataclass(frozen=True, slots=True)
class PluginNeed:
    """An op that only a plugin library can bring; ``own`` where this project describes it."""

    op: str
    count: int
    own: bool


def plugin_needs(model: ModelProto, target: Target) -> tuple[PluginNeed, ...]:
    """The ops that the release neither imports nor ships a plugin for.

    Ops of ONNX itself are left out: what the release does not import of those is for
    ``onnx-fix check`` to say.
    """
    functions = {(f.domain, f.name) for f in model.functions} if target.reads_functions else set()
    counts: dict[str, int] = {}
    for node in all_nodes(model):
        op = node.op_type
        known = target.has_importer(op, node.domain) or op in target.plugins
        standard = node.domain in STANDARD_DOMAINS and op not in OWN_PLUGINS
        if known or standard or (node.domain, op) in functions:
            continue
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return tuple(PluginNeed(op, n, op in OWN_PLUGINS) for op, n in counts.items())


def weight_files(model: ModelProto, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files of external data, by the location written in the model, and what is wrong.

    No weight is read.
    """
    locations: dict[str, None] = {}
    faults: dict[str, None] = {}
    for tensor in stored_tensors(model):
        if is_external(tensor):
            location = external_location(tensor)
            if location in locations:
                continue
            locations[location] = None
            try:
                data_path(tensor, folder)
            except ModelError as error:
                faults[str(error)] = None
    return tuple(locations), tuple(faults)
