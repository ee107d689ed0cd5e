"""What the help of shared options says of single engines. Imports nothing: `modelport --help` is to be quick."""

from __future__ import annotations

# Of ``export``.
OPSET = "Operator set; ATC takes 11. Default: a current one."
NMS = "graph|host|ascend"
# Of ``compile``.
COMPILED_FILE = "The file to write (.xml for openvino, .onnx for onnxruntime, .om for ascend)."
COMPILED_PRECISION = "See `modelport doctor`; ascend also takes ATC's own modes. Default: fp32, ATC's own."
COMPILED_BATCH = "Fix the batch; left out, it stays as in the graph (ascend: the recipe's)."
SOC = "The chip, such as 310P3; left out, npu-smi tells it (ascend)."
SOC_DEVICE = "The device whose chip it is (ascend)."
COMPILED_INPUT = "uint8: AIPP normalises on the device (ascend)."
# Of ``run``.
PRECISION = "See `modelport doctor`. Default: fp32 (ascend: fp16)."
# Of ``aipp``.
AIPP_FILE = "The file of ATC's --insert_op_conf."
