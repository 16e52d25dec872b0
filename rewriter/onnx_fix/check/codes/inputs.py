"""OF2xx: inputs and outputs that are there or not, constant or not, and their values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_fix.check.finding import Code

CODES: Mapping[str, Code] = MappingProxyType(
    {
        "input_must_be_constant": Code(
            "OF201",
            "input-must-be-constant",
            "an input must be an initializer, and is computed",
            "The layer behind the op takes this input as a number fixed at build time. The parser "
            "sees weights only for initializers and Constant nodes: what is computed, even from "
            "constants alone, is a tensor to it and is refused with a message that asks for an "
            "initializer. Some later releases fold constants themselves.",
            "Make the value a Python number in the network before the export, or fix the dims "
            "(--static) it is computed from so that it folds; what truly depends on the data needs "
            "another op or a later release.",
        ),
        "input_must_be_present": Code(
            "OF202",
            "input-must-be-present",
            "an optional input must be given",
            "ONNX lets the node leave this input out and gives a default. The importer reads it "
            "without looking whether it is there, and fails.",
            "Write the default as an initializer; for quantization export with a zero point of 0.",
        ),
        "input_must_be_absent": Code(
            "OF203",
            "input-must-be-absent",
            "an optional input is given that the release does not take",
            "The importer refuses the node when this input is given, whatever its value.",
            "Export with an older opset or another option so that the input is not written, or "
            "take a release that reads it.",
        ),
        "input_must_be_tensor": Code(
            "OF204",
            "input-must-be-tensor",
            "an input must be computed, and is an initializer",
            "The importer wants a tensor of the network here and refuses weights. The value is of "
            "no interest (only the shape is read), yet the check is made.",
            "Put the shape into the op that does not need an input (RandomNormal in place of "
            "RandomNormalLike, say).",
        ),
        "optional_input_must_be_present": Code(
            "OF205",
            "empty-input-name",
            "an optional input is given as the empty name",
            "ONNX has two ways to leave out the last optional input: a shorter list, and the empty "
            "name. The importer counts inputs, takes the empty name for a given one and then "
            "finds no initializer behind it.",
            "Shorten the list of inputs.",
        ),
        "ignored_input": Code(
            "OF206",
            "ignored-input",
            "an input is not read",
            "A later opset turned an attribute into an input, or added one, and the importer was "
            "written before that. It reads the old form, finds nothing and takes the default. "
            "For reductions this means all axes, for Split equal parts: the engine builds and "
            "computes something else, without a message. Where the default does not fit, the "
            "import fails with a message that is about something else.",
            "Export with the opset before the change (17 for reductions, 12 for ReduceSum, Split, "
            "Squeeze and Unsqueeze), or take a release that reads the input.",
        ),
        "constant_value": Code(
            "OF207",
            "only-one-value",
            "a constant has another value than the only one that is taken",
            "The layer computes the op for one value of this input alone, and the parser refuses "
            "every other: a constant padding other than 0, a Dropout in training mode.",
            "Export the network in eval mode (`model.eval()`), and pad by Concat with a constant "
            "where another value than 0 is wanted.",
        ),
        "max_value": Code(
            "OF208",
            "value-too-large",
            "a value exceeds what the layer takes",
            "The layer has an upper limit for this input (3840 for K of TopK). The parser does not "
            "check it; the builder fails. Where the value is computed from dims, only the "
            "profile tells whether the limit is kept.",
            "Ask for fewer elements, or split the work: sort parts and merge them.",
        ),
        "negative_indices_unsupported": Code(
            "OF209",
            "negative-indices",
            "negative indices are not counted from the end",
            "ONNX lets an index of -1 mean the last element. The layer of this release takes "
            "indices as they are and reads outside the data, without a message. Indices computed "
            "at run time may be harmless: nobody can tell from the model.",
            "Count indices from the front in the network (`torch.where(i < 0, i + n, i)`).",
        ),
        "zero_point_must_be_zero": Code(
            "OF210",
            "zero-point",
            "the zero point of a quantization is not zero",
            "TensorRT quantizes symmetrically: it has a scale and no zero point. Another value "
            "than 0 is refused, by the parser or by the builder.",
            "Calibrate symmetrically (onnxruntime: ActivationSymmetric and WeightSymmetric; "
            "qint8 in place of quint8).",
        ),
        "outputs_max": Code(
            "OF211",
            "too-many-outputs",
            "an output is named that the importer does not make",
            "The importer makes the first outputs of the op only. Naming another one fails the "
            "import, even where nobody reads it.",
            "Leave the further outputs out of the network (`return_indices=False`), or delete "
            "their names from the node where nobody reads them.",
        ),
    }
)
"""By kind of finding."""
