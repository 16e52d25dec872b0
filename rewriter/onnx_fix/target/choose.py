"""Which release is meant when a user names one, or none."""

from __future__ import annotations

from onnx_fix.errors import UsageError
from onnx_fix.target.target import Target, default_target, load_target

_HOW = "choose another with --target, such as trt-8.6"


def choose_target(target: str | Target | None) -> tuple[Target, str]:
    """The target that is meant, and a line for the user where it was not named as it is listed.

    Without a name the TensorRT of this machine is asked; where there is none it is TensorRT 7.2,
    whose graphs are the least demanding.

    Raises:
        UsageError: there is no such target.
    """
    if isinstance(target, Target):
        return target, ""
    if target is not None:
        chosen = load_target(target)
        return chosen, chosen.resolved_note
    try:
        chosen = load_target("auto")
    except UsageError:
        chosen = default_target()
        return chosen, (
            f"no --target given and no TensorRT installed: taking {chosen.name}, the least "
            f"demanding release; {_HOW}"
        )
    return chosen, f"no --target given: taking {chosen.name}, which is installed; {_HOW}"
