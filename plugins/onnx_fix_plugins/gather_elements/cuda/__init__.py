"""The CUDA kernel of the plugin ``GatherElementsPlugin``, and a harness without TensorRT."""
