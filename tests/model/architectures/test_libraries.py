"""Networks by timm's and torchvision's names: names, arguments, preprocessing, and what cannot run here."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from modelport.core.errors import EngineError, RecipeError
from modelport.engines.base import Build
from modelport.engines.torch import TorchRunner
from modelport.model.architectures import build_network, libraries
from modelport.model.architectures.preprocessing import preprocessing_of
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Model

# Importing it to see whether it is there would fail beside a PyTorch for CPUs, unprepared.
pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


def refusal(architecture: str, **arguments: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        build_network(Model(architecture=architecture, arguments=arguments))
    return f"{caught.value.found}\n{caught.value.fix}"


@pytest.mark.parametrize(
    ("architecture", "near"),
    [
        ("timm:resnet10", "resnet10t"),
        ("timm:resnet18.tv_in2k", "resnet18.tv_in1k"),
        ("torchvision:resnet19", "resnet18"),
    ],
)
def test_an_unknown_name_brings_the_nearest(architecture: str, near: str) -> None:
    assert f"did you mean '{near}'" in refusal(architecture)


@pytest.mark.parametrize("architecture", ["timm:test_resnet", "torchvision:squeezenet1_1"])
def test_wrong_arguments_are_said(architecture: str) -> None:
    assert "'clases'" in refusal(architecture, clases=3)


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_a_missing_package_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(libraries, "version", absent)
    assert f"pip install 'modelport[{name}]'" in refusal(f"{name}:resnet18")


def test_preprocessing_is_the_libraries_own() -> None:
    # Independent of our reading: the transforms that the libraries build.
    timm, models = libraries.library("timm"), libraries.library("torchvision")

    told = preprocessing_of("timm:test_resnet.r160_in1k")
    config = timm.data.resolve_model_data_config(timm.create_model("test_resnet.r160_in1k", pretrained=False))
    steps = timm.data.create_transform(**config, is_training=False).transforms
    assert (told.resize, told.size) == (steps[0].size, tuple(steps[1].size))
    assert told.interpolation == steps[0].interpolation.value == "bilinear"
    assert np.allclose(told.mean, steps[-1].mean) and np.allclose(told.std, steps[-1].std)
    assert told.classes == 1000
    told = preprocessing_of("torchvision:shufflenet_v2_x0_5")
    own = models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.transforms()
    assert ([told.resize], [told.size[0]]) == (own.resize_size, own.crop_size)
    assert (told.mean, told.std, told.classes) == (tuple(own.mean), tuple(own.std), 1000)
    with pytest.raises(RecipeError, match="no classifier"):
        preprocessing_of("torchvision:fcn_resnet50")


def test_no_backbone_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refused)
    build_network(Model(architecture="torchvision:lraspp_mobilenet_v3_large", arguments={"num_classes": 3}))


@pytest.mark.parametrize("called", ["torch.ops.torchvision", "torchvision.ops"])
def test_an_operator_without_a_kernel_is_named(called: str, tiny: Recipe) -> None:
    """Skipped where torchvision brings its kernels: beside a PyTorch for CPUs alone it does not."""
    libraries.library("torchvision")
    modules = SimpleNamespace(torch=torch, torchvision=sys.modules["torchvision"])

    class Suppresses(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            boxes = image.flatten()[:8].reshape(2, 4)
            suppress = attrgetter(f"{called}.nms")(modules)
            kept: torch.Tensor = suppress(boxes, boxes[:, 0], 0.5)
            return kept

    if torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "CPU"):
        pytest.skip("torchvision's kernels are here")
    with pytest.raises(EngineError, match="calls torchvision::nms, for which there is no kernel here"):
        TorchRunner(Suppresses(), Build(tiny, "fp32", 1))


@pytest.mark.slow
def test_torchvision_is_imported_beside_a_pytorch_for_cpus() -> None:
    probe = (
        "from modelport.model.architectures.libraries import library; print(len(library('torchvision').list_models()))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50
