"""Check the shapes of a command line against the inputs of the model."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onnx_fix.target.trtexec import behaves, options
from onnx_fix.trtexec.finding import LintFinding
from onnx_fix.trtexec.inputs import ModelInput
from onnx_fix.trtexec.pasted import VARIABLE
from onnx_fix.trtexec.shape_lists import SHAPE_FLAGS, Item, read_list

_BOUNDS = ("min", "opt", "max")
Sizes = tuple[int, ...]


@dataclass
class _Group:
    """The shapes of one profile: the text of each of the three options, where it is given."""

    number: int | None = None
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return "" if self.number is None else f" in profile {self.number}"


def lint_shapes(
    arguments: Sequence[str],
    inputs: Mapping[str, ModelInput],
    release: str,
    others: Mapping[str, str] | None = None,
) -> Iterator[LintFinding]:
    """What is wrong with the shapes; ``others`` says what names that are no inputs are."""
    groups, faults = _groups(arguments, release)
    yield from faults
    for group in groups:
        inference = _given(arguments, "--shapes")
        yield from _Shapes(group, inputs, release, inference, others or {}).check()


def _given(arguments: Sequence[str], flag: str) -> str:
    return next((a.partition("=")[2] for a in arguments if a.startswith(f"{flag}=")), "")


def _groups(arguments: Sequence[str], release: str) -> tuple[list[_Group], list[LintFinding]]:
    """The profiles as the program finds them: after ``--profile=K`` its shapes follow directly."""
    plain, open_, groups, faults = _Group(), None, list[_Group](), list[LintFinding]()
    numbered = behaves(release, "several_profiles")
    for argument in arguments:
        flag, _, text = argument.partition("=")
        if flag == "--profile" and numbered:
            open_ = _Group(int(text) if text.isascii() and text.isdigit() else len(groups))
            groups.append(open_)
        elif flag not in SHAPE_FLAGS:
            open_ = None
        elif open_ is not None and flag not in open_.texts:
            open_.texts[flag] = text
        elif flag in plain.texts:
            faults.append(_again(argument, flag, release))
        else:
            plain.texts[flag] = text
    if not groups:
        return [plain], faults
    if plain.texts:
        faults.append(
            LintFinding(
                "error",
                "shapes-outside-profile",
                f"{', '.join(plain.texts)} do not follow a --profile=K directly, which ends the "
                "run",
                "write the three options of a profile right after its --profile=K",
                next(iter(plain.texts)),
            )
        )
    empty = [str(group.number) for group in groups if not group.texts]
    if empty:
        faults.append(
            LintFinding(
                "error",
                "profile-empty",
                f"no shapes follow --profile={empty[0]}, which ends the run",
                "write --minShapes, --optShapes and --maxShapes right after it",
                f"--profile={empty[0]}",
            )
        )
    numbers = [group.number for group in groups]
    if sorted(numbers, key=lambda n: n or 0) != list(range(len(groups))):
        faults.append(
            LintFinding(
                "error",
                "profile-numbers",
                f"profiles are numbered {', '.join(map(str, numbers))}",
                f"number them 0 to {len(groups) - 1}, each once",
                "--profile",
            )
        )
    return groups, faults


def _again(argument: str, flag: str, release: str) -> LintFinding:
    mend = "list all inputs in one, separated by commas"
    if "--profile" in options(release):
        mend += ", or begin each profile with --profile=K"
    return LintFinding(
        "error", "given-twice", f"{flag} is given twice, which ends the run", mend, argument
    )


class _Shapes:
    """The check of one profile."""

    def __init__(
        self,
        group: _Group,
        inputs: Mapping[str, ModelInput],
        release: str,
        inference: str,
        others: Mapping[str, str],
    ) -> None:
        self._group = group
        self._inputs = inputs
        self._release = release
        self._sizes: dict[str, dict[str, Sizes]] = {}
        """By input, then by bound."""
        self._inference = inference
        self._others = others

    def check(self) -> Iterator[LintFinding]:
        """Everything, in the order of the command line and then of the inputs."""
        texts = self._group.texts
        for bound, flag in zip(_BOUNDS, SHAPE_FLAGS, strict=True):
            if flag in texts:
                yield from self._read(flag, bound, texts[flag])
        if self._inference:
            yield from self._read("--shapes", "shapes", self._inference)
            self._spread()
        if self._group.texts:
            yield from self._missing_bounds()
        for one in self._inputs.values():
            yield from self._input(one)
        yield from self._symbols()

    def _read(self, flag: str, bound: str, text: str) -> Iterator[LintFinding]:
        if not text or VARIABLE in text:
            return
        for item in read_list(text, self._release):
            if item.sizes is None:
                yield LintFinding("error", "bad-shape", f"{flag}: {item.fault}", "", item.text)
                continue
            names = self._matching(item.name)
            if not names:
                yield self._unknown(item, flag)
            for name in names:
                mine = self._sizes.setdefault(name, {})
                if bound in mine:
                    yield LintFinding(
                        "warning",
                        "named-twice",
                        f"{flag} names {name} twice",
                        "leave one of the two",
                        item.text,
                    )
                mine.setdefault(bound, item.sizes)

    def _matching(self, written: str) -> list[str]:
        if written in self._inputs:
            return [written]
        if written.count("*") == 1 and behaves(self._release, "name_may_hold_wildcard"):
            head, tail = written.split("*")
            return [
                name
                for name in self._inputs
                if len(name) >= len(head) + len(tail)
                and name.startswith(head)
                and name.endswith(tail)
            ]
        return []

    def _unknown(self, item: Item, flag: str) -> LintFinding:
        ignored = behaves(self._release, "unknown_input_ignored")
        if item.name in self._others:
            mend = f"it is {self._others[item.name]}: leave it out"
        else:
            close = difflib.get_close_matches(item.name, self._inputs, n=1, cutoff=0.5)
            there = ", ".join(self._inputs) or "none"
            mend = f"did you mean {close[0]}?" if close else f"its inputs: {there}"
        end = ", and its shape is ignored" if ignored else ", which ends the run"
        return LintFinding(
            "warning" if ignored else "error",
            "unknown-input",
            f"{flag}: the model has no input '{item.name}'{end}",
            mend,
            item.text,
        )

    def _spread(self) -> None:
        """--shapes builds too, where the first profile has no shapes."""
        alone = not self._group.texts
        if self._group.number:
            return
        if not alone and not behaves(self._release, "shapes_build_too"):
            return
        for mine in self._sizes.values():
            if set(mine) == {"shapes"}:
                mine.update(dict.fromkeys(_BOUNDS, mine["shapes"]))

    def _missing_bounds(self) -> Iterator[LintFinding]:
        given = [flag in self._group.texts for flag in SHAPE_FLAGS]
        if all(given):
            return
        lacking = [f for f, there in zip(SHAPE_FLAGS, given, strict=True) if not there]
        text = " and ".join(lacking)
        verb = "is" if len(lacking) == 1 else "are"
        if behaves(self._release, "bounds_refused_unless_opt_or_all") and given != [
            False,
            True,
            False,
        ]:
            yield LintFinding(
                "error",
                "bounds-missing",
                f"{text} {verb} missing{self._group.where}, which ends the run",
                "give --optShapes alone, or all three",
                lacking[0],
            )
        else:
            yield LintFinding(
                "warning",
                "bounds-missing",
                f"{text} {verb} missing{self._group.where}: {self._copied(given)}, and the engine "
                "takes nothing else",
                "give all three",
                lacking[0],
            )
        for mine in self._sizes.values():
            self._copy(mine, given)

    def _sources(self, given: Sequence[bool]) -> dict[str, str]:
        """Which bound the program copies for one that is missing."""
        there = [bound for bound, has in zip(_BOUNDS, given, strict=True) if has]
        if behaves(self._release, "first_bound_sets_the_others"):
            orders = dict.fromkeys(_BOUNDS, _BOUNDS)
        else:
            orders = {
                "min": ("opt", "max", "min"),
                "opt": ("max", "min", "opt"),
                "max": ("opt", "min", "max"),
            }
        return {
            bound: next(b for b in orders[bound] if b in there)
            for bound in _BOUNDS
            if bound not in there
        }

    def _copied(self, given: Sequence[bool]) -> str:
        said = [f"{bound} is that of --{b}Shapes" for bound, b in self._sources(given).items()]
        return " and ".join(said)

    def _copy(self, mine: dict[str, Sizes], given: Sequence[bool]) -> None:
        for bound, source in self._sources(given).items():
            if source in mine:
                mine.setdefault(bound, mine[source])

    def _input(self, one: ModelInput) -> Iterator[LintFinding]:
        mine = self._sizes.get(one.name, {})
        three = {b: mine[b] for b in _BOUNDS if b in mine}
        if one.dynamic and not three:
            yield self._without(one)
        if not mine:
            return
        if not one.dynamic:
            yield from self._static(one, mine)
            return
        yield from self._lengths(one, mine)
        if three and len(three) < 3 and not behaves(self._release, "first_bound_sets_the_others"):
            lacking = [b for b in _BOUNDS if b not in three]
            yield LintFinding(
                "error",
                "bound-of-input-missing",
                f"{one.name} is not in {' and '.join(f'--{b}Shapes' for b in lacking)}"
                f"{self._group.where}",
                "name every dynamic input in all three",
                one.name,
            )
        elif len({len(sizes) for sizes in three.values()}) == 1:
            yield from self._order(one, three)
            yield from self._inside(one, mine)

    def _without(self, one: ModelInput) -> LintFinding:
        what = "value is 1" if one.values else "dynamic dim is 1"
        example = "AxB" if one.dims is None or one.values else "x".join(map(str, one.dims))
        return LintFinding(
            "warning",
            "no-shapes",
            f"the dynamic input {one.name} {one.shape} has no shapes{self._group.where}: every "
            f"{what} then, and the engine takes nothing else",
            f"add {one.name}:{example} with numbers to --minShapes, --optShapes and --maxShapes",
            one.name,
        )

    def _static(self, one: ModelInput, mine: Mapping[str, Sizes]) -> Iterator[LintFinding]:
        only = not any(other.dynamic for other in self._inputs.values())
        refused = only and behaves(self._release, "static_model_refuses_shapes")
        other = [s for s in mine.values() if s != one.dims]
        if refused:
            yield LintFinding(
                "error",
                "static-model",
                f"the model has no dynamic input, and the shape of {one.name} ends the run",
                "leave --minShapes, --optShapes, --maxShapes and --shapes out",
                one.name,
            )
        elif other:
            yield LintFinding(
                "error",
                "static-input",
                f"the input {one.name} always has the shape {one.shape}, not "
                f"{'x'.join(map(str, other[0]))}",
                "leave it out, or export the model with dynamic axes",
                one.name,
            )
        else:
            yield LintFinding(
                "warning",
                "static-input",
                f"the input {one.name} is static, and needs no shapes",
                "leave it out",
                one.name,
            )

    def _lengths(self, one: ModelInput, mine: Mapping[str, Sizes]) -> Iterator[LintFinding]:
        for bound, sizes in mine.items():
            flag = "--shapes" if bound == "shapes" else f"--{bound}Shapes"
            written = f"{one.name}:{'x'.join(map(str, sizes))}"
            if one.values:
                if one.length is not None and len(sizes) != max(one.length, 0):
                    yield LintFinding(
                        "error",
                        "value-count",
                        f"{flag}: {one.name} is a shape tensor of {one.length} values, and "
                        f"{len(sizes)} are given",
                        "give its values, not its shape",
                        written,
                    )
            elif any(size < 0 for size in sizes):
                yield LintFinding(
                    "error",
                    "negative",
                    f"{flag}: {one.name} has a negative size; a profile has numbers only",
                    "write the size that is meant",
                    written,
                )
            elif one.dims is None:
                continue
            elif len(sizes) != len(one.dims):
                yield LintFinding(
                    "error",
                    "rank",
                    f"{flag}: {one.name} has {len(one.dims)} dims {one.shape}, and {len(sizes)} "
                    "sizes are given",
                    "",
                    written,
                )
            else:
                for axis, (size, dim) in enumerate(zip(sizes, one.dims, strict=True)):
                    if isinstance(dim, int) and size != dim:
                        yield LintFinding(
                            "error",
                            "fixed-dim",
                            f"{flag}: axis {axis} of {one.name} is always {dim}, not {size}",
                            f"write {dim} there",
                            written,
                        )

    def _order(self, one: ModelInput, three: Mapping[str, Sizes]) -> Iterator[LintFinding]:
        if len(three) < 3:
            return
        what = "value" if one.values else "axis"
        for axis, (low, usual, high) in enumerate(
            zip(three["min"], three["opt"], three["max"], strict=True)
        ):
            if not low <= usual <= high:
                yield LintFinding(
                    "error",
                    "order",
                    f"{one.name}, {what} {axis}{self._group.where}: min <= opt <= max must hold, "
                    f"not {low}, {usual}, {high}",
                    "",
                    one.name,
                )

    def _inside(self, one: ModelInput, mine: Mapping[str, Sizes]) -> Iterator[LintFinding]:
        """What the inference is given must lie within the profile that it uses, the first one."""
        if self._group.number or "shapes" not in mine or not set(_BOUNDS) <= set(mine):
            return
        for low, size, high in zip(mine["min"], mine["shapes"], mine["max"], strict=False):
            if not low <= size <= high:
                yield LintFinding(
                    "error",
                    "outside-profile",
                    f"--shapes: {one.name} has {size} where the profile takes {low} to {high}",
                    "give a size within, or --skipInference",
                    one.name,
                )

    def _symbols(self) -> Iterator[LintFinding]:
        """One symbol stands for one size, so that its inputs must agree."""
        for bound in _BOUNDS:
            first: dict[str, tuple[str, int]] = {}
            for one in self._inputs.values():
                sizes = self._sizes.get(one.name, {}).get(bound, ())
                if one.values or one.dims is None or len(sizes) != len(one.dims):
                    continue
                for size, dim in zip(sizes, one.dims, strict=True):
                    if not isinstance(dim, str):
                        continue
                    name, there = first.setdefault(dim, (one.name, size))
                    if there != size:
                        yield self._disagree(bound, dim, (name, there), (one.name, size))

    def _disagree(
        self, bound: str, dim: str, one: tuple[str, int], other: tuple[str, int]
    ) -> LintFinding:
        ends = bound == "opt" and behaves(self._release, "one_symbol_one_size")
        what = "which ends the build" if ends else "and the engine takes only what both allow"
        return LintFinding(
            "error" if ends else "warning",
            "symbol",
            f"--{bound}Shapes: {dim} is {one[1]} in {one[0]} and {other[1]} in {other[0]}, {what}",
            "the model has one size there: give both the same",
            other[0],
        )
