"""OF1xx: which importer, plugin or function takes a node."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_fix.check.finding import Code

CODES: Mapping[str, Code] = MappingProxyType(
    {
        "no_importer": Code(
            "OF101",
            "no-importer",
            "the release has no importer for the op, and no plugin of its name ships",
            "The parser looks an op up by its name. Where it has no importer, it asks the plugin "
            "registry (7.0 does not even do that), and where no plugin answers the whole import "
            "fails at this node. An op that ONNX itself defines by simpler ops is not expanded: "
            "the parser does not know those definitions. The message usually speaks of a plugin "
            "that was not found, since that is where the search ends.",
            "Write the operation by other ops in the network, export with another opset in which "
            "the op is spelled otherwise, take a later release, or register a plugin of this name "
            "before the parser runs.",
        ),
        "unknown_plugin": Code(
            "OF102",
            "unknown-plugin",
            "no importer takes the op; it would have to be a plugin or a function of the model",
            "Neither ONNX nor TensorRT knows an op of this name, so it can only be a plugin that "
            "the application registers, or (since 9.0) a function that the model defines. Whether "
            "a plugin will be registered cannot be seen in the model. If none is, the import fails "
            "with a message about a missing plugin.",
            "Load the plugin library before the parser runs (trtexec: --staticPlugins, earlier "
            "--plugins), or put the definition into the model as a function.",
        ),
        "stock_plugin": Code(
            "OF103",
            "stock-plugin",
            "the node goes to a plugin that ships with TensorRT",
            "No importer takes the op, but the stock plugin library has a creator of its name. It "
            "works where that library is registered, which trtexec does by itself and a program "
            "has to ask for. The attributes must be those of the plugin.",
            "Call initLibNvInferPlugins (Python: trt.init_libnvinfer_plugins) before the parser "
            "runs, and ship the plugin library with the engine.",
        ),
        "own_plugin": Code(
            "OF104",
            "own-plugin",
            "the node needs the plugin library that onnx-fix ships",
            "onnx-fix wrote this node for a plugin of its own, because stock layers would be "
            "slower or do not exist. The parser finds it only where the library is loaded.",
            "Build the plugin library (`onnx-fix plugins build`) and load it before the parser "
            "runs (trtexec: --dynamicPlugins, before 8.6 --plugins; `onnx-fix trtexec` writes it), "
            "or run `onnx-fix fix` with --no-plugins to get stock layers alone.",
        ),
        "needs_plugin": Code(
            "OF105",
            "importer-needs-plugin",
            "the importer of the op builds on a plugin",
            "The parser has an importer for the op, but no layer: it asks the plugin registry. "
            "With the stock library registered the node works; where the release ships no such "
            "plugin the import fails whatever is registered by default.",
            "Register the stock plugins before the parser runs; where the release has none, "
            "write the operation by other ops or take another release.",
        ),
        "domain_ignored": Code(
            "OF106",
            "domain-ignored",
            "an op of another domain is imported as the built-in op of the same name",
            "TensorRT looks nodes up by the name of the op alone. An op of another domain whose "
            "name is also that of a built-in op is imported as the latter, without a message, "
            "and a function of the model with that name is never used. If the two mean the same "
            "this does no harm; if not, the engine computes something else.",
            "Compare the two definitions; where they differ, inline the function, rename the op, "
            "or export without the domain's ops.",
        ),
        "contrib_importer": Code(
            "OF107",
            "contrib-importer",
            "TensorRT-RTX has an importer for this op of onnxruntime",
            "TensorRT-RTX imports some ops of the domain com.microsoft. What it asks of their "
            "inputs and attributes is not written down anywhere, so a node may still be refused.",
            "Let the installed parser decide (`onnx-fix check --live`), or export without the "
            "fused ops of onnxruntime.",
        ),
        "plugin_override": Code(
            "OF108",
            "plugin-override",
            "a registered plugin would take the node in place of the built-in op",
            "Since 10.15 a node with the attribute plugin_namespace goes to a plugin of that name "
            "and namespace first, if one is registered. What the plugin computes cannot be seen "
            "in the model.",
            "Leave the attribute out unless the plugin is meant.",
        ),
        "no_kernel": Code(
            "OF109",
            "no-kernel",
            "the parser takes the node, the builder has no implementation of it",
            "The import succeeds, and the build fails later with a message that no implementation "
            "was found for the node. What the builder has depends on the release and on the GPU "
            "it builds for.",
            "Write the operation by other ops, take the main line of TensorRT, or build for "
            "another GPU.",
        ),
    }
)
"""By kind of finding."""
