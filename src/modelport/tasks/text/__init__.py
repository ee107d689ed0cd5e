"""A text per image."""
