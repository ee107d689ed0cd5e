"""Trains the network that settings are planted into, so that every one of them costs it something."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

import modelport as mp

EPOCHS, BATCH, RATE, DECAY, SMOOTHING = 10, 50, 2e-3, 0.02, 0.1


def train(recipe_file: Path, weights: Path, data: Path, seed: int = 0) -> None:
    """Train a classifier's checkpoint on the data set's training split, in place: about 90 seconds of two cores."""
    import torch

    torch.manual_seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or threads)
    recipe = mp.load_recipe(str(recipe_file))
    network = mp.source(recipe, weights).exportable.module
    inputs, labels = _split(recipe, data)
    steps = EPOCHS * (len(inputs) // BATCH)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.2)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    for _ in range(EPOCHS):
        order = torch.randperm(len(inputs))
        for rows in order[: len(inputs) // BATCH * BATCH].reshape(-1, BATCH):
            loss = torch.nn.functional.cross_entropy(network(inputs[rows]), labels[rows], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    torch.set_num_threads(threads)
    trained = network.state_dict()
    content: dict[str, Any] = torch.load(weights, weights_only=True)
    content["state_dict"] = {key: trained[key.removeprefix("module.")] for key in content["state_dict"]}
    torch.save(content, weights)


def _split(recipe: mp.Recipe, data: Path) -> tuple[Any, Any]:
    """Return the training images as the network takes them, float32 (N, C, H, W), and their labels, int64 (N,)."""
    import torch

    samples = mp.open_dataset(recipe, data, split="train")
    name = recipe.tensors.inputs[0].name
    with closing(mp.batches(recipe, samples, BATCH)) as batches:
        rows = [batch.inputs[name][: len(batch.ids)].copy() for batch in batches]
    labels = [sample.target + recipe.dataset.label_offset for sample in samples]
    return torch.from_numpy(np.concatenate(rows)), torch.tensor(labels)
