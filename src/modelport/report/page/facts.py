"""What one result came to, each fact in one sentence: cells with the keys that they come from, words between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.text import plain
from modelport.recipes.schema import Recipe
from modelport.report.page.charts.interval import interval_bar
from modelport.report.page.parts import TONES, Cell, Chart
from modelport.report.page.unproved import unproved
from modelport.report.result import Result
from modelport.report.sentence import AGAINST, sentence, subject, telling
from modelport.verdict.words import FAIL, PASS, unit_word

NAME = 120


def word_of(result: Result) -> Cell:
    """Return the verdict."""
    return Cell(plain(result.verdict, 40), "verdict", TONES.get(result.verdict, ""))


def reason_of(result: Result) -> Cell:
    """Return why, without the word that stands before it."""
    check = subject(result)
    key = "rests_on" if check is None else f"checks.{result.checks.index(check)}"
    return Cell(plain(sentence(result).removeprefix(f"{result.verdict}: ").removesuffix(".")), key)


def loss_of(result: Result) -> Chart | None:
    """Return between which bounds the deciding loss lies, drawn; None where nothing bounds it."""
    check, allowed = telling(result), _allowed(result)
    if check is None or check.interval is None or allowed is None:
        return None
    key, tone = f"checks.{result.checks.index(check)}", TONES.get(check.verdict, "")
    return interval_bar(plain(check.name.removesuffix(AGAINST), NAME), check.interval, *allowed, tone, key)


def loss_words(result: Result) -> Cell:
    """Return the same in few words: "≤ 0.71 of 1 %"."""
    check, allowed = telling(result), _allowed(result)
    if check is None or check.interval is None or allowed is None:
        return Cell("loss untold", "checks")
    low, high = (None if end is None else f"{end:.2f}".replace("-", "−") for end in check.interval)
    limit = f"of {allowed[0]:g} {allowed[1]}"
    if check.verdict == PASS and high is not None:
        words = f"≤ {high} {limit}"
    elif check.verdict == FAIL and low is not None:
        words = f"≥ {low} {limit}"
    else:
        words = f"{low or '?'} to {high or '?'} {limit}"
    return Cell(words, f"checks.{result.checks.index(check)}.interval")


def rate_of(result: Result) -> Cell:
    """Return the speed in few words."""
    rate = result.samples_per_second
    if rate is None:
        return Cell("no speed", "throughput.end_to_end")
    return Cell(f"{rate_text(rate)}/s", "throughput.end_to_end.value")


def speed_of(result: Result, recipe: Recipe | None) -> list[Cell]:
    """Return how fast it was, and against what."""
    rate = result.samples_per_second
    if rate is None:
        return [Cell("nothing was run here, so no speed was measured", "throughput.end_to_end")]
    told = [
        Cell(f"{rate_text(rate)} samples/s", "throughput.end_to_end.value"),
        Cell("from files on disk to scored answers"),
    ]
    host = result.speed.throughput.get("host")
    if host is not None:
        told += [Cell(","), Cell(f"{rate_text(host['value'])} within the engine", "throughput.host.value")]
    short = [plain(said, NAME).partition(":")[0] for said in result.speed.warnings]
    told += [Cell(f"({said})", f"speed_warnings.{index}", "doubt") for index, said in enumerate(short)]
    best = published_best(recipe)
    return [*told, *((Cell("; the best published:"), best) if best else (Cell("; no speed is published"),))]


def published_best(recipe: Recipe | None, with_batch: bool = True) -> Cell | None:
    """Return the fastest published figure of any device, in samples/s; None where the recipe has none."""
    figures = [
        (speed.samples_per_second(figure), plain(speed.device, 60), figure.batch, f"{at}.figures.{index}")
        for at, speed in enumerate(recipe.speeds if recipe is not None else ())
        for index, figure in enumerate(speed.figures)
    ]
    if not figures:
        return None
    rate, device, batch, place = max(figures)
    words = (
        f"{rate_text(rate)} samples/s on {device}, batch {batch}" if with_batch else f"{rate_text(rate)}/s on {device}"
    )
    return Cell(words, f"recipe.toml: speeds.{place}", "published")


def subject_of(result: Result) -> list[Cell]:
    """Return on what: model, data, engine, precision, batch, machine."""
    model = plain(" ".join(word for word in (result.recipe, result.variant) if word), NAME)
    told = [Cell(model, "recipe"), Cell("on"), Cell(f"{result.n} samples of {plain(result.dataset['name'], 60)},", "n")]
    if result.engine is None:
        told.append(Cell("saved outputs,", "engine"))
    else:
        told += [
            Cell(f"engine {plain(result.engine, 60)}", "engine"),
            Cell(f"in {plain(result.precision or 'unknown precision', 60)},", "precision"),
            Cell(f"batch {plain(result.batch, 20)},", "batch"),
        ]
    return [*told, machine_of(result.environment)]


def machine_of(environment: Mapping[str, Any]) -> Cell:
    """Return what it ran on."""
    return Cell(
        f"{plain(environment['processor'], NAME)}, {plain(environment['cores'], 20)} cores", "environment.processor"
    )


def left_open(result: Result, recipe: Recipe | None) -> list[Cell]:
    """Return what was not proved, in one line."""
    points = unproved(result, recipe)
    if not points:
        return [Cell("nothing: the full published set, the published weights, every check", "checks", "pass")]
    return [Cell(plain(f"{point.what} ({point.why})", 240), point.key) for point in points]


def rate_text(rate: float) -> str:
    """Return samples per second: three digits, and whole from a hundred on."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 10 else f"{rate:.3g}"


def _allowed(result: Result) -> tuple[float, str] | None:
    """Return what may be lost, and its unit; None where an older result does not tell."""
    tolerance = result.further.get("statistics", {}).get("tolerance", {})
    if "value" not in tolerance:
        return None
    return tolerance["value"], unit_word(tolerance.get("unit"))


def card(result: Result, recipe: Recipe | None, name: str) -> dict[str, Any]:
    """Return all of it, as the template takes it."""
    facts: Sequence[tuple[str, list[Cell]]] = (
        ("How fast", speed_of(result, recipe)),
        ("On what", subject_of(result)),
    )
    return {
        "name": name,
        "word": word_of(result),
        "reason": reason_of(result),
        "loss": loss_of(result),
        "facts": facts,
        "open": left_open(result, recipe),
    }
