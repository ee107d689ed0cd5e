"""Small data sets, drawn on the spot."""
