"""Engines: whatever executes a model. To add one, write its file and its line in ``registry.py``."""
