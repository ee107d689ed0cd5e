"""Boxes with classes."""
