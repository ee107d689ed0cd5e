"""Sample weights, made on the spot."""
