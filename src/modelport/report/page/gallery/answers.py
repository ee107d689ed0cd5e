"""What a line of predictions.jsonl tells of a sample, for people: both answers with their scores, classes, boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelport.core.text import listed, plain
from modelport.report.page.gallery.boxes import Box, boxes_of
from modelport.report.page.gallery.samples import Chosen
from modelport.report.page.parts import Cell
from modelport.report.result_folder import PREDICTIONS

MOST_TEXT, MOST_CLASSES, MOST_NAME = 200, 8, 60
Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """How a sample was answered. ``rows`` are words with figures; ``classes`` those that a filter finds it by."""

    rows: Sequence[tuple[str, Cell]]
    classes: Sequence[str] = ()
    engine: Sequence[Box] = ()
    source: Sequence[Box] | None = None  # None: not in the folder


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells answers by the names of the classes, which the result may lack."""

    names: Mapping[int, str] = field(default_factory=dict)

    def name(self, kind: object) -> str:
        """Return the name of a class; its number where it has none."""
        told = self.names.get(kind, "") if isinstance(kind, int) else ""
        return plain(told or f"class {kind}", MOST_NAME)

    def answered(self, one: Chosen) -> Answered:
        """Return what is known of a sample. Raises LookupError, TypeError or ValueError for a line of another form."""
        if one.line is None:
            assert one.flip is not None
            return _by_flip(one.flip, f"source.flips.{one.place}")
        form = next((form for key, form in FORMS if key in one.line), None)
        if form is not None:
            return form(self, one.line, f"{PREDICTIONS} line {one.number}: ")
        if one.flip is not None:
            return _by_flip(one.flip, f"source.flips.{one.place}")
        return Answered([])


def _by_flip(flip: Line, key: str) -> Answered:
    words = (("label", "target"), ("source", "source"), ("engine", "engine"))
    return Answered([(word, Cell(_cut(flip.get(name)), f"{key}.{name}", _tone(word))) for word, name in words])


def _class(tell: Teller, line: Line, key: str) -> Answered:
    rows, seen = [("label", Cell(tell.name(line["target"]), f"{key}target"))] if line["target"] is not None else [], []
    seen += [] if line["target"] is None else [tell.name(line["target"])]
    for word, name in (("source", "source_top5"), ("engine", "top5")):
        if line.get(name):
            told = [_scored(tell, *entry) for entry in line[name][:2]]
            then = f", then {told[1]}" if len(told) > 1 else ""
            rows.append((word, Cell(f"{told[0]}{then}", f"{key}{name}", _tone(word))))
            seen.append(tell.name(line[name][0][0]))
    return Answered(rows, _unique(seen))


def _scored(tell: Teller, kind: object, score: float | None) -> str:
    return f"{tell.name(kind)} ({_number(score)})"


def _set(tell: Teller, line: Line, key: str) -> Answered:
    sides = (("label", "target"), ("source", "source_classes"), ("engine", "classes"))
    told = [(word, name, line[name]) for word, name in sides if line[name] is not None]
    rows = [(word, Cell(_named(tell, kinds), f"{key}{name}", _tone(word))) for word, name, kinds in told]
    differ = set(line["classes"]) ^ set(line["source_classes"] or ())
    return Answered(rows, _unique(map(tell.name, [*sorted(differ), *line["classes"]])))


def _named(tell: Teller, kinds: Sequence[Any]) -> str:
    return listed(map(tell.name, kinds), MOST_CLASSES) or "none"


def _boxes(tell: Teller, line: Line, key: str) -> Answered:
    engine = boxes_of(line["boxes"], tell.name)
    source = boxes_of(line["source_boxes"], tell.name) if "source_boxes" in line else None
    rows = []
    if source is not None:
        met, of = line["source_met"]
        rows.append(("met", Cell(_cut(f"{met} of {of} of the source's"), f"{key}source_met")))
    for word, name in (("source AP", "source_ap"), ("engine AP", "ap")):
        if line.get(name) is not None:
            rows.append((word, Cell(_number(line[name]), f"{key}{name}", _tone(word))))
    for word, name, boxes in (("source", "source_boxes", source), ("engine", "boxes", engine)):
        if boxes is not None:
            said = listed((f"{box.name} ({_number(box.score)})" for box in boxes), MOST_CLASSES) or "no box"
            rows.append((word, Cell(said, f"{key}{name}", _tone(word))))
    return Answered(rows, _unique(box.name for box in [*engine, *(source or ())]), engine, source)


def _pixels(tell: Teller, line: Line, key: str) -> Answered:
    rows = [("same class", Cell(_percent(line["source_same"]), f"{key}source_same"))]
    for word, name in (("source mIoU", "source_miou"), ("engine mIoU", "miou")):
        if line.get(name) is not None:
            rows.append((word, Cell(_number(line[name]), f"{key}{name}", _tone(word))))
    kinds = [kind for kind, _ in line["classes"]]
    shares = ", ".join(f"{tell.name(kind)} {_percent(share / 100)}" for kind, share in line["classes"])
    return Answered([*rows, ("engine", Cell(shares, f"{key}classes", "engine"))], _unique(map(tell.name, kinds)))


def _text(tell: Teller, line: Line, key: str) -> Answered:
    sides = (("label", "target"), ("source", "source_text"), ("engine", "text"))
    rows = [(word, Cell(_cut(line[name]), f"{key}{name}", _tone(word))) for word, name in sides if name in line]
    return Answered(rows)


def _numbers(tell: Teller, line: Line, key: str) -> Answered:
    sides = (("label", "target"), ("source", "source_numbers"), ("engine", "numbers"))
    rows = [
        (word, Cell(listed(map(_number, line[name]), MOST_CLASSES), f"{key}{name}", _tone(word)))
        for word, name in sides
        if line[name]
    ]
    return Answered(rows)


def _vector(tell: Teller, line: Line, key: str) -> Answered:
    rows = [("label", Cell(_cut(line["target"]), f"{key}target"))]
    return Answered([*rows, ("cosine with the source", Cell(_number(line["source_cosine"]), f"{key}source_cosine"))])


def _views(tell: Teller, line: Line, key: str) -> Answered:
    sides = (("source", "source_found"), ("engine", "found"))
    told = [(word, name, line[name]) for word, name in sides if line.get(name)]
    return Answered(
        [
            (word, Cell(f"{sum(map(bool, views))} of {len(views)} views found", f"{key}{name}", _tone(word)))
            for word, name, views in told
        ]
    )


FORMS: Sequence[tuple[str, Callable[[Teller, Line, str], Answered]]] = (
    ("boxes", _boxes),
    ("source_classes", _set),
    ("source_same", _pixels),
    ("top5", _class),
    ("source_text", _text),
    ("numbers", _numbers),
    ("source_cosine", _vector),
    ("found", _views),
)
"""By a key that lines of one task alone have."""


def _tone(word: str) -> str:
    """Return the colour of a side."""
    side = word.partition(" ")[0]
    return side if side in ("source", "engine") else ""


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))[:MOST_CLASSES]


def _cut(text: object) -> str:
    return "nothing" if text is None else plain(text, MOST_TEXT) or "empty"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{100.0 * share:.4g} %"
