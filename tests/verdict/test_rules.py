"""The rules of the verdict, one by one."""

from __future__ import annotations

import pytest

from modelport.recipes.load import load_recipe
from modelport.recipes.tables import Tolerance
from modelport.tasks.scoring import Score
from modelport.tasks.table import task_class, task_names
from modelport.verdict.rules import Evidence, excess_of, is_full_set, judge, limit_of, overall

RECIPE = load_recipe("moco-v2")


def _scores(top1: float, top5: float, n: int) -> dict[str, Score]:
    return {"top1": Score(top1, "percent", n, 0.1), "top5": Score(top5, "percent", n, 0.1)}


def _verdict(
    got: dict[str, Score], source: dict[str, Score] | None, full: bool = False, skipped: tuple[str, ...] = ()
) -> str:
    return overall(judge(RECIPE, Evidence(got, source, full, got["top1"].n, skipped, 300)))


@pytest.mark.parametrize(
    ("got", "word"),
    [(70.0, "pass"), (69.3, "pass"), (69.29, "fail"), (80.0, "pass")],
    ids=["same", "edge", "below", "better"],
)
def test_one_percent_of_the_source_one_sided(got: float, word: str) -> None:
    assert _verdict(_scores(got, 90.0, 1000), _scores(70.0, 90.0, 1000)) == word


def test_every_published_metric_is_judged() -> None:
    assert _verdict(_scores(70.0, 80.0, 1000), _scores(70.0, 90.0, 1000)) == "fail"


def test_below_300_samples_nothing_is_concluded_but_a_failure() -> None:
    assert _verdict(_scores(70.0, 90.0, 299), _scores(70.0, 90.0, 299)) == "inconclusive"
    assert _verdict(_scores(50.0, 90.0, 299), _scores(70.0, 90.0, 299)) == "fail"


@pytest.mark.parametrize(
    "source", [None, {}, _scores(70.0, 90.0, 999)], ids=["no source", "no figures", "other samples"]
)
def test_a_missing_number_is_incomplete_not_passed(source: dict[str, Score] | None) -> None:
    assert _verdict(_scores(70.0, 90.0, 1000), source) == "incomplete"


def test_the_published_figure_applies_to_the_full_set_only() -> None:
    low = _scores(60.0, 85.0, 50_000)
    assert _verdict(low, low, full=False) == "pass"
    assert _verdict(low, low, full=True) == "fail"
    edge = _scores(67.41 * 0.99, 88.02 * 0.99, 50_000)
    assert _verdict(edge, edge, full=True) == "pass"


def test_skipped_samples_are_among_the_reasons() -> None:
    scores = _scores(70.0, 90.0, 1000)
    checks = judge(RECIPE, Evidence(scores, scores, False, 1000, ["bad_1", "bad_2"], 300))
    assert any(check.name == "skipped" and check.got == 2 and "bad_1" in check.why for check in checks)


def test_the_full_set_is_known_by_number_and_names() -> None:
    ids = [f"ILSVRC2012_val_{index:08d}" for index in range(1, 50_001)]
    assert is_full_set(RECIPE, ids, skipped=0)
    assert not is_full_set(RECIPE, ids[1:], skipped=0)
    assert not is_full_set(RECIPE, ids[1:], skipped=1)
    assert not is_full_set(RECIPE, [*ids[1:], "other"], skipped=0)


def test_both_units_of_tolerance() -> None:
    score = Score(81.9, "percent", 9, None)
    assert limit_of(score, Tolerance(value=1.0, unit="percent_of_reference")) == pytest.approx(81.081)
    assert limit_of(score, Tolerance(value=1.0, unit="points")) == pytest.approx(80.9)


def test_where_a_rise_is_the_loss_the_limit_lies_above_and_a_fall_is_a_gain() -> None:
    error = Score(2.0, "mm", 9, None, rise_is_loss=True)
    percent, points = Tolerance(value=1.0, unit="percent_of_reference"), Tolerance(value=1.0, unit="points")
    assert limit_of(error, percent) == pytest.approx(2.02) and limit_of(error, points) == 3.0
    assert excess_of(3.5, error, points) == 0.5 and excess_of(0.5, error, points) < 0
    # Of a distance to the source itself a percentage is one of its outputs.
    distance = Score(0.0, "mm", 9, None, rise_is_loss=True, scale=40.0)
    assert limit_of(distance, percent) == pytest.approx(0.4)


def test_what_does_not_apply_is_no_pass() -> None:
    scores = _scores(70.0, 90.0, 1000)
    checks = {check.name: check.verdict for check in judge(RECIPE, Evidence(scores, scores, False, 1000, (), 300))}
    assert checks["top1_vs_published"] == checks["top5_vs_published"] == "not_applicable"


@pytest.mark.parametrize(("skipped", "word"), [(10, "pass"), (11, "inconclusive"), (100, "inconclusive")])
def test_more_skipped_than_allowed_never_passes(skipped: int, word: str) -> None:
    scores = _scores(70.0, 90.0, 1000 - skipped)
    gone = tuple(map(str, range(skipped)))
    assert _verdict(scores, scores, skipped=gone) == word
    allowed = Evidence(scores, scores, False, 1000 - skipped, gone, 300, max_skipped=0.2)
    assert overall(judge(RECIPE, allowed)) == "pass"


def test_duplicates_are_told_and_only_the_unique_count_towards_enough() -> None:
    scores = _scores(70.0, 90.0, 100)
    evidence = Evidence(scores, scores, False, 100, (), 300, duplicates={f"d{n}": "a" for n in range(300)})
    checks = judge(RECIPE, evidence)
    assert overall(checks) == "inconclusive"
    assert any(check.name == "duplicates" and check.got == 300 and "once" in check.why for check in checks)


@pytest.mark.parametrize(("got", "source"), [(float("nan"), 70.0), (70.0, float("nan")), (float("inf"), 70.0)])
def test_a_figure_that_is_not_finite_is_never_a_pass(got: float, source: float) -> None:
    assert _verdict(_scores(got, 90.0, 1000), _scores(source, 90.0, 1000)) == "inconclusive"


@pytest.mark.parametrize("task", task_names())
def test_no_task_tolerates_by_itself_that_a_figure_is_halved(task: str) -> None:
    """Of fractions, too, whose points are hundredths: one point of 0 to 1 would be all of it."""
    tolerance = task_class(task).tolerance
    for unit, reference in (("percent", 70.0), ("fraction", 0.4)):
        assert excess_of(reference / 2, Score(reference, unit, 1000, None), tolerance) > 0
    point = Tolerance(value=1.0, unit="points")
    assert limit_of(Score(0.4, "fraction", 1000, None), point) == pytest.approx(0.39)


@pytest.mark.parametrize(("points", "word"), [(0.0, "fail"), (1.9, "fail"), (2.1, "inconclusive")])
@pytest.mark.parametrize("full", [False, True], ids=["against the source", "against the published"])
def test_a_drop_that_ties_could_explain_is_no_failure(points: float, word: str, full: bool) -> None:
    reference = _scores(67.41, 88.02, 50_000)
    got = _scores(67.41, 88.02 * 0.99 - 2.0, 50_000)
    source = None if full else reference
    checks = judge(RECIPE, Evidence(got, source, full, 50_000, [], 300, unsure={"top5": points}))
    name = "top5_vs_published" if full else "top5_vs_source"
    check = next(check for check in checks if check.name == name)
    assert check.verdict == word and ("ties alone" in check.why) == (word == "inconclusive")
    assert overall([check]) == word
    # The ties of another figure explain nothing.
    others = judge(RECIPE, Evidence(got, source, full, 50_000, [], 300, unsure={"top1": 50.0}))
    assert next(check for check in others if check.name == name).verdict == "fail"


def test_a_source_below_the_published_figure_is_told_where_the_engine_fails() -> None:
    low, high = _scores(30.0, 50.0, 50_000), _scores(67.41, 88.02, 50_000)
    for source, said in ((low, True), (high, False)):
        checks = judge(RECIPE, Evidence(low, source, True, 50_000, [], 300))
        why = next(check.why for check in checks if check.name == "top1_vs_published")
        assert ("which both share" in why) == said
