"""How right: figures of each run beside the source's and what is published, checks by weight, classes and slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.errors import DataError, raised_as
from modelport.core.text import plain
from modelport.core.values import Check
from modelport.report.classes import FEW_IMAGES, confusions, worst_classes
from modelport.report.markdown import number
from modelport.report.page.accuracy_charts import charts_of
from modelport.report.page.cells import MISSING, figure, verdict
from modelport.report.page.found import Found
from modelport.report.page.groups import Group, groups
from modelport.report.page.judged_run import Run, metrics_of
from modelport.report.page.parts import Cell, Section, Table
from modelport.report.result import Result
from modelport.report.result_folder import FIX, MALFORMED
from modelport.tasks.scoring import SOURCE_AGREEMENT, Score
from modelport.verdict.rules import loss_of
from modelport.verdict.words import FAIL, INCOMPLETE, INCONCLUSIVE, NOT_APPLICABLE, PASS

# What weighs most comes first; of one verdict, soundness comes first, as checks are kept in that order.
WEIGHT = (FAIL, INCONCLUSIVE, INCOMPLETE, PASS, NOT_APPLICABLE)
ELSEWHERE = (
    "What is published was measured on other samples or another variant than some of these runs, and decides nothing "
    "there."
)
OTHER_SAMPLES = "Not all of these runs scored the same samples: their figures tell little of each other."


def accuracy_section(material: Sequence[Found]) -> Section | None:
    """Return figures, checks, classes and slices of each model's runs; None without a run.

    Raises DataError for a result file that holds other values than modelport writes.
    """
    cards = []
    for group in groups(material, ("result",)):
        paths = ", ".join(str(member.one.path) for member in group.members)
        with raised_as(DataError, f"{plain(paths, 300)}: is not as modelport writes it", FIX, MALFORMED):
            cards.append(_card(group))
    return Section("accuracy", "Accuracy", {"cards": cards}) if cards else None


def _card(group: Group) -> dict[str, Any]:
    runs = [Run(member.label, member.one.result) for member in group.members if member.one.result is not None]
    figures, further = _figures(runs)
    tables = [*figures, *_agreement(runs)]
    said = [ELSEWHERE] * any(not row["applies"] for run in runs for row in run.result.published)
    said += [OTHER_SAMPLES] * (len({run.result.dataset["fingerprint"] for run in runs}) > 1)
    details = [
        {
            "label": run.label,
            "verdict": verdict(run.result.verdict, "verdict"),
            "open": run.result.verdict != PASS,
            "checks": _checks(run.result),
            "more": [table for table in (_classes(run.result), _slices(run.result)) if table is not None],
            "said": _often(run.result),
        }
        for run in runs
    ]
    told = {"tables": tables, "further": further, "said": said, "charts": charts_of(group.name, runs), "runs": details}
    return {"name": group.name} | told


def _figures(runs: Sequence[Run]) -> tuple[list[Table], list[Table]]:
    """Return the figures that are judged or published, and the others; no table where there are none."""
    metrics = metrics_of(runs)
    told = {row["metric"] for run in runs for row in run.result.published}
    main = [metric for metric in metrics if metric in told or any(run.check_of(metric) for run in runs)]
    others = [metric for metric in metrics if metric not in main]
    header = ("metric", "run", "this run", "source", "loss", "interval of the loss", "check", "published", "n")
    found: tuple[list[Table], list[Table]] = [], []
    captions = ("Figures of each run", "Figures that decide nothing")
    for tables, caption, names in zip(found, captions, (main, others), strict=True):
        rows = [_row(run, metric) for metric in names for run in runs if metric in run.result.metrics]
        if rows:
            tables.append(Table(header, rows, caption, frozenset({2, 3, 4, 5, 8})))
    return found


def _row(run: Run, metric: str) -> list[Cell]:
    result = run.result
    score, source = result.metrics[metric], result.source.metrics.get(metric)
    digits = _digits(score)
    stderr = f" ± {number(score.stderr, digits)}" if score.stderr is not None else ""
    found = run.check_of(metric)
    return [
        Cell(plain(metric, 60)),
        Cell(run.label),
        Cell(f"{figure(score.value, digits).text}{stderr}{_sign(score)}", f"metrics.{metric}.value"),
        Cell(MISSING) if source is None else figure(source.value, digits, f"source.metrics.{metric}.value"),
        Cell(MISSING) if source is None else _loss(run, metric, score, source),
        _interval(run, metric),
        Cell(MISSING) if found is None else verdict(found[1].verdict, f"checks.{found[0]}.verdict"),
        _published(result, metric),
        Cell(f"{score.n}", f"metrics.{metric}.n"),
    ]


def _digits(score: Score) -> int:
    return 2 if score.unit == "percent" else 4


def _sign(score: Score) -> str:
    return " %" if score.unit == "percent" else ""


def _loss(run: Run, metric: str, score: Score, source: Score) -> Cell:
    unit, word = run.unit(metric)
    return Cell(f"{figure(loss_of(score.value, source) / unit).text} {word}" if unit else MISSING)


def _interval(run: Run, metric: str) -> Cell:
    found = run.check_of(metric)
    if found is None or found[1].interval is None:
        return Cell(MISSING)
    low, high = ("no bound" if end is None else figure(end, 2).text for end in found[1].interval)
    words = "no bound" if low == high == "no bound" else f"{low} to {high} {run.unit(metric)[1]}"
    return Cell(words, f"checks.{found[0]}.interval")


def _published(result: Result, metric: str) -> Cell:
    told = [(at, row) for at, row in enumerate(result.published) if row["metric"] == metric]
    if not told:
        return Cell(MISSING)
    words = (f"{_value(row)} ({plain(row['device'], 40)}{_variant(row, result)})" for _, row in told)
    return Cell(", ".join(words), f"published.{told[0][0]}.value", "published")


def _value(row: Mapping[str, Any]) -> str:
    return number(row["value"], 2 if row["unit"] == "percent" else 4)


def _variant(row: Mapping[str, Any], result: Result) -> str:
    return "" if row["variant"] == result.variant else f", variant {plain(row['variant'] or 'none', 40)}"


def _agreement(runs: Sequence[Run]) -> list[Table]:
    """Return the table of answers that are the source's; none where no source answered."""
    rows = [
        [
            Cell(run.label),
            Cell(f"{figure(score.value).text} %", f"metrics.{SOURCE_AGREEMENT}.value"),
            Cell(f"{run.result.source.flip_count}", "source.flip_count"),
            Cell(f"{score.n}", f"metrics.{SOURCE_AGREEMENT}.n"),
        ]
        for run in runs
        if (score := run.result.metrics.get(SOURCE_AGREEMENT)) is not None
    ]
    header = ("run", "answers as the source's", "samples answered otherwise", "n")
    return [Table(header, rows, "Agreement with the source model", frozenset({1, 2, 3}))] if rows else []


def _checks(result: Result) -> Table:
    """Return the checks, what weighs most first."""
    placed = sorted(enumerate(result.checks), key=lambda one: _weight(one[1]))
    rows = [
        [
            Cell(plain(check.name, 80), f"checks.{place}.name"),
            verdict(check.verdict, f"checks.{place}.verdict"),
            Cell(plain(_shown(check.got), 80), f"checks.{place}.got"),
            Cell(plain(_shown(check.want), 80), f"checks.{place}.want"),
            Cell(plain(check.why, 600), f"checks.{place}.why"),
        ]
        for place, check in placed
    ]
    return Table(("check", "verdict", "got", "want", "why"), rows, "Checks, by their weight", frozenset({2, 3}))


def _shown(value: Any) -> str:
    """Return what was got or wanted: figures to five digits, which tell a limit from what lies beside it."""
    return f"{value:.5g}" if isinstance(value, float) else number(value)


def _weight(check: Check) -> int:
    return WEIGHT.index(check.verdict) if check.verdict in WEIGHT else len(WEIGHT)


def _classes(result: Result) -> Table | None:
    worst = worst_classes(result)
    if worst is None:
        return None
    digits = 2 if worst.percent else 4
    rows = [
        [
            Cell(plain(row["class"], 20), f"per_class.{place}.class"),
            Cell(plain(row["name"], 60) or MISSING, f"per_class.{place}.name"),
            Cell(f"{row['n']}", f"per_class.{place}.n"),
            *(figure(row.get(key), digits, f"per_class.{place}.{key}") for key in (worst.metric, "source")),
        ]
        for place, row in worst.rows
    ]
    caption = f"Worst classes, of {worst.told} with an n of {FEW_IMAGES} or more"
    return Table(("class", "name", "n", worst.metric, "source model"), rows, caption, frozenset({0, 2, 3, 4}))


def _slices(result: Result) -> Table | None:
    rows = [
        [
            Cell(plain(row["slice"], 60), f"slices.{place}.slice"),
            Cell(plain(row["value"], 60) + (f" ({plain(row['name'], 60)})" if row.get("name") else "")),
            Cell(f"{row['n']}", f"slices.{place}.n"),
            *(figure(row[key], 2, f"slices.{place}.{key}") for key in ("engine", "source", "loss")),
            figure(row["p"], 4, f"slices.{place}.p"),
        ]
        for place, row in enumerate(result.further.get("slices", ()))
    ]
    if not rows:
        return None
    looked = result.further["slices_looked_at"]
    caption = f"Where more is lost than elsewhere; it holds for all {looked} classes and slices that were looked at"
    header = ("slice", "value", "n", "this run %", "source model %", "loss in points", "p")
    return Table(header, rows, caption, frozenset({2, 3, 4, 5, 6}))


def _often(result: Result) -> str:
    """Return what is most often taken for what; nothing where that is not told."""
    told = [f"{plain(one, 60)} taken for {plain(other, 60)} ({count})" for one, other, count in confusions(result)]
    return f"Most often: {', '.join(told)}." if told else ""
