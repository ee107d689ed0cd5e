"""Samples → rows → figures: what answers, what is kept of it, and its scoring."""
