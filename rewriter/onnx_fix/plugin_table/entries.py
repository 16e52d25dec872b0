"""The entries of the table, as a pipeline file writes them, and those that ship with onnx-fix."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import onnx
from pydantic import BaseModel, ConfigDict, Field, model_validator

_BESIDE_USE = ("targets", "everywhere")
"""Keys that may stand beside ``use``; they hold for all entries that it brings."""
ONNX_BODY = "onnx"
"""The body of an entry whose op is one of ONNX, and means what ONNX says."""

_DUMMIES = ("1", '"text"', "[1]", "1.5")
Scalar = str | int | float
Type = Literal[
    "float", "float16", "bfloat16", "double", "int8", "int16", "int32", "int64", "uint8", "bool"
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class AttributeRule(_Strict):
    """Where the value of an attribute comes from."""

    from_: str | None = Field(default=None, alias="from", description="attribute of the op")
    input: str | None = Field(
        default=None, description="input of the op, a constant, whose numbers become a list"
    )
    value: Scalar | list[Scalar] | None = Field(default=None, description="always this value")
    default: Scalar | list[Scalar] | None = Field(
        default=None, description="what the op takes where it lacks the attribute"
    )
    values: dict[str | int, Scalar] | None = Field(
        default=None, description="translation of values; no others are taken"
    )
    unknown: Scalar | list[Scalar] | None = Field(
        default=None,
        description="what an op of ONNX means where its operator set lacks the attribute",
    )
    repeat: Annotated[int, Field(ge=1)] = Field(
        default=1, description="how often a list is written"
    )
    parts: Annotated[int, Field(ge=1)] = Field(
        default=1, description="how many equal parts a list must have, of which one is written"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        return {"from": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_source(self) -> AttributeRule:
        if sum(v is not None for v in (self.from_, self.input, self.value)) != 1:
            raise ValueError("exactly one of from, input and value is wanted")
        return self

    @property
    def loses(self) -> bool:
        """Whether two values become the same."""
        translated = list((self.values or {}).values())
        return len(set(map(str, translated))) < len(translated)


class InputRule(_Strict):
    """What an input of the op must be."""

    name: str = Field(description="what the body calls it")
    types: tuple[Type, ...] = Field(default=(), description="element types; any where left out")
    rank: Annotated[int, Field(ge=0)] | tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, description="number of dims, or those that are taken"
    )
    known: tuple[int, ...] = Field(default=(), description="axes whose sizes must be numbers")
    nonnegative: bool = Field(
        default=False, description="whether only indices that are surely not negative are taken"
    )
    cast: Type | None = Field(default=None, description="the type that the plugin wants")
    constant: bool = Field(default=False, description="whether only constants are taken")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data


class PluginEntry(_Strict):
    """An op and the plugin node that takes its place; or ``use`` with the name of shipped entries.

    Without ``plugin``, or where the target has none, the body itself takes the place of the op.
    """

    use: str | None = Field(default=None, description="entries that ship with onnx-fix, by name")
    name: str = Field(default="", description="how `use` calls it; several may share a name")
    op: str = Field(default="", description="type of the nodes: Op or domain::Op")
    also: tuple[str, ...] = Field(
        default=(), description="other types that mean the same: Op or domain::Op"
    )
    plugin: str | None = Field(default=None, description="name that the plugin creator registers")
    version: str = Field(default="1", description="plugin_version of the creator")
    namespace: str = Field(default="", description="plugin_namespace of the creator")
    domain: str = Field(default="trt.plugins", description="ONNX domain of the plugin node")
    targets: tuple[str, ...] | None = Field(
        default=None,
        description="releases with the plugin; by default those whose stock library has it",
    )
    library: str = Field(
        default="", description="what has the plugin, where no release does; wants targets"
    )
    everywhere: bool = Field(default=False, description="also nodes that the target takes")
    by: str = Field(
        default="", description="what replaces the op, where the body is for verification alone"
    )
    note: str = Field(default="", description="what the user has to know of the plugin")
    attributes: dict[str, AttributeRule | None] = Field(
        default_factory=dict,
        description="attributes of the plugin node; null: one of the op that must be its default",
    )
    ignored: tuple[str, ...] = Field(
        default=(), description="attributes of the op that change nothing"
    )
    derived: dict[str, AttributeRule] = Field(
        default_factory=dict, description="more values for the body, from those of the plugin node"
    )
    since: Annotated[int, Field(ge=1)] = Field(
        default=1, description="first operator set in which an op of ONNX means this"
    )
    inputs: tuple[InputRule, ...] = Field(default=(), description="all inputs of the op, in order")
    before: str = Field(
        default="",
        description="what makes inputs of the plugin node of those of the op: nodes in ONNX text",
    )
    order: tuple[str, ...] | None = Field(
        default=None, description="inputs of the plugin node, where others or in another order"
    )
    outputs: tuple[str, ...] = Field(default=("output",), description="what the body calls them")
    reshape: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="outputs of the plugin that the op has in another shape (0: same, -1: rest)",
    )
    body: str | None = Field(
        default=None,
        description="what the plugin computes: nodes in ONNX text, $NAME being an attribute; or "
        "'onnx' for an op of ONNX",
    )
    opset: Annotated[int, Field(ge=7)] = Field(default=13, description="operator set of the body")
    exact: bool = Field(
        default=False, description="whether both give the same bits, and not only up to rounding"
    )
    source: str = Field(default="", description="where the meaning of both is written")

    @property
    def op_domain(self) -> str:
        """The domain of the op."""
        return _key(self.op)[0]

    @property
    def op_type(self) -> str:
        """The type of the op."""
        return _key(self.op)[1]

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Domain and type of all nodes that are meant; the default domain is empty."""
        return tuple(map(_key, (self.op, *self.also)))

    @property
    def is_standard(self) -> bool:
        """Whether the op is one of ONNX."""
        return not self.op_domain and bool(onnx.defs.has(self.op_type))

    @property
    def plugin_inputs(self) -> tuple[str, ...]:
        """The inputs of the plugin node, by name; constants that become attributes are none."""
        rules = [rule for rule in self.attributes.values() if rule is not None]
        gone = {rule.input for rule in rules}
        return self.order or tuple(i.name for i in self.inputs if i.name not in gone)

    @property
    def known_as(self) -> str:
        """How reports call it."""
        return self.plugin or "plain ONNX ops"

    @model_validator(mode="after")
    def _whole(self) -> PluginEntry:
        if self.use is not None:
            if self.model_fields_set - {"use", *_BESIDE_USE}:
                raise ValueError(f"beside use there may only be {' and '.join(_BESIDE_USE)}")
            named(self.use)
            return self
        if not self.op or not self.inputs:
            raise ValueError("op and inputs are wanted, or use")
        if self.plugin is None and self.body in (None, ONNX_BODY):
            raise ValueError("there is neither a plugin nor a body of other ops")
        if self.body == ONNX_BODY and not self.is_standard:
            raise ValueError(f"{self.op} is no op of ONNX, so its body must be written out")
        if self.body is None or self.body == ONNX_BODY:
            for rule in self.attributes.values():
                if rule is not None and rule.loses:
                    raise ValueError(
                        "two values become the same, so the body cannot tell them apart"
                    )
        known = [i.name for i in self.inputs]
        if self.before:
            if self.order is None or self.body == ONNX_BODY:
                raise ValueError("with before, order and a body of nodes are wanted")
            function = parsed_nodes(self, self.before, self.order)
            known += [name for node in function.node for name in node.output]
        for name in [*(self.order or ()), *(r.input for r in self.attributes.values() if r)]:
            if name is not None and name not in known:
                raise ValueError(f"there is no input called {name}; there are {', '.join(known)}")
        for name in self.reshape:
            if name not in self.outputs:
                raise ValueError(f"reshape: there is no output called {name}")
        if self.body not in (None, ONNX_BODY):
            self._check_body()
        return self

    def _check_body(self) -> None:
        """Raise where no reading of the placeholders makes the body a list of nodes."""
        names = {n for n, rule in self.attributes.items() if rule is not None} | set(self.derived)
        template = string.Template(self.body or "")
        wanted = {m.group("named") or m.group("braced") for m in _placeholders(template)}
        missing = sorted(str(n) for n in wanted if n not in names)
        if missing:
            raise ValueError(f"the body asks for ${missing[0]}, which is no attribute of the table")
        error: Exception | None = None
        for dummy in _DUMMIES:
            text = function_text(self, template.substitute(dict.fromkeys(names, dummy)), "f")
            try:
                onnx.parser.parse_function(text)
            except onnx.parser.ParseError as reason:
                error = error or reason
            else:
                return
        raise ValueError(f"the body is no ONNX text: {str(error).splitlines()[0]}")


def parsed_nodes(entry: PluginEntry, text: str, outputs: Iterable[str]) -> onnx.FunctionProto:
    """What stands before the plugin node, as a function of the inputs of the op.

    Raises:
        ValueError: it is no ONNX text.
    """
    inputs = ", ".join(i.name for i in entry.inputs)
    head = f'<opset_import: ["" : {entry.opset}], domain: "onnx_fix">'
    try:
        return onnx.parser.parse_function(
            f"{head} before ({inputs}) => ({', '.join(outputs)}) {{ {text} }}"
        )
    except onnx.parser.ParseError as error:
        raise ValueError(f"before is no ONNX text: {str(error).splitlines()[0]}") from error


def _key(op: str) -> tuple[str, str]:
    """The domain and the type in the name of an op."""
    domain, _, kind = op.rpartition("::")
    return "" if domain == "ai.onnx" else domain, kind


def _placeholders(template: string.Template) -> list[Any]:
    return [
        m for m in template.pattern.finditer(template.template) if m["named"] or m["braced"]
    ]  # fmt: skip


def function_text(entry: PluginEntry, body: str, name: str, domain: str = "onnx_fix") -> str:
    """The text of a function with a body."""
    inputs, outputs = ", ".join(entry.plugin_inputs), ", ".join(entry.outputs)
    head = f'<opset_import: ["" : {entry.opset}], domain: "{domain}">'
    return f"{head} {name} ({inputs}) => ({outputs}) {{ {body} }}"


class NotMapped(_Strict):
    """An op or plugin without an entry, and why."""

    op: str
    reason: str


@cache
def _data() -> tuple[dict[str, Any], ...]:
    """The files that ship with onnx-fix, one for each group of entries."""
    folder = files("onnx_fix.plugin_table").joinpath("shipped")
    return tuple(
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
    )


def _entry(data: dict[str, Any]) -> PluginEntry:
    """An entry of the file, which writes long bodies as lists of lines.

    ``body_of`` takes the body of another entry.
    """
    if "body_of" in data:
        wanted = data["body_of"]
        others = (entry for file in _data() for entry in file["entries"])
        other = next(entry for entry in others if entry["name"] == wanted)
        data = {**{k: v for k, v in data.items() if k != "body_of"}, "body": other["body"]}
        data["opset"] = other["opset"]
    text = {k: "\n".join(data[k]) for k in ("body", "before") if isinstance(data.get(k), list)}
    return PluginEntry.model_validate({**data, **text})


@cache
def shipped() -> tuple[PluginEntry, ...]:
    """The entries that ship with onnx-fix."""
    return tuple(_entry(entry) for data in _data() for entry in data["entries"])


@cache
def not_mapped() -> tuple[NotMapped, ...]:
    """What has no entry on purpose."""
    return tuple(NotMapped.model_validate(item) for data in _data() for item in data["not_mapped"])


def named(name: str) -> list[PluginEntry]:
    """The shipped entries of a name, or of a group.

    Raises:
        ValueError: there are none; the message says which there are, or why not.
    """
    found = [e for e in shipped() if name in (e.name, e.name.partition("/")[0])]
    if not found:
        names = {e.name for e in shipped()}
        groups = sorted(names | {n.partition("/")[0] for n in names})
        reasons = [n.reason for n in not_mapped() if n.op == name]
        why = f" ({reasons[0]})" if reasons else ""
        raise ValueError(
            f"there are no shipped entries called '{name}'{why}; there are {', '.join(groups)}"
        )
    return found


def expanded(items: Iterable[PluginEntry]) -> tuple[PluginEntry, ...]:
    """The entries that are meant, those of ``use`` put in its place."""
    return tuple(
        entry for item in items for entry in ([item] if item.use is None else _used(item, item.use))
    )


def _used(item: PluginEntry, name: str) -> list[PluginEntry]:
    """The shipped entries of an item, with what the item says beside."""
    said = {key: getattr(item, key) for key in _BESIDE_USE if key in item.model_fields_set}
    return [entry.model_copy(update=said) for entry in named(name)]
