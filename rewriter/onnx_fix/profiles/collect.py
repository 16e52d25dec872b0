"""The profiles that a command line asks for, from all the places where ranges may stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from onnx import ModelProto

from onnx_fix.errors import UsageError
from onnx_fix.pipeline import Pipeline
from onnx_fix.profiles.asked import Asked, Form
from onnx_fix.profiles.grammar import parse_profiles
from onnx_fix.profiles.profile import Profile, profile_from
from onnx_fix.profiles.samples import fill_in, look_at
from onnx_fix.profiles.written import DimRange
from onnx_fix.verify.symbols import fed_inputs, input_dims


@dataclass(frozen=True, slots=True)
class Collected:
    """Profiles, and what to know of where they come from."""

    profiles: tuple[Profile, ...]
    notes: tuple[str, ...] = ()


def collect(
    model: ModelProto,
    texts: Sequence[str] = (),
    pipeline: Pipeline | None = None,
    inputs: str | Path | None = None,
) -> Collected:
    """The profiles of a model.

    Args:
        model: The model whose inputs are meant.
        texts: Profiles as text, see `onnx_fix.profiles.grammar`; they stand in the place of those
            of the pipeline.
        pipeline: A pipeline file with ``dims`` or ``profiles``.
        inputs: Samples; they give what the ranges leave open, and everything where none are given.

    Raises:
        UsageError: a text is not of the form; ranges do not suit the model, or leave an input
            without one; samples do not suit it.
        PipelineError: a file that a text names is wrong.
    """
    asked: tuple[tuple[Asked, ...], ...] = parse_profiles(texts)
    if not asked and pipeline is not None:
        asked = pipeline.asked()
    asked = asked or ((),)
    notes: tuple[str, ...] = ()
    if inputs is not None:
        seen = look_at(model, inputs)
        count = len(seen.samples)
        notes = (f"{inputs}: {count} sample{'s'[: count != 1]}", *seen.notes)
        asked = tuple(tuple(fill_in(model, one, seen.asked)) for one in asked)
    try:
        found = tuple(profile_from(model, one) for one in asked)
    except UsageError as error:
        raise UsageError(f"{error}{_one_in_parts(asked)}") from error
    return Collected(tuple(dict.fromkeys(found)), notes)


def _one_in_parts(asked: Sequence[Sequence[Asked]]) -> str:
    """What to write instead of profiles that have no name in common, and must be parts of one."""
    names = [one.name for profile in asked for one in profile]
    if len(asked) < 2 or len(set(names)) < len(names):
        return ""
    whole = ",".join(f"{one.name}={one}" for profile in asked for one in profile)
    return f"\neach profile has the ranges of all inputs; one with all of these is\n  {whole}"


def asked_by(model: ModelProto, profile: Profile) -> tuple[Asked, ...]:
    """The ranges that make up a profile: of its symbols, and of inputs that symbols do not say."""
    open_rank = {v.name for v in fed_inputs(model) if input_dims(v) is None}
    dims = [Asked(n, "number", (r[0],), (r[1],), (r[2],)) for n, r in profile.dims]
    more = []
    for one in profile.inputs:
        if one.kind == "values":
            more.append(Asked(one.name, "values", *one.shapes))
        elif one.name in open_rank:
            form: Form = "number" if len(one.min) == 1 else "shape"
            more.append(Asked(one.name, form, *one.shapes))
    return (*dims, *more)


def profiles_yaml(model: ModelProto, profiles: Sequence[Profile]) -> str:
    """The ``dims:`` or ``profiles:`` of a pipeline file that read back as these profiles."""
    written = [_mapping(asked_by(model, profile)) for profile in profiles]
    data: Mapping[str, object] = {"profiles": written}
    if len(written) == 1:
        data = {"dims": written[0]}
    return str(yaml.dump(data, Dumper=_Lines, sort_keys=False, width=100))


def _mapping(asked: Sequence[Asked]) -> dict[str, object]:
    found: dict[str, object] = {}
    for one in asked:
        three = DimRange.of(one).model_dump()
        same = one.min == one.opt == one.max
        found[one.name] = three["min"] if same else _Flow(three)
    return found


class _Flow(dict[str, object]):
    """A mapping on one line."""


class _Lines(yaml.SafeDumper):
    """Writes the three bounds of a range on one line."""

    def ignore_aliases(self, data: object) -> bool:
        """Write equal lists twice rather than by reference."""
        return True


_Lines.add_representer(
    _Flow,
    lambda dumper, data: dumper.represent_mapping(
        "tag:yaml.org,2002:map", data.items(), flow_style=True
    ),
)
