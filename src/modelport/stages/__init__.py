"""Artifact → next artifact: source, export, lowering, int8, build."""
