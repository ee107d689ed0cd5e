"""report.md, drawn from the result alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from modelport.core.text import plain
from modelport.report.classes import FEW_IMAGES, confusions, worst_classes
from modelport.report.closing_tables import Closing, accuracy_comparison, speed_comparison
from modelport.report.result import Result
from modelport.report.sentence import sentence

# What starts a link, an emphasis, code or HTML.
ACTIVE = re.compile(r"[\\`*\[\]]")


def render(result: Result) -> str:
    """Return the report of one run."""
    parts = [
        _head(result),
        _metrics(result),
        _classes(result),
        _slices(result),
        _checks(result),
        _speed(result),
        _quantization(result.further.get("quantization")),
        _flips(result),
        _notes(result),
        _origin(result),
        _closing(result),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; pipes inside cells are escaped."""
    lines = [_row(header), _row(["---"] * len(header))]
    return "\n".join(lines + [_row(row) for row in rows])


def number(value: Any, digits: int = 2) -> str:
    """Return a figure for a human: a dash for what is missing."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{digits}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
    return str(value)


def _head(result: Result) -> str:
    counted = f"{result.n} samples scored, {result.skipped} skipped"
    engine, precision, batch = map(number, (result.engine, result.precision, result.batch))
    facts = f"engine **{engine}**, precision **{precision}**, batch {batch}"
    said = f"{counted} of {result.dataset['name']}; {facts}, seed {result.seed}."
    return f"# {result.recipe}: {result.verdict}\n\n{foreign(sentence(result))}\n\n{said}\n\n{result.rests_on}"


def _metrics(result: Result) -> str:
    rows = []
    for name, score in result.metrics.items():
        source = result.source.metrics.get(name)
        published = [figure for figure in result.published if figure["metric"] == name]
        said = ", ".join(f"{figure['value']} ({figure['device']})" for figure in published) or "–"
        stderr = f"± {number(score.stderr)}" if score.stderr is not None else ""
        digits = 2 if score.unit == "percent" else 4
        own = f"{number(score.value, digits)} {stderr}".strip()
        rows.append([name, own, number(source and source.value, digits), said, score.unit, score.n])
    return "## Accuracy\n\n" + table(["metric", "this run", "source model", "published", "unit", "n"], rows)


def _classes(result: Result) -> str:
    """The worst classes, of those with images enough to tell, and what they are most often taken for."""
    worst = worst_classes(result)
    if worst is None:
        return ""
    rows = [
        [
            row["class"],
            _name(row["name"]) or "–",
            row["n"],
            *(number(row.get(key), 2 if worst.percent else 4) for key in (worst.metric, "source")),
        ]
        for _, row in worst.rows
    ]
    text = f"## Worst classes\n\nOf {worst.told} classes with an n of {FEW_IMAGES} or more.\n\n"
    text += table(["class", "name", "n", worst.metric, "source model"], rows)
    often = [f"{_name(target)} taken for {_name(answer)} ({count})" for target, answer, count in confusions(result)]
    return text + (f"\n\nMost often: {', '.join(often)}." if often else "")


def _slices(result: Result) -> str:
    """The classes and slices that lose more than the rest, where any holds."""
    found = result.further.get("slices", ())
    rows = [
        [
            foreign(row["slice"]),
            _name(row["value"]) + (f" ({_name(row['name'])})" if row.get("name") else ""),
            row["n"],
            *(number(row[key]) for key in ("engine", "source", "loss", "p")),
        ]
        for row in found
    ]
    if not rows:
        return ""
    text = "## Who suffers\n\nWhere more is lost than elsewhere; it holds for all "
    text += f"{result.further['slices_looked_at']} classes and slices that were looked at.\n\n"
    return text + table(["slice", "value", "n", "this run %", "source model %", "loss in points", "p"], rows)


def _name(text: object) -> str:
    return foreign(plain(text, 60))


def _checks(result: Result) -> str:
    rows = [[row.name, row.verdict, number(row.got), number(row.want), row.why] for row in result.checks]
    return "## Checks\n\n" + table(["check", "verdict", "got", "want", "why"], rows)


def _speed(result: Result) -> str:
    meanings = {
        "end_to_end": "files on disk to scored answers",
        "host": "tensors in memory to outputs in memory",
        "device": "on the device alone",
    }
    rows = [
        [name, number(figure["value"], 1) if figure else "–", figure["count"] if figure else "–", meanings[name]]
        for name, figure in result.speed.throughput.items()
    ]
    text = "## Speed\n\n" + table(["throughput", "samples/s", "runs", "what it covers"], rows)
    columns = ["min", "mean", "median", "p90", "p95", "p99", "max", "count"]
    rows = [
        [f"{clock} (batch {result.batch})", *(number(value[column]) for column in columns)]
        for clock, value in result.speed.latency_ms.items()
    ]
    text += "\n\n" + table(["latency in ms per run", *columns], rows)
    for key, title in (("runs_in_flight", "Runs in flight"), ("decoders", "Decoder threads")):
        if chosen := result.further.get(key):
            text += f"\n\n{title}: {chosen['value']} ({chosen['how']})."
    return text + "".join(f"\n\n> {warning}" for warning in result.speed.warnings)


def _quantization(record: dict[str, Any] | None) -> str:
    if record is None:
        return ""
    method, layers, images = record["method"], record["layers"], record["calibration"]
    folder = foreign(images["folder"])
    higher = ", ".join(f"`{name}`" for name in record["higher_precision"]) or "none"
    rows = [
        ["made by", f"{method['library']}, {method['form']}"],
        [
            "ranges",
            f"{method['ranges']}, from {len(images['ranges'])} images of {folder} ({images['split']})",
        ],
        ["weights, activations", f"{method['weights']}; {method['activations']}"],
        ["quantized", f"{layers['quantized']} layers; {layers['heavy']} carry the arithmetic"],
        ["of these in higher precision", higher],
        ["returned for accuracy", ", ".join(f"`{name}`" for name in record["returned"]) or "none"],
        ["plan", code(record["plan_file"])],
    ]
    for word, name in (("before", "loss with nothing returned"), ("after", "loss of this model")):
        loss = record["loss"][word]
        said = "not measured"
        if loss is not None:
            figures = f"{loss['metric']} {number(loss['got'])}, source {number(loss['source'])}"
            said = f"{figures}, may fall by {number(loss['allowed'])}; {loss['n']} held-out calibration images"
        rows.append([name, said])
    return "## Quantization\n\n" + table(["", ""], rows) + "\n\nThe images are listed in result.json."


def _flips(result: Result) -> str:
    flips, total = result.source.flips, result.source.flip_count
    if not flips:
        return ""
    rows = [[foreign(row["id"]), row["target"], row["source"], row["engine"]] for row in flips]
    text = "## Flips\n\nSamples whose answer is not the source model's.\n\n"
    text += table(["sample", "target", "source", "engine"], rows)
    return text + (
        f"\n\nThe first {len(flips)} of {total}; all are in predictions.jsonl." if total > len(flips) else ""
    )


def _notes(result: Result) -> str:
    return "## Said on the way\n\n" + "\n".join(f"- {foreign(note)}" for note in result.notes) if result.notes else ""


def _origin(result: Result) -> str:
    rows = [
        [row["kind"], code(row["path"]), _short(row["sha256"]), ", ".join(map(_short, row["made_from"])) or "–"]
        for row in result.artifacts
    ]
    where = result.environment
    packages = ", ".join(f"{name} {value}" for name, value in where["packages"].items() if value)
    machine = f"{where['processor']}, {where['cores']} cores, {where['platform']}, Python {where['python']}"
    parts = [
        "## Where it comes from",
        table(["artifact", "path", "sha256", "made from"], rows),
        f"Data: {result.dataset['n']} samples, fingerprint {_short(result.dataset['fingerprint'])}.",
        f"{machine}; {packages}.",
        code(result.command),
        f"Started {result.started}, took {result.seconds:.1f} s.",
    ]
    return "\n\n".join(parts)


def _closing(result: Result) -> str:
    """What the guides close with, to be pasted into one."""
    parts = [_compared("Accuracy", accuracy_comparison(result)), _compared("Performance", speed_comparison(result))]
    return "\n\n".join(["## Ready to paste", *parts])


def _compared(title: str, closing: Closing) -> str:
    rows = [map(foreign, row) for row in closing.rows]
    parts = [f"### {title} comparison"]
    if closing.rows:
        parts.append(table([foreign(name) for name in closing.header], [list(row) for row in rows]))
    return "\n\n".join([*parts, *(foreign(note) for note in closing.notes)])


def _short(digest: str) -> str:
    return f"`{digest[:16]}…`"


def _row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(plain(str(cell).replace("\n", " ")).replace("|", "\\|") for cell in cells) + " |"


def foreign(text: object) -> str:
    """Return a name or message that others wrote, so that Markdown and HTML take nothing in it for their own."""
    return ACTIVE.sub(r"\\\g<0>", plain(text)).replace("<", "&lt;")


def code(text: object) -> str:
    """Return text as inline code, fenced by more backticks than it holds."""
    shown = plain(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    pad = " " if "`" in shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"
