"""A set of classes per image."""
