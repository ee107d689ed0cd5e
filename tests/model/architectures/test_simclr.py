"""SimCLR has the published keys and gives the reference's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from seeded_weights import seeded_array, seeded_input

from modelport.model.architectures.simclr import SimCLR

GOLDEN = Path(__file__).parents[2] / "golden"
REFERENCE = json.loads((GOLDEN / "simclr.json").read_text())


def test_it_has_the_published_keys_in_order() -> None:
    state = SimCLR().state_dict()
    assert [(name, list(tensor.shape)) for name, tensor in state.items()] == list(REFERENCE["state_dict"].items())


def test_it_gives_the_reference_numbers() -> None:
    module = SimCLR(features=128).eval()
    state = {
        name: torch.from_numpy(np.asarray(seeded_array(name, tuple(shape), gain=REFERENCE["gain"])))
        for name, shape in REFERENCE["state_dict"].items()
    }
    module.load_state_dict(state, strict=True)
    want = np.load(GOLDEN / "simclr.npz")["output"]
    with torch.inference_mode():
        got = module(torch.from_numpy(seeded_input(tuple(REFERENCE["input_shape"])))).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_the_width_of_the_output_is_an_argument() -> None:
    with torch.inference_mode():
        assert SimCLR(features=7).eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
