"""Data sets: where samples and their labels lie."""
