"""The tables that a deployment guide closes with: accuracy and performance beside what is published, ready to paste.

They are drawn from the result alone, old ones without ``published_speeds`` as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelport.report.result import Result
from modelport.tasks.scoring import SOURCE_AGREEMENT, Score

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Closing:
    """A table in words, and what must be said beside it."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def accuracy_comparison(result: Result) -> Closing:
    """Return a row for each figure that is published, or that the source has as well."""
    devices = list(dict.fromkeys(figure["device"] for figure in result.published))
    told = {figure["metric"] for figure in result.published} | result.source.metrics.keys()
    names = [name for name in result.metrics if name in told] or list(result.metrics)
    header = ("model", "batch", "metric", *(f"published, {device}" for device in devices), "source model", _run(result))
    rows = []
    for name in names:
        score, source = result.metrics[name], result.source.metrics.get(name)
        published = (_published(result, name, device) for device in devices)
        ours = (MISSING if source is None else _figure(source.value, source.unit), _figure(score.value, score.unit))
        rows.append((result.recipe, _word(result.batch), name, *published, *ours))
    return Closing(header, tuple(rows), tuple(_accuracy_notes(result)))


def speed_comparison(result: Result) -> Closing:
    """Return a row for each batch that is published or ran, and one of the best; speeds in samples/s."""
    speeds = result.further.get("published_speeds", ())
    ours = own_speed(result)
    batches = {figure["batch"] for speed in speeds for figure in speed["figures"]} | (ours.keys() if ours else set())
    ratios = [f"this run / {speed['device']}" for speed in speeds]
    header = ("model", "batch", *(speed["device"] for speed in speeds), _run(result), *ratios)
    rows = []
    for batch in sorted(batches):
        there = [_at(speed, batch) for speed in speeds]
        here = ours.get(batch)
        cells = (_printed(speed, figure) for speed, figure in zip(speeds, there, strict=True))
        shares = (_ratio(here, None if figure is None else figure["samples_per_second"]) for figure in there)
        rows.append((result.recipe, f"{batch}", *cells, _speed(here), *shares))
    if speeds:
        rows.append(_best(result, speeds, ours))
    return Closing(header, tuple(rows), tuple(_speed_notes(result, speeds)))


def own_speed(result: Result) -> dict[int, float]:
    """Return the run's samples/s by the host's clock, which is what ``bench`` measures, at its batch; {} without."""
    figure = result.speed.throughput.get("host")
    return {} if figure is None or result.batch is None else {result.batch: float(figure["value"])}


def _run(result: Result) -> str:
    place = ", ".join(word for word in (result.engine, result.precision) if word)
    return f"this run ({place})" if place else "this run"


def _published(result: Result, metric: str, device: str) -> str:
    """Return the figure; of another variant than ran, this is said."""
    found = [row for row in result.published if (row["metric"], row["device"]) == (metric, device)]
    row = next((row for row in found if row["variant"] == result.variant), found[0] if found else None)
    if row is None:
        return MISSING
    other = "" if row["variant"] == result.variant else f" (variant {row['variant'] or 'none'})"
    return _figure(row["value"], row["unit"]) + other


def _accuracy_notes(result: Result) -> Iterator[str]:
    score: Score | None = result.metrics.get(SOURCE_AGREEMENT)
    scored = f"{result.n} samples of {result.dataset['name']}"
    if score is not None:
        yield f"Of {scored}, {score.value:.2f}% are answered as by the source model."
    else:
        yield f"Scored: {scored}."
    if any(not row["applies"] for row in result.published):
        yield "What is published was measured on other samples or another variant, and decides nothing here."


def _best(result: Result, speeds: Sequence[Mapping[str, Any]], ours: Mapping[int, float]) -> tuple[str, ...]:
    best = [max(speed["figures"], key=lambda figure: float(figure["samples_per_second"])) for speed in speeds]
    here = max(ours.values(), default=None)
    batch = max(ours, key=lambda size: ours[size], default=None)
    cells = (f"{figure['samples_per_second']:.1f} (batch {figure['batch']})" for figure in best)
    own = MISSING if batch is None else f"{_speed(here)} (batch {batch})"
    shares = (_ratio(here, figure["samples_per_second"]) for figure in best)
    return (result.recipe, "best", *cells, own, *shares)


def _speed_notes(result: Result, speeds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "In samples/s. This run's is from tensors to outputs in memory, while images were read and scored as well."
    whole = result.samples_per_second
    if whole is not None:
        yield f"From files on disk to scored answers: {whole:.1f} samples/s."
    for speed in speeds:
        yield f"{speed['device']}: {speed['source']}." + (f" Note: {speed['note']}." if speed["note"] else "")
        for flag in (*speed["flags"], *(flag for figure in speed["figures"] for flag in figure["flags"])):
            yield f"{speed['device']}: {flag['text']}."


def _at(speed: Mapping[str, Any], batch: int) -> Mapping[str, Any] | None:
    return next((figure for figure in speed["figures"] if figure["batch"] == batch), None)


def _printed(speed: Mapping[str, Any], figure: Mapping[str, Any] | None) -> str:
    """Return a published speed in samples/s; of one that is printed in another unit what is printed, too."""
    if figure is None:
        return MISSING
    value = _speed(figure["samples_per_second"])
    return value if speed["unit"] == "samples/s" else f"{value} (printed {figure['value']:g} {speed['printed_unit']})"


def _speed(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"


def _ratio(here: float | None, there: float | None) -> str:
    return MISSING if here is None or there is None else f"{here / there:.3g}"


def _figure(value: float, unit: str) -> str:
    return f"{value:.2f}%" if unit == "percent" else f"{value:.4f}"


def _word(value: object) -> str:
    return MISSING if value is None else str(value)
