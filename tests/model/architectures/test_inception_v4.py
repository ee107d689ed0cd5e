"""Inception-v4 has the published keys and gives the reference's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from seeded_weights import seeded_array, seeded_input

from modelport.model.architectures.inception_v4 import InceptionV4

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def net() -> InceptionV4:
    """The network with the golden weights, built the way modelport builds it: empty, then filled."""
    golden = json.loads((GOLDEN / "inception_v4.json").read_text())
    state = {
        name: torch.from_numpy(np.asarray(seeded_array(name, tuple(shape), gain=golden["gain"])))
        for name, shape in golden["state_dict"].items()
    }
    with torch.device("meta"):
        module = InceptionV4(1001).eval()
    module.load_state_dict(state, assign=True)
    return module


def test_the_keys_are_the_published_ones_in_order() -> None:
    want = json.loads((GOLDEN / "inception_v4.json").read_text())["state_dict"]
    with torch.device("meta"):
        state = InceptionV4(1001).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == want
    assert list(state) == list(want)


def test_the_state_dict_is_all_that_it_holds(net: InceptionV4) -> None:
    assert not [name for name, tensor in (*net.named_parameters(), *net.named_buffers()) if tensor.is_meta]


def test_it_gives_the_reference_numbers(net: InceptionV4) -> None:
    want = np.load(GOLDEN / "inception_v4.npz")["output"]
    with torch.inference_mode():
        got = net(torch.from_numpy(seeded_input((2, 3, 299, 299)))).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_the_number_of_classes_is_the_callers() -> None:
    with torch.device("meta"):
        module = InceptionV4(7).eval()
        assert module(torch.empty(1, 3, 299, 299)).shape == (1, 7)
