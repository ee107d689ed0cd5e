"""ResNet has the published keys and gives the reference's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from seeded_weights import seeded_input

from modelport.model.architectures import build_network
from modelport.model.source import load_source
from modelport.recipes.load import load_recipe

GOLDEN = Path(__file__).parents[2] / "golden"


def test_resnet50_has_the_published_keys_in_order() -> None:
    want = json.loads((GOLDEN / "moco_v2.json").read_text())["state_dict"]
    state = build_network(load_recipe("moco-v2").network).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == want
    assert list(state) == list(want)


def test_resnet50_gives_the_reference_numbers(seeded_moco: Path) -> None:
    source = load_source(load_recipe("moco-v2"), seeded_moco)
    want = np.load(GOLDEN / "moco_v2.npz")["output"]
    with torch.inference_mode():
        got = source.module(torch.from_numpy(seeded_input((2, 3, 224, 224)))).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())
