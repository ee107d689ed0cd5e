"""Recipes: everything modelport knows of a model, as data."""
