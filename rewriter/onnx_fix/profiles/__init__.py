"""Optimization profiles: the shapes that an engine is built for.

`onnx_fix.profiles.check.check_profile` says whether one can work, and
`onnx_fix.profiles.collect.collect` gathers those that a command line asks for.
"""

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
    value_ranges,
)
from onnx_fix.profiles.samples import Derived, from_inputs
from onnx_fix.profiles.shape_tensors import ShapeInput, shape_inputs

__all__ = [
    "Asked",
    "Derived",
    "InputRange",
    "Profile",
    "Range",
    "Ranges",
    "ShapeInput",
    "Shapes",
    "Triple",
    "asked_of",
    "from_inputs",
    "parse_profile",
    "parse_profiles",
    "profile_from",
    "profile_of",
    "shape_inputs",
    "spell_profile",
    "symbol_ranges",
    "value_ranges",
]
