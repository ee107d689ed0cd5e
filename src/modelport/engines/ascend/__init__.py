"""Ascend devices: ATC, ``npu-smi``, AIPP, and models run through ais_bench's InferSession."""
