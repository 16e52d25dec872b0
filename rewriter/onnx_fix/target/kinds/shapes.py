"""Restrictions on ranks and dimensions.

Where ONNX itself asks for the rank (``onnx_asks`` of an entry), a rank that is not known raises no
doubt: a valid model keeps to it.
"""

from __future__ import annotations

from onnx_fix.target.facts import Dim, NodeFacts, TensorFacts
from onnx_fix.target.kinds.base import NOTHING, Entry, Hit, Hits, Names, spelled
from onnx_fix.target.values import (
    UNKNOWN,
    attribute,
    constant,
    given,
    integer,
    integers,
    label,
    normalized,
    rank,
)


def _no_rank(index: int, tensor: TensorFacts) -> Hit:
    return Hit(f"the rank of {label(index, tensor)} is not known", tensor.name, certain=False)


def ranks(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The rank of the inputs is one of ``ranks``, or the shape matches ``shape``."""
    doubt: Hits = NOTHING
    for index in entry["inputs"] if "inputs" in entry else [entry["input"]]:
        tensor = given(node, index)
        if tensor is None:
            continue
        if tensor.shape is None:
            if not entry.get("onnx_asks"):
                doubt = doubt or (_no_rank(index, tensor),)
            continue
        allowed = entry["ranks"] if "ranks" in entry else [len(entry["shape"])]
        if len(tensor.shape) not in allowed:
            text = f"{label(index, tensor)} has rank {len(tensor.shape)}, not {spelled(allowed)}"
            return (Hit(text, tensor.name),)
        for place, wanted in enumerate(entry.get("shape", ())):
            size = tensor.shape[place]
            if isinstance(wanted, int) and isinstance(size, int) and size != wanted:
                text = f"dimension {place} of {label(index, tensor)} is {size}, not {wanted}"
                return (Hit(text, tensor.name),)
    return doubt


def min_rank(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The rank of an input is at least ``min``."""
    index = entry["input"]
    tensor = given(node, index)
    if tensor is None:
        return NOTHING
    if tensor.shape is None:
        return NOTHING if entry.get("onnx_asks") else (_no_rank(index, tensor),)
    if len(tensor.shape) >= entry["min"]:
        return NOTHING
    return (Hit(f"{label(index, tensor)} has rank {len(tensor.shape)}", tensor.name),)


def equal_ranks(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The inputs listed are of one rank."""
    tensors = [(i, t) for i in entry["inputs"] if (t := given(node, i)) is not None]
    known = {len(t.shape) for _, t in tensors if t.shape is not None}
    if len(known) > 1:
        return (Hit(f"the inputs have ranks {spelled(sorted(known))}"),)
    if entry.get("onnx_asks"):
        return NOTHING
    return next(((_no_rank(i, t),) for i, t in tensors if t.shape is None), NOTHING)


def dims_equal(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Each of ``pairs``, two dimensions given by input and axis, is equal where both are static.

    ``or_one``: the first of a pair may be 1 instead. Sizes that are not known raise no doubt.
    """
    for pair in entry["pairs"]:
        sizes = [_size_at(node, index, axis) for index, axis in pair]
        one, other = sizes
        if not isinstance(one, int) or not isinstance(other, int) or one == other:
            continue
        if one == 1 and entry.get("or_one"):
            continue
        first, second = (f"{label(i, given(node, i))} along axis {axis}" for i, axis in pair)
        return (Hit(f"{first} has {one} elements, {second} has {other}"),)
    return NOTHING


def _size_at(node: NodeFacts, index: int, axis: int) -> Dim:
    tensor = given(node, index)
    if tensor is None or tensor.shape is None:
        return None
    place = normalized(axis, len(tensor.shape))
    return tensor.shape[place] if 0 <= place < len(tensor.shape) else None


def vector_by_stack(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """A vector times a stack of matrices: harmless only where the stack holds a single one."""
    vector, stack = (given(node, index) for index in entry["inputs"])
    if vector is None or stack is None or rank(vector) != 1 or stack.shape is None:
        return NOTHING
    if len(stack.shape) < 3 or (len(stack.shape) == 3 and stack.shape[0] == 1):
        return NOTHING
    certain = len(stack.shape) > 3 or isinstance(stack.shape[0], int)
    text = f"{label(entry['inputs'][0], vector)} is a vector, the other of rank {len(stack.shape)}"
    return (Hit(text, vector.name, certain=certain),)


def dims_at_most(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Static dimensions of the inputs are at most those of input ``than``."""
    bound = given(node, entry["than"])
    for index in entry["inputs"]:
        tensor = given(node, index)
        if tensor is None or bound is None:
            continue
        if tensor.shape is None or bound.shape is None:
            return (_no_rank(index, tensor),)
        for place, (size, most) in enumerate(zip(tensor.shape, bound.shape, strict=False)):
            if isinstance(size, int) and isinstance(most, int) and size > most:
                text = f"dimension {place} of {label(index, tensor)} is {size}, more than {most}"
                return (Hit(text, tensor.name),)
    return NOTHING


_INVENTED = "unk__"
"""How the inference of onnx starts the names of dims that it could not find out."""


def _static(dims: tuple[Dim, ...]) -> bool | None:
    """True if all sizes are known, False if one is a symbol, None if one is just not known."""
    symbols = [size for size in dims if isinstance(size, str)]
    if any(not symbol.startswith(_INVENTED) for symbol in symbols):
        return False
    return None if symbols or None in dims else True


def static_only(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The inputs listed must have static shapes, or static sizes from axis ``axes_from`` on.

    ``symbols_only``: only a symbol goes against it; what inference does not know raises no doubt.
    """
    doubt: Hits = NOTHING
    for index in entry["inputs"]:
        tensor = given(node, index)
        if tensor is None:
            continue
        sizes = None if tensor.shape is None else tensor.shape[entry.get("axes_from", 0) :]
        static = None if sizes is None else _static(sizes)
        if static or (static is None and entry.get("symbols_only")):
            continue
        if "or_axis_of" in entry and _axis_size(entry["or_axis_of"], node) is not None:
            continue
        if static is None:
            text = f"the shape of {label(index, tensor)} is not known"
            doubt = doubt or (Hit(text, tensor.name, certain=False),)
        else:
            return (Hit(f"{label(index, tensor)} has dynamic dimensions", tensor.name),)
    return doubt


def _axis_size(rule: Entry, node: NodeFacts) -> int | None:
    """The static size of an input along the axis that an attribute names; None otherwise."""
    tensor = given(node, rule["input"])
    axis = integer(attribute(node, rule["attribute"], rule["default"]))
    if tensor is None or tensor.shape is None or axis is None:
        return None
    place = normalized(axis, len(tensor.shape))
    size = tensor.shape[place] if 0 <= place < len(tensor.shape) else None
    return size if isinstance(size, int) else None


def static_dim(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The length along ``attribute`` must be static."""
    tensor = given(node, entry["input"])
    if tensor is None:
        return NOTHING
    default = entry["default"]
    for newest, older in entry.get("opset_default", {}).items():
        default = older if node.opset <= int(newest) else default
    axis = integer(attribute(node, entry["attribute"], default))
    if axis is None or tensor.shape is None:
        return (_no_rank(entry["input"], tensor),)
    place = normalized(axis, len(tensor.shape))
    size = tensor.shape[place] if 0 <= place < len(tensor.shape) else None
    if isinstance(size, int):
        return NOTHING
    text = f"{label(entry['input'], tensor)} is dynamic along axis {axis}"
    return (Hit(text, tensor.name, certain=size is not None),)


def dynamic_outside_axes(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Dimensions that ``axes`` leaves out must be static."""
    tensor = given(node, 0)
    axes = integers(attribute(node, "axes"))
    if tensor is None:
        return NOTHING
    if axes is None or tensor.shape is None:
        return (Hit("the axes or the shape are not known", tensor.name, certain=False),)
    inside = {normalized(axis, len(tensor.shape)) for axis in axes}
    left_out = tuple(size for place, size in enumerate(tensor.shape) if place not in inside)
    static = _static(left_out)
    if static:
        return NOTHING
    text = f"{label(0, tensor)} has dynamic dimensions that axes {axes} leave out"
    return (Hit(text, tensor.name, certain=static is False),)


def spatial_dims(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """A pool has 1 to 3 spatial dimensions; a Resize changes no more than the last few."""
    if "ranks" in entry:
        tensor = given(node, entry["input"])
        if tensor is None:
            return NOTHING
        kernel = integers(attribute(node, "kernel_shape"))
        if tensor.shape is None:
            if kernel is not None and len(kernel) in entry["ranks"]:
                return NOTHING
            return (_no_rank(entry["input"], tensor),)
        spatial = len(tensor.shape) - 2
        if spatial in entry["ranks"]:
            return NOTHING
        text = f"{label(entry['input'], tensor)} has rank {len(tensor.shape)}"
        return (Hit(f"{text}: {max(spatial, 0)} spatial dimensions", tensor.name),)
    return _resized_dims(entry["max_outermost_dims"], node)


def kernel_rank(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The kernel has as many dimensions as the data has beside batch and channels.

    Source: ``poolingHelper`` and the Conv importers; a rank-3 input gets a fourth dimension and
    the kernel one more, which the layer then does not take. ONNX asks for the same, so a rank that
    is not known raises no doubt.
    """
    tensor = given(node, entry["input"])
    if tensor is None:
        return NOTHING
    written = attribute(node, "kernel_shape")
    kernel = integers(written)
    size = len(kernel) if kernel is not None else None
    if size is None and "weights" in entry:
        weights = rank(given(node, entry["weights"]))
        size = weights - 2 if weights is not None else None
    if size is None or tensor.shape is None:
        return NOTHING
    spatial = len(tensor.shape) - 2
    if spatial == size:
        return NOTHING
    text = f"{label(entry['input'], tensor)} has rank {len(tensor.shape)}"
    batch = ", the batch axis is missing" if spatial == size - 1 else ""
    return (Hit(f"{text}, the kernel {size} dimensions{batch}", tensor.name),)


def _resized_dims(last: int, node: NodeFacts) -> Hits:
    """Scale factors before the last few dimensions must be 1 (checked where they are weights).

    ``canUseLinearResize`` of the importers reads the factors of constant scales only.
    """
    scales = given(node, 1 if node.opset == 10 else 2)
    if given(node, 3) is not None or scales is None or scales.constness != "initializer":
        return NOTHING
    factors = constant(scales)
    if factors is None:
        return (Hit(f"the scales '{scales.name}' are not known", scales.name, certain=False),)
    axes, dims = integers(attribute(node, "axes")), rank(given(node, 0))
    if axes and len(axes) == len(factors):
        if dims is None:
            return (Hit("axes are given and the rank is not known", certain=False),)
        places = [normalized(axis, dims) for axis in axes]
    else:
        dims, places = len(factors), list(range(len(factors)))
    resized = [p for p, f in zip(places, factors, strict=True) if f != 1 and p < dims - last]
    if not resized:
        return NOTHING
    return (Hit(f"dimension {resized[0]} of {dims} is resized, only the last {last} may be"),)


def padded_dims(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Only the last ``last_dims`` dimensions, or any ``max_dims`` of them, may be padded."""
    if node.opset < 11:
        written = attribute(node, "pads", attribute(node, "paddings"))
        pads = None if written is UNKNOWN else integers(written)
        tensor = None
    else:
        tensor = given(node, 1)
        value = constant(tensor)
        pads = None if value is None else [int(item) for item in value]
        if tensor is not None and tensor.constness == "runtime":
            return NOTHING
    name = tensor.name if tensor is not None else ""
    if pads is None:
        return (Hit("the pads are not known", name, certain=False),)
    half = len(pads) // 2
    padded = [place for place in range(half) if pads[place] or pads[half + place]]
    if "last_dims" in entry:
        if half < entry["last_dims"]:
            return (Hit(f"the data has {half} dimension; the check needs two", name),)
        early = [place for place in padded if place < half - entry["last_dims"]]
        return (Hit(f"dimension {early[0]} of {half} is padded", name),) if early else NOTHING
    if len(padded) <= entry["max_dims"]:
        return NOTHING
    return (Hit(f"dimensions {spelled(padded)} are padded", name),)


def symmetric_pads_3d(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """A 3-D deconvolution takes the same padding on both sides only."""
    pads = integers(attribute(node, "pads"))
    dims = rank(given(node, 0))
    if dims is None and pads is not None:
        dims = len(pads) // 2 + 2
    auto = attribute(node, "auto_pad", "NOTSET")
    if dims is not None and dims != 5:
        return NOTHING
    if auto not in ("NOTSET", "VALID"):
        return (Hit(f"auto_pad {auto} may pad unevenly", certain=False),)
    if pads is None:
        return (Hit("the pads are not known", certain=False),) if "pads" in node.unresolved else ()
    half = len(pads) // 2
    return NOTHING if pads[:half] == pads[half:] else (Hit(f"pads {pads} are not symmetric"),)


def real_input(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The last of three dimensions of the signal is 1; 2 means complex numbers."""
    tensor = given(node, entry["input"])
    if tensor is None:
        return NOTHING
    if tensor.shape is None:
        return (_no_rank(entry["input"], tensor),)
    if len(tensor.shape) < 3 or tensor.shape[-1] == 1:
        return NOTHING
    text = f"the last dimension of {label(entry['input'], tensor)} is {tensor.shape[-1]}"
    return (Hit(text, tensor.name, certain=isinstance(tensor.shape[-1], int)),)


def flattening(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Softmax still flattens from ``axis`` on: the same only where axis is the last that counts.

    Source: the Softmax importer of 7.2 reads axis with default 1 and runs over the product of the
    dimensions from there.
    """
    tensor = given(node, entry["input"])
    axis = attribute(node, "axis", -1)
    place = integer(axis)
    if place is None:
        return (Hit("attribute axis is not known", certain=False),)
    omitted = "axis" not in node.attributes
    if place == -1 and not omitted:
        return NOTHING
    shape = None if tensor is None else tensor.shape
    if shape is None:
        return (Hit("the rank of the data is not known", certain=False),)
    read = entry["default_axis"] if omitted else normalized(place, len(shape))
    meant = normalized(place, len(shape))
    flattened = shape[read:]
    rest = [size for at, size in enumerate(flattened, read) if at != meant]
    if meant >= read and all(size == 1 for size in rest):
        return NOTHING
    sure = meant < read or any(isinstance(size, int) and size > 1 for size in rest)
    return (Hit(f"axis {axis} is read as 'flatten from {read} on'", certain=sure),)


def opset_semantics(entry: Entry, node: NodeFacts, names: Names) -> Hits:
    """The importer follows an older version of the op."""
    if "default_axis" in entry:
        return flattening(entry, node, names)
    rule = entry["harmless"]
    value = integer(attribute(node, rule["attribute_is_dim"]))
    tensor = given(node, rule["input"])
    if value is not None and tensor is not None and tensor.shape is not None:
        place = rule["dim"]
        if place < len(tensor.shape) and tensor.shape[place] == value:
            return NOTHING
    return (Hit(f"the node follows opset {entry['opset_min']}, the importer an older rule"),)
