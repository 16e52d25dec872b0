"""The inputs of a model as a command line sees them."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto

from onnx_fix.profiles import shape_inputs
from onnx_fix.verify.symbols import fed_inputs, input_dims


@dataclass(frozen=True, slots=True)
class ModelInput:
    """An input that a caller feeds.

    ``dims`` are sizes, symbols, or None where no rank is declared. ``values`` says that it is a
    shape tensor, of which the command line has values in the place of sizes; ``length`` how many,
    None where that is not declared.
    """

    name: str
    dims: tuple[int | str, ...] | None
    values: bool = False
    length: int | None = None

    @property
    def dynamic(self) -> bool:
        """Whether a profile must say something of it."""
        return self.values or self.dims is None or any(isinstance(d, str) for d in self.dims)

    @property
    def shape(self) -> str:
        """Its declared shape in words."""
        return "of unknown rank" if self.dims is None else f"[{', '.join(map(str, self.dims))}]"


def inputs_of(model: ModelProto) -> dict[str, ModelInput]:
    """The inputs by name, in the model's order."""
    tensors = shape_inputs(model)
    found = {}
    for value in fed_inputs(model):
        shape = tensors.get(value.name)
        found[value.name] = ModelInput(
            value.name,
            input_dims(value),
            shape is not None and not shape.obstacle,
            None if shape is None else shape.length,
        )
    return found
