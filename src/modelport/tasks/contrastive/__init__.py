"""Pairs of views, and what a contrastive model's features are worth."""
