"""Faults that ports are known to have, planted into copies of a model: what a check notices is found by running it."""
