"""ONNX graphs: written, read, held against the weights, edited. One edit a file."""
