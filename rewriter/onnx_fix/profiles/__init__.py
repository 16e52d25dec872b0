"""Optimization profiles: the shapes that an engine is built for."""

from onnx_fix.profiles.profile import InputRange, Profile, profile_of

__all__ = ["InputRange", "Profile", "profile_of"]
