"""Check the options of a command line: do they exist, and have they their values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from onnx_fix.target import Target
from onnx_fix.target.trtexec import (
    Flag,
    all_names,
    behaves,
    is_rtx,
    newest_read,
    note_on,
    options,
    program,
    read_itself,
    replaced_by,
    replacement_of,
    spans,
    strongly_typed_only,
)
from onnx_fix.trtexec.finding import LintFinding
from onnx_fix.trtexec.pasted import VARIABLE
from onnx_fix.trtexec.shape_lists import SHAPE_FLAGS

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_MODELS = ("--onnx", "--loadEngine", "--model", "--deploy", "--uff", "--help", "-h")
_OFF = ("0", "false", "off", "no", "disable", "disabled")
_POOLS = ("workspace", "dlaSRAM", "dlaLocalDRAM", "dlaGlobalDRAM", "tacticSharedMem")


def in_words(available: Sequence[tuple[str, str | None]]) -> str:
    """Which releases have an option: ``8.2 to 10.3 and since 10.13``."""
    said = [
        f"since {first}" if last is None else f"{first} to {last}" if first != last else first
        for first, last in available
    ]
    return f"trtexec has it: {' and '.join(said)}" if said else "no release has it"


def lint_flags(arguments: Sequence[str], target: Target) -> Iterator[LintFinding]:
    """What is wrong with the options themselves."""
    known = options(target.release)
    seen: set[str] = set()
    before = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        flag = known.get(name)
        if flag is not None:
            yield from _value(flag, equals, value)
            yield from _value_of(flag, value, target)
            if flag.deprecated:
                mend = f"write {flag.replacement}" if flag.replacement else flag.note
                yield LintFinding(
                    "note", "deprecated", f"{name} is deprecated at {target.name}", mend, name
                )
            if name in seen and not flag.repeatable and name not in SHAPE_FLAGS:
                yield LintFinding(
                    "error",
                    "given-twice",
                    f"{name} is given twice, and the second one ends the run as unknown",
                    "leave one of the two",
                    argument,
                )
        elif name != "-h" and VARIABLE not in name and not _answered(before, argument):
            yield unknown(argument, target)
        seen.add(name)
        needs = flag is not None and flag.takes == "value" and not equals
        before = name if needs else ""
    yield from _together(seen, target)


def _answered(before: str, argument: str) -> bool:
    """Whether a word is the value of the option before it, which lacks its ``=``: that is said
    there."""
    return bool(before) and not argument.startswith("-")


def unknown(argument: str, target: Target) -> LintFinding:
    """What an argument is that the program of the release does not know."""
    name = argument.partition("=")[0]
    tool = f"{program(target.release)} of {target.name}"
    if name[:1] and name[0] in _DASHES:
        plain = "--" + argument.lstrip(_DASHES + "-")
        return LintFinding(
            "error",
            "typographic-dash",
            f"{name} begins with a typographic dash, not with --",
            f"write {plain}",
            argument,
        )
    if not name.startswith("--"):
        return _stray(argument, name, target, tool)
    if replaced_by(name) and strongly_typed_only(target.release) and not _to_come(name, target):
        return LintFinding(
            "error",
            "precision-of-the-model",
            f"{tool} has no {name}: networks are strongly typed",
            replaced_by(name),
            argument,
        )
    if name in all_names():
        return _elsewhere(argument, name, target, tool)
    near = _nearest(name, target)
    mend = f"did you mean {near}?" if near else ""
    return LintFinding(
        "error" if near or read_itself(target.release) else "warning",
        "unknown-flag",
        f"{tool} is not known to have {name}"
        if not read_itself(target.release)
        else f"{tool} has no {name}, and neither has any other release",
        mend or _not_read(target),
        argument,
    )


def _to_come(name: str, target: Target) -> bool:
    """Whether the option came later than the release."""
    return not is_rtx(target.release) and all(
        _older(target.release, first) for first, _ in spans(name)
    )


def _older(release: str, than: str) -> bool:
    from onnx_fix.target.data import Release

    return not Release.named(release).at_least(than)


def _stray(argument: str, name: str, target: Target, tool: str) -> LintFinding:
    if name.startswith("-") and f"-{name}" in options(target.release):
        mend = f"write -{argument}"
    elif f"--{name}" in options(target.release):
        mend = f"write --{argument}"
    else:
        mend = "every argument is --NAME or --NAME=VALUE; quote values that hold spaces"
    return LintFinding(
        "error", "stray-argument", f"{tool} does not know what '{argument}' is", mend, argument
    )


def _elsewhere(argument: str, name: str, target: Target, tool: str) -> LintFinding:
    known = options(target.release)
    if is_rtx(target.release) and any(last is None for _, last in spans(name)):
        return LintFinding(
            "warning",
            "not-confirmed",
            f"whether {tool} has {name} is not known; trtexec {newest_read()} has it",
            f"{program(target.release)} --help tells",
            argument,
        )
    new = replacement_of(name)
    old = [n for n in known if replacement_of(n).partition("=")[0] == name]
    if new and new.partition("=")[0] in known:
        mend = f"write {new}"
    elif new and not new.startswith("--"):
        mend = new
    elif old:
        mend = f"write {old[0]}{'=N' if known[old[0]].takes else ''}"
    else:
        mend = "" if spans(name) else note_on(name)
    return LintFinding(
        "error", "unknown-flag", f"{tool} has no {name} ({in_words(spans(name))})", mend, argument
    )


def _nearest(name: str, target: Target) -> str:
    known = {flag.lower(): flag for flag in options(target.release)}
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return known[close[0]] if close else ""


def _not_read(target: Target) -> str:
    if is_rtx(target.release):
        return f"not all of its options are known; {program(target.release)} --help tells"
    return f"the newest option parser that was read is that of {newest_read()}"


def _value(flag: Flag, equals: str, value: str) -> Iterator[LintFinding]:
    if flag.takes == "value" and not value:
        yield LintFinding(
            "error",
            "no-value",
            f"{flag.name} has no value" + ("" if equals else ": it is joined by =, not by a space"),
            f"write {flag.name}=VALUE",
            flag.name,
        )
    elif not flag.takes and value.lower() in _OFF:
        yield LintFinding(
            "warning",
            "switch-with-value",
            f"{flag.name} is on, whatever its value says",
            "leave it out to have it off",
            f"{flag.name}={value}",
        )


def _value_of(flag: Flag, value: str, target: Target) -> Iterator[LintFinding]:
    fault, mend = "", ""
    if not value or VARIABLE in value:
        return
    if flag.name == "--workspace" and not value.isdigit():
        fault, mend = "is a number of MiB without a unit", "write --workspace=1024"
    elif flag.name == "--memPoolSize":
        fault = _pool_fault(value)
        mend = "write --memPoolSize=workspace:1024, in MiB"
        if not fault and value[-1].isalpha() and not behaves(target.release, "sizes_have_units"):
            yield LintFinding(
                "warning",
                "unit-not-read",
                f"{flag.name}={value}: {target.name} does not read the unit",
                mend,
                f"{flag.name}={value}",
            )
    elif flag.name == "--builderOptimizationLevel" and not re.fullmatch(r"-?\d+", value):
        fault, mend = "is a number from 0 to 5", "write --builderOptimizationLevel=3"
    if fault:
        yield LintFinding(
            "error", "bad-value", f"{flag.name}={value}: it {fault}", mend, f"{flag.name}={value}"
        )


def _pool_fault(value: str) -> str:
    for item in value.split(","):
        pool, colon, size = item.partition(":")
        if not colon:
            return "is a list of POOL:SIZE"
        if pool not in _POOLS:
            return f"has no pool '{pool}'; there are {', '.join(_POOLS)}"
        if not re.fullmatch(r"\d+(\.\d*)?[BbKkMmGg]?", size):
            return "wants a number of MiB"
    return ""


def _together(seen: set[str], target: Target) -> Iterator[LintFinding]:
    if not seen & set(_MODELS):
        yield LintFinding("error", "no-model", "no model is named", "write --onnx=FILE")
    if {"--loadEngine", "--saveEngine"} <= seen:
        yield LintFinding(
            "error",
            "load-and-save",
            "--loadEngine and --saveEngine exclude each other",
            "leave one of the two",
            "--loadEngine",
        )
    if "--onnx" in seen and not seen & {"--saveEngine", "--help", "-h"}:
        yield LintFinding("note", "no-engine", "the engine is not kept", "write --saveEngine=FILE")
    batch = sorted(seen & {"--batch", "--maxBatch"} & set(options(target.release)))
    if not batch or "--onnx" not in seen:
        return
    explicit = bool(seen & {"--explicitBatch", "--shapes", *SHAPE_FLAGS})
    clash = ("--maxBatch" in batch and explicit) or ("--batch" in batch and "--shapes" in seen)
    if behaves(target.release, "batch_refused_for_onnx") or (
        clash and behaves(target.release, "max_batch_excludes_shapes")
    ):
        yield LintFinding(
            "error",
            "batch-of-onnx",
            f"{batch[-1]} ends the run of an ONNX model, whose batch is a dim like any other",
            "give --optShapes instead",
            batch[-1],
        )
