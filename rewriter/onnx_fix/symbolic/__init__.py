"""Sizes of tensors as expressions over the symbolic dims of a model."""

from onnx_fix.symbolic.size import Size, SizeLike, largest, parse_size, size, smallest

__all__ = ["Size", "SizeLike", "largest", "parse_size", "size", "smallest"]
