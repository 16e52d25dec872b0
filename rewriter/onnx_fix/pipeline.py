"""The pipeline file: which passes run, in which order, with which options."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnx_graphsurgeon as gs
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from onnx_fix import registry
from onnx_fix.contract import BasePass
from onnx_fix.engine import Step
from onnx_fix.errors import OptionError, PipelineError, UsageError
from onnx_fix.plugin_table import AttributeRule, InputRule, PluginEntry
from onnx_fix.profiles.asked import Asked
from onnx_fix.profiles.written import BOUNDS, DimRange, asked_in, misread_number
from onnx_fix.scope import node_label
from onnx_fix.target import Target


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class NodeFilter(_Strict):
    """Which nodes are meant: by name (shell patterns) and by op; both must match where both are
    given."""

    nodes: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()

    def matches(self, node: gs.Node) -> bool:
        """Whether a node is meant. A node without a name goes by its first output."""
        label = node_label(node)
        return (not self.nodes or any(fnmatch.fnmatchcase(label, p) for p in self.nodes)) and (
            not self.ops or node.op in self.ops
        )


def _plain(value: Any) -> Any:
    """Arrays as nested lists, which a file can hold."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


class PassEntry(_Strict):
    """One pass of a pipeline. The same pass may stand there twice with different options."""

    name: str = Field(alias="pass", description="name of the pass, as `onnx-fix passes` lists it")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the pass")
    only: NodeFilter | None = Field(default=None, description="touch these nodes only")
    except_: NodeFilter | None = Field(
        default=None, alias="except", description="leave these nodes alone"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        return {"pass": data} if isinstance(data, str) else data

    def where(self) -> Callable[[gs.Node], bool] | None:
        """The filter for the engine, or None where all nodes are meant."""
        only, but = self.only, self.except_
        if only is None and but is None:
            return None
        return lambda node: (
            (only is None or only.matches(node)) and not (but is not None and but.matches(node))
        )


class VerifySettings(_Strict):
    """How the result is compared with the original."""

    enabled: bool = True
    sizes: Annotated[int, Field(ge=1, le=64)] = Field(
        default=3, description="how many sets of sizes to run for dynamic dims"
    )
    seed: int = Field(default=0, description="seed of the random feeds")
    rtol: float | None = Field(default=None, description="relative tolerance; by dtype if left out")
    atol: float | None = Field(default=None, description="absolute tolerance; by dtype if left out")
    each: Literal["off", "checker", "numbers"] = Field(
        default="off",
        description="after every pass: nothing, the ONNX checker, or the comparison as well",
    )


class Pipeline(_Strict):
    """A pipeline file."""

    version: Literal[1] = Field(default=1, description="version of the file format")
    target: str | None = Field(default=None, description="TensorRT release, such as trt-8.6")
    custom: tuple[str, ...] = Field(
        default=(), description="Python files (relative to this file) or modules with passes"
    )
    opset: Annotated[int, Field(ge=9)] | None = Field(
        default=None, description="operator set to write; by default that of the model"
    )
    passes: tuple[PassEntry, ...] = Field(default=(), description="the passes, in order")
    plugins: tuple[PluginEntry, ...] = Field(
        default=(), description="ops that become plugin nodes; `use` takes what ships with onnx-fix"
    )
    rounds: Annotated[int, Field(ge=1, le=100)] = Field(
        default=12, description="the passes are repeated until nothing changes, at most so often"
    )
    dims: dict[str, DimRange] = Field(
        default_factory=dict,
        description="ranges of symbolic dims and inputs: for the comparison and for the engine",
    )
    profiles: tuple[dict[str, DimRange], ...] = Field(
        default=(),
        description="several profiles; each has the ranges of dims and its own, which win",
    )
    verify: VerifySettings = VerifySettings()

    def steps(self, base_dir: Path | None = None) -> list[Step]:
        """The passes with their options, ready for the engine.

        Raises:
            UsageError: an unknown pass or option, or an option of the wrong type.
        """
        more: dict[str, type[BasePass]] = {}
        for source in self.custom:
            more.update(registry.load_custom(source, base_dir or Path()))
        passes = with_plugins(with_opset(self.passes, self.opset), self.plugins)
        return [Step(configure(registry.get(e.name, more), e.options), e.where()) for e in passes]

    def asked(self) -> tuple[tuple[Asked, ...], ...]:
        """The ranges of every profile: those of ``dims`` make up one where no others are given."""
        if not self.profiles:
            return (asked_in(self.dims),) if self.dims else ()
        return tuple(asked_in({**self.dims, **profile}) for profile in self.profiles)

    def to_yaml(self) -> str:
        """The file that reads back as this pipeline; what has its default is left out."""
        entries = [e.model_copy(update={"options": _plain(e.options)}) for e in self.passes]
        written = self.model_copy(update={"passes": tuple(entries)})
        data = written.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        data["version"] = self.version
        passes = [e["pass"] if set(e) == {"pass"} else e for e in data.get("passes", [])]
        ordered = {"version": self.version, **{k: v for k, v in data.items() if k != "version"}}
        if passes:
            ordered["passes"] = passes
        return str(yaml.safe_dump(ordered, sort_keys=False, width=100))


def with_options(
    passes: tuple[PassEntry, ...],
    names: Sequence[str],
    options: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> tuple[PassEntry, ...]:
    """The passes with options for some of them, made from those that they have; passes that are
    missing are put first."""
    have = {e.name for e in passes}
    return tuple(
        e.model_copy(update={"options": {**e.options, **options(e.options)}})
        if e.name in names
        else e
        for e in (*(PassEntry(name=name) for name in names if name not in have), *passes)
    )


WRITING = ("raise-opset", "lower-opset")
"""The passes that take the operator set of a pipeline."""


def with_opset(passes: tuple[PassEntry, ...], opset: int | None) -> tuple[PassEntry, ...]:
    """The passes with an operator set asked for, where one does not say another itself."""
    if opset is None:
        return passes
    return with_options(passes, WRITING, lambda known: {"opset": opset, **known})


MAPPING = "map-to-plugins"
"""The pass that takes the table of plugins."""


def with_plugins(
    passes: tuple[PassEntry, ...], plugins: Sequence[PluginEntry]
) -> tuple[PassEntry, ...]:
    """The passes with the ops of a table mapped, which comes first."""
    table = [item.model_dump(by_alias=True, exclude_unset=True) for item in plugins]
    return (PassEntry(name=MAPPING, options={"table": table}), *passes) if table else passes


def configure(cls: type[BasePass], options: Mapping[str, object]) -> BasePass:
    """An instance of a pass with the given options.

    Raises:
        OptionError: an unknown option (with the nearest known one) or a value of the wrong type.
    """
    known = [f.name for f in fields(cls)]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            has = f"it has: {', '.join(known)}" if known else "it has none"
            raise OptionError(f"{cls.name} has no option '{option}'{hint} ({has})", option)
    try:
        return TypeAdapter(cls).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(p) for p in first["loc"])
        raise OptionError(
            f"option {option} of {cls.name}: {first['msg']}, not {first['input']!r}",
            str(first["loc"][0]),
        ) from error


def named_target(target: str | Target | None, pipeline: Pipeline | None) -> str | Target | None:
    """The target that is named, else that of the pipeline."""
    return pipeline.target if target is None and pipeline is not None else target


def read_pipeline(path: Path) -> Pipeline:
    """Read and check a pipeline file, its passes and options included.

    Raises:
        PipelineError: with ``file:line``, what is wrong there, and the nearest known name.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: is no text file; a pipeline is YAML") from error
    return parse_pipeline(text, str(path), path.parent)


def parse_pipeline(text: str, where: str, base_dir: Path) -> Pipeline:
    """As ``read_pipeline`` on a text; ``where`` stands for the file in messages.

    Raises:
        PipelineError: as ``read_pipeline``.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(error, "problem", None) or str(error)
        raise PipelineError(f"{where}:{line}: this is not YAML: {problem}") from error
    if not isinstance(data, dict) or root is None:
        raise PipelineError(f"{where}:1: a pipeline is a mapping with the key passes")
    for key in ("dims", "profiles"):
        misread = misread_number(_under(root, key))
        if misread is not None:
            raise PipelineError(
                f"{where}:{misread[0]}: YAML reads {misread[1]} as another number; write sizes as "
                "decimal numbers, shapes in quotes, and ranges as {min: 1, opt: 16, max: 32}"
            )
    try:
        pipeline = Pipeline.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise PipelineError(f"{where}:{_line(root, first['loc'])}: {_say(first)}") from error
    more: dict[str, type[BasePass]] = {}
    for number, source in enumerate(pipeline.custom):
        try:
            more.update(registry.load_custom(source, base_dir))
        except PipelineError as error:
            raise PipelineError(f"{where}:{_line(root, ('custom', number))}: {error}") from error
    for number, entry in enumerate(pipeline.passes):
        place: tuple[int | str, ...] = ("passes", number)
        try:
            configure(registry.get(entry.name, more), entry.options)
        except UsageError as error:
            if isinstance(error, OptionError):
                place = ("passes", number, "options", error.option)
            raise PipelineError(f"{where}:{_line(root, place)}: {error}") from error
    return pipeline


def _under(root: yaml.Node, key: str) -> yaml.Node | None:
    """The part of a mapping that stands under a key."""
    if not isinstance(root, yaml.MappingNode):
        return None
    return next((value for name, value in root.value if name.value == key), None)


def _line(root: yaml.Node, place: Sequence[int | str]) -> int:
    """The line of the innermost part of ``place`` that the file has."""
    node = root
    line: int = node.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and str(part).isdigit():
            node = node.value[int(part)]
            line = node.start_mark.line + 1
    return line


_MODELS: tuple[type[BaseModel], ...] = (
    Pipeline, PassEntry, NodeFilter, VerifySettings, DimRange, PluginEntry, AttributeRule, InputRule
)  # fmt: skip


def _say(error: Mapping[str, Any]) -> str:
    loc = [str(p) for p in error["loc"]]
    key = loc[-1] if loc else ""
    if error["type"] == "extra_forbidden":
        known = sorted({f.alias or n for m in _MODELS for n, f in m.model_fields.items()})
        if loc[0] == "passes" and any(
            key == field.name for cls in registry.installed().values() for field in fields(cls)
        ):
            return f"unknown key '{key}'; write an option of a pass as options: {{{key}: VALUE}}"
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean {near[0]}?" if near and near[0] != key else ""
        return f"unknown key '{key}'{hint}"
    return f"{'.'.join(loc)}: {error['msg'].removeprefix('Value error, ')}"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of pipeline files, with the installed passes and their options."""
    schema = Pipeline.model_json_schema(by_alias=True)
    entry = schema["$defs"]["PassEntry"]
    by_pass = []
    for name, cls in sorted(registry.installed().items()):
        options = TypeAdapter(cls).json_schema()
        options.pop("title", None)
        options["additionalProperties"] = False
        by_pass.append(
            {
                "if": {"properties": {"pass": {"const": name}}},
                "then": {"properties": {"options": options}},
            }
        )
    entry["properties"]["pass"]["examples"] = sorted(registry.installed())
    entry["allOf"] = by_pass
    schema["$defs"]["PassEntry"] = {"anyOf": [{"type": "string"}, entry]}
    schema["$defs"]["DimRange"] = {"anyOf": [*BOUNDS, schema["$defs"]["DimRange"]]}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
