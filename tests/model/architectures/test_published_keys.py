"""Weights under their authors' names of parts are loaded into a library's network, each value where it belongs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modelport.core.errors import CheckpointError
from modelport.model.architectures import build_network
from modelport.model.architectures.published_keys import converted
from modelport.model.weights.checkpoint import read_checkpoint
from modelport.recipes.load import load_recipe
from modelport.recipes.tables import Checkpoint, Model

# Swin's and ConvNeXt's smallest, so that the tests stay quick.
SWIN = Model(architecture="timm:swin_tiny_patch4_window7_224", arguments={"embed_dim": 12})
CONVNEXT = Model(architecture="timm:convnext_atto")


def _swins(name: str) -> str:
    """The name that Microsoft's file has: a stage ends with what joins its patches, where timm's next one begins so."""
    name = re.sub(r"layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", name)
    return name.replace("head.fc.", "head.")


def _convnexts(name: str) -> str:
    """The name that Facebook's file has."""
    name = re.sub(r"^stem\.", "downsample_layers.0.", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name)
    name = re.sub(r"^stages\.(\d)\.blocks\.", r"stages.\1.", name)
    name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
    return re.sub(r"^head\.norm", "norm", name).replace("head.fc.", "head.")


@pytest.mark.parametrize(("model", "theirs"), [(SWIN, _swins), (CONVNEXT, _convnexts)])
def test_the_authors_names_become_timms(model: Model, theirs: Callable[[str], str]) -> None:
    network = build_network(model)
    state = network.state_dict()
    extra = {"layers.0.blocks.1.attn_mask": torch.zeros(2)} if model is SWIN else {}
    file = {theirs(name): tensor for name, tensor in state.items()} | extra
    assert set(file) != set(state)
    found = converted(network, file)
    assert found is not None
    tensors, note = found
    assert {name: tensor.data_ptr() for name, tensor in tensors.items()} == {
        name: tensor.data_ptr() for name, tensor in state.items()
    }
    assert "renamed by timm's own conversion" in note and ("attn_mask" in note) == bool(extra)
    assert converted(network, state) is None, "what fits is left as it is"


def test_a_conversion_that_computes_values_or_leaves_gaps_is_not_taken() -> None:
    network = build_network(SWIN)
    file = {_swins(name): tensor for name, tensor in network.state_dict().items()}
    table = "layers.0.blocks.0.attn.relative_position_bias_table"
    assert converted(network, file | {table: torch.zeros(23 * 23, 3)}) is None, "timm would resize it"
    assert converted(network, {name: tensor for name, tensor in file.items() if name != table}) is None
    assert converted(network, {}) is None
    assert converted(torch.nn.Linear(1, 1), {"other": torch.zeros(1)}) is None


@pytest.mark.parametrize(
    ("recipe", "pattern", "theirs"),
    [
        # torchvision/models/densenet.py loads its own files by this pattern.
        ("densenet-121", r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2"),
        ("repvgg-a0", r"\bconv_kxk\.", "rbr_dense."),
    ],
)
def test_parts_are_renamed_as_the_recipe_says(recipe: str, pattern: str, theirs: str, tmp_path: Path) -> None:
    whole = load_recipe(recipe)
    with torch.device("meta"):
        wanted = list(build_network(whole.network).state_dict())
    names = {re.sub(pattern, theirs, name): name for name in wanted}
    if recipe == "repvgg-a0":
        # The parts of RepVGG's own network (repvgg.py): five stages, three branches, one classifier.
        parts = {"conv_1x1.": "rbr_1x1.", "identity.": "rbr_identity.", "head.fc.": "linear.", "stem.": "stage0."}
        parts |= {f"stages.{index}.": f"stage{index + 1}." for index in range(4)}
        for part, own in parts.items():
            names = {name.replace(part, own): wanted for name, wanted in names.items()}
    assert set(names) != set(wanted)
    file = tmp_path / "file.pth"
    torch.save({name: torch.full((1,), float(index)) for index, name in enumerate(names)}, file)
    state = read_checkpoint(file, whole.checkpoint, wanted)
    assert {name: float(tensor) for name, tensor in state.tensors.items()} == {
        wanted: float(index) for index, wanted in enumerate(names.values())
    }
    assert any("keys renamed as the recipe says" in note for note in state.notes)


def test_two_keys_that_would_become_one_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    torch.save({"a.w": torch.ones(1), "b.w": torch.ones(1)}, file)
    with pytest.raises(CheckpointError, match=r"file\.pth: the recipe's rename gives two keys one name"):
        read_checkpoint(file, Checkpoint(rename=[("a.", "b.")]))
