"""ais_bench's Python interface, on any engine: ``modelport.ais_bench.infer.interface``."""
