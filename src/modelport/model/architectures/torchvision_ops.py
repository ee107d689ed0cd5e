"""Lets torchvision be imported beside a PyTorch for CPUs alone."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# As torchvision's own library declares them (csrc/ops/nms.cpp, csrc/ops/quantized/cpu/qnms_kernel.cpp).
SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[object] = []  # a library that is let go takes its declarations along


def declare_operators() -> None:
    """Declare the operators that importing torchvision asks for, where PyTorch has none of that name.

    The torchvision that package indexes serve by default is linked to CUDA. Beside a PyTorch for CPUs its library of
    operators cannot be loaded; torchvision tolerates that, yet it registers shape functions for ``torchvision::nms``
    and ``torchvision::qnms``, and registering one for an operator that nobody declared raises an error, so that not
    even the networks can be imported. A declaration is no kernel: whoever calls the operator is told that there is
    none.
    """
    import torch

    ops: Any = torch.ops
    library: Any = torch.library
    found = find_spec("torchvision")
    if _declared or found is None or found.origin is None:
        return
    for binary in sorted(Path(found.origin).parent.glob("_C*")):
        try:
            ops.load_library(str(binary))
        except OSError:
            continue
        return  # it brings schemas and kernels
    declared = library.Library("torchvision", "FRAGMENT")
    for name, schema in SCHEMAS.items():
        if not hasattr(ops.torchvision, name):
            declared.define(schema)
    _declared.append(declared)


def missing_operator(error: BaseException) -> str:
    """Return the operator of torchvision for whose lack a network failed, ``torchvision::nms``; empty for none."""
    if called := re.search(r"'(torchvision::\w+)'", str(error)):
        return called[1]
    trace, name = error.__traceback__, ""
    while trace is not None and "custom C++ ops" in str(error):
        code = trace.tb_frame.f_code
        # Its Python functions have the operators' names, and ask for the library first.
        if Path(code.co_filename).parent.parts[-2:] == ("torchvision", "ops"):
            name = f"torchvision::{code.co_name}"
        trace = trace.tb_next
    return name
