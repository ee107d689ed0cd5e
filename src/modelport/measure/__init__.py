"""Runs → clocks: load, inputs, runs in flight."""
