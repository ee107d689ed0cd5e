"""``stages_ms`` of real runs on the null engine: what each road tells of where the time of a sample goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import Call
from modelport.report.clocks import STAGES
from modelport.report.result import Result


def _run(call: Call, recipe: Path, weights: Path, data: Path, out: Path, *words: object) -> Any:
    given = ("--weights", weights, "--data", data, "--out", out, "--engine", "null", "--limit", 100)
    return call("run", recipe, *given, "--json", *words).json


@pytest.mark.parametrize("words", [(), ("--until-decided",), ("--predict",), ("--fast-preprocess",)])
def test_every_stage_of_a_run_is_told_and_is_within_its_time(
    call: Call, null_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    result = _run(call, null_path, null_weights, tiny_data, tmp_path / "out", *words)
    stages, rows = result["stages_ms"], result["n"] + result["duplicates"]
    assert tuple(stages) == STAGES
    assert all(0 < value < 1e3 * result["seconds"] for value in stages.values()), stages
    end_to_end = 1e3 / result["throughput"]["end_to_end"]["value"]
    assert stages["run"] == pytest.approx(1e3 / result["throughput"]["host"]["value"])
    # While one waits no run is under way; the threads that decode have all cores for all of the time.
    assert stages["wait"] + stages["run"] <= end_to_end
    cores = result["decoders"]["value"]
    assert (stages["decode"] + stages["resize"]) * rows <= 1.5 * cores * end_to_end * rows
    assert Result.from_json(result).to_json() == result


def test_a_result_from_before_has_neither_stages_nor_histogram(
    call: Call, null_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    old = _run(call, null_path, null_weights, tiny_data, tmp_path / "out")
    del old["stages_ms"], old["latency_ms"]["host"]["histogram"]
    assert Result.from_json(old).to_json() == old
