"""Weights that an exporter folds before any input comes, and weights that nothing hangs on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modelport.model.graph.export import _quiet_exporter
from modelport.model.graph.file import read_graph
from modelport.model.graph.proof import WeightsProof, prove_weights


class Standardised(torch.nn.Module):
    """Convolves with standardised weights, adds a position table made by a small network, and has an idle head."""

    coordinates: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.gain = torch.nn.Parameter(torch.rand(4, 1, 1, 1) + 0.5)
        self.table = torch.nn.Linear(2, 4)
        self.head = torch.nn.Linear(4, 5)
        self.idle = torch.nn.Linear(4, 7)
        self.register_buffer("coordinates", torch.linspace(-1, 1, 12).reshape(6, 2), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        weight = self.conv.weight
        mean, spread = weight.mean((1, 2, 3), keepdim=True), weight.std((1, 2, 3), keepdim=True)
        rows = torch.nn.functional.conv2d(image, (weight - mean) / spread * self.gain, self.conv.bias).flatten(2)
        answer: torch.Tensor = self.head((rows[:, :, :6].transpose(1, 2) + self.table(self.coordinates)).mean(1))
        return answer


EXAMPLE = torch.ones(1, 3, 8, 8)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return Standardised().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def path(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("graph") / "net.onnx"
    with _quiet_exporter():
        torch.onnx.export(
            *(network, (EXAMPLE,), str(out)), dynamo=True, opset_version=20, external_data=False, verbose=False
        )
    return out


def proved(network: torch.nn.Module, path: Path) -> WeightsProof:
    return prove_weights(network, read_graph(path), EXAMPLE)


def test_what_is_folded_before_any_input_is_recomputed_and_found(network: torch.nn.Module, path: Path) -> None:
    proof = proved(network, path)
    assert {"conv.weight", "gain"} <= set(proof.computed)
    assert set(proof.idle) == {"idle.weight", "idle.bias"}
    assert proof.check().verdict == "pass"
    assert "no answer hangs on 2 others (idle.weight, idle.bias)" in proof.check().why


@pytest.mark.parametrize("name", ["conv.weight", "gain", "table.weight"])
def test_another_value_of_what_is_folded_is_lost(name: str, network: torch.nn.Module, path: Path) -> None:
    other = Standardised().eval().requires_grad_(False)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    state[name].flatten()[0] += 0.01
    other.load_state_dict(state)
    assert name in proved(other, path).lost
