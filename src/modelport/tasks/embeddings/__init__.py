"""A vector per image, which is near those of the same identity."""
