"""Tensor files and result files: names, forms, reading and writing."""
