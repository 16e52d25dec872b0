"""Checks of the model as a whole: one module each, found by name."""
