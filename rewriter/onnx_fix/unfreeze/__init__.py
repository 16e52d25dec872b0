"""Make a network that was exported at one size dynamic: what its baked constants are made from."""
