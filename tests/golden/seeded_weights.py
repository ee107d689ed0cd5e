"""Weights and inputs that anyone can rebuild from names and shapes alone.

The golden files beside this one were computed with these weights and inputs by the public
reference implementation of each model, so a checkpoint-compatible implementation that loads the
same weights must give the same numbers.
"""

import zlib

import numpy as np

# The detector's last two convolutions are scaled so that its scores and boxes look like a detector's:
# few scores above 0.05, boxes near their anchors. (weight factor, bias offset)
DETECTION_HEAD = {"bbox_head.retina_cls": (0.25, -4.5), "bbox_head.retina_reg": (0.1, 0.0)}


def seeded_array(name: str, shape: tuple[int, ...], salt: str = "a", gain: float = 1.0) -> np.ndarray:
    """Return the float32 array of one state-dict entry (int64 zero for num_batches_tracked).

    `gain` scales tensors of two or more axes; each model's JSON file gives its own, chosen so that the
    output depends on the input all the way through the net.
    """
    if name.endswith("num_batches_tracked"):
        return np.zeros((), dtype=np.int64)
    rng = np.random.default_rng(zlib.crc32(f"{salt}:{name}".encode()))
    if name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        values = rng.normal(0.0, 0.1, shape)
    elif len(shape) == 1 and name.endswith("weight"):
        values = rng.uniform(0.8, 1.2, shape)
    elif len(shape) == 1:
        values = rng.normal(0.0, 0.05, shape)
    else:
        values = gain * rng.normal(0.0, 1.0, shape) / np.sqrt(np.prod(shape[1:]))
    factor, offset = DETECTION_HEAD.get(name.rpartition(".")[0], (1.0, 0.0))
    values = values * factor if name.endswith("weight") else values + offset
    return values.astype(np.float32)


def seeded_input(shape: tuple[int, ...], salt: str = "a") -> np.ndarray:
    """Return the float32 input of a golden file, standard normal, by shape and salt alone."""
    rng = np.random.default_rng(zlib.crc32(f"{salt}:input:{tuple(shape)}".encode()))
    return rng.normal(0.0, 1.0, shape).astype(np.float32)
