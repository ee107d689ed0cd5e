"""A device that tells its clocks apart, on the stand-ins."""

from __future__ import annotations

from pathlib import Path

import pytest

from ascend_standins import Machine, ascend_fixture  # noqa: F401 - a fixture
from conftest import Exported
from modelport.core.progress import Silent
from modelport.engines.ascend.atc import AscendBuild
from modelport.engines.ascend.engine import AscendEngine
from modelport.engines.base import Build
from modelport.jobs.bench import bench
from modelport.recipes.schema import Recipe
from modelport.stages.bench_model import BenchRequest


@pytest.mark.slow
def test_copies_and_computing_stand_apart(
    tiny: Recipe, tiny_path: Path, exported_tiny: Exported, ascend: Machine, tmp_path: Path
) -> None:
    graph, _ = exported_tiny(11)
    compiled = AscendEngine().compile(graph, Build(tiny, None, 2, own=AscendBuild("310P3")), tmp_path / "tiny.om")
    for recipe in (None, str(tiny_path)):
        value = bench(BenchRequest(recipe, model=compiled.path, duration=0.02), Silent())
        assert (value["engine"], value["copies"]) == ("ascend", None)
        # It serves one run at a time, so nothing else is tried and measured.
        assert [row["in_flight"] for row in value["concurrency_search"]] == [1]
        (point,) = value["points"]
        assert (point["batch"], point["in_flight"]) == (2, 1)
        device, count = point["device"], point["latency_ms"]["count"]
        assert {name: clock["count"] for name, clock in device["latency_ms"].items()} == dict.fromkeys(
            ("h2d", "compute", "d2h"), count
        )
        assert len(device["runs_ms"]) == count
        assert device["throughput"]["value"] == pytest.approx(2 * 1e3 / device["latency_ms"]["compute"]["mean"])
