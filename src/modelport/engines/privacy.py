"""What the vendors' packages would tell of their users is switched off before any of them is imported."""

from __future__ import annotations

import os
import sys

# Read by the packages when they are imported; processes that are started from here inherit them.
SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: `disable_telemetry_events()` comes too late
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
# OpenVINO's and NNCF's messenger has no switch but a file in the user's home. Both do without the package.
ABSENT = "openvino_telemetry"


def keep_silent() -> None:
    """Switch the telemetry of every vendor package off, in this process and in those that it starts.

    Nothing is written and nothing is imported. A package that the caller imported before is not reached.
    """
    os.environ.update(SWITCHES)
    if ABSENT not in sys.modules:
        # None makes an import fail as if the package were not installed.
        sys.modules[ABSENT] = None  # type: ignore[assignment]
