"""The first screen: did it pass, by how much, how fast, on what, and what was not proved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelport.core.text import plain
from modelport.recipes.schema import Recipe
from modelport.report.page.facts import card, loss_words, machine_of, published_best, rate_of, word_of
from modelport.report.page.found import Found
from modelport.report.page.outcomes import WHAT, outcome
from modelport.report.page.parts import Cell, Section
from modelport.report.page.unproved import of_all, unproved
from modelport.report.result import Result
from modelport.verdict.words import FAIL, INCOMPLETE, INCONCLUSIVE, NOT_APPLICABLE, PASS

WORDS = (FAIL, INCOMPLETE, INCONCLUSIVE, PASS)  # the worst first
NAME = 80

Ran = tuple[Found, Result, Recipe | None]


def verdict_section(material: Sequence[Found]) -> Section | None:
    """Return an overview where there are several results, a card for each, and a line for whatever else was found."""
    results = [(one, one.result, one.recipe) for one in material if one.result is not None]
    others = [
        {"name": one.name, "what": WHAT.get(one.kind, one.kind), "outcome": outcome(one)}
        for one in material
        if one.result is None
    ]
    if not results and not others:
        return None
    cards = [card(result, recipe, _title(result)) for _, result, recipe in results]
    overview = _overview(results) if len(results) > 1 else None
    title = "Verdict" if cards else "What was found"
    return Section("verdict", title, {"cards": cards, "overview": overview, "others": others})


def _overview(results: Sequence[Ran]) -> dict[str, Any]:
    """Return models by engines: word, loss and speed of each."""
    columns = list(dict.fromkeys(_column(result) for _, result, _ in results))
    rows = list(dict.fromkeys(_row(result) for _, result, _ in results))
    told: dict[tuple[str, str], list[list[Cell]]] = {}
    published: dict[str, Cell | None] = {}
    for _, result, recipe in results:
        place = _row(result), _column(result)
        told.setdefault(place, []).append([word_of(result), loss_words(result), rate_of(result)])
        published[place[0]] = published.get(place[0]) or published_best(recipe, with_batch=False)
    machines = dict.fromkeys(machine_of(result.environment) for _, result, _ in results)
    return {
        "summary": _summary([result for _, result, _ in results], len(rows)),
        "columns": columns,
        "rows": [(row, [told.get((row, column), []) for column in columns], published[row]) for row in rows],
        "machines": list(machines)[:3],
        "open": of_all([unproved(result, recipe) for _, result, recipe in results]),
    }


def _summary(results: Sequence[Result], models: int) -> list[Cell]:
    """Return how many passed, and the others by their words, the worst first."""
    words = [result.verdict for result in results]
    said = [Cell(f"{len(results)} results of {models} {'model' if models == 1 else 'models'}:")]
    for word in (*WORDS, NOT_APPLICABLE):
        if word in words:
            tone = {PASS: "pass", FAIL: "fail"}.get(word, "doubt")
            said.append(Cell(f"{words.count(word)} {word}", "verdict", tone))
    return said


def _title(result: Result) -> str:
    return plain(f"{_row(result)} · {_column(result)}", 2 * NAME)


def _row(result: Result) -> str:
    return plain(" ".join(word for word in (result.recipe, result.variant) if word), NAME)


def _column(result: Result) -> str:
    return plain(" ".join(word for word in (result.engine, result.precision) if word) or "saved outputs", NAME)
