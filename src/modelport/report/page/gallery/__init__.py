"""The gallery: samples that engine and source answer differently, with both answers and what was found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelport.core.errors import DataError, ModelportError, raised_as
from modelport.core.text import plain
from modelport.report.page.found import Found
from modelport.report.page.gallery.answers import Answered, Teller
from modelport.report.page.gallery.boxes import WORTH, overlay
from modelport.report.page.gallery.samples import KINDS, LOST, WON, Choice, Chosen, as_written, choose, more_text
from modelport.report.page.gallery.thumbnails import Picture, Thumbnails
from modelport.report.page.parts import Cell, Section
from modelport.report.result import Result
from modelport.report.result_folder import FIX, MALFORMED, PREDICTIONS, RECIPE, RESULT, ResultFolder

# Samples of one result, and of a page.
MOST, MOST_OF_PAGE = 48, 200
# Characters of all pictures of a page, which has 2 MB at most.
MOST_PICTURES = 1_000_000
# Classes that the filter offers, those of the most samples first.
MOST_CLASSES = 200
MOST_ID = 160
TONES = {LOST: "fail", WON: "pass"}
# Forms of labels, and of answers, that have more than corners, which lines do not hold.
SHAPES = ("outlines", "keypoints")


@dataclass(slots=True)
class Shown:
    """One result's part of the gallery."""

    found: Found
    choice: Choice
    thumbnails: Thumbnails
    answers: list[Answered]
    shapes: str  # what is found beside boxes, and not kept
    pictures: dict[str, Picture] = field(default_factory=dict)


def gallery_section(material: Sequence[Found]) -> Section | None:
    """Return the samples of each result that left a folder; None where there is none to show.

    Raises DataError for lines that are not as modelport writes them.
    """
    results = [one for one in material if one.result is not None and one.folder is not None][:MOST_OF_PAGE]
    if not results:
        return None
    each = min(MOST, max(1, MOST_OF_PAGE // len(results)))
    shown = [_shown(one, one.folder, one.result, each) for one in results if one.folder and one.result]
    if not any(one.choice.chosen for one in shown):
        return None
    _take_pictures(shown)
    numbers = _class_numbers(shown)
    values = {
        "results": [_values(one, numbers) for one in shown],
        "kinds": [(kind, words) for kind, words in KINDS.items() if any(_has(one, kind) for one in shown)],
        "classes": sorted(((number, name) for name, number in numbers.items()), key=lambda entry: entry[1].lower()),
        "total": sum(len(one.choice.chosen) for one in shown),
    }
    return Section("gallery", "Samples", values)


def _shown(found: Found, folder: ResultFolder, result: Result, most: int) -> Shown:
    thumbnails, answers = Thumbnails.of(folder), list[Answered]()
    with raised_as(DataError, f"{folder.path / RESULT}: is not as modelport writes it", FIX, MALFORMED):
        names, form = _names(folder, result)
        choice = choose(folder, result, thumbnails.places.keys(), most)
    for one in choice.chosen:
        with as_written(folder, PREDICTIONS if one.line else RESULT, one.number):
            answers.append(Teller(names).answered(one))
    return Shown(found, choice, thumbnails, answers, form if form in SHAPES else "")


def _names(folder: ResultFolder, result: Result) -> tuple[Mapping[int, str], str]:
    """Return the classes' names as lines number them, and the form of labels; what no file tells is left out."""
    names = {row["class"]: str(row["name"]) for row in result.further.get("per_class", ()) if row["name"]}
    if not folder.has(RECIPE):
        return names, ""
    try:
        recipe = folder.recipe()
    except ModelportError:  # of another version; the page goes without the names
        return names, ""
    offset = (
        0 if recipe.label_form in ("boxes", *SHAPES) else recipe.dataset.label_offset
    )  # boxes are the data's classes
    numbered = {place + offset: name for place, name in enumerate(recipe.dataset.names or ())}
    return numbered | names, recipe.label_form


def _take_pictures(shown: Sequence[Shown]) -> None:
    """Read pictures while there is room: the first of each result, then the second of each, and so on."""
    room = MOST_PICTURES
    for place in range(MOST):
        for one in shown:
            if place < len(one.choice.chosen):
                name = one.choice.chosen[place].id
                if (picture := one.thumbnails.picture(name, room)) is not None:
                    one.pictures[name] = picture
                    room -= len(picture.data)


def _class_numbers(shown: Sequence[Shown]) -> dict[str, int]:
    """Return the classes that the filter offers with a number of each: markup holds no names in attributes."""
    counts: dict[str, int] = {}
    for name in (name for one in shown for answer in one.answers for name in answer.classes):
        counts[name] = counts.get(name, 0) + 1
    often = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_CLASSES]
    return {name: number for number, name in enumerate(often)}


def _has(one: Shown, kind: str) -> bool:
    return any(each.kind == kind for each in one.choice.chosen)


def _values(one: Shown, numbers: Mapping[str, int]) -> dict[str, Any]:
    drawn = any(answer.engine or answer.source for answer in one.answers)
    return {
        "name": one.found.name,
        "counts": _counts(one),
        "items": [
            _item(one, chosen, answer, numbers) for chosen, answer in zip(one.choice.chosen, one.answers, strict=True)
        ],
        "legend": drawn,
        "both": any(answer.source is not None for answer in one.answers),
        "worth": WORTH,
        "notes": [*one.choice.said, *one.thumbnails.notes(), *_untold(one, drawn)],
        "more": more_text(one.choice, one.choice.chosen),
    }


def _counts(one: Shown) -> Cell:
    counts = one.choice.counts
    if not counts.total():
        return Cell("No sample flips." if _has_source(one) else "No source answered.", "source.flip_count")
    told = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
    return Cell(f"{counts.total()} samples flip: {told}.", "source.flip_count")


def _has_source(one: Shown) -> bool:
    source = None if one.found.result is None else one.found.result.source
    return source is not None and (bool(source.metrics) or source.origin.kind != "none")


def _item(one: Shown, chosen: Chosen, answer: Answered, numbers: Mapping[str, int]) -> dict[str, Any]:
    picture = one.pictures.get(chosen.id)
    return {
        "id": plain(chosen.id, MOST_ID),
        "kind": chosen.kind,
        "word": Cell(chosen.kind, tone=TONES.get(chosen.kind, "")),
        "classes": " ".join(str(numbers[name]) for name in answer.classes if name in numbers),
        "rows": answer.rows,
        "picture": picture,
        "overlay": overlay(answer.engine, answer.source, picture.width, picture.height)
        if picture is not None and (answer.engine or answer.source)
        else None,
    }


def _untold(one: Shown, drawn: bool) -> list[str]:
    """Return what a reader would look for and the folder does not hold."""
    said = []
    chosen = one.choice.chosen
    if chosen and not one.thumbnails.places:
        said.append("no pictures: the folder holds no thumbnails")
    elif len(one.pictures) < sum(each.id in one.thumbnails.places for each in chosen) - one.thumbnails.broken:
        said.append("not all pictures are shown: the page would be larger than 2 MB")
    if drawn and all(answer.source is None for answer in one.answers):
        said.append("the source's boxes are not in the folder: the engine's alone are drawn")
    if drawn and one.shapes:
        said.append(f"{one.shapes} are not in the folder: their boxes are drawn")
    return said
