"""The commented pipeline file of ``onnx-fix init``."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import yaml

from onnx_fix import registry
from onnx_fix.api import Plan


def commented(plan: Plan, model: Path) -> str:
    """A pipeline file that does what the planner did, with a comment for every pass."""
    pipeline, report = plan.pipeline, plan.report
    lines = [
        f"# What onnx-fix does to {model.name} for {report.target.name}.",
        f"#   onnx-fix {model.name} -o fixed.onnx --config <this file>",
        "# gives the same bytes as without --config. `onnx-fix passes NAME` documents a pass,",
        "# `onnx-fix schema` prints the JSON Schema for editors.",
        f"version: {pipeline.version}",
        f"target: {pipeline.target}",
        *([f"opset: {pipeline.opset}"] if pipeline.opset is not None else []),
        "",
        "# Run in this order, again and again until nothing changes.",
        "passes:" if pipeline.passes else "passes: []",
    ]
    for entry in pipeline.passes:
        cls = registry.get(entry.name)
        count = sum(c.pass_name == entry.name for c in report.changes)
        summary = inspect.cleandoc(cls.__doc__ or "").splitlines()[0]
        lines.append(f"  # {summary} ({count} change{'s'[: count != 1]} here)")
        lines.append(f"  - pass: {entry.name}")
        if fields(cls):
            lines.append("    options:")
        for option in fields(cls):
            value = entry.options.get(option.name, option.default)
            written = yaml.safe_dump({option.name: value}, default_flow_style=True, width=1000)
            lines.append(f"      {written.strip()[1:-1]}")
        lines.append('    # only: {nodes: ["/layer1/*"], ops: [Clip]}')
        lines.append("    # except: {nodes: []}")
    lines += [
        "",
        "# Ranges of symbolic dims, of inputs, or of values that decide sizes. The comparison runs",
        "# at min, opt and max; `onnx-fix profile` checks them, and `profiles:` lists several.",
        "# dims:",
        "#   N: {min: 1, opt: 256, max: 512}",
        "#   image: {min: 1x3x64x64, opt: 1x3x240x320, max: 1x3x480x640}",
        "#   size: {min: [16, 16], opt: [32, 32], max: [64, 64]}",
        "",
        "verify:",
        f"  sizes: {pipeline.verify.sizes}",
        f"  seed: {pipeline.verify.seed}",
        "  # rtol: 1.0e-4",
        "  # atol: 1.0e-5",
    ]
    return "\n".join(lines) + "\n"
