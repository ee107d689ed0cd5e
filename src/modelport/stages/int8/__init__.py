"""Post-training quantization: calibrate, examine, let sensitive layers return."""
