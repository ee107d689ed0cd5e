"""PyTorch's talk (advice to developers) is kept from the user; its errors still pass."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_torch(name: str = "torch") -> Iterator[None]:
    """Leave out warnings, and what the logger ``name`` says below an error."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
