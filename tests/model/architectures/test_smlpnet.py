"""sMLPNet-T has the published keys, gives the reference's numbers, and mixes as the paper says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from seeded_weights import seeded_array, seeded_input

from modelport.core.values import Array
from modelport.model.architectures.smlpnet import AlongColumns, AlongRows, Pointwise, SMLPNet, smlpnet_tiny

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def net() -> SMLPNet:
    """The network with the golden weights, built the way modelport builds it: empty, then filled."""
    golden = json.loads((GOLDEN / "smlpnet_t.json").read_text())
    state = {
        name: torch.from_numpy(np.asarray(seeded_array(name, tuple(shape), gain=golden["gain"])))
        for name, shape in golden["state_dict"].items()
    }
    with torch.device("meta"):
        module = smlpnet_tiny(1000).eval()
    module.load_state_dict(state, assign=True)
    return module


def test_the_keys_are_the_published_ones_in_order() -> None:
    want = json.loads((GOLDEN / "smlpnet_t.json").read_text())["state_dict"]
    with torch.device("meta"):
        state = smlpnet_tiny(1000).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == want
    assert list(state) == list(want)


def test_the_state_dict_is_all_that_it_holds(net: SMLPNet) -> None:
    assert not [name for name, tensor in (*net.named_parameters(), *net.named_buffers()) if tensor.is_meta]


def test_it_gives_the_reference_numbers(net: SMLPNet) -> None:
    want = np.load(GOLDEN / "smlpnet_t.npz")["output"]
    with torch.inference_mode():
        got = net(torch.from_numpy(seeded_input((2, 3, 224, 224)))).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize(("kind", "axis"), [(AlongRows, 3), (AlongColumns, 2)])
def test_each_line_of_positions_is_mapped_by_itself(kind: type[AlongRows | AlongColumns], axis: int) -> None:
    """Against one product per line in float64; the planes are not square, so that no axis passes for the other."""
    torch.manual_seed(0)
    part, shape = kind(7), (2, 3, 5, 7) if axis == 3 else (2, 3, 7, 5)
    images = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    with torch.inference_mode():
        got = part(torch.from_numpy(images)).numpy()
    assert part.bias is not None
    matrix, bias = _float64(part.weight)[:, :, 0, 0], _float64(part.bias)
    want = np.empty(shape)
    lines, results = np.moveaxis(images, axis, -1), np.moveaxis(want, axis, -1)
    for place in np.ndindex(lines.shape[:-1]):
        results[place] = matrix @ lines[place] + bias
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


def test_sparse_mixing_joins_input_rows_and_columns_in_this_order(net: SMLPNet) -> None:
    block = net.get_submodule("token_mix.24.1")
    images = torch.randn(2, 640, 7, 7, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        got = block(images).numpy()
    state = {name: _float64(tensor) for name, tensor in block.state_dict().items()}
    scale = state["BN.weight"] / np.sqrt(state["BN.running_var"] + 1e-5)
    shift = state["BN.bias"] - state["BN.running_mean"] * scale
    x = torch.from_numpy(_float64(images) * scale[:, None, None] + shift[:, None, None])
    y = (x / 2 * (1 + torch.erf(x / 2**0.5))).numpy()
    rows = np.einsum("vw,nchw->nchv", state["proj_h.weight"][:, :, 0, 0], y) + state["proj_h.bias"]
    columns = np.einsum("gh,nchw->ncgw", state["proh_w.weight"][:, :, 0, 0], y) + state["proh_w.bias"][:, None]
    want = np.einsum("oc,nchw->nohw", state["fuse.weight"][:, :, 0, 0], np.concatenate([y, rows, columns], axis=1))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_a_pointwise_convolution_is_the_linear_map_of_every_position() -> None:
    torch.manual_seed(0)
    part = Pointwise(4, 6)
    images = torch.randn(2, 4, 3, 5)
    with torch.inference_mode():
        got = part(images).numpy()
    want = np.einsum("oc,nchw->nohw", _float64(part.weight), _float64(images)) + _float64(part.bias)[:, None, None]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


def _float64(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float64)
