"""From figures to a verdict."""
