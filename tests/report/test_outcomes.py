"""What other verbs than run left is told in one line, whatever stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelport.report.page.found import Found
from modelport.report.page.outcomes import WHAT, outcome

CULPRIT = {"node": "conv1", "op": "Conv", "why": "pads is [0, 0]"}
BEST = {"value": 1234.5, "batch": 8, "in_flight": 2}
CHOSEN = {"engine": "openvino", "precision": "int8", "batch": 4, "samples_per_second": 99.0}
VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "trace": ({"first_bad_stage": "onnx", "culprits": [CULPRIT]}, "stage onnx departs first; at conv1 (Conv); pads is"),
    "probe": ({"explanation": {"sentence": "the model takes RGB"}}, "the model takes RGB"),
    "power": (
        {"noticed": 3, "planted": 5, "smallest_noticed_drop": 0.5},
        "3 of 5 planted faults noticed; the smallest",
    ),
    "bench": ({"best": BEST}, "1234 samples/s at best; batch 8, 2 in flight"),
    "tune": ({"chosen": CHOSEN}, "chosen: openvino int8, batch 4; 99 samples/s"),
    "compare": ({"verdict": "worse", "results": [{}, {}]}, "worse; the last of 2 against the first"),
    "history": (
        {"groups": [{"rows": [{"significant": True}, {"significant": False}]}, {"rows": [{"significant": None}]}]},
        "1 of 3 results changed for certain",
    ),
}


def told(kind: str, value: dict[str, Any]) -> str:
    """Return the line."""
    return "; ".join(cell.text for cell in outcome(Found(kind, Path("x"), value)))


@pytest.mark.parametrize("kind", WHAT)
def test_each_verb_has_its_line(kind: str) -> None:
    value, words = VALUES[kind]
    assert told(kind, value).startswith(words)


def test_where_nothing_was_found_it_is_said_so() -> None:
    assert told("trace", {"first_bad_stage": None, "culprits": []}) == "no stage departs from the source"
    assert told("probe", {"explanation": None}) == "no single change explains the figures"


def test_a_doubtful_comparison_has_no_colour_of_a_pass() -> None:
    tones = [
        outcome(Found("compare", Path("x"), {"verdict": word, "results": []}))[0].tone
        for word in ("not worse", "worse", "cannot tell")
    ]
    assert tones == ["pass", "fail", "doubt"]


@pytest.mark.parametrize("kind", WHAT)
def test_a_line_stays_a_line(kind: str) -> None:
    value, _ = VALUES[kind]

    def hostile(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: hostile(each) for key, each in one.items()}
        if isinstance(one, list):
            return list(map(hostile, one))
        return "a\x1b\n" + "w" * 9000 if isinstance(one, str) else one

    line = told(kind, hostile(value))
    assert "\n" not in line and "\x1b" not in line and len(line) < 1000


@pytest.mark.parametrize("kind", WHAT)
@pytest.mark.parametrize("junk", [None, 7, "text", [1], {"a": 1}, float("nan"), 10**400])
def test_a_value_of_another_form_breaks_no_line(kind: str, junk: Any) -> None:
    value, _ = VALUES[kind]
    for key in value:
        assert "\n" not in told(kind, {**value, key: junk})
    assert told(kind, {})
