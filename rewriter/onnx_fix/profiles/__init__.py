"""Optimization profiles: the shapes that an engine is built for."""

from onnx_fix.profiles.asked import Asked, Range, Triple, asked_of
from onnx_fix.profiles.grammar import parse_profile, parse_profiles, spell_profile
from onnx_fix.profiles.profile import (
    InputRange,
    Profile,
    Ranges,
    Shapes,
    profile_from,
    profile_of,
    symbol_ranges,
)
from onnx_fix.profiles.shape_tensors import ShapeInput, shape_inputs

__all__ = [
    "Asked",
    "InputRange",
    "Profile",
    "Range",
    "Ranges",
    "ShapeInput",
    "Shapes",
    "Triple",
    "asked_of",
    "parse_profile",
    "parse_profiles",
    "profile_from",
    "profile_of",
    "shape_inputs",
    "spell_profile",
    "symbol_ranges",
]
