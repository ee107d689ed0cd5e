"""``modelport bench``: what it prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


def test_the_guides_table_with_the_published_speeds_beside_it(call: Call, null_path: Path, null_weights: Path) -> None:
    words = ["bench", null_path, "--weights", null_weights, "--engine", "null", "--batch", "4,1"]
    answer = call(*words, "--duration", "0.01", "--concurrency", "1")
    assert answer.code == 0, answer.err
    table = answer.out.partition("best:")[0]
    assert re.findall(r"^ +(\d+) +(\d+) +[\d.]+ +[\d.]+ +[\d.]+ +\d+", table, re.M) == [("1", "1"), ("4", "1")]
    for said in ("tiny on null, fp32", "best: batch", "in flight:", "Ascend310P3", "read as batches/s"):
        assert said in answer.out
    for said in ("3983.2", "497.9", "here / there", "batches/s?", "no copies", "4 buffers in turn", "fps"):
        assert said in answer.out


def test_pixels_are_measured_as_pixels(call: Call, tiny_path: Path, tiny_weights: Path) -> None:
    words = ["bench", tiny_path, "--weights", tiny_weights, "--batch", "2", "--duration", "0.01", "--concurrency", "1"]
    value = call(*words, "--input-type", "uint8", "--json").json
    assert "uint8" in value["signature"]["inputs"][0] and value["points"]
    call("bench", "--model", "x.onnx", "--input-type", "uint8").refused("--input-type says nothing to --model")
    call(*words, "--input-type", "uint9").refused("did you mean 'uint8'")


@pytest.mark.parametrize("batch", ["1,x", "", "0", "1,,2"])
def test_a_wrong_batch_list_is_refused(call: Call, batch: str) -> None:
    call("bench", "moco-v2", "--batch", batch).refused("--batch")


def test_nothing_to_measure_is_refused(call: Call) -> None:
    call("bench").refused("name a recipe", "--model")
    call("bench", "moco-v3").refused("did you mean 'moco-v2'")
    call("bench", "moco-v2", "--engine", "ascend").refused("not usable")
