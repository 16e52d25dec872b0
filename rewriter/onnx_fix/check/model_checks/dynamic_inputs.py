"""Dynamic inputs without a profile, and profiles that do not fit the model."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe, is_rtx, tool
from onnx_fix.check.model_checks._profile import dynamic_inputs, options
from onnx_fix.profiles.shape_tensors import shape_inputs
from onnx_fix.verify.symbols import symbols

PROFILE_DOES_NOT_FIT = Code(
    "OF802",
    "profile-does-not-fit",
    "a range of the profile names no dim of the model, or is none",
    "A range was given for a dim that no input has, which is usually a misspelling and leaves the "
    "real dim without one; or it is not of the form 0 <= min <= opt <= max, which the builder "
    "refuses.",
    "Name a symbol of an input, and give min <= opt <= max.",
)


class DynamicInputs(ModelCheck):
    """Symbolic dims of inputs that the profile does not cover."""

    code: ClassVar[Code] = Code(
        "OF801",
        "no-profile",
        "inputs have dims without a number, and no profile gives their range",
        "The builder needs the smallest, the usual and the largest size of every input with a dim "
        "that is not a number; without an optimization profile it refuses the network. The model "
        "itself is fine.",
        "Give the ranges to the builder: --minShapes, --optShapes and --maxShapes on the command "
        "line (all three, for every dynamic input), or an IOptimizationProfile.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One warning for all inputs without a range (of sizes, or of values that decide sizes),
        an error for each range that does not fit."""
        inputs = dynamic_inputs(context.proto)
        known = symbols(context.proto)
        named = {d for dims in inputs.values() for d in dims if isinstance(d, str)}
        missing = [s for s in known if s in named and s not in context.dims]
        drives = shape_inputs(context.proto, fit=True)
        if missing or drives:
            lacks = [f"no range is given for {', '.join(missing)}"] if missing else []
            for one in drives.values():
                inputs[one.name] = ("value",) * (1 if one.length is None else one.length)
                lacks.append(
                    f"the values of {one.name} decide sizes (at {one.op} {one.node}), and a "
                    "profile gives their range, too"
                )
            evidence, source = evidence_of_probe(context)
            message = (
                "Network has dynamic or shape inputs, but no optimization profile has been defined."
            )
            yield CheckFinding(
                code=self.code,
                severity=Severity.WARNING,
                why=f"{'; '.join(lacks)}: the builder needs one",
                mend=f"choose sizes and build with {tool(context)} {options(inputs, context.dims)}",
                message=message if is_rtx(context) else "",
                evidence=evidence,
                source=source,
            )
        for symbol, sizes in context.dims.items():
            why, mend = "", ""
            if symbol not in known and symbol not in named:
                close = difflib.get_close_matches(symbol, known, n=1)
                why = f"no input has a dim called '{symbol}'"
                mend = f"dims of the inputs: {', '.join(known) or 'none is dynamic'}"
                if close:
                    mend += f"; did you mean {close[0]}?"
            elif not 0 <= sizes[0] <= sizes[1] <= sizes[2]:
                why = f"the range {sizes[0]}, {sizes[1]}, {sizes[2]} of '{symbol}' is none"
                mend = "give min, opt and max in this order, none negative"
            if why:
                evidence, source = evidence_of_probe(context)
                yield CheckFinding(
                    code=PROFILE_DOES_NOT_FIT,
                    severity=Severity.ERROR,
                    why=why,
                    mend=mend,
                    tensor=symbol,
                    evidence=evidence,
                    source=source,
                )
