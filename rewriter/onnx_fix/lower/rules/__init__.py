"""Rules that lower one op across one operator set: one module per family, found by name."""
