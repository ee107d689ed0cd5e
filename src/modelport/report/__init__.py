"""The result file, and what is drawn from it."""
