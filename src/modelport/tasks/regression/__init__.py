"""Numbers per image."""
