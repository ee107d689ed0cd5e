"""What a module takes for its weights, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from modelport.core.errors import CheckpointError
from modelport.model.weights.checkpoint import StateDict, compare, load_strictly


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())


def state(module: torch.nn.Module, **changes: torch.Tensor) -> StateDict:
    return StateDict({**module.state_dict(), **changes}, "0" * 64)


def test_loading_onto_meta_makes_a_frozen_module() -> None:
    source = net()
    with torch.device("meta"):
        module = net().train()
    report = load_strictly(module, state(source), "w.pth")
    assert report.fits
    assert report.notes == ()
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    image = torch.ones(1, 3, 5, 5)
    assert torch.equal(module(image), source.eval()(image))


def test_every_mismatch_is_listed() -> None:
    given = net().state_dict()
    weight, bias = given.pop("0.weight"), given.pop("0.bias")
    given |= {"0.bias": bias[:2], "extra": weight, "1.weight": torch.ones(4, dtype=torch.int64)}
    module = net()
    before = module.state_dict()["0.bias"].clone()
    report = compare(module, StateDict(given, ""))
    assert report.missing == ("0.weight",)
    assert report.unexpected == ("extra",)
    assert report.misshapen == (("0.bias", (2,), (4,)),)
    assert report.miscast == (("1.weight", "int64", "float32"),)
    assert not report.fits
    with pytest.raises(CheckpointError) as caught:
        load_strictly(module, StateDict(given, ""), "w.pth")
    for word in ("w.pth", "0.weight", "extra", "0.bias (got (2,), want (4,))", "1.weight (got int64, want float32)"):
        assert word in caught.value.found
    assert "another architecture" not in caught.value.found
    assert torch.equal(module.state_dict()["0.bias"], before)


def test_long_lists_are_cut_and_strange_weights_called_so() -> None:
    strange = StateDict({f"blocks.{index}.weight": torch.ones(1) for index in range(20)}, "")
    with pytest.raises(CheckpointError, match="weights of another architecture") as caught:
        load_strictly(net(), strange, "w.pth")
    assert "20 keys unexpected" in caught.value.found
    assert "blocks.7.weight and 12 more" in caught.value.found
    assert "blocks.8." not in caught.value.found


def test_absent_counters_become_zero_with_a_note() -> None:
    old = net().state_dict()
    del old["1.num_batches_tracked"]
    module = net()
    assert load_strictly(module, StateDict(old, ""), "w").notes == ("1 absent num_batches_tracked set to zero",)
    counter = module.state_dict()["1.num_batches_tracked"]
    assert counter.dtype == torch.int64
    assert counter.shape == ()
    assert counter.item() == 0


def test_half_precision_is_converted_with_a_note() -> None:
    source = net()
    halved = {key: value.half() if value.is_floating_point() else value for key, value in source.state_dict().items()}
    module = net()
    report = load_strictly(module, StateDict(halved, ""), "w")
    assert report.notes == ("6 tensors converted from float16 to float32",)
    assert module.state_dict()["0.weight"].dtype == torch.float32
    assert torch.equal(module.state_dict()["0.weight"], halved["0.weight"].float())


def test_conversion_that_overflows_is_refused() -> None:
    huge = {"0.bias": torch.full((4,), 1e300, dtype=torch.float64)}
    with pytest.raises(CheckpointError, match=r"0\.bias"):
        load_strictly(net(), state(net(), **huge), "w")


def test_values_outside_the_state_dict_may_not_stay_on_meta() -> None:
    with torch.device("meta"):
        module = net()
        module.register_buffer("anchors", torch.ones(2), persistent=False)
    with pytest.raises(CheckpointError, match="no values for anchors"):
        load_strictly(module, state(net()), "w")


class Versioned(torch.nn.Linear):
    """Refuses to load without the version of its keys, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):  # type: ignore[no-untyped-def]
        if local_metadata.get("version") not in (1, 2):
            raise ValueError("version should be set to 1 or 2 instead of None")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def test_a_part_that_asks_for_the_version_of_its_keys_is_told_its_own() -> None:
    source = torch.nn.Sequential(Versioned(2, 3))
    with torch.device("meta"):
        module = torch.nn.Sequential(Versioned(2, 3))
    assert load_strictly(module, state(source), "w.pth").fits
    assert torch.equal(module.state_dict()["0.weight"], source.state_dict()["0.weight"])
