"""Other people's metrics, to hold ours against."""

from __future__ import annotations

from typing import Any

from modelport.model.architectures.torchvision_ops import declare_operators


def torchmetrics() -> Any:
    """Return the package's ``functional``; it imports torchvision, which wants its operators declared."""
    declare_operators()
    import torchmetrics.functional

    return torchmetrics.functional
