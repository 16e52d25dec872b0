"""Ranges in a pipeline file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, PlainValidator, WithJsonSchema, model_validator

from onnx_fix.errors import UsageError
from onnx_fix.profiles.asked import Asked, Bound, Form, of_bounds
from onnx_fix.profiles.grammar import read_bound


def _bound(written: Any) -> tuple[Form, Bound]:
    """A bound of a file, read.

    Raises:
        ValueError: it is none.
    """
    if isinstance(written, int) and not isinstance(written, bool):
        return "number", (written,)
    if isinstance(written, list) and all(type(v) is int for v in written):
        return "values", tuple(written)
    found = read_bound(written.strip()) if isinstance(written, str) else None
    if found is None:
        raise ValueError(
            f"a bound is a number, a shape such as 1x300x2, or a list of integers, not {written!r}"
        )
    return found


def _checked(written: Any) -> int | str | list[int]:
    _bound(written)
    kept: int | str | list[int] = written
    return kept


BOUNDS: list[dict[str, Any]] = [
    {"type": "integer", "minimum": 0},
    {"type": "string", "pattern": r"^\d+(x\d+)*$"},
    {"type": "array", "items": {"type": "integer"}},
]
"""What a bound may be, as JSON Schema has it."""

OneBound = Annotated[
    int | str | list[int], PlainValidator(_checked), WithJsonSchema({"anyOf": BOUNDS})
]


class DimRange(BaseModel):
    """The range of a symbolic dim or of an input, as a TensorRT profile has it.

    A number is the size of a dim, ``1x300x2`` the shape of an input, ``[16, 16]`` are values of an
    input that decides sizes. One bound alone stands for all three.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: OneBound
    opt: OneBound
    max: OneBound

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, data: Any) -> Any:
        if isinstance(data, int | str | list) and not isinstance(data, bool):
            return {"min": data, "opt": data, "max": data}
        return data

    @model_validator(mode="after")
    def _ordered(self) -> DimRange:
        try:
            self.asked("the range")
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    def asked(self, name: str) -> Asked:
        """The range under a name."""
        bounds = [_bound(bound) for bound in (self.min, self.opt, self.max)]
        found = of_bounds(name, bounds)
        if found.form == "number" and found.min[0] < 0:
            raise UsageError(f"{name}: a size is 0 or more, not {found.min[0]}")
        return found

    @classmethod
    def of(cls, asked: Asked) -> DimRange:
        """The range as a file has it."""
        low, usual, high = (_written(bound, asked.form) for bound in asked.triple)
        return cls(min=low, opt=usual, max=high)


def _written(bound: Bound, form: Form) -> int | str | list[int]:
    if form == "number":
        return bound[0]
    return "x".join(map(str, bound)) if form == "shape" else list(bound)


def asked_in(ranges: Mapping[str, DimRange]) -> tuple[Asked, ...]:
    """The ranges of one mapping of a file."""
    return tuple(one.asked(name) for name, one in ranges.items())


_DECIMAL = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")


def misread_number(node: yaml.Node | None) -> tuple[int, str] | None:
    """The line and text of a number that YAML reads as another than it looks.

    ``1:16:32`` is a count of seconds to YAML, ``0x64`` hexadecimal and ``010`` octal.
    """
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:int":
        line: int = node.start_mark.line + 1
        return None if _DECIMAL.fullmatch(node.value) else (line, node.value)
    if isinstance(node, yaml.MappingNode):
        inner = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        inner = list(node.value)
    else:
        inner = []
    return next((found for one in inner if (found := misread_number(one))), None)
