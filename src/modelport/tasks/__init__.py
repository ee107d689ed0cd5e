"""Tasks: what is asked of a model, and how its answers are scored. One folder each, one line in ``table.py``."""
