"""Read model files, and refuse what cannot be worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from onnx_fix.errors import ModelError
from onnx_fix.scope import STANDARD_DOMAINS


def opset_of(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    """The version of the default operator set among some imports, 1 when none is named."""
    return max((o.version for o in imports if o.domain in STANDARD_DOMAINS), default=1)


def load_proto(path: Path) -> ModelProto:
    """Read a model file; external data stays on disk.

    Raises:
        ModelError: there is no such file, it cannot be read, or it is not an ONNX model.
    """
    if not path.exists():
        raise ModelError(f"{path}: there is no such file")
    if path.is_dir():
        raise ModelError(f"{path} is a folder; pass the .onnx file in it")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise ModelError(f"{path} is empty; export the model again")
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(
            f"{path} is not an ONNX model (no valid protobuf); it may be truncated, a text file, "
            "or a pointer of Git LFS: export or download it again"
        ) from error
    check_loaded(proto, str(path))
    return proto


def check_loaded(proto: ModelProto, where: str) -> None:
    """Refuse what cannot be worked on, before anything else looks at it.

    Raises:
        ModelError: no graph, an IR version or opset from the future, no default opset.
    """
    if not proto.HasField("graph") or proto.ir_version == 0:
        lacks = "graph" if proto.ir_version else "IR version"
        raise ModelError(
            f"{where} is not an ONNX model (it has no {lacks}); it may be truncated or of "
            "another format: export it again"
        )
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{where} has IR version {proto.ir_version}, and the installed onnx {onnx.__version__} "
            f"knows {onnx.IR_VERSION}: upgrade onnx, or export with an older exporter"
        )
    known = onnx.defs.onnx_opset_version()
    opset = opset_of(proto.opset_import)
    if opset > known:
        raise ModelError(
            f"{where} uses opset {opset}, and the installed onnx {onnx.__version__} knows {known}: "
            "upgrade onnx, or export with a lower opset_version"
        )
    if not any(o.domain in STANDARD_DOMAINS for o in proto.opset_import) and any(
        n.domain in STANDARD_DOMAINS for n in proto.graph.node
    ):
        raise ModelError(f"{where} imports no version of the default operator set; export it again")
    if not proto.graph.node and not proto.graph.output:
        raise ModelError(f"{where} has an empty graph: no nodes and no outputs")


def stored_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every TensorProto of a model: initializers and attributes, in subgraphs and functions too."""

    def of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
        for node in nodes:
            for attr in node.attribute:
                if attr.type == AttributeProto.TENSOR:
                    yield attr.t
                yield from attr.tensors
                if attr.type == AttributeProto.GRAPH:
                    yield from of_graph(attr.g)
                for graph in attr.graphs:
                    yield from of_graph(graph)

    def of_graph(graph: GraphProto) -> Iterator[TensorProto]:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
        yield from of_nodes(graph.node)

    yield from of_graph(model.graph)
    for function in model.functions:
        yield from of_nodes(function.node)
