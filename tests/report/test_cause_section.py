"""The cause section says what trace.json, probe.json and power.json hold, and nothing in them becomes markup."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from modelport.core.errors import DataError
from modelport.diagnose.power.planting import UNCHANGED as PLANTED_UNCHANGED
from modelport.report.page.cause import cause_section
from modelport.report.page.cause.power import UNCHANGED
from modelport.report.page.charts.depth import Point, depth_chart
from modelport.report.page.draw import page
from modelport.report.page.found import Found, found

HOSTILE = "<script>alert(1)</script>\"'<img src=x onerror=alert(2)>"


def trace_value(**changes: Any) -> dict[str, Any]:
    """trace.json of three nodes, of which the second errs."""

    def stage(name: str, verdict: str, far: float | None) -> dict[str, Any]:
        metric = {"name": "top1", "value": 50.0, "source": 75.0, "n": 8, "flips": 2}
        tensors = {"cosine": 0.99, "max_abs": far, "rel_l2": far}
        return {"name": name, "metric": metric, "tensors": tensors, "expected_error": 1e-5, "verdict": verdict} | {
            "why": "far off" if verdict == "fail" else ""
        }

    def node(place: int, before: list[str], local: float, accumulated: float | None) -> dict[str, Any]:
        told = {"place": place, "node": f"n{place}", "op": "Conv", "module": f"layer.{place}", "before": before}
        return told | {"local_error": local, "accumulated_error": accumulated, "expected_error": 1e-5}

    culprit = {"node": "n1", "op": "Conv", "module": "layer.1", "local_error": 0.25, "accumulated_error": 0.26}
    value = {
        "schema": "modelport.trace/1",
        "recipe": "net",
        "engine": "onnxruntime",
        "precision": "fp32",
        "samples": 8,
        "stages": [stage("source", "pass", 0.0), stage("onnx", "fail", 0.5)],
        "first_bad_stage": "onnx",
        "culprits": [
            culprit
            | {"expected_error": 1e-5, "kind": "weights", "why": "the weight is another", "fix": "take the weight"}
        ],
        "nodes": [node(0, [], 0.0, 1e-7), node(1, ["n0"], 0.25, 0.26), node(2, ["n1"], 1e-7, None)],
        "nodes_compared": 3,
        "runs": 6,
        "plan": None,
        "notes": ["said"],
    }
    return value | changes


def probe_value(**changes: Any) -> dict[str, Any]:
    evidence = {"of": "information", "delta": 60.0, "interval": [50.0, 70.0], "p_value": 1e-9}
    row = {"change": "label_offset", "value": "0", "metric": 80.0, "delta": 70.0, "interval": [40.0, 90.0], "n": 64}
    told: dict[str, Any] = {"change": "label_offset", "value": "0", "sentence": "label_offset is 0", "alike": []}
    value = {
        "schema": "modelport.probe/1",
        "recipe": "net",
        "baseline": {"metric": {"name": "top1", "value": 10.0}, "n": 64},
        "tried": [
            row | {"evidence": evidence, "log_loss": 1.0},
            {
                "change": "exif_rotation",
                "value": "ignore",
                "metric": None,
                "delta": None,
                "interval": None,
                "why": "same",
            },
        ],
        "as_good": [{"change": "crop_ratio", "value": "0.9"}],
        "explanation": told | {"lines": ["[dataset]", "label_offset = 0"], "mend": None},
        "confidence": 0.999,
        "held_against": "labels",
        "notes": [],
    }
    return value | changes


def power_value(**changes: Any) -> dict[str, Any]:
    def fault(kind: str, drop: float | None, noticed: bool | None, by: str = "top1_vs_source") -> dict[str, Any]:
        return {"kind": kind, "where": "conv1", "size": 2.0, "noticed": noticed, "drop": drop, "by": by, "about": "x"}

    value = {
        "schema": "modelport.power/1",
        "recipe": "net",
        "engine": "null",
        "n": 100,
        "tolerance": {"value": 1.0, "unit": "points"},
        "healthy": {"verdict": "pass"},
        "faults": [fault("small", 0.5, False), fault("large", 40.0, True), fault("none", 0.0, False, UNCHANGED)],
        "noticed": 1,
        "missed": 1,
        "by_chance": 0,
        "planted": 2,
        "smallest_noticed_drop": 40.0,
        "notes": [],
    }
    return value | changes


def of(value: dict[str, Any]) -> Found:
    return Found(value["schema"].split(".")[1].split("/")[0], Path("x.json"), value)


def drawn(*values: dict[str, Any]) -> str:
    return page([of(value) for value in values], "t")


def test_the_strip_ends_at_the_first_bad_stage_and_the_node_stands_between_its_neighbours() -> None:
    section = cause_section([of(trace_value())])
    assert section is not None
    told = section.values["traces"][0]
    assert [(one["name"], one["verdict"].text, one["first_bad"]) for one in told["stages"]] == [
        ("source", "pass", False),
        ("onnx", "fail", True),
    ]
    flow = told["flow"]
    assert [one["node"].text for one in flow["before"]["nodes"]] == ["n0"]
    assert [one["node"].text for one in flow["behind"]["nodes"]] == ["n2"]
    assert flow["behind"]["nodes"][0]["accumulated"].text == "infinite"
    assert (flow["culprit"]["local"].text, flow["culprit"]["local"].key) == (
        "0.25",
        "trace.json: culprits.0.local_error",
    )
    text = drawn(trace_value())
    for words in ("the weight is another", "take the weight", "far off", "layer.1", "Error along the depth"):
        assert words in text


def test_a_trace_of_an_older_modelport_has_no_chart_and_says_so() -> None:
    value = trace_value()
    del value["nodes"], value["nodes_compared"]
    text = drawn(value)
    assert "an older modelport made this trace" in text and "Error along the depth" not in text


def test_a_port_without_fault_names_nothing() -> None:
    value = trace_value(first_bad_stage=None, culprits=[], nodes=[], nodes_compared=0)
    text = drawn(value)
    assert "no stage departs from the source" in text and "first bad node" not in text


def test_what_the_repair_changed_is_told_with_the_cost_of_speed() -> None:
    def run(verdict: str, top1: float, speed: float | None) -> dict[str, Any]:
        score = {"value": top1, "unit": "percent", "n": 20, "stderr": None}
        told = {"verdict": verdict, "n": 20, "metrics": {"top1": score}, "folder": "x"}
        return told | {"samples_per_second": speed, "latency_ms": None}

    applied = {"repaired": True, "by": "graft", "file": "f", "stage": None, "why": "it holds"}
    applied |= {"before": run("fail", 50.0, 200.0), "after": run("pass", 75.0, 150.0)}
    section = cause_section([of(trace_value(applied=applied))])
    assert section is not None
    rows = {
        row[0].text: [cell.text for cell in row[1:]] for row in section.values["traces"][0]["applied"]["table"].rows
    }
    assert rows["verdict"] == ["fail", "pass", ""]
    assert rows["top1"] == ["50.00", "75.00", "+25.00"]
    assert rows["samples/s"] == ["200.00", "150.00", "-25.0 %"]
    assert rows["median ms a run"] == ["–", "–", "–"]


def test_a_repair_that_failed_says_why() -> None:
    applied = {
        "repaired": False,
        "by": None,
        "file": None,
        "stage": None,
        "before": None,
        "after": None,
        "why": "no way",
    }
    text = drawn(trace_value(applied=applied))
    assert "Not repaired" in text and "no way" in text


def test_a_probe_shows_its_table_the_lines_and_what_cannot_be_told_apart() -> None:
    section = cause_section([of(probe_value())])
    assert section is not None
    told = section.values["probes"][0]
    first, second = told["tried"].rows
    assert [cell.text for cell in first][:6] == ["label_offset", "0", "64", "80.00", "+70.0", "+40.0 … +90.0"]
    assert first[-1].text == "explains" and second[-1].text == "same"
    assert first[4].key == "probe.json: tried.0.delta"
    text = drawn(probe_value())
    assert "[dataset]\nlabel_offset = 0\n" in text and "crop_ratio = 0.9" in text
    assert "no single change" in drawn(probe_value(explanation=None))


def test_a_power_run_shows_its_faults_the_largest_loss_first() -> None:
    section = cause_section([of(power_value())])
    assert section is not None
    told = section.values["powers"][0]
    assert [(row[0].text, row[2].text) for row in told["table"].rows] == [
        ("noticed", "large"),
        ("missed", "small"),
        ("no effect", "none"),
    ]
    assert told["least"].text == "every drop from 40 points on was noticed"
    assert UNCHANGED == PLANTED_UNCHANGED


def hostile(value: Any) -> Any:
    """The same value with markup in each of its texts, but for those that tell its form."""
    if isinstance(value, dict):
        return {key: one if key in ("schema", "unit") else hostile(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


@pytest.mark.parametrize("make", [trace_value, probe_value, power_value])
def test_markup_of_others_shows_as_text(make: Any) -> None:
    clean, text = drawn(make()), drawn(hostile(make()))
    assert "&lt;script&gt;" in text
    for tag in ("script", "img", "path", "circle", "article"):
        assert len(re.findall(f"<{tag}[ >]", text)) == len(re.findall(f"<{tag}[ >]", clean)), tag


@pytest.mark.parametrize("make", [trace_value, probe_value, power_value])
def test_a_damaged_file_is_one_error(make: Any, tmp_path: Path) -> None:
    for key in make().keys() - {"schema", "plan", "precision", "recipe"}:
        for wrong in (3, {"a": "b"}, ["x"], 10**400):
            path = tmp_path / "one.json"
            path.write_text(json.dumps(make() | {key: wrong}))
            try:
                cause_section(found([path]))
            except DataError as error:
                assert "one.json" in error.found


@pytest.mark.parametrize("make", [trace_value, probe_value, power_value])
def test_every_figure_names_a_key_that_is_there(make: Any) -> None:
    value = make()
    keys = re.findall(f'data-key="{value["schema"].split(".")[1].split("/")[0]}.json: ([^"]+)"', drawn(value))
    assert len(keys) > 10
    for key in keys:
        here: Any = value
        for part in re.findall(r"[^.\[\]]+", key):
            here = here[int(part)] if isinstance(here, list) else here[part]


def test_long_lists_are_cut() -> None:
    nodes = [
        {"place": n, "node": f"n{n}", "op": "Add", "module": "", "before": [f"n{n - 1}"]}
        | {"local_error": 1e-7, "accumulated_error": 1e-6, "expected_error": 1e-5}
        for n in reversed(range(4000))
    ]
    culprits = trace_value()["culprits"] * 100
    values = [
        trace_value(nodes=nodes, nodes_compared=5000, culprits=culprits),
        probe_value(tried=probe_value()["tried"] * 500),
        power_value(faults=power_value()["faults"] * 300),
    ]
    text = drawn(*values)
    assert len(text.encode()) < 400_000
    for words in ("120 of 5000 nodes", "80 more are in trace.json", "940 more changes", "800 more faults"):
        assert words in text, words


def test_many_huge_files_leave_room_on_the_page() -> None:
    long = {"notes": ["n" * 5000] * 3000}
    stages = [one | {"why": "w" * 5000} for one in trace_value()["stages"]] * 200
    culprits = [one | {"why": "w" * 5000, "fix": "f" * 5000} for one in trace_value()["culprits"]] * 200
    values = [
        power_value(faults=power_value()["faults"] * 300, **long),
        probe_value(tried=probe_value()["tried"] * 500, **long),
        *[trace_value(stages=stages, culprits=culprits, **long)] * 20,
    ]
    text = drawn(*values).partition('<section id="cause"')[2].partition("</section>")[0]
    assert 0 < len(text.encode()) < 900_000
    assert "8 of them are shown; left out: net onnxruntime fp32" in text and "2970 more are in power.json" in text


def points(*errors: tuple[float | None, float | None]) -> list[Point]:
    return [Point(place, f"n{place}", "Add", "", *pair, 1e-5, "") for place, pair in enumerate(errors)]


def test_the_chart_holds_whatever_an_error_is() -> None:
    """Zero, not finite, tiny and huge errors lie inside the frame, and what nobody measured is left out."""
    chart = depth_chart(points((0.0, 0.0), (math.inf, 1e300), (1e-300, math.inf), (None, 1e-3)), ["n1"], 4)
    assert chart is not None
    numbers = [float(number) for number in re.findall(r'c?[xy][12]?="(-?[0-9.]+)"', str(chart.svg))]
    assert numbers and all(0 <= number <= 360 for number in numbers)
    assert "nan" not in str(chart.svg) and "inf" not in str(chart.svg).replace("infinite", "")
    assert "not finite" in str(chart.svg) and "n1 at place 1: local infinite" in chart.alternative
    assert depth_chart(points((None, None)), [], 1) is None
    assert depth_chart(points((1e-3, 1e-3)), ["n0"], 1) is not None
