"""What a result tells of the machine and its packages."""

from __future__ import annotations

import pytest

from modelport.engines.null import NullEngine
from modelport.engines.registry import ENGINES
from modelport.report.result import environment

# Their order is that of result.json, and of the line in a report.
PACKAGES = (
    *("modelport", "numpy", "pillow", "opencv-python-headless", "torch", "onnx", "onnxscript", "onnxruntime"),
    *("openvino", "nncf", "faster-coco-eval"),
)


class Packaged(NullEngine):
    name = "packaged"
    packages = ("numpy", "a-package-that-nobody-has")


def test_the_packages_stand_in_their_order() -> None:
    assert tuple(environment()["packages"]) == PACKAGES


def test_an_engine_brings_its_own_packages_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "packaged", "test_environment:Packaged")
    told = environment()["packages"]
    assert set(told) == {*PACKAGES, "a-package-that-nobody-has"} and told["a-package-that-nobody-has"] is None
    assert list(told)[:2] == ["modelport", "numpy"]
