"""Inference from files to files, compatible with the command line and the files of ais_bench, on any engine."""
